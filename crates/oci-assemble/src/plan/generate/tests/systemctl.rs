//! The links against those that systemctl itself makes in a directory, and sysusers.d against systemd-sysusers. Where
//! systemd is not installed there is no judge, and these tests say so and pass, unless `CI=true`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::*;
use crate::plan::recipe::spec::Services;
use crate::store::dir::scan;

/// Files of a root directory: paths with their text, or `-> target`.
const ROOT: &[(&str, &str)] = &[
    ("usr/lib/systemd/system/multi-user.target", "[Unit]\nDescription=m\n"),
    ("usr/lib/systemd/system/graphical.target", "[Unit]\nDescription=g\n"),
    ("usr/lib/systemd/system/plain.service", "[Service]\nExecStart=/a\n[Install]\nWantedBy=multi-user.target\n"),
    (
        "usr/lib/systemd/system/many.service",
        "[Install]\n# a comment\nWantedBy=multi-user.target \\\n; another\n  graphical.target\nRequiredBy=plain.service\n\
         Alias=second.service third.service\nAlias=fourth.service\n",
    ),
    (
        "usr/lib/systemd/system/reset.service",
        "[Install]\nWantedBy=graphical.target\nWantedBy=\nWantedBy=multi-user.target\n",
    ),
    (
        "usr/lib/systemd/system/leader.service",
        "[Install]\nWantedBy=multi-user.target\nAlso=leader.socket missing.socket\n",
    ),
    ("usr/lib/systemd/system/leader.socket", "[Install]\nWantedBy=sockets.target\nAlso=leader.timer\n"),
    ("usr/lib/systemd/system/leader.timer", "[Install]\nWantedBy=timers.target\n"),
    ("usr/lib/systemd/system/only-also.service", "[Install]\nAlso=leader.timer\n"),
    ("usr/lib/systemd/system/tmpl@.service", "[Install]\nWantedBy=multi-user.target\nAlias=other@.service\n"),
    ("usr/lib/systemd/system/getty@.service", "[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n"),
    (
        "usr/lib/systemd/system/chain@.service",
        "[Install]\nWantedBy=tmpl@%i.service by-%p.target\nRequiredBy=%N.target\n",
    ),
    ("usr/lib/systemd/system/escape-a-b.service", "[Install]\nWantedBy=%j.target %n.d.target\n"),
    ("usr/lib/systemd/system/dropped.service", "[Install]\nWantedBy=multi-user.target\n"),
    ("usr/lib/systemd/system/dropped.service.d/10-a.conf", "[Install]\nWantedBy=a.target\n"),
    ("usr/lib/systemd/system/dropped.service.d/20-b.conf", "[Install]\nWantedBy=hidden.target\n"),
    ("etc/systemd/system/dropped.service.d/20-b.conf", "[Install]\nWantedBy=b.target\n"),
    ("etc/systemd/system/dropped.service.d/05-reset.conf", "[Install]\nWantedBy=\n"),
    ("usr/lib/systemd/system/shadowed.service", "[Install]\nWantedBy=graphical.target\n"),
    ("etc/systemd/system/shadowed.service", "[Install]\nWantedBy=multi-user.target\nAlias=shadow-alias.service\n"),
    ("usr/local/lib/systemd/system/local.service", "[Install]\nWantedBy=multi-user.target\n"),
    ("usr/lib/systemd/system/tmpl@special.service", "[Install]\nWantedBy=graphical.target\n"),
    ("usr/lib/systemd/system/tmpl@dropped.service.d/x.conf", "[Install]\nWantedBy=a.target\n"),
    ("usr/lib/systemd/system/tmpl@.service.d/y.conf", "[Install]\nRequiredBy=r.target\n"),
    // What is enabled already.
    (
        "usr/lib/systemd/system/on.service",
        "[Install]\nWantedBy=multi-user.target\nAlias=on-alias.service\nAlso=on.timer\n",
    ),
    ("usr/lib/systemd/system/on.timer", "[Install]\nWantedBy=timers.target\n"),
    ("etc/systemd/system/multi-user.target.wants/on.service", "-> /usr/lib/systemd/system/on.service"),
    ("etc/systemd/system/on-alias.service", "-> /usr/lib/systemd/system/on.service"),
    ("etc/systemd/system/graphical.target.wants/on-alias.service", "-> ../on-alias.service"),
    ("etc/systemd/system/timers.target.wants/on.timer", "-> /usr/lib/systemd/system/on.timer"),
    ("etc/systemd/system/timers.target.wants/leader.timer", "-> /usr/lib/systemd/system/leader.timer"),
    ("etc/systemd/system/getty.target.wants/getty@tty1.service", "-> /usr/lib/systemd/system/getty@.service"),
    ("etc/systemd/system/getty.target.wants/getty@tty2.service", "-> /usr/lib/systemd/system/getty@.service"),
    ("etc/systemd/system/a.target.wants/tmpl@x.service", "-> /usr/lib/systemd/system/tmpl@.service"),
    ("etc/systemd/system/masked.service", "-> /dev/null"),
    ("usr/lib/systemd/system/masked.service", "[Install]\nWantedBy=multi-user.target\n"),
    ("usr/lib/systemd/system/wrong.service", "[Install]\nWantedBy=multi-user.target\n"),
    ("etc/systemd/system/multi-user.target.wants/wrong.service", "-> /usr/lib/systemd/system/elsewhere.service"),
];

