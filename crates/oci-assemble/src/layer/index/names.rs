//! The entries of a layer while it is read, whatever order their names come in.
//!
//! A [`TreeDelta`] keeps hardlink groups canonical at every step, which costs the whole group whenever a name before
//! the owner comes or the owner goes. Here a name only says which file it is of; the owners are found once, at the end.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::tree::{Inode, Kind, Meta, TreeDelta, TreePath};

/// What a name stands for.
#[derive(Debug)]
enum Named {
    /// Anything but a regular file.
    Inode(Inode),
    /// The regular file of this number. A link's own metadata counts only while the file is not in the layer.
    File(usize, Meta),
}

/// A regular file with any number of names.
#[derive(Debug)]
enum File {
    Here(Inode),
    /// Of a lower layer, by the name that links give it, until an entry of this layer takes that name.
    Below(TreePath),
}

/// Entries by name. Inserting follows [`TreeDelta::insert`].
#[derive(Debug, Default)]
pub(super) struct Names {
    map: BTreeMap<TreePath, Named>,
    files: Vec<File>,
    /// Files of lower layers, by the name that links give them.
    below: BTreeMap<TreePath, usize>,
}

impl Names {
    /// The inode at `path`, where it is no regular file.
    pub(super) fn other(&self, path: &TreePath) -> Option<&Inode> {
        match self.map.get(path)? {
            Named::Inode(inode) => Some(inode),
            Named::File(..) => None,
        }
    }

    /// Whether a regular file or a hardlink is at `path`.
    pub(super) fn is_file(&self, path: &TreePath) -> bool {
        matches!(self.map.get(path), Some(Named::File(..)))
    }

    /// Whether an entry at `path` takes the place of a file of a lower layer that links were made to. A link means what is
    /// there when it is read, and a delta, which has no order, would make it mean the new file.
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
        let stays = inode.is_directory()
            && self.map.get(&path).is_none_or(|named| matches!(named, Named::Inode(found) if found.is_directory()));
        if !stays {
            self.clear(&path);
        }
        if !matches!(inode.kind, Kind::File(_)) {
            self.map.insert(path, Named::Inode(inode));
            return;
        }
        let meta = inode.meta.clone();
        let number = self.below.remove(&path).unwrap_or(self.files.len());
        match self.files.get_mut(number) {
            Some(file) => *file = File::Here(inode),
            None => self.files.push(File::Here(inode)),
        }
        self.map.insert(path, Named::File(number, meta));
    }

    /// Makes `path` one more name of the file at `target`.
    pub(super) fn link(&mut self, path: TreePath, target: &TreePath, meta: Meta) {
        let same = self.number(target);
        if same.is_some() && same == self.named(&path) {
            return; // it is that link already, or a link to itself
        }
        self.clear(&path);
        let number = self.number(target).unwrap_or_else(|| {
            let number = self.files.len();
            self.files.push(File::Below(target.clone()));
            self.below.insert(target.clone(), number);
            number
        });
        self.map.insert(path, Named::File(number, meta));
    }

    fn named(&self, path: &TreePath) -> Option<usize> {
        match self.map.get(path)? {
            Named::File(number, _) => Some(*number),
            Named::Inode(_) => None,
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

    /// Adds the entries to `delta`: the first name of a file owns it.
    pub(super) fn finish(self, delta: &mut TreeDelta) {
        let mut owners: Vec<Option<TreePath>> = vec![None; self.files.len()];
        for (path, named) in self.map {
            let (number, meta) = match named {
                Named::Inode(inode) => {
                    delta.insert(path, inode);
                    continue;
                }
                Named::File(number, meta) => (number, meta),
            };
            let (Some(file), Some(owner)) = (self.files.get(number), owners.get_mut(number)) else { continue };
            let inode = match (file, &owner) {
                (File::Below(target), _) => Inode { meta, kind: Kind::Hardlink(target.clone()) },
                (File::Here(_), Some(owner)) => Inode { meta, kind: Kind::Hardlink(owner.clone()) },
                (File::Here(inode), None) => {
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
                    1 => Inode { meta, kind: Kind::Fifo },
                    2 => Inode::file(meta, Content::of(time.to_string())),
                    _ => {
                        // A link in the place that links wait for: deltas have no way to say which came first.
                        if at != to && names.other(&to).is_none() && !names.below.contains_key(&at) {
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
