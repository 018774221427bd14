//! Hardlink groups of what is no regular file, with the programs that unpack layers.
#![allow(clippy::disallowed_methods)]
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::layer::LayerDraft;

fn tar(words: &[&str], folder: &Path) {
    let mut tar = Command::new("tar");
    assert!(
        tar.args(words)
            .arg("-C")
            .arg(folder)
            .arg("-f")
            .arg(folder.with_extension("tar"))
            .arg(".")
            .status()
            .unwrap()
            .success()
    );
}

/// A tar by GNU tar: a symlink and a file with two names each, in directories that are parts of different components.
fn archive(scratch: &Path) -> Vec<u8> {
    let root = scratch.join("root");
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("usr/bin/bash"), [1]).unwrap();
    std::os::unix::fs::symlink("bash", root.join("usr/bin/sh")).unwrap();
    fs::hard_link(root.join("usr/bin/sh"), root.join("etc/shell")).unwrap();
    fs::hard_link(root.join("usr/bin/bash"), root.join("etc/bash")).unwrap();
    tar(&["--sort=name", "--owner=0", "--group=0", "-c"], &root);
    fs::read(scratch.join("root.tar")).unwrap()
}

#[test]
fn the_names_of_a_symlink_are_one_inode_after_gnu_tar_cut_and_gnu_tar() {
    let scratch = tempfile::tempdir().unwrap();
    let read = index(&archive(scratch.path())[..], IndexOptions::default()).unwrap();
    let tree = FileTree::new().apply(&read.delta).unwrap();
    assert_eq!(tree.names(&path("usr/bin/sh")), [path("etc/shell"), path("usr/bin/sh")]);
    assert_eq!(tree.behind(&path("usr/bin/sh")).unwrap().kind, Kind::Symlink(b"bash".as_slice().into()));
    let plain = neutral(&tree, None);
    let components = Components::new(&plain, &tree, None, &ComponentMap::default());
    assert_eq!(components.of(&path("etc/shell")), components.of(&path("usr/bin/sh")));
    let drafts: Vec<LayerDraft> = draft(&Chunking::new(&components, options(4)), &components, &plain, 0).unwrap();
    let target = scratch.path().join("cut");
    fs::create_dir(&target).unwrap();
    let mut memory = Memory::default();
    memory.put([1]);
    for draft in &drafts {
        crate::layer::write_tar(draft, &memory, &mut fs::File::create(scratch.path().join("cut.tar")).unwrap())
            .unwrap();
        let mut tar = Command::new("tar");
        assert!(
            tar.arg("-x")
                .arg("-C")
                .arg(&target)
                .arg("-f")
                .arg(scratch.path().join("cut.tar"))
                .status()
                .unwrap()
                .success()
        );
    }
    for names in [["usr/bin/sh", "etc/shell"], ["usr/bin/bash", "etc/bash"]] {
        let [one, other] = names.map(|name| fs::symlink_metadata(target.join(name)).unwrap());
        assert_eq!((one.ino(), one.nlink()), (other.ino(), 2), "{names:?}");
    }
    assert_eq!(fs::read_link(target.join("etc/shell")).unwrap(), Path::new("bash"));
}

#[test]
fn a_component_may_be_claimed_by_any_name_of_a_symlink() {
    let mut tree = FileTree::new();
    add(&mut tree, "etc/sh", Inode::symlink("bash", 0));
    add(&mut tree, "usr/bin/sh", Inode { meta: Meta::default(), kind: Kind::Hardlink(path("etc/sh")) });
    let map = ComponentMap::parse("[[component]]\nname = \"shell\"\npaths = [\"/usr/bin/**\"]\n").unwrap();
    let components = Components::new(&tree, &tree, None, &map);
    assert_eq!(components.of(&path("etc/sh")).map(|component| component.name.as_str()), Some("shell"));
    let cut = LayerDraft::part("x", &tree, [&path("usr/bin/sh")], 0);
    assert_eq!(cut.unwrap_err().to_string(), "/usr/bin/sh is another name of /etc/sh, which is not in the same layer");
}

/// Where ostree made the tree is told by `/ostree`, which may be a second name.
#[test]
fn ostree_is_seen_by_the_second_name_of_its_link() {
    let mut tree = FileTree::new();
    add(&mut tree, "a", Inode::symlink("sysroot/ostree", 0));
    add(&mut tree, "ostree", Inode { meta: Meta::default(), kind: Kind::Hardlink(path("a")) });
    add_file(&mut tree, "sysroot/left", 0o644, "x");
    assert!(neutral(&tree, None).at("sysroot/left").is_none());
}
