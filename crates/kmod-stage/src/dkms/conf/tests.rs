//! dkms.conf as packages ship them, what nobody can know without bash, and bash as the judge.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod judge;

use super::*;

fn parse(text: &str) -> Result<DkmsConf, ConfError> {
    DkmsConf::parse(text.as_bytes(), "dkms.conf")
}

/// A readable form of a whole dkms.conf.
fn dump(conf: &DkmsConf) -> String {
    let setting = |value: &Setting| match value {
        Setting::Known(text) => format!("{text:?}"),
        Setting::NotUnderstood(reason) => format!("? line {}: {}", reason.line, reason.what),
    };
    let mut text = format!("{} {}, installed {}\n", conf.name, conf.version, setting(&conf.autoinstall));
    for module in &conf.modules {
        let BuiltModule { built_location, built_name, .. } = module;
        let paths = [Distribution::Fedora, Distribution::Debian, Distribution::Other].map(|d| module.path(d));
        text += &format!("{built_location}{built_name}.ko -> {}\n", paths.join(" | "));
    }
    if !conf.complete {
        text += "and maybe more\n";
    }
    for ((variable, index), value) in &conf.settings {
        text += &format!("{variable}[{index}] = {}\n", setting(value));
    }
    for NotUnderstood { line, what } in &conf.not_understood {
        text += &format!("line {line}: {what}\n");
    }
    text
}

#[test]
fn zfs() {
    let conf = parse(include_str!("tests/zfs.conf")).unwrap();
    assert_eq!(
        dump(&conf),
        r#"probe-zfs 2.3.9, installed "yes"
module/zfs.ko -> extra/zfs.ko | updates/dkms/zfs.ko | extra/zfs.ko
module/spl.ko -> extra/spl.ko | updates/dkms/spl.ko | extra/spl.ko
BUILD_EXCLUSIVE_KERNEL[0] = ? line 7: `if`
MAKE[0] = "make"
NO_WEAK_MODULES[0] = "yes"
POST_BUILD[0] = "scripts/dkms.postbuild\n  -n probe-zfs\n  -v 2.3.9\n"
PRE_BUILD[0] = ? line 11: $(…)
STRIP[0] = ? line 31: $(…)
STRIP[1] = ? line 31: $(…)
line 5: `if`
line 6: the command .
line 7: `if`
"#
    );
}

#[test]
fn nvidia_of_debian() {
    let conf = parse(include_str!("tests/nvidia-debian.conf")).unwrap();
    assert_eq!(
        dump(&conf),
        r#"nvidia-current-open 550.163.01, installed "yes"
nvidia.ko -> extra/nvidia-current-open.ko | updates/dkms/nvidia-current-open.ko | updates/dkms/nvidia-current-open.ko
nvidia-modeset.ko -> extra/nvidia-current-open-modeset.ko | updates/dkms/nvidia-current-open-modeset.ko | updates/dkms/nvidia-current-open-modeset.ko
nvidia-uvm.ko -> extra/nvidia-current-open-uvm.ko | updates/dkms/nvidia-current-open-uvm.ko | updates/dkms/nvidia-current-open-uvm.ko
BUILD_EXCLUSIVE_CONFIG[0] = "!CONFIG_PREEMPT_RT !CONFIG_PREEMPT_RT_FULL"
BUILD_EXCLUSIVE_KERNEL[0] = "^(3\\.[1-9][0-9]|[4-9]\\.)"
CLEAN[0] = "true"
MAKE[0] = ? line 11: ${parallel_jobs+-j$parallel_jobs}
"#
    );
}

#[test]
fn nvidia_of_nvidia() {
    let conf = parse(include_str!("tests/nvidia-upstream.conf")).unwrap();
    assert_eq!(
        dump(&conf),
        r#"nvidia 580.105.08, installed "yes"
kernel-open/nvidia.ko -> extra/nvidia.ko | updates/dkms/nvidia.ko | extra/nvidia.ko
kernel-open/nvidia-uvm.ko -> extra/nvidia-uvm.ko | updates/dkms/nvidia-uvm.ko | extra/nvidia-uvm.ko
kernel-open/nvidia-peermem.ko -> extra/nvidia-peermem.ko | updates/dkms/nvidia-peermem.ko | extra/nvidia-peermem.ko
BUILD_DEPENDS[0] = "ofa"
MAKE[0] = ? line 6: `…`
PATCH[0] = "probe.patch"
PATCH_MATCH[0] = "^6\\.12\\."
"#
    );
    assert_eq!(conf.setting("PATCH", 0).and_then(Setting::known), Some("probe.patch"));
}

