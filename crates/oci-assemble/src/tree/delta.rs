//! What one layer says of a tree: entries, whiteouts and opaque marks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::inode::{Inode, Kind};
use super::inodes::{Inodes, bounds};
use super::merge::FileTree;
use super::path::TreePath;

/// The content of one layer. Whiteouts and opaque marks act on what is below the layer, never on its own entries.
///
/// Laws: `between(a, b)` applied to `a` gives `b`; for deltas whose hardlinks stay inside them,
/// applying `d1.then(&d2)` equals applying `d1`, then `d2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeDelta {
    entries: Inodes,
    whiteouts: BTreeSet<TreePath>,
    opaques: BTreeSet<TreePath>,
}

impl TreeDelta {
    /// A delta that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Entries in path order.
    pub fn entries(&self) -> &BTreeMap<TreePath, Inode> {
        self.entries.map()
    }

    /// The inode that an entry of this delta is a name of: what a hardlink links to, else the entry itself. So is a
    /// hardlink to what is in the layers below.
    pub fn linked<'a>(&'a self, inode: &'a Inode) -> &'a Inode {
        match &inode.kind {
            Kind::Hardlink(owner) => self.entries().get(owner).unwrap_or(inode),
            _ => inode,
        }
    }

    /// Paths removed with everything below them.
    pub fn whiteouts(&self) -> &BTreeSet<TreePath> {
        &self.whiteouts
    }

    /// Directories whose lower content is hidden.
    pub fn opaques(&self) -> &BTreeSet<TreePath> {
        &self.opaques
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.map().is_empty() && self.whiteouts.is_empty() && self.opaques.is_empty()
    }

    /// Adds an entry. A non-directory takes the place of entries at and below its path.
    pub fn insert(&mut self, path: TreePath, inode: Inode) {
        self.entries.insert(path, inode);
    }

    /// Removes `path` of the layers below.
    pub fn whiteout(&mut self, path: TreePath) {
        self.whiteouts.insert(path);
    }

    /// Hides what the layers below have in directory `path`.
    pub fn opaque(&mut self, path: TreePath) {
        self.opaques.insert(path);
    }

    /// Drops the entry at `path` and the entries below it.
    pub fn forget(&mut self, path: &TreePath) {
        self.entries.remove(path);
    }

    /// The smallest delta that leads from `before` to `after`. Hardlink groups are carried whole, so that no link
    /// leaves the layer; nothing is opaque.
    pub fn between(before: &FileTree, after: &FileTree) -> Self {
        let mut changed: BTreeSet<TreePath> = BTreeSet::new();
        for (path, inode) in after.iter() {
            if before.get(path) != Some(inode) {
                changed.extend(after.group_of(path));
            }
        }
        let mut delta = Self::new();
        for path in changed {
            if let Some(inode) = after.get(&path) {
                delta.insert(path, inode.clone());
            }
        }
        for path in before.map().keys() {
            let gone = after.get(path).is_none();
            let parent_stays = path
                .parent()
                .is_none_or(|parent| parent.is_root() || after.get(&parent).is_some_and(Inode::is_directory));
            if gone && parent_stays {
                delta.whiteout(path.clone());
            }
        }
        delta
    }

    /// This delta followed by `next`, as one.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        let mut sum = self.clone();
        for path in &next.opaques {
            sum.entries.remove_below(path);
            sum.drop_marks_below(path);
            sum.opaques.insert(path.clone());
        }
        for path in &next.whiteouts {
            sum.entries.remove(path);
            sum.drop_marks_below(path);
            sum.opaques.remove(path);
            sum.whiteouts.insert(path.clone());
        }
        let (links, others): (Vec<_>, Vec<_>) = next.entries().iter().partition(|(_, inode)| inode.kind.is_hardlink());
        for (path, inode) in others.into_iter().chain(links) {
            sum.lay(path, inode);
        }
        sum
    }

    fn lay(&mut self, path: &TreePath, inode: &Inode) {
        if inode.is_directory() {
            let replaced = self.entries.get(path).is_some_and(|found| !found.is_directory());
            if self.whiteouts.remove(path) || replaced {
                self.opaques.insert(path.clone());
            }
        } else {
            self.drop_marks_below(path);
            self.opaques.remove(path);
            self.whiteouts.remove(path);
        }
        self.entries.insert(path.clone(), inode.clone());
    }

    fn drop_marks_below(&mut self, path: &TreePath) {
        let (low, high) = bounds(path);
        let range = (
            low.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
            high.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        );
        for marks in [&mut self.whiteouts, &mut self.opaques] {
            let doomed: Vec<TreePath> = marks.range::<[u8], _>(range).cloned().collect();
            for mark in &doomed {
                marks.remove(mark);
            }
        }
    }
}

impl From<&FileTree> for TreeDelta {
    /// The delta that makes this tree from nothing.
    fn from(tree: &FileTree) -> Self {
        Self::between(&FileTree::new(), tree)
    }
}
