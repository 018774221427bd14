//! Layers of additions, with what programs generated apart from what they were generated from, and a kernel apart from other
//! packages.
//!
//! A layer of packages brings files that stay the same for years, and beside them the package database, caches and an
//! initial file system that change whenever anything does, also when only the base did. Apart, the files keep their layer. A
//! kernel that takes the place of the base's is larger than most packages, and changes by itself.

use super::neutral::TAG;
use super::place::{Place, place};
use crate::layer::LayerDraft;
use crate::pkgdb::{DbKind, detect};
use crate::tree::{FileTree, Inode, TreePath};

/// The draft as one or several: what is generated leaves it, the initial file system by itself, and so does a kernel. `tree` is the tree with the
/// draft laid over it.
///
/// Law: the parts applied one after the other are the draft applied.
pub fn split(draft: LayerDraft, tree: &FileTree) -> Vec<LayerDraft> {
    let database = detect(tree).map(|location| {
        let is_folder = tree.get(&location.path).is_some_and(Inode::is_directory);
        let folder = if is_folder { location.path } else { location.path.parent().unwrap_or_default() };
        (location.kind, folder)
    });
    let of_database = |path: &TreePath| {
        database.as_ref().is_some_and(|(kind, folder)| {
            // What dpkg keeps of one package changes with it.
            let of_package = *kind == DbKind::Dpkg && path.parent().is_some_and(|parent| parent.name() == b"info");
            path.is_below(folder) && !of_package
        })
    };
    draft.divide(|path| match place(path) {
        Place::Initramfs => Some("initramfs".to_owned()),
        Place::Cache | Place::Index(_) => Some("generated".to_owned()),
        Place::Kernel { folder: b"" | b"kernel", .. } => Some("kernel".to_owned()),
        _ => of_database(path).then(|| "generated".to_owned()),
    })
}

/// The draft without the tags that name components: where layers are appended nobody reads them. What is of `base` keeps its.
#[must_use]
pub fn untagged(draft: LayerDraft, base: &FileTree) -> LayerDraft {
    draft.without_attribute(TAG, base)
}
