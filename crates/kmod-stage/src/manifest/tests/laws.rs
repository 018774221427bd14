//! Laws over random packages, owners and bases.

use proptest::prelude::*;

use super::*;

/// Paths that meet rules, merged directories, and each other.
const PATHS: [&str; 22] = [
    "usr/bin/a",
    "usr/bin/b",
    "usr/sbin/a",
    "usr/sbin/c",
    "usr/lib/x/a",
    "usr/lib/x/b.a",
    "usr/lib/libz.so",
    "usr/lib/x",
    "usr/share/doc/p",
    "usr/share/doc/p/copyright",
    "usr/share/doc/p/README",
    "usr/share/man/a",
    "usr/share/locale/a",
    "usr/include/a.h",
    "usr/src/a",
    "etc/a",
    "etc/init.d/a",
    "usr/lib/systemd/system/a.service",
    "var/lib/a",
    "var/lib/a/b",
    "boot/a",
    "opt/a",
];

/// What stands at a path: nothing (0, of a base most often), a directory, a symlink, a file (most often the same).
fn kinds(base: bool) -> impl Strategy<Value = Vec<u8>> {
    let (nothing, others) = if base { (29, 1) } else { (1, 29) };
    let kind = prop_oneof![nothing => Just(0), others => 1..16_u8];
    prop::collection::vec(kind, PATHS.len())
}

fn fill(tree: &mut FileTree, kinds: &[u8]) {
    for (at, kind) in PATHS.iter().zip(kinds) {
        let above = path(at).ancestors().find(|above| tree.get(above).is_some_and(|inode| !inode.is_directory()));
        if above.is_some() {
            continue;
        }
        match kind {
            0 => {}
            1 => add(tree, at, Inode::directory(Meta::root_owned(0o755, 0))),
            2 => add(tree, at, Inode::symlink("../bin/a", 0)),
            kind => add_file(tree, at, 0o755, if *kind == 5 { "other" } else { "same" }),
        }
    }
}

proptest! {
    #[test]
    fn every_listed_path_has_its_place(
        here in kinds(false),
        there in kinds(false),
        lists in prop::collection::vec(prop::collection::btree_set(0..PATHS.len(), 0..5), 2),
        merged: bool,
        overrides: bool,
    ) {
        let mut builder = system();
        fill(&mut builder, &here);
        let lists: Vec<Vec<String>> =
            lists.iter().map(|list| list.iter().map(|index| format!("/{}", PATHS[*index])).collect()).collect();
        let names: Vec<Vec<&str>> = lists.iter().map(|list| list.iter().map(String::as_str).collect()).collect();
        record(&mut builder, &[("one", &names[0]), ("two", &names[1])]);
        let mut base = system();
        if merged {
            base.remove(&path("usr/sbin"));
            add(&mut base, "usr/sbin", Inode::symlink("bin", 0));
            add(&mut base, "var/opt", Inode::directory(Meta::root_owned(0o755, 0)));
            add(&mut base, "opt", Inode::symlink("var/opt", 0));
            add(&mut base, "usr/bin/a", Inode::symlink("b", 0));
        } else {
            fill(&mut base, &there);
        }
        let mut options = options(&["one", "two"]);
        options.overrides = if overrides { vec![path("usr"), path("etc")] } else { Vec::new() };
        let database = pkgdb::read(&builder, &Memory::default()).unwrap().unwrap();
        let listed: BTreeSet<TreePath> = database.owned().map(|(path, _)| path.clone()).collect();
        match select(&builder, &base, &options) {
            Ok(selected) => {
                prop_assert_eq!(database.unplaced().count(), 0);
                let manifest = &selected.manifest;
                let entries = manifest.entries.iter().map(|entry| entry.listed.clone());
                let omitted = manifest.omitted.iter().map(|omitted| omitted.listed.clone());
                let placed: Vec<TreePath> = entries.chain(omitted).collect();
                let once: BTreeSet<TreePath> = placed.iter().cloned().collect();
                prop_assert_eq!(once.len(), placed.len(), "no path twice");
                prop_assert!(once.is_superset(&listed), "{:?} of {:?}", once, listed);
                // What is more are directories above entries.
                for more in once.difference(&listed) {
                    prop_assert!(builder.get(more).unwrap().is_directory());
                }
                // The delta has the entries and nothing else, and applies.
                let paths: Vec<&TreePath> = selected.files.entries().keys().collect();
                prop_assert_eq!(paths, manifest.entries.iter().map(|entry| &entry.path).collect::<Vec<_>>());
                let merged = base.clone().apply(&selected.delta()).unwrap();
                for entry in &manifest.entries {
                    prop_assert_eq!(merged.get(&entry.path), Some(&entry.inode));
                    prop_assert!(!entry.path.as_bytes().starts_with(b"var/"));
                    prop_assert!(overrides || base.get(&entry.path).is_none());
                }
                // Nothing of the base is lost.
                for (at, _) in base.iter() {
                    prop_assert!(merged.get(at).is_some(), "{}", at);
                }
            }
            Err(ManifestError::Problems(problems)) => prop_assert!(!problems.0.is_empty()),
            Err(error) => prop_assert!(false, "{:?}", error),
        }
    }
}
