//! The entries of a layer while it is read, whatever order their names come in.
//!
//! A [`TreeDelta`] keeps hardlink groups canonical at every step, which costs the whole group whenever a name before
//! the owner comes or the owner goes. Here a name only says which inode it is of; the owners are found once, at the end.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::tree::{Inode, Kind, Meta, TreeDelta, TreePath};

/// What a name stands for.
#[derive(Debug)]
enum Named {
    /// A directory, which has one name.
    Directory(Inode),
    /// The inode of this number. A link's own metadata counts only while the inode is not in the layer.
    Inode(usize, Meta),
}

/// Anything but a directory, with any number of names.
#[derive(Debug)]
enum Shared {
    Here(Inode),
    /// Of a lower layer, by the name that links give it, until an entry of this layer takes that name.
    Below(TreePath),
}

/// Entries by name. Inserting follows [`TreeDelta::insert`].
#[derive(Debug, Default)]
pub(super) struct Names {
    map: BTreeMap<TreePath, Named>,
    shared: Vec<Shared>,
    /// Inodes of lower layers, by the name that links give them.
    below: BTreeMap<TreePath, usize>,
}

impl Names {
    /// Whether a directory is at `path`.
    pub(super) fn is_directory(&self, path: &TreePath) -> bool {
        matches!(self.map.get(path), Some(Named::Directory(_)))
    }

    /// Whether something that links can be made to is at `path`.
    pub(super) fn is_linkable(&self, path: &TreePath) -> bool {
        matches!(self.map.get(path), Some(Named::Inode(..)))
    }

    /// Whether an entry at `path` takes the place of an inode of a lower layer that links were made to. A link means what is
    /// there when it is read, and a delta, which has no order, would make it mean the new one.
    pub(super) fn takes_target(&self, path: &TreePath, is_directory: bool) -> bool {
        if self.below.is_empty() {
            return false;
        }
        let low = [path.as_bytes(), b"/"].concat();
        let below = || self.below.range::<[u8], _>((Bound::Excluded(low.as_slice()), Bound::Unbounded)).next();
        self.below.contains_key(path)
            || (!is_directory && below().is_some_and(|(target, _)| target.as_bytes().starts_with(&low)))
    }

    /// Puts something that is no hardlink at `path`.
    pub(super) fn insert(&mut self, path: TreePath, inode: Inode) {
        let stays =
            inode.is_directory() && self.map.get(&path).is_none_or(|named| matches!(named, Named::Directory(_)));
        if !stays {
            self.clear(&path);
        }
        if inode.is_directory() {
            self.map.insert(path, Named::Directory(inode));
            return;
        }
        let meta = inode.meta.clone();
        let number = self.below.remove(&path).unwrap_or(self.shared.len());
        match self.shared.get_mut(number) {
            Some(shared) => *shared = Shared::Here(inode),
            None => self.shared.push(Shared::Here(inode)),
        }
        self.map.insert(path, Named::Inode(number, meta));
    }

    /// Makes `path` one more name of the inode at `target`, which is no directory.
    pub(super) fn link(&mut self, path: TreePath, target: &TreePath, meta: Meta) {
        let same = self.number(target);
        if same.is_some() && same == self.named(&path) {
            return; // it is that link already, or a link to itself
        }
        self.clear(&path);
        let number = self.number(target).unwrap_or_else(|| {
            let number = self.shared.len();
            self.shared.push(Shared::Below(target.clone()));
            self.below.insert(target.clone(), number);
            number
        });
        self.map.insert(path, Named::Inode(number, meta));
    }

    fn named(&self, path: &TreePath) -> Option<usize> {
        match self.map.get(path)? {
            Named::Inode(number, _) => Some(*number),
            Named::Directory(_) => None,
        }
    }

    fn number(&self, target: &TreePath) -> Option<usize> {
        self.named(target).or_else(|| self.below.get(target).copied())
    }

    /// Drops the name and all names below it.
    fn clear(&mut self, path: &TreePath) {
        self.map.remove(path);
        let low = [path.as_bytes(), b"/"].concat();
        let high = [path.as_bytes(), b"0"].concat(); // `0` follows `/`
        let range = (Bound::Excluded(low.as_slice()), Bound::Excluded(high.as_slice()));
        let doomed: Vec<TreePath> = self.map.range::<[u8], _>(range).map(|(name, _)| name.clone()).collect();
        for name in &doomed {
            self.map.remove(name);
        }
    }

    /// Adds the entries to `delta`: the first name of an inode owns it.
    pub(super) fn finish(self, delta: &mut TreeDelta) {
        let mut owners: Vec<Option<TreePath>> = vec![None; self.shared.len()];
        for (path, named) in self.map {
            let (number, meta) = match named {
                Named::Directory(inode) => {
                    delta.insert(path, inode);
                    continue;
                }
                Named::Inode(number, meta) => (number, meta),
            };
            let (Some(shared), Some(owner)) = (self.shared.get(number), owners.get_mut(number)) else { continue };
            let inode = match (shared, &owner) {
                (Shared::Below(target), _) => Inode { meta, kind: Kind::Hardlink(target.clone()) },
                (Shared::Here(_), Some(owner)) => Inode { meta, kind: Kind::Hardlink(owner.clone()) },
                (Shared::Here(inode), None) => {
                    *owner = Some(path.clone());
                    inode.clone()
                }
            };
            delta.insert(path, inode);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::Content;

    fn name(number: usize) -> TreePath {
        TreePath::new(["a", "b", "b/x", "b/y", "b-", "c"][number % 6]).unwrap()
    }

    proptest! {
        #[test]
        fn says_what_a_delta_says_step_by_step(steps in prop::collection::vec((0..4_u8, 0..6_usize, 0..6_usize), 0..30)) {
            let (mut names, mut expected) = (Names::default(), TreeDelta::new());
            for (time, (step, at, to)) in steps.into_iter().enumerate() {
                let (at, to) = (name(at), name(to));
                let meta = Meta::root_owned(0o644, i64::try_from(time).unwrap());
                let inode = match step {
                    0 => Inode::directory(meta),
                    1 => Inode { meta, kind: if to == name(0) { Kind::Fifo } else { Kind::Symlink(to.as_bytes().into()) } },
                    2 => Inode::file(meta, Content::of(time.to_string())),
                    _ => {
                        // A link in the place that links wait for: deltas have no way to say which came first.
                        if at != to && !names.is_directory(&to) && !names.below.contains_key(&at) {
                            names.link(at.clone(), &to, meta.clone());
                            expected.insert(at, Inode { meta, kind: Kind::Hardlink(to) });
                        }
                        continue;
                    }
                };
                names.insert(at.clone(), inode.clone());
                expected.insert(at, inode);
            }
            let mut delta = TreeDelta::new();
            names.finish(&mut delta);
            prop_assert_eq!(delta.dump(), expected.dump());
        }
    }
}
