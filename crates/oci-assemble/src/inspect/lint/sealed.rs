//! What is decided before the root is mounted.

use super::report::Note;
use super::{Subject, kernel};
use crate::tree::TreePath;

/// Where prepare-root reads its configuration; the first wins.
pub(super) const PREPARE_ROOT: [&str; 2] = ["etc/ostree/prepare-root.conf", "usr/lib/ostree/prepare-root.conf"];

/// An image with a unified kernel image is sealed: its command line names the digest of the whole tree, which any added
/// layer changes.
pub(super) fn uki(subject: &Subject) -> Vec<Note> {
    let Some((folder, _)) = subject.tree.lookup("boot/EFI/Linux") else { return Vec::new() };
    let images = subject.tree.children(&folder).filter(|(path, _)| path.name().to_ascii_lowercase().ends_with(b".efi"));
    images.map(|(path, _)| Note::at(path, "the image is sealed: a layer added to it makes it unbootable")).collect()
}

/// A configuration in `/etc` takes the place of the base's, and keeps it on updated machines for good.
pub(super) fn prepare_root_shadowed(subject: &Subject) -> Vec<Note> {
    let [etc, usr] = PREPARE_ROOT.map(|path| subject.tree.lookup(path).map(|(found, _)| found));
    match (etc, usr) {
        (Some(etc), Some(usr)) => {
            vec![Note::at(&etc, format!("shadows {usr}")).warning_if(!subject.was_added(&etc))]
        }
        _ => Vec::new(),
    }
}

/// prepare-root.conf is copied into the initramfs, so a change of it needs a new one.
pub(super) fn initramfs_stale(subject: &Subject) -> Vec<Note> {
    let changed =
        PREPARE_ROOT.iter().filter_map(|path| TreePath::new(path).ok()).filter(|path| subject.was_added(path));
    let rebuilt = kernel::releases(subject.tree)
        .iter()
        .filter_map(|(release, _)| release.join("initramfs.img").ok())
        .any(|image| subject.was_added(&image));
    changed
        .filter(|_| !rebuilt)
        .map(|path| Note::at(&path, "changed, but the initramfs still has the old one"))
        .collect()
}
