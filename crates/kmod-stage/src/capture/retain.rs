//! A part of a delta.

use std::collections::BTreeMap;

use oci_assemble::tree::{Inode, Kind, TreeDelta, TreePath};

/// The entries and marks of `delta` at paths that are to stay. What has several names and loses the first stays under its
/// next one.
pub(super) fn retain(delta: &TreeDelta, stays: impl Fn(&TreePath) -> bool) -> TreeDelta {
    let mut kept = TreeDelta::new();
    let mut owners: BTreeMap<&TreePath, &TreePath> = BTreeMap::new();
    for (path, inode) in delta.entries().iter().filter(|(path, _)| stays(path)) {
        let mut inode = inode.clone();
        if let Kind::Hardlink(owner) = &inode.kind
            && let Some((owner, file)) = delta.entries().get_key_value(owner)
            && !stays(owner)
        {
            inode = match owners.get(owner) {
                Some(next) => Inode { kind: Kind::Hardlink((*next).clone()), ..inode },
                None => file.clone(),
            };
            owners.entry(owner).or_insert(path);
        }
        kept.insert(path.clone(), inode);
    }
    delta.whiteouts().iter().filter(|path| stays(path)).for_each(|path| kept.whiteout(path.clone()));
    delta.opaques().iter().filter(|path| stays(path)).for_each(|path| kept.opaque(path.clone()));
    kept
}