fn make_root(root: &Path) {
    for (path, text) in ROOT {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("-> ") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => fs::write(path, text).unwrap(),
        }
    }
}

fn read_tree(root: &Path) -> FileTree {
    let root = Dir::open_ambient_dir(root, ambient_authority()).unwrap();
    FileTree::new().apply(&scan(&root, Path::new("."), &TreePath::root(), 0).unwrap()).unwrap()
}

/// Links below `/etc/systemd/system`, and its directories.
fn links(tree: &FileTree) -> BTreeSet<String> {
    let top = TreePath::new("etc/systemd/system").unwrap();
    let line = |(path, inode): (&TreePath, &Inode)| match &inode.kind {
        Kind::Symlink(target) => Some(format!("{path} -> {}", String::from_utf8_lossy(target))),
        Kind::Directory => Some(format!("{path}/")),
        _ => None,
    };
    tree.below(&top).filter_map(line).collect()
}

fn systemctl_is_there() -> bool {
    let there = Command::new("systemctl").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        left_out("systemctl is not installed: nothing to compare with");
    }
    there
}

/// Says why a test is left out. Where everything has to be installed (`CI=true`) that is an error.
fn left_out(reason: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
    eprintln!("left out: {reason}");
}

type Names<'a> = &'a [&'a str];

#[test]
fn links_are_those_of_systemctl() {
    if !systemctl_is_there() {
        return;
    }
    let table: &[(Names<'_>, Names<'_>, Names<'_>)] = &[
        (&["plain.service"], &[], &[]),
        (&["many.service"], &[], &[]),
        (&["reset.service"], &[], &[]),
        (&["leader.service"], &[], &[]),
        (&["only-also.service"], &[], &[]),
        (&["tmpl@one.service", "tmpl@two.service"], &[], &[]),
        (&["tmpl@special.service"], &[], &[]),
        (&["tmpl@dropped.service"], &[], &[]),
        (&["getty@.service"], &[], &[]),
        (&["getty@ttyS0.service"], &[], &[]),
        (&["chain@x.service"], &[], &[]),
        (&["escape-a-b.service"], &[], &[]),
        (&["dropped.service"], &[], &[]),
        (&["shadowed.service"], &[], &[]),
        (&["local.service"], &[], &[]),
        (&["on.service"], &[], &[]),
        (&["wrong.service"], &[], &[]),
        (&[], &["plain.service"], &[]),
        (&[], &["on.service"], &[]),
        (&[], &["on.timer"], &[]),
        (&[], &["leader.timer"], &[]),
        (&[], &["leader.service"], &[]),
        (&[], &["getty@tty2.service"], &[]),
        (&[], &["getty@.service"], &[]),
        (&[], &["tmpl@x.service"], &[]),
        (&[], &["masked.service"], &[]),
        (&[], &["on-alias.service"], &[]),
        (&[], &[], &["plain.service", "masked.service", "getty@tty1.service"]),
        (&[], &[], &["tmpl@.service", "on.service"]),
        (&["plain.service", "getty@ttyS0.service"], &["on.service", "getty@.service"], &["leader.timer"]),
    ];
    let mut wrong = String::new();
    for (enable, disable, mask) in table {
        let directory = tempfile::tempdir().unwrap();
        make_root(directory.path());
        let base = read_tree(directory.path());
        for (verb, names) in [("disable", disable), ("enable", enable), ("mask", mask)] {
            if !names.is_empty() {
                let root = format!("--root={}", directory.path().display());
                let output = Command::new("systemctl").arg(root).arg(verb).args(*names).output().unwrap();
                assert!(output.status.success(), "{verb} {names:?}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let spec = Services { enable: list(enable), disable: list(disable), mask: list(mask) };
        let read = |path: &TreePath| fs::read_to_string(directory.path().join(path.to_str()?)).ok();
        let expected = links(&read_tree(directory.path()));
        let found = match services(&spec, "x", &base, read, epoch()) {
            Ok(delta) => links(&complete(base.clone(), &delta)),
            Err(error) => BTreeSet::from([error.to_string()]),
        };
        if found != expected {
            let missing: Vec<_> = expected.difference(&found).collect();
            let surplus: Vec<_> = found.difference(&expected).collect();
            let _ = write!(
                wrong,
                "enable {enable:?} disable {disable:?} mask {mask:?}\n  systemctl {missing:#?}\n  here {surplus:#?}\n"
            );
        }
    }
    assert_eq!(wrong, "", "{wrong}");
}

/// `delta` on `tree`, with the directories that the draft of a layer would add.
fn complete(mut tree: FileTree, delta: &TreeDelta) -> FileTree {
    let directories: Vec<TreePath> =
        delta.entries().keys().flat_map(|path| path.ancestors().collect::<Vec<_>>()).collect();
    let mut tree_after = tree.clone().apply(delta).unwrap();
    for directory in directories {
        if tree_after.get(&directory).is_none() {
            tree_after.insert(directory, Inode::directory(Meta::default()));
        }
    }
    std::mem::swap(&mut tree, &mut tree_after);
    tree
}

/// systemd-sysusers understands what is written for it, odd names and all.
#[test]
fn sysusers_reads_the_users() {
    let root = tempfile::tempdir().unwrap();
    let users = [
        User {
            name: "odd".into(),
            uid: Some(4711),
            group: Some("grp".into()),
            description: Some("50% \"D\" \\ d".into()),
            home: Some("/var/lib/o d".into()),
            shell: Some("/bin/sh".into()),
            groups: vec!["also".into()],
        },
        User { name: "few".into(), uid: Some(4712), shell: Some("/bin/sh".into()), ..User::default() },
    ];
    let groups = [Group { name: "grp".into(), gid: Some(4710) }, Group { name: "also".into(), gid: Some(4709) }];
    let delta = sysusers("x", &users, &groups, epoch()).unwrap();
    for (path, inode) in delta.entries() {
        let path = root.path().join(path.to_str().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text_of(inode.content().unwrap()).unwrap()).unwrap();
    }
    fs::create_dir_all(root.path().join("etc")).unwrap();
    let run = Command::new("systemd-sysusers").arg(format!("--root={}", root.path().display())).output();
    let Ok(output) = run else {
        return left_out("systemd-sysusers is not installed: nothing to compare with");
    };
    if !rustix::process::geteuid().is_root() {
        return left_out("systemd-sysusers needs root: nothing to compare with");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let passwd = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let lines: Vec<&str> = passwd.lines().collect();
    assert_eq!(lines, ["odd:x:4711:4710:50% \"D\" \\ d:/var/lib/o d:/bin/sh", "few:x:4712:4712::/:/bin/sh"]);
    let group = fs::read_to_string(root.path().join("etc/group")).unwrap();
    let mut lines: Vec<&str> = group.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["also:x:4709:odd", "few:x:4712:", "grp:x:4710:"]);
}