#[test]
fn v4l2loopback() {
    let conf = parse(include_str!("tests/v4l2loopback.conf")).unwrap();
    assert_eq!(
        dump(&conf),
        r#"v4l2loopback 0.12.7, installed "yes"
v4l2loopback.ko -> extra/v4l2loopback.ko | updates/dkms/v4l2loopback.ko | extra/v4l2loopback.ko
BUILD_EXCLUSIVE_KERNEL[0] = ? line 6: `if`
CLEAN[0] = "make clean"
MAKE[0] = ? line 15: the variable kernel_source_dir
line 4: `if`
line 5: the command .
line 6: `if`
line 6: `{`
line 6: the command sort
line 7: `if`
"#
    );
}

#[test]
fn wireguard() {
    let conf = parse(include_str!("tests/wireguard.conf")).unwrap();
    assert_eq!(
        dump(&conf),
        r#"wireguard 1.0.20220627, installed "yes"
src/wireguard.ko -> extra/wireguard.ko | updates/dkms/wireguard.ko | kernel/net/wireguard.ko
BUILD_EXCLUSIVE_KERNEL[0] = "^((5\\.[0-5]($|[.-]))|(4\\.)|(3\\.1[0-9]))"
CLEAN[0] = "make -C src/ clean"
MAKE[0] = ? line 9: $(…)
"#
    );
}

const HEAD: &str = "PACKAGE_NAME=a\nPACKAGE_VERSION=1\n";
const MODULE: &str = "BUILT_MODULE_NAME[0]=a\nDEST_MODULE_LOCATION[0]=/extra\n";

#[test]
fn what_depends_on_bash_is_not_guessed() {
    for (text, line, what) in [
        ("if true; then X=2; fi", 1, "`if`"),
        ("[ -e /x ] && X=2", 1, "&&"),
        ("false ||\nX=2", 1, "||"),
        ("case a in\n  a) X=2 ;;\nesac", 1, "`case`"),
        ("for X in 1 2; do :; done", 1, "the command for"),
        ("f() { X=2; }; X=3", 1, "a function"),
        ("function f\n{\nX=2\n}\nf", 2, "`{`"),
        ("(X=2)", 1, "("),
        ("((X++))", 1, "(…)"),
        ("echo 2 | read X", 1, "the command read"),
        ("unset X", 1, "the command unset"),
        ("X=2 | cat", 1, "|"),
        ("eval X=2", 1, "the command eval"),
        ("let X=2", 1, "the command let"),
        ("exit\nX=2", 1, "the command exit"),
        ("X[$i]=2", 1, "the index \"$i\""),
        ("X=$(uname -r)", 1, "$(…)"),
        ("X=$'a'", 1, "$'…'"),
        ("X=~/x", 1, "~"),
        ("X=${X:-2}", 1, "${X:-2}"),
        ("X=$Y", 1, "the variable Y"),
        ("X=(a *)", 1, "=(…)"),
        ("X+=(b)", 1, "=(…)"),
    ] {
        let conf = parse(&format!("X=1\n{text}\nMAKE=$X\n{HEAD}{MODULE}").replacen("X=1\n", "X=1; ", 1));
        let conf = match conf {
            Err(ConfError::NotUnderstood { reason, .. }) if text.starts_with("exit") || text.starts_with("eval") => {
                assert_eq!(reason, NotUnderstood { line, what: what.to_owned() });
                continue;
            }
            conf => conf.unwrap(),
        };
        let expected = Setting::NotUnderstood(NotUnderstood { line, what: what.to_owned() });
        assert_eq!(conf.setting("MAKE", 0), Some(&expected), "{text:?}");
    }
    for (text, value) in [
        ("X=2 make", "1"),
        ("# X=2", "1"),
        ("X=2 # comment", "2"),
        ("X=2#no comment", "1"),
        ("X='a'\"b\"\\ c", "ab c"),
        ("X=\"a\\\nb \\$ \\x \\\\\"", "ab $ \\x \\"),
        ("X+=2; X+=3", "123"),
        ("X=(2 'b c' 4); X=${X[1]}", "b c"),
        ("export X=2 Y=3", "2"),
        ("X=2 && true", "2"),
        ("if true; then X=3; fi; X=2", "2"),
        ("cat <<X\nX=2\nX\n", "1"),
        ("cat <<-'E'\nX=2 \"\n\tE\n", "1"),
        ("[[ a =~ ^(a|b)$ ]]", "1"),
        (". /etc/os-release 2>&1 >/dev/null", "1"),
        ("X=a$", "a$"),
    ] {
        let conf = parse(&format!("X=1\n{text}\nMAKE=$X\n{HEAD}{MODULE}")).unwrap();
        assert_eq!(conf.setting("MAKE", 0).unwrap().known(), Some(value), "{text:?}");
    }
}

