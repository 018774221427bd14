#![allow(clippy::unwrap_used)]
use oci_assemble::layer::LayerDraft;
use oci_assemble::testing::tree::arbitrary_tree;
use oci_assemble::tree::Kind;
use proptest::prelude::*;

use super::*;

const BASE: &str = "\
/etc dir 0755 0:0 1
/etc/hosts symlink 0777 0:0 1 to=../usr/hosts
/etc/ssl symlink 0777 0:0 1 to=usr/ssl
/usr dir 0755 0:0 1
/usr/a file 0644 0:0 1 size=1 sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb security.selinux=x
/usr/b hardlink 0644 0:0 1 to=/usr/a
/usr/d dir 0755 0:0 1 trusted.x=y
/usr/d/x file 0644 0:0 1 size=1 sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb
/usr/lib dir 0755 0:0 1
/usr/lib/sysimage dir 0755 0:0 1
/usr/lib/sysimage/rpm dir 0755 0:0 1
/usr/lib/sysimage/rpm/rpmdb.sqlite-shm file 0644 0:0 1 size=1 sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb
/usr/link symlink 0777 0:0 1 to=d
/var dir 0755 0:0 1
/var/tmp dir 1777 0:0 1
";
const A: &str = "size=1 sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
const EMPTY: &str = "size=0 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn tree(text: &str) -> FileTree {
    FileTree::parse(text).unwrap()
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// The base with lines for other inodes.
fn with(lines: &[&str]) -> FileTree {
    tree(BASE).apply(&TreeDelta::parse(&lines.join("\n")).unwrap()).unwrap()
}

fn dump(delta: &TreeDelta) -> Vec<String> {
    delta.dump().lines().map(|line| line.replace(A, "A").replace(EMPTY, "EMPTY")).collect()
}

/// What exports carry: no times, no lost attributes, no root, no modes of symlinks.
fn carried(tree: &FileTree) -> FileTree {
    let mut carried = FileTree::new();
    for (path, inode) in tree.iter().filter(|(path, _)| !path.is_root()) {
        let mut inode = inode.clone();
        inode.meta.mtime = 0;
        inode.meta.xattrs.retain(|name, _| changes::is_exported(name));
        if matches!(inode.kind, Kind::Symlink(_)) {
            inode.meta.mode = 0o777;
        }
        carried.insert(path.clone(), inode);
    }
    carried
}

fn labelled(base: &FileTree) -> FileTree {
    let mut tree = FileTree::new();
    for (number, (path, inode)) in base.iter().enumerate() {
        let mut inode = inode.clone();
        let name: &[u8] = [&b"security.selinux"[..], b"trusted.x", b"system.posix_acl_access"][number % 3];
        inode.meta.xattrs.insert(name.into(), b"v".as_slice().into());
        tree.insert(path.clone(), inode);
    }
    tree
}

