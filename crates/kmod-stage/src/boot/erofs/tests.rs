#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)]
use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use oci_assemble::testing::memory::{add, add_file};
use oci_assemble::testing::tree::arbitrary_tree;
use proptest::prelude::*;

use super::*;

fn with_root(mut tree: FileTree) -> FileTree {
    if tree.get(&TreePath::root()).is_none() {
        tree.insert(TreePath::root(), Inode::directory(Meta::root_owned(0o755, 0)));
    }
    tree
}

/// Contents of any file: its size in zeros.
struct Zeros;

impl Contents for Zeros {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn io::Read + 'a>> {
        Ok(Box::new(io::Read::take(io::repeat(0), content.size())))
    }
}

fn image(tree: &FileTree) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let plan = Erofs::plan(tree).unwrap();
    plan.write(&Zeros, &mut file).unwrap();
    assert_eq!(file.get_ref().len() as u64, plan.size());
    file.into_inner()
}

/// One line for each path below a directory, as erofs-utils wrote it there.
fn listing(root: &Path, below: &str, lines: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(root.join(below)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let metadata = root.join(&path).symlink_metadata().unwrap();
        let what = if metadata.is_dir() {
            listing(root, &path, lines);
            "dir".to_owned()
        } else if metadata.is_symlink() {
            format!("-> {}", std::fs::read_link(root.join(&path)).unwrap().display())
        } else {
            format!("{} {:?}", metadata.nlink(), String::from_utf8(std::fs::read(root.join(&path)).unwrap()).unwrap())
        };
        lines.insert(path, what);
    }
}

#[test]
fn other_programs_read_it() {
    if Command::new("fsck.erofs").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "fsck.erofs is missing");
        eprintln!("skipped: no fsck.erofs (package erofs-utils)");
        return;
    }
    let mut tree = with_root(FileTree::new());
    add_file(&mut tree, "etc/motd", 0o644, "hello");
    add_file(&mut tree, "etc/empty", 0o600, "");
    add_file(&mut tree, "etc/also-motd", 0o644, "hello");
    add_file(&mut tree, "big", 0o644, "x".repeat(3 * BLOCK + 1));
    add(&mut tree, "link", Inode::symlink("etc/motd", 7));
    add(&mut tree, "long-link", Inode::symlink("d/".repeat(2040), 7));
    let hardlink = Inode { meta: Meta::root_owned(0o644, 0), kind: Kind::Hardlink(TreePath::new("etc/motd").unwrap()) };
    add(&mut tree, "etc/motd2", hardlink);
    let hardlink = Inode { meta: Meta::root_owned(0o777, 7), kind: Kind::Hardlink(TreePath::new("link").unwrap()) };
    add(&mut tree, "link2", hardlink);
    for number in 0..700 {
        add_file(&mut tree, &format!("many/a-file-with-a-longer-name-{number}"), 0o644, number.to_string());
    }
    for name in ["+", "-", "...", ".a", "a", "a-b"] {
        add_file(&mut tree, &format!("odd/{name}"), 0o644, name);
    }
    let mut inode = Inode::file(Meta::root_owned(0o755, 9), Content::of("cap"));
    inode.meta.xattrs.insert((*b"security.capability").into(), (*b"\x01\x02").into());
    inode.meta.xattrs.insert((*b"user.big").into(), vec![7; 5000].into());
    add(&mut tree, "ping", inode);

    let temp = tempfile::tempdir().unwrap();
    let (file, out) = (temp.path().join("image"), temp.path().join("out"));
    std::fs::write(&file, image(&tree)).unwrap();
    let checked = Command::new("fsck.erofs").arg(format!("--extract={}", out.display())).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let mut found = BTreeMap::new();
    listing(&out, "", &mut found);
    let mut expected = BTreeMap::new();
    for (path, inode) in tree.iter().filter(|(path, _)| !path.is_root()) {
        let what = match &tree.linked(inode).kind {
            Kind::Directory => "dir".to_owned(),
            Kind::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            _ => {
                let Some(Content::Bytes(bytes)) = tree.content(path) else { panic!("{path}") };
                let links = if path.to_str().unwrap().contains("/motd") { 2 } else { 1 };
                format!("{links} {:?}", String::from_utf8(bytes.to_vec()).unwrap())
            }
        };
        expected.insert(path.to_str().unwrap().to_owned(), what);
    }
    // Older fsck.erofs writes the names of a hardlink as files of their own.
    let alone = |mut lines: BTreeMap<String, String>| {
        for line in lines.values_mut() {
            *line = line.trim_start_matches("2 ").trim_start_matches("1 ").to_owned();
        }
        lines
    };
    assert_eq!(alone(found), alone(expected));
    for (path, size) in [("/etc/motd", 5), ("/link2", 8)] {
        let dumped = Command::new("dump.erofs").arg(format!("--path={path}")).arg(&file).output().unwrap();
        let dumped = String::from_utf8_lossy(&dumped.stdout).into_owned();
        assert!(dumped.contains("Links: 2") && dumped.contains(&format!("Size: {size}")), "{dumped}");
    }
}

#[test]
fn what_stands_nowhere_is_refused() {
    assert_eq!(Erofs::plan(&FileTree::new()), Err(ErofsError::Orphan { path: TreePath::root() }));
    let mut tree = with_root(FileTree::new());
    let path = TreePath::new("usr/bin/x").unwrap();
    tree.insert(path.clone(), Inode::symlink("y", 0));
    assert_eq!(Erofs::plan(&tree), Err(ErofsError::Orphan { path }));
    let mut tree = with_root(FileTree::new());
    let mut inode = Inode::symlink("y", 0);
    inode.meta.xattrs.insert((*b"user.huge").into(), vec![0; 1 << 16].into());
    add(&mut tree, "x", inode);
    assert!(matches!(Erofs::plan(&tree), Err(ErofsError::TooLarge { what: "extended attributes", .. })));
}

proptest! {
    #[test]
    fn every_tree_has_an_image_and_always_the_same(tree in arbitrary_tree()) {
        let tree = with_root(tree);
        let bytes = image(&tree);
        prop_assert_eq!(bytes.len() % BLOCK, 0);
        prop_assert_eq!(&bytes, &image(&tree));
        // Neither an inode nor what is inline stands on two blocks: else kernels refuse it.
        let mut at = BLOCK;
        for (path, inode) in tree.iter().filter(|(_, inode)| !matches!(inode.kind, Kind::Hardlink(_))) {
            let mut planned = planned(&tree, path, inode, &children(&tree).unwrap()).unwrap();
            at = planned.place(at);
            let last = if planned.inline { at - 1 } else { planned.at + INODE - 1 };
            prop_assert_eq!(planned.at / BLOCK, last / BLOCK);
        }
    }
}
