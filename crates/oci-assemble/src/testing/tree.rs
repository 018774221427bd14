//! Random trees, small enough that paths collide often.
#![allow(missing_docs)]

use proptest::collection::vec;
use proptest::prelude::*;

use crate::image::Digest;
use crate::tree::{Content, FileTree, Inode, Kind, Meta, TreePath};

/// One edit of a tree.
#[derive(Clone, Debug)]
pub enum Step {
    File(u8),
    Symlink(u8),
    Fifo(u8),
    Link(u8, u8),
    Remove(u8),
}

pub fn random_path(number: u8) -> TreePath {
    TreePath::new(format!("f{}", number % 6)).unwrap_or_default()
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => any::<u8>().prop_map(Step::File),
        1 => any::<u8>().prop_map(Step::Symlink),
        1 => any::<u8>().prop_map(Step::Fifo),
        2 => any::<(u8, u8)>().prop_map(|(at, to)| Step::Link(at, to)),
        1 => any::<u8>().prop_map(Step::Remove),
    ];
    vec(step, 0..24)
}

fn names() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let name = prop_oneof![
        8 => prop::sample::select(vec![b"a".to_vec(), b"b".to_vec(), b"a-".to_vec(), b"c d".to_vec()]),
        1 => Just(vec![0xff, b'\\', b'\n']),
    ];
    vec(name, 1..4)
}

fn metas() -> impl Strategy<Value = Meta> {
    let xattrs = prop::collection::btree_map(
        prop::sample::select(vec![b"user.x".to_vec(), b"user.a=b".to_vec()]),
        vec(any::<u8>(), 0..3),
        0..2,
    );
    (0..0o10000_u32, 0..3_u64, 0..3_u64, -1..3_i64, xattrs).prop_map(|(mode, uid, gid, mtime, xattrs)| Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs: xattrs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
    })
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Directory),
        4 => (0..3_u8).prop_map(|byte| Kind::File(Content::Stored { digest: Digest::of(&[byte]), size: 1 })),
        2 => names().prop_map(|parts| Kind::Symlink(parts.join(&b'/').into())),
        4 => names().prop_map(|parts| Kind::Hardlink(TreePath::new(parts.join(&b'/')).unwrap_or_default())),
        1 => (0..2_u32, 0..2_u32).prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        1 => Just(Kind::Fifo),
    ]
}

/// A tree whose every directory has an entry, with hardlinks to files, symlinks, devices and pipes.
pub fn arbitrary_tree() -> impl Strategy<Value = FileTree> {
    vec((names(), metas(), kinds()), 0..14).prop_map(|inodes| {
        let mut tree = FileTree::new();
        let has_names =
            |tree: &FileTree, target: &TreePath| tree.behind(target).is_some_and(|inode| inode.kind.can_have_names());
        for (parts, meta, kind) in inodes {
            let Ok(path) = TreePath::new(parts.join(&b'/')) else { continue };
            if let Kind::Hardlink(target) = &kind
                && (!has_names(&tree, target) || path.is_below(target) || target.is_below(&path))
            {
                continue;
            }
            for above in path.ancestors() {
                if !tree.get(&above).is_some_and(Inode::is_directory) {
                    tree.insert(above, Inode::directory(meta.clone()));
                }
            }
            if let Kind::Hardlink(target) = &kind
                && !has_names(&tree, target)
            {
                continue; // a new parent directory took its place
            }
            tree.insert(path, Inode { meta, kind });
        }
        tree
    })
}
