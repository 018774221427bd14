#![allow(clippy::unwrap_used, clippy::too_many_lines)]
use super::*;

/// A file changed or added in the clean tree → findings of one lint.
#[test]
fn lints_of_files_read_them() {
    let table: Vec<(&str, &str, Vec<u8>, Vec<&str>)> = vec![
        (
            "bootc-kargs",
            "usr/lib/bootc/kargs.d/x.toml",
            b"kargs = [\"a\"]\nmatch-architectures = [\"x86_64\"]\n".into(),
            vec![],
        ),
        ("bootc-kargs", "usr/lib/bootc/kargs.d/x.txt", b"whatever".into(), vec![]),
        (
            "bootc-kargs",
            "usr/lib/bootc/kargs.d/x.toml",
            b"kargs = [\"a\"]\nunknown = 1\n".into(),
            vec![
                "fatal /usr/lib/bootc/kargs.d/x.toml: line 2: unknown field `unknown`, expected `kargs` or `match-architectures`",
            ],
        ),
        (
            "bootc-kargs",
            "usr/lib/bootc/kargs.d/x.toml",
            b"kargs = \"a b\"\n".into(),
            vec!["fatal /usr/lib/bootc/kargs.d/x.toml: line 1: invalid type: string \"a b\", expected a sequence"],
        ),
        ("baseimage-composefs", "usr/lib/ostree/prepare-root.conf", b"[root]\ntransient=true\n".into(), vec![]),
        (
            "baseimage-composefs",
            "usr/lib/ostree/prepare-root.conf",
            b"[composefs]\nenabled = no\n[other]\nenabled = yes\n".into(),
            vec!["warning /usr/lib/ostree/prepare-root.conf: composefs is not enabled"],
        ),
        (
            "sysusers",
            "etc/passwd",
            b"root:x:0:0\napp:x:1:1\nnvidia-persistenced:x:9:9\n".into(),
            vec!["warning /etc/passwd: user nvidia-persistenced has no line in sysusers.d"],
        ),
        (
            "sysusers",
            "usr/lib/sysusers.d/basic.conf",
            b"u root 0\nu app 900:root\nm app wheel\n".into(),
            vec!["warning /etc/group: group app has no line in sysusers.d"],
        ),
        (
            "sysusers",
            "etc/sysusers.d/basic.conf",
            b"u root 0\n".into(),
            vec![
                "warning /etc/group: group app has no line in sysusers.d",
                "warning /etc/passwd: user app has no line in sysusers.d",
            ],
        ),
        (
            "var-tmpfiles",
            "var/lib/other/state",
            b"x".into(),
            vec!["warning /var/lib/other: dir without a line in tmpfiles.d"],
        ),
        (
            "var-tmpfiles",
            "usr/lib/tmpfiles.d/app.conf",
            b"# none\nz /var/lib/app 0700\nq /var/tmp 1777\nL+ /var/run - - - - ../run\n".into(),
            vec!["warning /var/lib: dir without a line in tmpfiles.d"],
        ),
        (
            "var-tmpfiles",
            "usr/lib/tmpfiles.d/b.conf",
            b"C \"/var/lib/my\\x20app\" - - - - /usr/share/app\n".into(),
            vec![],
        ),
        (
            "kernel-modules-match",
            "usr/lib/modules/6.12.0-160.el10.x86_64/extra/x.ko",
            module_for("x", "6.12.0-155.el10.x86_64"),
            vec![
                "fatal /usr/lib/modules/6.12.0-160.el10.x86_64/extra/x.ko: built for kernel 6.12.0-155.el10.x86_64, not 6.12.0-160.el10.x86_64",
            ],
        ),
        (
            "kernel-modules-match",
            "usr/lib/modules/6.12.0-160.el10.x86_64/extra/x.ko.xz",
            b"garbage".into(),
            vec!["fatal /usr/lib/modules/6.12.0-160.el10.x86_64/extra/x.ko.xz: no usable module: not an ELF file"],
        ),
        (
            "kernel-modules-match",
            "usr/lib/modules/6.12.0-155.el10.x86_64/modules.order",
            b"".into(),
            vec!["fatal /usr/lib/modules/6.12.0-155.el10.x86_64: modules of a kernel that is not in the image"],
        ),
        (
            "depmod-complete",
            "usr/lib/modules/6.12.0-160.el10.x86_64/extra/snd-x.ko",
            module_for("snd_x", "x"),
            vec![
                "fatal /usr/lib/modules/6.12.0-160.el10.x86_64/extra/snd-x.ko: not in modules.dep: modprobe will not find it",
            ],
        ),
        (
            "depmod-complete",
            "usr/lib/modules/6.12.0-160.el10.x86_64/modules.dep",
            b"extra/zfs.ko: kernel/spl.ko kernel/gone.ko\nkernel/spl.ko:\nnoise\n".into(),
            vec![
                "fatal /usr/lib/modules/6.12.0-160.el10.x86_64/modules.dep: line without a colon: noise",
                "fatal /usr/lib/modules/6.12.0-160.el10.x86_64/modules.dep: names kernel/gone.ko, which is not in the image",
            ],
        ),
        (
            "depmod-complete",
            "usr/lib/modules/6.12.0-160.el10.x86_64/modules.alias.bin",
            b"".into(),
            vec!["fatal /usr/lib/modules/6.12.0-160.el10.x86_64/modules.alias.bin: empty: depmod was not run"],
        ),
        (
            "kmods-karg",
            "usr/lib/bootc/kargs.d/10-kmods.toml",
            b"kargs = [\"assemble.kmods=\", \"quiet\"]\n".into(),
            vec![
                "fatal /usr/lib/modules/6.12.0-160.el10.x86_64/extra/zfs.ko: added, but no kernel argument assemble.kmods= names the set of modules",
            ],
        ),
        (
            "initramfs-stale",
            "usr/lib/ostree/prepare-root.conf",
            b"[composefs]\nenabled=yes\n".into(),
            vec!["fatal /usr/lib/ostree/prepare-root.conf: changed, but the initramfs still has the old one"],
        ),
        (
            "needed-libraries",
            "usr/bin/nvidia-smi",
            dynamic(&Dynamic {
                interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
                needed: &["libgone.so.1"],
                ..Dynamic::default()
            }),
            vec!["fatal /usr/bin/nvidia-smi: needs libgone.so.1, which is not in the image"],
        ),
        (
            "needed-libraries",
            "usr/lib64/plugins/plugin.so",
            dynamic(&Dynamic { needed: &["libzfs.so.4", "libother.so"], ..Dynamic::default() }),
            vec!["fatal /usr/lib64/plugins/plugin.so: needs libother.so, which is not in the image"],
        ),
        (
            "needed-libraries",
            "usr/bin/script",
            b"#!/bin/sh and more than fifty-two bytes of a script, surely".into(),
            vec![],
        ),
        (
            "forbidden-files",
            "usr/include/stdio.h",
            b"x".into(),
            vec!["fatal /usr/include/stdio.h: headers serve compilers only"],
        ),
        (
            "forbidden-files",
            "usr/src/kernels/6.12.0-160.el10.x86_64/Makefile",
            b"x".into(),
            vec![
                "fatal /usr/lib/modules/6.12.0-160.el10.x86_64/build: kernel headers: left over from building modules",
                "fatal /usr/src/kernels/6.12.0-160.el10.x86_64/Makefile: kernel headers: left over from building modules",
                "fatal /usr/src/kernels/6.12.0-160.el10.x86_64/Makefile: source code: left over from a build",
            ],
        ),
    ];
    for (lint, path, bytes, expected) in table {
        assert_eq!(Case::clean().file(path, bytes).found(lint), expected, "{lint} {path}");
    }
}
