//! A sorted map of inodes that keeps hardlink groups canonical.
//!
//! Names of one inode, which is anything but a directory, form a group. The first name in path order owns the inode; the
//! others are [`Kind::Hardlink`]s straight to it, with its metadata. Removing or replacing the owner makes the next name
//! the owner. A hardlink whose target is not in the map is *open*: a layer may link to what is in the layers below.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::inode::{Inode, Kind};
use super::path::TreePath;

/// Names of an inode that are many: to write so many anew takes no time that is noticed.
pub(super) const MANY: usize = 64;

/// Sorted inodes with canonical hardlink groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inodes {
    map: BTreeMap<TreePath, Inode>,
    /// Target → names that link to it. Derived from `map`.
    links: BTreeMap<TreePath, BTreeSet<TreePath>>,
}

impl Inodes {
    pub(super) fn get(&self, path: &TreePath) -> Option<&Inode> {
        self.map.get(path)
    }

    pub(super) fn map(&self) -> &BTreeMap<TreePath, Inode> {
        &self.map
    }

    /// The names of the inode that `path` is a name of, the owner first; just `path` when it has no other.
    pub(super) fn group(&self, path: &TreePath) -> Vec<TreePath> {
        let owner = self.owner(path);
        let mut names = vec![owner.clone()];
        names.extend(self.links.get(&owner).into_iter().flatten().cloned());
        names
    }

    /// How many names the inode that `path` names has.
    pub(super) fn count(&self, path: &TreePath) -> usize {
        self.links.get(&self.owner(path)).map_or(1, |names| names.len() + 1)
    }

    /// Whether an inode has [`MANY`] names or more. Then names must not go one by one from the first: each would have the
    /// others written anew.
    pub(super) fn has_large_group(&self) -> bool {
        self.links.values().any(|names| names.len() >= MANY)
    }

    /// The owner of the inode that `path` names.
    pub(super) fn owner(&self, path: &TreePath) -> TreePath {
        match self.map.get(path).map(|inode| &inode.kind) {
            Some(Kind::Hardlink(target)) => target.clone(),
            _ => path.clone(),
        }
    }

    /// The map of inodes that are in path order; `None` when they are not, or a hardlink points at no earlier inode that can
    /// have names.
    pub(super) fn from_sorted(sorted: Vec<(TreePath, Inode)>) -> Option<Self> {
        if !sorted.is_sorted_by(|(one, _), (next, _)| one < next) {
            return None;
        }
        // A map made of a sorted list is filled leaf by leaf, without a search for each.
        let map: BTreeMap<TreePath, Inode> = sorted.into_iter().collect();
        let mut links: BTreeMap<TreePath, BTreeSet<TreePath>> = BTreeMap::new();
        for (path, inode) in &map {
            let Kind::Hardlink(owner) = &inode.kind else { continue };
            if owner > path || !map.get(owner).is_some_and(|found| found.kind.can_have_names()) {
                return None;
            }
            links.entry(owner.clone()).or_default().insert(path.clone());
        }
        Some(Self { map, links })
    }

