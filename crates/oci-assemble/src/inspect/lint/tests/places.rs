#![allow(clippy::unwrap_used, clippy::too_many_lines)]
use super::*;

/// Dump lines laid over the clean tree → findings of one lint.
#[test]
fn lints_of_places_find_what_is_misplaced() {
    let fifo = "fifo 0644 0:0 0\n";
    let full = "file 0644 0:0 0 size=1 sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb\n";
    let empty = "file 0644 0:0 0 size=0 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
    for (lint, delta, expected) in [
        ("api-base-directories", "/run whiteout\n".to_owned(), vec!["fatal /run: missing mount point"]),
        ("api-base-directories", format!("/proc whiteout\n/proc {fifo}"), vec!["fatal /proc: not a directory"]),
        ("baseimage-root", "/sysroot whiteout\n".into(), vec!["fatal /sysroot: not a directory"]),
        (
            "baseimage-root",
            "/ostree symlink 0777 0:0 0 to=/sysroot/ostree\n".into(),
            vec!["fatal /ostree: leads to /sysroot/ostree, not to sysroot/ostree"],
        ),
        (
            "baseimage-root",
            "/usr/share/doc/bootc/baseimage/base dir 0755 0:0 0\n".into(),
            vec![
                "fatal /usr/share/doc/bootc/baseimage/base/ostree: not a symlink to sysroot/ostree",
                "fatal /usr/share/doc/bootc/baseimage/base/sysroot: not a directory",
            ],
        ),
        (
            "etc-usretc",
            "/usr/etc dir 0755 0:0 0\n".into(),
            vec!["fatal /usr/etc: stands beside /etc, and clients make it themselves"],
        ),
        (
            "kernel",
            format!("/usr/lib/modules/5.0/vmlinuz {full}"),
            vec!["fatal /usr/lib/modules/5.0: one of several kernels", "fatal /usr/lib/modules/6.12.0-160.el10.x86_64: one of several kernels"],
        ),
        (
            "utf8",
            format!("/usr/a\\xff {fifo}/usr/b symlink 0777 0:0 0 to=\\xff\n"),
            vec!["fatal /usr/a\\xff: name is not UTF-8", "fatal /usr/b: target \\xff is not UTF-8"],
        ),
        ("var-run", "/var/run whiteout\n/var/run dir 0755 0:0 0\n".into(), vec!["fatal /var/run: not a symlink"]),
        ("var-run", "/var/run whiteout\n".into(), vec![]),
        (
            "buildah-injected",
            format!("/etc/hostname {empty}/etc/resolv.conf {full}"),
            vec!["warning /etc/hostname: empty: a container engine may have left it there"],
        ),
        (
            "nonempty-boot",
            format!("/boot/EFI dir 0755 0:0 0\n/boot/x {full}"),
            vec!["warning /boot/x: hidden on the booted system"],
        ),
        ("nonempty-boot", "/boot whiteout\n".into(), vec!["warning /boot: missing directory"]),
        (
            "nonempty-run-tmp",
            format!("/run/systemd/resolve/stub-resolv.conf {full}/run/lock dir 0755 0:0 0\n/tmp/x/y {full}"),
            vec!["warning /run/lock: hidden on the booted system", "warning /tmp/x/y: hidden on the booted system"],
        ),
        (
            "var-log",
            format!("/var/log/dnf.log {full}/var/log/lastlog {empty}"),
            vec!["warning /var/log/dnf.log: a log of the build"],
        ),
        (
            "single-kernel",
            format!("/{KERNEL}/vmlinuz whiteout\n"),
            vec!["fatal no kernel: nothing below /usr/lib/modules has a vmlinuz"],
        ),
        (
            "single-kernel",
            format!("/{KERNEL}/initramfs.img whiteout\n/{KERNEL}/vmlinuz symlink 0777 0:0 0 to=/boot/vmlinuz\n"),
            vec![
                "fatal /usr/lib/modules/6.12.0-160.el10.x86_64/initramfs.img: missing",
                "fatal /usr/lib/modules/6.12.0-160.el10.x86_64/vmlinuz: not a regular file",
            ],
        ),
        (
            "uki",
            format!("/boot/EFI/Linux/6.12.EFI {full}"),
            vec!["fatal /boot/EFI/Linux/6.12.EFI: the image is sealed: a layer added to it makes it unbootable"],
        ),
        (
            "prepare-root-shadowed",
            format!("/etc/ostree/prepare-root.conf {empty}"),
            vec!["fatal /etc/ostree/prepare-root.conf: shadows /usr/lib/ostree/prepare-root.conf"],
        ),
        (
            "case-collisions",
            format!("/usr/bin/ZFS {fifo}"),
            vec!["warning /usr/bin/ZFS: differs from zfs in case only", "warning /usr/bin/zfs: differs from ZFS in case only"],
        ),
        (
            "setuid-added",
            "/usr/bin/su file 4755 0:0 0 size=1 sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb\n\
             /usr/bin/ping file 0755 0:0 0 size=1 sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb security.capability=x\n"
                .into(),
            vec!["warning /usr/bin/ping: file capabilities", "warning /usr/bin/su: mode 4755, owner 0:0"],
        ),
    ] {
        let mut case = Case::clean().laid(&delta);
        // A dump names contents by digest; give them bytes of that size.
        let stored: Vec<_> = case.tree.iter().map(|(path, _)| path.clone()).collect();
        for path in stored {
            let Some(crate::tree::Content::Stored { size, .. }) = case.tree.content(&path).cloned() else { continue };
            let mut inode = case.tree.get(&path).unwrap().clone();
            inode.kind = crate::tree::Kind::File(crate::tree::Content::of(vec![b'a'; usize::try_from(size).unwrap()]));
            case.tree.insert(path, inode);
        }
        assert_eq!(case.found(lint), expected, "{lint}: {delta}");
    }
}

