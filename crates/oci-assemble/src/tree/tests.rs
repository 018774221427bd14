#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::testing::tree::{Step, arbitrary_tree, random_path, steps};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn apply(tree: &FileTree, delta: &TreeDelta) -> FileTree {
    tree.clone().apply(delta).unwrap()
}

proptest! {
    #[test]
    fn parse_gives_back_what_dump_wrote(tree in arbitrary_tree()) {
        prop_assert_eq!(FileTree::parse(&tree.dump()).unwrap(), tree);
    }

    #[test]
    fn between_leads_from_one_tree_to_the_other(before in arbitrary_tree(), after in arbitrary_tree()) {
        let delta = TreeDelta::between(&before, &after);
        prop_assert_eq!(apply(&before, &delta), after.clone());
        prop_assert_eq!(TreeDelta::parse(&delta.dump()).unwrap(), delta);
        prop_assert!(TreeDelta::between(&after, &after).is_empty());
    }

    #[test]
    fn between_never_whites_out_and_writes_one_path(before in arbitrary_tree(), after in arbitrary_tree()) {
        let delta = TreeDelta::between(&before, &after);
        for mark in delta.whiteouts() {
            prop_assert!(!delta.entries().contains_key(mark));
            prop_assert!(delta.whiteouts().iter().all(|other| !mark.is_below(other)));
        }
    }

    #[test]
    fn children_are_what_is_one_step_below(tree in arbitrary_tree()) {
        let directories = tree.iter().filter(|(_, inode)| inode.is_directory()).map(|(path, _)| path.clone());
        for above in directories.chain([TreePath::root(), path("nowhere")]) {
            let children: Vec<_> = tree.children(&above).map(|(path, _)| path.clone()).collect();
            let expected = tree.iter().map(|(path, _)| path).filter(|path| path.parent().as_ref() == Some(&above));
            prop_assert_eq!(children, expected.cloned().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_sorted_list_makes_the_tree_it_is_from(tree in arbitrary_tree()) {
        let mut list: Vec<_> = tree.iter().map(|(path, inode)| (path.clone(), inode.clone())).collect();
        prop_assert_eq!(FileTree::from_sorted(list.clone()), Some(tree));
        list.reverse();
        prop_assert_eq!(FileTree::from_sorted(list.clone()).is_some(), list.len() < 2);
    }

    #[test]
    fn then_is_one_after_the_other(a in arbitrary_tree(), b in arbitrary_tree(), c in arbitrary_tree(), t in arbitrary_tree()) {
        let first = TreeDelta::between(&a, &b);
        let second = TreeDelta::between(&b, &c);
        let both = apply(&apply(&a, &first), &second);
        prop_assert_eq!(apply(&a, &first.then(&second)), both);
        // Also on a tree that neither was made for, when both apply there.
        if let Ok(expected) = t.clone().apply(&first).and_then(|tree| tree.apply(&second)) {
            prop_assert_eq!(apply(&t, &first.then(&second)), expected);
        }
    }

    #[test]
    fn hardlinks_stay_canonical_through_any_edits(edits in steps()) {
        let mut tree = FileTree::new();
        let mut model: Vec<(TreePath, usize)> = Vec::new(); // path → number of its inode
        let mut inodes: Vec<Inode> = Vec::new();
        for edit in edits {
            let number = inodes.len();
            let meta = Meta::root_owned(0o644, i64::try_from(number).unwrap());
            match edit {
                Step::File(at) | Step::Symlink(at) | Step::Fifo(at) => {
                    let at = random_path(at);
                    model.retain(|(path, _)| *path != at);
                    model.push((at.clone(), number));
                    inodes.push(match edit {
                        Step::File(_) => Inode::file(meta, Content::of(number.to_string())),
                        Step::Symlink(_) => Inode { meta, kind: Kind::Symlink(number.to_string().into_bytes().into()) },
                        _ => Inode { meta, kind: Kind::Fifo },
                    });
                    tree.insert(at, inodes[number].clone());
                }
                Step::Link(at, to) => {
                    let (at, to) = (random_path(at), random_path(to));
                    let Some(file) = model.iter().find(|(path, _)| *path == to).map(|(_, file)| *file) else { continue };
                    if at == to { continue; }
                    model.retain(|(path, _)| *path != at);
                    model.push((at.clone(), file));
                    tree.insert(at, Inode { meta: Meta::default(), kind: Kind::Hardlink(to) });
                }
                Step::Remove(at) => {
                    let at = random_path(at);
                    model.retain(|(path, _)| *path != at);
                    tree.remove(&at);
                }
            }
        }
        prop_assert_eq!(tree.len(), model.len());
        for (path, file) in &model {
            prop_assert_eq!(tree.behind(path).unwrap(), &inodes[*file]);
            prop_assert_eq!(tree.content(path), inodes[*file].content());
            prop_assert_eq!(&tree.get(path).unwrap().meta, &inodes[*file].meta);
            let mut names: Vec<_> = model.iter().filter(|(_, other)| other == file).map(|(path, _)| path.clone()).collect();
            names.sort();
            prop_assert_eq!(tree.names(path), names);
        }
    }
}

/// Also where the first name goes first, each time: by whiteouts, marks, replacements, and directories in the way.
#[test]
fn many_names_go_in_no_quadratic_time() {
    const COUNT: usize = 30_000;
    let name = |number: usize| TreePath::new(format!("d{number:05}/x")).unwrap();
    let folder = |number: usize| name(number).parent().unwrap();
    let file = || Inode::file(Meta::root_owned(0o644, 1), Content::of("new"));
    for kind in [Kind::File(Content::of("x")), Kind::Symlink(b"x".as_slice().into())] {
        let mut tree = FileTree::new();
        for number in 0..COUNT {
            tree.insert(folder(number), Inode::directory(Meta::root_owned(0o755, 1)));
            let kind = if number == 0 { kind.clone() } else { Kind::Hardlink(name(0)) };
            tree.insert(name(number), Inode { meta: Meta::root_owned(0o777, 1), kind });
        }
        let steps: [fn(&mut TreeDelta, TreePath, TreePath, Inode); 4] = [
            |delta, name, _, _| delta.whiteout(name),
            |delta, _, folder, _| delta.opaque(folder),
            |delta, name, _, file| delta.insert(name, file),
            |delta, _, folder, file| delta.insert(folder, file),
        ];
        for step in steps {
            let mut delta = TreeDelta::new();
            for number in 0..COUNT - 1 {
                step(&mut delta, name(number), folder(number), file());
            }
            let after = tree.clone().apply(&delta).unwrap();
            assert_eq!(after.get(&name(COUNT - 1)).unwrap().kind, kind);
        }
    }
}

#[test]
fn a_link_through_a_symlink_to_what_its_layer_replaces_is_refused() {
    const FILE: &str = "file 0644 0:0 0 size=1 sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    let base = FileTree::parse(&format!("/e dir 0755 0:0 0\n/e/a {FILE}\n/s symlink 0777 0:0 0 to=e\n")).unwrap();
    for entries in [
        format!("/e/a {FILE}\n/x hardlink 0644 0:0 0 to=/s/a\n"),
        "/e/a symlink 0777 0:0 0 to=NEW\n/x hardlink 0777 0:0 0 to=/s/a\n".to_owned(),
        format!("/s/a {FILE}\n/x hardlink 0644 0:0 0 to=/e/a\n"),
    ] {
        let error = base.clone().apply(&TreeDelta::parse(&entries).unwrap()).unwrap_err().to_string();
        let target = if entries.contains("to=/s/a") { "/s/a" } else { "/e/a" };
        let text =
            format!("hardlink /x points at {target}, which is /e/a: the layer writes that as well, and either may");
        assert!(error.starts_with(&text), "{error}");
    }
    // What the layer leaves alone, and what is only new, may be named by any way that leads there.
    for entries in [
        format!("/e/b {FILE}\n/x hardlink 0644 0:0 0 to=/s/a\n"),
        format!("/e/b {FILE}\n/x hardlink 0644 0:0 0 to=/s/b\n"),
        format!("/s/b {FILE}\n/x hardlink 0644 0:0 0 to=/e/b\n"),
        format!("/e/a {FILE}\n/x hardlink 0644 0:0 0 to=/e/a\n"),
    ] {
        let tree = base.clone().apply(&TreeDelta::parse(&entries).unwrap()).unwrap();
        assert_eq!(tree.names(&TreePath::new("x").unwrap()).len(), 2, "{entries}");
    }
}

#[test]
fn a_hardlink_outlives_its_first_name() {
    let tree = FileTree::parse(
        "/a file 0644 0:0 1 size=0 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
         /b hardlink 0644 0:0 1 to=/a\n/c hardlink 0644 0:0 1 to=/a\n",
    )
    .unwrap();
    let mut delta = TreeDelta::new();
    delta.insert(path("a"), Inode::symlink("elsewhere", 2));
    assert_eq!(
        apply(&tree, &delta).dump(),
        "/a symlink 0777 0:0 2 to=elsewhere\n\
         /b file 0644 0:0 1 size=0 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
         /c hardlink 0644 0:0 1 to=/b\n"
    );
}

#[test]
fn a_directory_listed_after_its_content_keeps_it() {
    let delta = TreeDelta::parse("/d/x fifo 0644 0:0 0\n/d dir 0755 0:0 0\n").unwrap();
    assert_eq!(delta.dump(), "/d dir 0755 0:0 0\n/d/x fifo 0644 0:0 0\n");
}

#[test]
fn whiteouts_and_opaques_act_below_only() {
    let base = "/d dir 0755 0:0 0\n/d/old dir 0755 0:0 0\n/d/old/x fifo 0644 0:0 0\n/gone fifo 0644 0:0 0\n";
    let delta = TreeDelta::parse("/gone whiteout\n/d opaque\n/d dir 0700 0:0 5\n/d/new fifo 0600 0:0 0\n").unwrap();
    let merged = apply(&FileTree::parse(base).unwrap(), &delta);
    assert_eq!(merged.dump(), "/d dir 0700 0:0 5\n/d/new fifo 0600 0:0 0\n");
}

#[test]
fn entries_land_where_symlinked_parents_lead() {
    let base = "/lib symlink 0777 0:0 0 to=usr/lib\n/usr dir 0755 0:0 0\n/usr/lib dir 0755 0:0 0\n";
    let delta = TreeDelta::parse("/lib/new fifo 0644 0:0 7\n/opt/x/y fifo 0644 0:0 7\n").unwrap();
    assert_eq!(
        apply(&FileTree::parse(base).unwrap(), &delta).dump(),
        "/lib symlink 0777 0:0 0 to=usr/lib\n/opt dir 0755 0:0 7\n/opt/x dir 0755 0:0 7\n/opt/x/y fifo 0644 0:0 7\n\
         /usr dir 0755 0:0 0\n/usr/lib dir 0755 0:0 0\n/usr/lib/new fifo 0644 0:0 7\n"
    );
}

#[test]
fn refuses_links_to_nothing_or_directories_and_files_as_directories() {
    let tree = FileTree::parse("/dir dir 0755 0:0 0\n/file fifo 0644 0:0 0\n").unwrap();
    for (delta, message) in [
        (
            "/x hardlink 0644 0:0 0 to=/nowhere\n",
            "hardlink /x points at /nowhere, which is not there or is a directory",
        ),
        ("/x hardlink 0644 0:0 0 to=/dir\n", "hardlink /x points at /dir, which is not there or is a directory"),
        ("/file/x fifo 0644 0:0 0\n", "/file/x lies below /file, which is not a directory"),
    ] {
        let error = tree.clone().apply(&TreeDelta::parse(delta).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn resolves_symlinks_as_the_kernel_would() {
    let tree = FileTree::parse(
        "/a symlink 0777 0:0 0 to=b\n/b symlink 0777 0:0 0 to=a\n/bin symlink 0777 0:0 0 to=usr/bin\n\
         /usr dir 0755 0:0 0\n/usr/bin dir 0755 0:0 0\n/usr/bin/sh symlink 0777 0:0 0 to=/bin/dash\n\
         /usr/bin/dash fifo 0644 0:0 0\n",
    )
    .unwrap();
    for (name, found) in [
        ("/bin/sh", Resolved::Found(path("usr/bin/dash"))),
        ("bin/../bin/./dash", Resolved::Found(path("usr/bin/dash"))),
        ("../../bin", Resolved::Found(path("usr/bin"))),
        ("bin/new/x", Resolved::Missing(path("usr/bin/new/x"))),
        ("usr/bin/dash/x", Resolved::Blocked(path("usr/bin/dash"))),
        ("", Resolved::Found(TreePath::root())),
    ] {
        assert_eq!(tree.resolve(name), found, "{name}");
    }
    assert!(matches!(tree.resolve("a"), Resolved::Blocked(_)));
    assert_eq!(tree.resolve_parent("bin/sh"), Resolved::Found(path("usr/bin/sh")));
}

const LINKS: &str = "/lib symlink 0777 0:0 0 to=usr/lib\n/lib64 hardlink 0777 0:0 0 to=/lib\n\
                     /usr dir 0755 0:0 0\n/usr/lib dir 0755 0:0 0\n/usr/lib/x fifo 0644 0:0 0\n";

#[test]
fn a_symlink_leads_on_by_each_of_its_names() {
    let tree = FileTree::parse(LINKS).unwrap();
    assert_eq!(tree.dump(), LINKS);
    let (first, second) = (path("lib"), path("lib64"));
    assert_eq!(tree.names(&second), [first.clone(), second.clone()]);
    assert_eq!(tree.get(&second).unwrap().kind, Kind::Hardlink(first.clone()));
    assert_eq!(tree.behind(&second), tree.get(&first));
    assert_eq!(tree.behind(&path("nowhere")), None);
    assert_eq!(tree.content(&second), None);
    assert_eq!(tree.resolve("lib64"), Resolved::Found(path("usr/lib")));
    assert_eq!(tree.resolve("lib64/x"), Resolved::Found(path("usr/lib/x")));
    assert_eq!(tree.resolve("lib64/new"), Resolved::Missing(path("usr/lib/new")));
    assert_eq!(tree.resolve_parent("lib64/x"), Resolved::Found(path("usr/lib/x")));
    assert_eq!(tree.resolve_parent("lib64"), Resolved::Found(second));
    assert_eq!(tree.lookup("lib64/x").unwrap().0, path("usr/lib/x"));
}

#[test]
fn entries_land_where_the_second_name_of_a_symlink_leads() {
    let base = FileTree::parse(LINKS).unwrap();
    let delta = TreeDelta::parse("/lib64/new fifo 0644 0:0 7\n").unwrap();
    assert_eq!(
        apply(&base, &delta).dump(),
        format!("{LINKS}/usr/lib/new fifo 0644 0:0 7\n").replacen(
            "/usr/lib/x fifo 0644 0:0 0\n/usr/lib/new fifo 0644 0:0 7\n",
            "/usr/lib/new fifo 0644 0:0 7\n/usr/lib/x fifo 0644 0:0 0\n",
            1,
        )
    );
    // Also where one delta has the names and what is below them, and where the first name is of a lower layer.
    let whole = TreeDelta::parse(&format!("{LINKS}/lib64/new fifo 0644 0:0 7\n")).unwrap();
    assert_eq!(apply(&FileTree::new(), &whole), apply(&base, &delta));
    let open = TreeDelta::parse("/more hardlink 0777 0:0 0 to=/lib64\n/more/new fifo 0644 0:0 7\n").unwrap();
    let merged = apply(&base, &open);
    assert_eq!(merged.names(&path("more")), [path("lib"), path("lib64"), path("more")]);
    assert!(merged.at("usr/lib/new").is_some() && merged.at("more/new").is_none());
}

#[test]
fn a_link_to_a_symlink_does_not_follow_it() {
    let base = FileTree::parse("/a symlink 0777 0:0 3 to=b\n/b fifo 0644 0:0 0\n").unwrap();
    let merged = apply(&base, &TreeDelta::parse("/c hardlink 0777 0:0 0 to=/a\n").unwrap());
    assert_eq!(merged.dump(), "/a symlink 0777 0:0 3 to=b\n/b fifo 0644 0:0 0\n/c hardlink 0777 0:0 3 to=/a\n");
    // Without its first name, the second is the symlink.
    let merged = apply(&merged, &TreeDelta::parse("/a whiteout\n").unwrap());
    assert_eq!(merged.dump(), "/b fifo 0644 0:0 0\n/c symlink 0777 0:0 3 to=b\n");
}

#[test]
fn says_which_line_of_a_dump_is_wrong() {
    for (text, line, field) in [
        ("no-slash dir", 1, "path"),
        ("/a dir 0755 0:0 0\n/b dir 99 0:0 0", 2, "mode"),
        ("/a file 0644 0:0 0 size=1", 1, "digest"),
        ("/a device", 1, "mode"),
        ("/a symlink 0777 0:0 0", 1, "target"),
    ] {
        assert_eq!(TreeDelta::parse(text), Err(dump::DumpError { line, field }), "{text}");
    }
}