proptest! {
    #[test]
    fn changes_lead_from_the_base_to_the_export(base in arbitrary_tree(), exported in arbitrary_tree()) {
        let base = labelled(&base);
        let exported = carried(&exported);
        let delta = changes(&base, &exported);
        for inode in delta.entries().values() {
            if let Kind::Hardlink(owner) = &inode.kind {
                prop_assert!(delta.entries().contains_key(owner), "no link leaves the layer");
            }
        }
        let applied = base.clone().apply(&delta).unwrap();
        prop_assert_eq!(carried(&applied).dump(), exported.dump());
    }

    #[test]
    fn what_exports_lose_is_no_change(base in arbitrary_tree()) {
        prop_assert_eq!(changes(&labelled(&base), &carried(&base)), TreeDelta::new());
    }

    #[test]
    fn a_part_of_the_changes_is_all_there_is_to_do(base in arbitrary_tree(), edit in arbitrary_tree()) {
        // Between trees that have much in common.
        let exported = carried(&base.clone().apply(&TreeDelta::from(&carried(&edit))).unwrap_or(edit));
        let delta = changes(&base, &exported);
        let applied = base.clone().apply(&delta).unwrap();
        prop_assert_eq!(carried(&applied).dump(), exported.dump());
        prop_assert_eq!(changes(&applied, &exported), TreeDelta::new());
        for path in delta.whiteouts() {
            prop_assert!(base.get(path).is_some() && exported.get(path).is_none());
        }
    }

    #[test]
    fn two_layers_say_what_one_cannot(base in arbitrary_tree(), exported in arbitrary_tree()) {
        let base = carried(&base);
        let delta = changes(&base, &carried(&exported));
        let Settled { removals, delta: settled, left_out } = settle(&delta, &base);
        let mut expected = base.clone().apply(&delta).unwrap();
        for left in left_out {
            let LeftOut::Directory { path, base, .. } = left else { panic!("{left:?}") };
            expected.insert(path, Inode::directory(base));
        }
        let applied = base.clone().apply(&removals).unwrap().apply(&settled).unwrap();
        prop_assert_eq!(applied.dump(), expected.dump());
    }

    #[test]
    fn scrubbing_twice_is_scrubbing_once(
        picks in prop::collection::vec((0..RULES.len(), any::<bool>(), 0..5_u8), 0..12), started in 0..3_i64,
    ) {
        let base = tree(BASE);
        let mut delta = TreeDelta::new();
        for (number, deeper, kind) in picks {
            let at = example(&RULES[number]);
            let at = if deeper { at.join("x").unwrap() } else { at };
            let meta = Meta::root_owned(0o755, i64::from(kind) % 3);
            match kind {
                0 | 1 => delta.insert(at, Inode::directory(meta)),
                2 | 3 => delta.insert(at, Inode::file(meta, Content::of(""))),
                _ => delta.whiteout(at),
            }
        }
        // Refused as a whole, or the same again.
        if let Ok(Scrubbed { delta: once, .. }) = scrub(&delta, &base, started) {
            let Scrubbed { delta: twice, state, report } = scrub(&once, &base, started).unwrap();
            prop_assert_eq!(twice, once);
            prop_assert_eq!((state.len(), report.count()), (0, 0));
        }
    }
}

fn example(rule: &Rule) -> TreePath {
    let text = rule.pattern.strip_prefix("**/").map_or(rule.pattern.to_owned(), |name| format!("usr/deep/{name}"));
    path(&text.replace("**", "other").replace('*', "x"))
}

#[test]
fn every_rule_is_the_first_for_its_own_paths() {
    for rule in RULES {
        let example = example(rule);
        let first = RULES.iter().find(|rule| rule.places().has(&example)).unwrap();
        assert_eq!(first, rule, "{example}");
    }
}

#[test]
fn true_changes_only() {
    for (lines, expected) in [
        // A new label, time or lost attribute is none.
        (vec![format!("/usr/d/x file 0644 0:0 9 {A}"), "/usr/d dir 0755 0:0 9".into()], vec![]),
        // One name changed, both written; a third name too.
        (
            vec![format!("/usr/c hardlink 0644 0:0 9 to=/usr/a")],
            vec![
                "/usr/a file 0644 0:0 1 A",
                "/usr/b hardlink 0644 0:0 1 to=/usr/a",
                "/usr/c hardlink 0644 0:0 1 to=/usr/a",
            ],
        ),
        // A name that became a file of its own, as overlayfs leaves it: the other name stays what it was.
        (vec!["/usr/a file 0600 0:0 9 ".to_owned() + A], vec!["/usr/a file 0600 0:0 9 A"]),
        (vec!["/usr/b file 0644 0:0 9 ".to_owned() + A], vec!["/usr/b file 0644 0:0 9 A"]),
        (vec!["/usr/a whiteout".into()], vec!["/usr/a whiteout"]),
        (vec!["/usr/lib whiteout".into()], vec!["/usr/lib whiteout"]),
        (
            vec!["/usr/d symlink 0777 0:0 9 to=lib".into(), "/usr/link dir 0700 0:0 9".into()],
            vec!["/usr/d symlink 0777 0:0 9 to=lib", "/usr/link dir 0700 0:0 9"],
        ),
        (
            vec![format!("/usr/d/x file 0644 0:0 1 {A} security.capability=z")],
            vec!["/usr/d/x file 0644 0:0 1 A security.capability=z"],
        ),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let stripped = |tree: FileTree| {
            let mut all = FileTree::new();
            for (path, inode) in tree.iter() {
                let mut inode = inode.clone();
                inode.meta.xattrs.retain(|name, _| changes::is_exported(name));
                all.insert(path.clone(), inode);
            }
            all
        };
        assert_eq!(dump(&changes(&tree(BASE), &stripped(with(&lines)))), expected, "{lines:?}");
    }
}