    /// The inodes directly in `path`, in order.
    pub(super) fn children(&self, path: &TreePath) -> impl Iterator<Item = (&TreePath, &Inode)> + use<'_> {
        let start = if path.is_root() { 0 } else { path.as_bytes().len() + 1 };
        let (low, high) = bounds(path);
        let from = low.map_or(Bound::Unbounded, Bound::Excluded);
        let to = high.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = self.map.range::<[u8], _>((borrowed(&from), borrowed(&to)));
        std::iter::from_fn(move || {
            loop {
                let (name, inode) = range.next()?;
                let Some(end) = name.as_bytes()[start..].iter().position(|byte| *byte == b'/') else {
                    return Some((name, inode));
                };
                // In a child: what is left of it is passed over by one search. `0` follows `/`.
                let next = [&name.as_bytes()[..start + end], b"0"].concat();
                range = self.map.range::<[u8], _>((Bound::Included(next.as_slice()), borrowed(&to)));
            }
        })
    }

    /// Everything strictly below `path`, in order.
    pub(super) fn below(&self, path: &TreePath) -> impl Iterator<Item = (&TreePath, &Inode)> {
        below(&self.map, path)
    }

    /// Puts `inode` at `path`. A directory over a directory or nothing keeps what is below it; anything else takes the place
    /// of what was at `path` and below. A hardlink joins the group of its target.
    pub(super) fn insert(&mut self, path: TreePath, inode: Inode) {
        // A directory listed after what is in it does not hide that.
        let stays = inode.is_directory() && self.map.get(&path).is_none_or(Inode::is_directory);
        if stays {
            self.map.insert(path, inode);
            return;
        }
        if let Kind::Hardlink(target) = &inode.kind
            && self.owner(target) == self.owner(&path)
            && self.map.contains_key(&path)
        {
            return; // it is that link already, or a link to itself
        }
        self.remove(&path);
        if let Kind::Hardlink(target) = &inode.kind {
            let owner = self.owner(target);
            self.link(path, owner, inode);
        } else {
            let waiting = if inode.kind.can_have_names() { self.links.remove(&path) } else { None };
            self.map.insert(path.clone(), inode);
            for name in waiting.into_iter().flatten() {
                self.join(name, &path);
            }
        }
    }

    fn link(&mut self, path: TreePath, owner: TreePath, inode: Inode) {
        if self.map.get(&owner).is_some_and(|found| found.kind.can_have_names()) {
            self.join(path, &owner);
        } else {
            // Open: the target is not here, or is a directory.
            self.links.entry(owner.clone()).or_default().insert(path.clone());
            let kind = Kind::Hardlink(owner);
            self.map.insert(path, Inode { kind, ..inode });
        }
    }

    /// Makes `path` a name of the inode that `owner` owns.
    fn join(&mut self, path: TreePath, owner: &TreePath) {
        let owner = self.owner(owner);
        let Some(inode) = self.map.get(&owner).cloned() else {
            return;
        };
        if owner < path {
            // The owner stays: only this name is written, so that many names take no quadratic time.
            let link = Inode { meta: inode.meta, kind: Kind::Hardlink(owner.clone()) };
            self.map.insert(path.clone(), link);
            self.links.entry(owner).or_default().insert(path);
            return;
        }
        let mut names = self.links.remove(&owner).unwrap_or_default();
        names.insert(path);
        names.insert(owner);
        self.seat(names, inode);
    }

    /// Writes a whole group anew: the first name owns the inode.
    fn seat(&mut self, mut names: BTreeSet<TreePath>, inode: Inode) {
        let Some(owner) = names.pop_first() else {
            return;
        };
        for name in &names {
            let link = Inode { meta: inode.meta.clone(), kind: Kind::Hardlink(owner.clone()) };
            self.map.insert(name.clone(), link);
        }
        self.map.insert(owner.clone(), inode);
        if !names.is_empty() {
            self.links.insert(owner, names);
        }
    }

    /// Removes `path` and everything below it.
    pub(super) fn remove(&mut self, path: &TreePath) {
        self.remove_below(path);
        self.remove_one(path);
    }

    /// Removes everything strictly below `path`.
    pub(super) fn remove_below(&mut self, path: &TreePath) {
        // What is below a path follows it, perhaps behind names such as `path-x`: mostly there is nothing to look for.
        let next = self.map.range::<[u8], _>((Bound::Excluded(path.as_bytes()), Bound::Unbounded)).next();
        if next.is_none_or(|(next, _)| !next.as_bytes().starts_with(path.as_bytes())) {
            return;
        }
        let doomed: Vec<TreePath> = self.below(path).map(|(name, _)| name.clone()).collect();
        // From the last: a group's owner goes after its links, and does not pass the inode on from name to name.
        for name in doomed.iter().rev() {
            self.remove_one(name);
        }
    }

    fn remove_one(&mut self, path: &TreePath) {
        let Some(inode) = self.map.remove(path) else {
            return;
        };
        if let Kind::Hardlink(owner) = &inode.kind {
            if let Some(names) = self.links.get_mut(owner) {
                names.remove(path);
                if names.is_empty() {
                    self.links.remove(owner);
                }
            }
        } else if inode.kind.can_have_names()
            && let Some(names) = self.links.remove(path)
        {
            self.seat(names, inode);
        }
    }
}

/// The entries of a map of paths that are strictly below `path`.
pub(super) fn below<'a, T>(
    map: &'a BTreeMap<TreePath, T>,
    path: &TreePath,
) -> impl Iterator<Item = (&'a TreePath, &'a T)> + use<'a, T> {
    let (low, high) = bounds(path);
    map.range::<[u8], _>((
        low.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        high.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
    ))
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// The byte strings between which everything below `path` lies: `path/` and `path0`, as `0` follows `/`.
pub(super) fn bounds(path: &TreePath) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    if path.is_root() {
        return (Some(Vec::new()), None);
    }
    let with = |last: u8| {
        let mut bytes = path.as_bytes().to_vec();
        bytes.push(last);
        Some(bytes)
    };
    (with(b'/'), with(b'0'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta};

    #[test]
    fn many_names_of_one_file_come_and_go_in_no_quadratic_time() {
        let name = |number: usize| TreePath::new(format!("d/{number:06}")).unwrap();
        let link = |to: TreePath| Inode { meta: Meta::default(), kind: Kind::Hardlink(to) };
        let mut inodes = Inodes::default();
        inodes.insert(TreePath::new("d").unwrap(), Inode::directory(Meta::default()));
        inodes.insert(name(0), Inode::file(Meta::root_owned(0o600, 1), Content::of("x")));
        for number in 1..100_000 {
            inodes.insert(name(number), link(name(number - 1)));
        }
        assert_eq!(inodes.group(&name(7)), (0..100_000).map(name).collect::<Vec<_>>());
        assert_eq!(inodes.get(&name(7)).unwrap().meta, Meta::root_owned(0o600, 1));
        inodes.remove(&TreePath::new("d").unwrap());
        assert_eq!(inodes, Inodes::default());
    }
}
