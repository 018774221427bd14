//! The true changes between a base and the file system of a container that started from it.

use std::collections::BTreeSet;

use oci_assemble::tree::{Content, FileTree, Inode, Kind, TreeDelta, TreePath};

/// What leads from `base` to `exported`, and nothing else.
///
/// An inode is the same when kind, mode, owner, content and those extended attributes are that an export carries
/// (`security.capability` and `user.*`). Labels, ACLs and `trusted.*` are lost on the way, so their absence says
/// nothing; a time alone is no change; a symlink has no mode; the root directory is not listed in exports. The names of
/// one inode are written all together as soon as one of them changes, so that no hardlink leaves the layer. Entries
/// carry the exported times and only attributes that exports carry; nothing is opaque, and only the top of what is gone
/// is removed.
///
/// Law: applied to `base`, it gives `exported`, but for what is ignored. Contents must be named by digest or held in
/// memory: one that lies on a disk unread counts as changed.
pub fn changes(base: &FileTree, exported: &FileTree) -> TreeDelta {
    let mut delta = TreeDelta::new();
    // Inodes of the base that one of the export is the same as: one that was split into two is the same as one of them.
    let mut found: BTreeSet<TreePath> = BTreeSet::new();
    for (path, inode) in exported.iter() {
        if path.is_root() || inode.kind.is_hardlink() {
            continue; // written with the owner
        }
        let names = exported.names(path);
        let unchanged = if inode.is_directory() {
            base.get(path).is_some_and(|known| same(base, known, inode))
        } else {
            is_unchanged(base, &names, inode, &mut found)
        };
        if unchanged {
            continue;
        }
        for name in names {
            let Some(inode) = exported.get(&name) else { continue };
            let mut inode = inode.clone();
            inode.meta.xattrs.retain(|attribute, _| is_exported(attribute));
            delta.insert(name, inode);
        }
    }
    for (path, _) in base.iter() {
        let gone = !path.is_root() && exported.get(path).is_none();
        let stays = |parent: &TreePath| parent.is_root() || exported.get(parent).is_some_and(Inode::is_directory);
        if gone && path.parent().as_ref().is_none_or(stays) {
            delta.whiteout(path.clone());
        }
    }
    delta
}

/// Whether the inode with these names, no directory, is one of the base that no other of the export is.
fn is_unchanged(base: &FileTree, names: &[TreePath], inode: &Inode, found: &mut BTreeSet<TreePath>) -> bool {
    let owner = |name: &TreePath| match &base.get(name)?.kind {
        Kind::Directory => None,
        Kind::Hardlink(owner) => Some(owner.clone()),
        _ => Some(name.clone()),
    };
    let Some(first) = names.first().and_then(owner) else { return false };
    if names.iter().any(|name| owner(name).as_ref() != Some(&first)) {
        return false;
    }
    base.get(&first).is_some_and(|known| same(base, known, inode)) && found.insert(first)
}

/// Whether `known`, an entry of `base`, and `other` are the same but for what exports lose.
pub(crate) fn same(base: &FileTree, known: &Inode, other: &Inode) -> bool {
    let known = base.linked(known);
    let kinds = match (&known.kind, &other.kind) {
        (Kind::File(known), Kind::File(content)) => same_content(known, content),
        (known, other) => known == other,
    };
    let modes = matches!(other.kind, Kind::Symlink(_)) || known.meta.mode & 0o7777 == other.meta.mode & 0o7777;
    let owners = (known.meta.uid, known.meta.gid) == (other.meta.uid, other.meta.gid);
    kinds && modes && owners && carried(known).eq(carried(other))
}

fn same_content(one: &Content, other: &Content) -> bool {
    one == other || (one.size() == other.size() && one.digest().is_some_and(|one| other.digest() == Some(one)))
}

fn carried(inode: &Inode) -> impl Iterator<Item = (&[u8], &[u8])> {
    inode.meta.xattrs.iter().map(|(name, value)| (&**name, &**value)).filter(|(name, _)| is_exported(name))
}

/// Whether `podman export` carries an attribute (containers/storage, `pkg/archive`): `security.ima` is of the machine
/// that measured the file, and the names of overlayfs are eaten by it.
pub(crate) fn is_exported(attribute: &[u8]) -> bool {
    attribute == b"security.capability" || (attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay."))
}