#[test]
fn the_run_and_the_machine_leave_nothing() {
    let exported = with(&[
        "/dev dir 0755 0:0 100",
        &format!("/etc/hosts file 0755 0:0 100 {EMPTY}"),
        "/etc/mtab symlink 0777 0:0 100 to=/proc/mounts",
        &format!("/etc/passwd- file 0600 0:0 100 {A}"),
        &format!("/etc/ld.so.cache file 0644 0:0 100 {A}"),
        &format!("/run/.containerenv file 0755 0:0 100 {EMPTY}"),
        "/usr/bin dir 0755 0:0 100",
        &format!("/usr/bin/tool file 4755 0:0 50 {A}"),
        &format!("/usr/lib/py/__pycache__/made.pyc file 0644 0:0 100 {A}"),
        &format!("/usr/lib/py2/__pycache__/made.pyc file 0644 0:0 100 {A}"),
        &format!("/usr/lib/py2/__pycache__/shipped.pyc file 0644 0:0 99 {A}"),
        &format!("/usr/lib/sysimage/rpm/rpmdb.sqlite file 0644 0:0 100 {A}"),
        &format!("/usr/lib/sysimage/rpm/rpmdb.sqlite-shm file 0644 0:0 100 {EMPTY}"),
        &format!("/usr/lib/sysimage/rpm/rpmdb.sqlite-wal file 0644 0:0 100 {EMPTY}"),
        "/usr/link whiteout",
        "/var/lib/tool dir 0700 7:8 50",
        &format!("/var/lib/tool/data file 0600 7:8 50 {A}"),
        &format!("/var/cache/apt/pkgcache.bin file 0644 0:0 100 {A}"),
        &format!("/var/log/tool.log file 0644 0:0 100 {A}"),
        "/var/lib/dpkg symlink 0777 0:0 100 to=../../usr/lib/dpkg",
        "/var/lib/dpkg2 hardlink 0777 0:0 100 to=/var/lib/dpkg",
    ]);
    let Scrubbed { delta, state, report } = scrub(&changes(&tree(BASE), &exported), &tree(BASE), 100).unwrap();
    assert_eq!(
        dump(&delta),
        [
            "/usr/lib/sysimage/rpm/rpmdb.sqlite-shm whiteout",
            "/usr/link whiteout",
            "/etc/ld.so.cache file 0644 0:0 100 A",
            "/usr/bin dir 0755 0:0 100",
            "/usr/bin/tool file 4755 0:0 50 A",
            "/usr/lib/py dir 0755 0:0 100",
            "/usr/lib/py2 dir 0755 0:0 100",
            "/usr/lib/py2/__pycache__ dir 0755 0:0 100",
            "/usr/lib/py2/__pycache__/shipped.pyc file 0644 0:0 99 A",
            "/usr/lib/sysimage/rpm/rpmdb.sqlite file 0644 0:0 100 A",
        ]
    );
    let mut names = Names::default();
    names.add("root:x:0:0::/:\ntool:x:7:8::/:\nalias:x:7:8::/:\n", "root:x:0:\ntools:x:8:\n");
    assert_eq!(
        lines(&state, &names),
        "# What packages have in /var, which images do not carry.\n\
         d /var/cache 0755 root root -\n\
         d /var/lib 0755 root root -\n\
         L /var/lib/dpkg - - - - ../../usr/lib/dpkg\n\
         L /var/lib/dpkg2 - - - - ../../usr/lib/dpkg\n\
         d /var/lib/tool 0700 tool tools -\n\
         d /var/log 0755 root root -\n"
    );
    let said: Vec<String> = report.0.iter().map(ToString::to_string).collect();
    let last = said.last().unwrap();
    assert!(said.iter().any(|line| line.starts_with("2 dropped by /run (podman puts")), "{said:#?}");
    assert!(last.starts_with("3 dropped by **/__pycache__ (byte code"), "{last}");
    let machine = said.iter().find(|line| line.contains("/var/** (")).unwrap();
    assert!(machine.ends_with("; 1 came with packages: /var/lib/tool/data"), "{machine}");
    assert_eq!(report.count(), report.0.iter().map(|dropped| dropped.count).sum::<u64>());
}