/// A symlink is one by each of its names.
#[test]
fn lints_see_symlinks_by_their_second_names() {
    let build = format!("/{KERNEL}/build");
    for (lint, delta, expected) in [
        (
            "baseimage-root",
            "/a symlink 0777 0:0 0 to=sysroot/ostree\n/ostree hardlink 0777 0:0 0 to=/a\n".to_owned(),
            vec![],
        ),
        (
            "baseimage-root",
            "/a symlink 0777 0:0 0 to=else\n/ostree hardlink 0777 0:0 0 to=/a\n".into(),
            vec!["fatal /ostree: leads to else, not to sysroot/ostree".to_owned()],
        ),
        (
            "utf8",
            "/usr/a symlink 0777 0:0 0 to=\\xff\n/usr/b hardlink 0777 0:0 0 to=/usr/a\n".into(),
            ["a", "b"].map(|name| format!("fatal /usr/{name}: target \\xff is not UTF-8")).to_vec(),
        ),
        ("var-run", "/var/a symlink 0777 0:0 0 to=../run\n/var/run hardlink 0777 0:0 0 to=/var/a\n".into(), vec![]),
        (
            "forbidden-files",
            format!("/usr/a symlink 0777 0:0 0 to=/usr/src\n{build} hardlink 0777 0:0 0 to=/usr/a\n"),
            vec![format!("fatal {build}: kernel headers: left over from building modules")],
        ),
        (
            "var-tmpfiles",
            "/etc/a symlink 0777 0:0 0 to=/dev/null\n/etc/tmpfiles.d/app.conf hardlink 0777 0:0 0 to=/etc/a\n\
             /var/a symlink 0777 0:0 0 to=../run\n/var/run hardlink 0777 0:0 0 to=/var/a\n"
                .into(),
            [("a", "symlink"), ("lib", "dir"), ("run", "symlink")]
                .map(|(name, kind)| format!("warning /var/{name}: {kind} without a line in tmpfiles.d"))
                .to_vec(),
        ),
    ] {
        assert_eq!(Case::clean().laid(&delta).found(lint), expected, "{lint}: {delta}");
    }
}