#[test]
fn a_list_of_modules_that_may_be_longer_is_not_complete() {
    for (text, modules) in [
        ("", 1),
        ("[ -e x ] && BUILT_MODULE_NAME[1]=b\nDEST_MODULE_LOCATION[1]=/extra\n", 1),
        ("for i in 1 2; do BUILT_MODULE_NAME[$i]=b; done\n", 0),
        ("BUILT_MODULE_NAME[1]=b$kernelver\nDEST_MODULE_LOCATION[1]=/extra\n", 1),
    ] {
        let conf = parse(&format!("{HEAD}{MODULE}{text}")).unwrap();
        assert_eq!((conf.modules.len(), conf.complete), (modules, text.is_empty()), "{text:?}");
    }
}

#[test]
fn confs_of_no_use_are_refused() {
    for (text, expected) in [
        ("PACKAGE_VERSION=1\n", "dkms.conf has no PACKAGE_NAME"),
        ("PACKAGE_NAME=a\nPACKAGE_VERSION=`x`\n", "dkms.conf, line 2: PACKAGE_VERSION depends on `…`"),
        ("PACKAGE_NAME=a/b\n", "dkms.conf: PACKAGE_NAME is \"a/b\", not the name of a directory"),
        (HEAD, "dkms.conf has no DEST_MODULE_LOCATION[0]"),
        (&format!("{HEAD}{MODULE}DEST_MODULE_NAME[1]=b\nDEST_MODULE_LOCATION[1]=/extra"), "no BUILT_MODULE_NAME[1]"),
        (&format!("{HEAD}{MODULE}BUILT_MODULE_NAME[1]=b\n"), "dkms.conf has no DEST_MODULE_LOCATION[1]"),
        (&format!("{HEAD}{MODULE}DEST_MODULE_NAME=b.ko\n"), "DEST_MODULE_NAME[0] is \"b.ko\", not a name without .ko"),
        (&format!("{HEAD}{MODULE}DEST_MODULE_NAME=../b\n"), "DEST_MODULE_NAME[0] is \"../b\""),
        (&format!("{HEAD}{MODULE}DEST_MODULE_LOCATION=/usr\n"), "not a path below /kernel, /updates or /extra"),
        (&format!("{HEAD}{MODULE}DEST_MODULE_LOCATION=/extra/../..\n"), "not a path below /kernel"),
        ("X='a\nb", "dkms.conf, line 1: ' has no end"),
        ("\nX=\"a\n$(b\n", "dkms.conf, line 3: $( has no end"),
        ("if true; then\nX=1\n", "dkms.conf, line 1: `if` has no end"),
        ("cat <<E\n", "dkms.conf, line 2: <<E has no end"),
        ("X=(a\n", "dkms.conf, line 1: =( has no end"),
        (&"$(".repeat(500), "has no end"),
        (&"#".repeat(2 << 20), "dkms.conf has more than 1048576 bytes"),
    ] {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let error = DkmsConf::parse(b"\xff", "dkms.conf").unwrap_err();
    assert_eq!(error.to_string(), "dkms.conf is no UTF-8 text");
}

#[test]
fn distributions_are_those_of_dkms() {
    for (id, like, expected) in [
        ("fedora", None, Distribution::Fedora),
        ("centos", Some("rhel fedora"), Distribution::Fedora),
        ("almalinux", Some("rhel centos fedora"), Distribution::Fedora),
        ("debian", None, Distribution::Debian),
        ("ubuntu", Some("debian"), Distribution::Debian),
        ("opensuse-tumbleweed", Some("opensuse suse"), Distribution::Suse),
        ("gentoo", Some(""), Distribution::Other),
    ] {
        assert_eq!(Distribution::of(id, like), expected);
    }
}

/// The packages of the machine that runs the tests, where it has any.
#[test]
fn reads_the_packages_of_this_machine() {
    let Ok(entries) = std::fs::read_dir("/usr/src") else { return };
    for directory in entries.map(|entry| entry.unwrap().path()) {
        if let Ok(bytes) = std::fs::read(directory.join("dkms.conf")) {
            let conf = DkmsConf::parse(&bytes, directory.to_str().unwrap());
            assert!(!matches!(conf, Err(ConfError::Open { .. })), "{conf:?}");
        }
    }
}