#[test]
fn an_unfinished_package_database_is_refused() {
    for (line, message) in [
        (
            format!("/usr/lib/sysimage/rpm/rpmdb.sqlite-wal file 0644 0:0 9 {A}"),
            "the container has /usr/lib/sysimage/rpm/rpmdb.sqlite-wal: journal of the rpm database: with content, the database alone is not complete",
        ),
        (
            format!("/usr/lib/dpkg/updates/0001 file 0644 0:0 9 {A}"),
            "the container has /usr/lib/dpkg/updates/0001: journal of dpkg: with content, dpkg was interrupted",
        ),
        (
            format!("/var/lib/dpkg/status file 0644 0:0 9 {A}"),
            "the container has /var/lib/dpkg/status: package database below /var, which images do not carry: the packages would not be recorded",
        ),
    ] {
        let error = scrub(&changes(&tree(BASE), &with(&[&line])), &tree(BASE), 5).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn crossings_of_types_take_two_layers_that_every_client_understands() {
    let base = tree(BASE);
    let exported = with(&[
        "/usr/d symlink 0777 0:0 9 to=lib",
        "/usr/link dir 0700 0:0 9",
        &format!("/usr/link/x file 0644 0:0 9 {A}"),
        "/usr/lib dir 0700 3:0 9",
    ]);
    let delta = changes(&base, &exported);
    assert!(LayerDraft::new("one", &delta, &base, 7).is_err());
    let Settled { removals, delta, left_out } = settle(&delta, &base);
    assert_eq!(dump(&removals), ["/usr/d whiteout", "/usr/link whiteout"]);
    let first = LayerDraft::new("first", &removals, &base, 7).unwrap();
    let between = base.clone().apply(first.delta()).unwrap();
    let second = LayerDraft::new("second", &delta, &between, 7).unwrap();
    assert_eq!(
        dump(second.delta()),
        [
            "/usr dir 0755 0:0 0",
            "/usr/d symlink 0777 0:0 9 to=lib",
            "/usr/link dir 0700 0:0 0",
            "/usr/link/x file 0644 0:0 9 A",
        ]
    );
    let said: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["/usr/lib stays 0755 0:0 as in the base, not 0700 3:0: clients ignore changes of a directory in later layers"]
    );
}

#[test]
fn scripts_have_no_time_and_packages_theirs() {
    let delta = TreeDelta::parse(&format!(
        "/a file 0644 0:0 99 {A}\n/b file 0644 0:0 100 {A}\n/c hardlink 0644 0:0 100 to=/b\n/d dir 0755 0:0 200\n\
         /e symlink 0777 0:0 -5 to=x\n/gone whiteout\n"
    ));
    assert_eq!(
        dump(&date(&delta.unwrap(), 100, Epoch::new(7).unwrap())),
        [
            "/gone whiteout",
            "/a file 0644 0:0 99 A",
            "/b file 0644 0:0 7 A",
            "/c hardlink 0644 0:0 7 to=/b",
            "/d dir 0755 0:0 7",
            "/e symlink 0777 0:0 0 to=x",
        ]
    );
}

#[test]
fn a_file_stays_under_the_names_that_stay() {
    let delta = TreeDelta::parse(&format!(
        "/a file 0644 0:0 9 {A}\n/b hardlink 0644 0:0 9 to=/a\n/c hardlink 0644 0:0 9 to=/a\n/d whiteout\n"
    ))
    .unwrap();
    assert_eq!(
        dump(&retain(&delta, |kept| *kept != path("a") && *kept != path("d"))),
        ["/b file 0644 0:0 9 A", "/c hardlink 0644 0:0 9 to=/b"]
    );
}

#[test]
fn lines_of_tmpfiles_are_read_and_written_as_systemd_does() {
    let image = tree("/run dir 0755 0:0 0\n/var dir 0755 0:0 0\n/var/run symlink 0777 0:0 0 to=../run\n");
    let text =
        "# d /var/no\nd /var/lib/a 0755\nr! /var/b\nL+ \"/var/c\" - - - - x\nd /var/run/x\nd %S/d\nv /var/a\\x20b\n";
    let made: Vec<String> = tmpfiles::made(&image, text).iter().map(ToString::to_string).collect();
    assert_eq!(made, ["/run", "/run/x", "/var", "/var/a\\x20b", "/var/c", "/var/lib", "/var/lib/a"]);
    let odd = Inode::directory(Meta { uid: 5, ..Meta::root_owned(0o2775, 0) });
    let text = lines([(&path("var/50% \"x\""), &odd)], &Names::default());
    assert!(text.ends_with("\nd /var/50%%\\x20\\x22x\\x22 2775 5 root -\n"), "{text}");
}
