//! A root file system as a value, and the merge of layers into it.
//!
//! The merge follows the OCI image-spec (layer.md, "Applying Changesets"): whiteouts and opaque marks act on the
//! layers below only, a directory over a directory changes its metadata, anything else replaces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::delta::TreeDelta;
use super::inode::{Content, Inode, Kind, Meta};
use super::inodes::{Inodes, MANY};
use super::path::TreePath;

/// How many symlinks one look-up may follow (`MAXSYMLINKS` of Linux).
const SYMLINK_LIMIT: usize = 40;

/// A root file system: a sorted map from path to inode. The root directory itself may have an entry, at the empty path.
///
/// Laws: every hardlink points straight at an inode of the tree that is no directory, at the first name of it in path order;
/// `between(a, b)` applied to `a` gives `b`. A clone is free until one of both is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTree {
    inodes: Arc<Inodes>,
}

/// Why a delta does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A hardlink names something that is not in the tree, or is a directory.
    #[error("hardlink {path} points at {target}, which is not there or is a directory")]
    Dangling {
        /// The link.
        path: TreePath,
        /// What it points at.
        target: TreePath,
    },
    /// A hardlink names, through a symlink, what the same layer writes. A layer's entries have no order here, so whether it
    /// means what was there before or what is new cannot be told.
    #[error(
        "hardlink {path} points at {target}, which is {place}: the layer writes that as well, and either may be meant"
    )]
    Ambiguous {
        /// The link.
        path: TreePath,
        /// What it points at.
        target: TreePath,
        /// Where that leads.
        place: TreePath,
    },
    /// The directory of an entry is not one, nor a symlink that leads to one.
    #[error("{path} lies below {blocker}, which is not a directory")]
    NotADirectory {
        /// The entry.
        path: TreePath,
        /// The first component that is not a directory.
        blocker: TreePath,
    },
}

/// What a path leads to once symlinks are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// There is an inode at this path (never below a symlink; the last component is no symlink if it was followed).
    Found(TreePath),
    /// Nothing is there, but this is where it would be created.
    Missing(TreePath),
    /// It runs into something that is no directory, climbs in circles, or is not a valid path.
    Blocked(TreePath),
}

impl FileTree {
    /// A tree with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands at exactly this path; symlinks are not followed, and a hardlink is given as it is.
    pub fn get(&self, path: &TreePath) -> Option<&Inode> {
        self.inodes.get(path)
    }

    /// As [`FileTree::get`], for a path given as text. A text that is no valid path finds nothing.
    pub fn at(&self, path: impl AsRef<[u8]>) -> Option<&Inode> {
        self.get(&TreePath::new(path).ok()?)
    }

    /// The inode that this path is a name of: as [`FileTree::get`], but of a hardlink what it links to. Whoever asks for
    /// the target of a symlink needs this, as a symlink can have several names.
    pub fn behind(&self, path: &TreePath) -> Option<&Inode> {
        self.get(path).map(|inode| self.linked(inode))
    }

    /// The inode that an entry of this tree is a name of: what a hardlink links to, else the entry itself.
    pub fn linked<'a>(&'a self, inode: &'a Inode) -> &'a Inode {
        match &inode.kind {
            Kind::Hardlink(owner) => self.get(owner).unwrap_or(inode),
            _ => inode,
        }
    }

    /// All inodes in path order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TreePath, &Inode)> {
        self.inodes.map().iter()
    }

    /// Number of inodes.
    pub fn len(&self) -> usize {
        self.inodes.map().len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.inodes.map().is_empty()
    }

    /// The inodes strictly below `path`, in path order.
    pub fn below(&self, path: &TreePath) -> impl Iterator<Item = (&TreePath, &Inode)> {
        self.inodes.below(path)
    }

    /// The inodes directly in `path`, in path order.
    pub fn children(&self, path: &TreePath) -> impl Iterator<Item = (&TreePath, &Inode)> {
        self.inodes.children(path)
    }

    /// The content of the regular file at `path`, also when that is a hardlink; symlinks are not followed.
    pub fn content(&self, path: &TreePath) -> Option<&Content> {
        self.behind(path)?.content()
    }

    /// All names of the inode at `path`, its owner first.
    pub fn names(&self, path: &TreePath) -> Vec<TreePath> {
        self.inodes.group(path)
    }

    /// Puts an inode at `path` as a layer would: see [`FileTree::apply`]. Parents are not made.
    pub fn insert(&mut self, path: TreePath, inode: Inode) {
        Arc::make_mut(&mut self.inodes).insert(path, inode);
    }

    /// Removes `path` and everything below.
    pub fn remove(&mut self, path: &TreePath) {
        Arc::make_mut(&mut self.inodes).remove(path);
    }

    /// Follows symlinks in every component, the last one too.
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Resolved {
        self.walk(path.as_ref(), true)
    }

    /// Follows symlinks in every component but the last: where a write to `path` lands.
    pub fn resolve_parent(&self, path: impl AsRef<[u8]>) -> Resolved {
        self.walk(path.as_ref(), false)
    }

    /// The inode and its path after following symlinks.
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Option<(TreePath, &Inode)> {
        match self.resolve(path) {
            Resolved::Found(path) => self.get(&path).map(|inode| (path.clone(), inode)),
            _ => None,
        }
    }

    fn walk(&self, path: &[u8], follow_last: bool) -> Resolved {
        // Nothing stands below a symlink, so what is found as it is spelled is reached through directories alone.
        if let Ok(path) = TreePath::new(path)
            && let Some(inode) = self.get(&path)
            && !(follow_last && matches!(self.linked(inode).kind, Kind::Symlink(_)))
        {
            return Resolved::Found(path);
        }
        let mut here = TreePath::root();
        let mut rest: VecDeque<Vec<u8>> = parts(path).collect();
        let mut followed = 0;
        while let Some(part) = rest.pop_front() {
            if part == b".." {
                here = here.parent().unwrap_or_default();
                continue;
            }
            let Ok(next) = here.join(&part) else {
                return Resolved::Blocked(here);
            };
            match self.behind(&next).map(|inode| &inode.kind) {
                Some(Kind::Symlink(target)) if follow_last || !rest.is_empty() => {
                    followed += 1;
                    if followed > SYMLINK_LIMIT {
                        return Resolved::Blocked(next);
                    }
                    if target.first() == Some(&b'/') {
                        here = TreePath::root();
                    }
                    for part in parts(target).rev() {
                        rest.push_front(part);
                    }
                }
                Some(Kind::Directory) => here = next,
                Some(_) if rest.is_empty() => return Resolved::Found(next),
                Some(_) => return Resolved::Blocked(next),
                None => return self.missing(next, rest),
            }
        }
        Resolved::Found(here)
    }

    /// Nothing is at `next`: there are no symlinks in what is left of the path.
    fn missing(&self, mut next: TreePath, rest: VecDeque<Vec<u8>>) -> Resolved {
        for part in rest {
            next = if part == b".." {
                next.parent().unwrap_or_default()
            } else {
                match next.join(part) {
                    Ok(path) => path,
                    Err(_) => return Resolved::Blocked(next),
                }
            };
        }
        if self.get(&next).is_some() { Resolved::Found(next) } else { Resolved::Missing(next) }
    }

    /// The tree with `delta` laid over it.
    ///
    /// Directories that a delta leaves out are made with mode 0755, owner root and the entry's time; an entry whose
    /// directory is a symlink goes where the link leads, as containers-storage and umoci place it.
    pub fn apply(mut self, delta: &TreeDelta) -> Result<Self, MergeError> {
        // From the last, as the names of a group would pass the inode on from one to the next.
        for path in delta.opaques().iter().rev() {
            Arc::make_mut(&mut self.inodes).remove_below(path);
        }
        for path in delta.whiteouts().iter().rev() {
            self.remove(path);
        }
        // What the delta writes in the place of something, where a link of it may mean either.
        let mut replaced = BTreeSet::new();
        let is_outside = |target: &TreePath| !delta.entries().contains_key(target);
        let outside =
            delta.entries().values().any(|inode| matches!(&inode.kind, Kind::Hardlink(target) if is_outside(target)));
        if self.inodes.has_large_group() {
            let in_the_way = |path: &TreePath| {
                self.get(path).is_some_and(|old| old.is_directory() || self.inodes.count(path) > MANY)
            };
            let entries =
                delta.entries().iter().rev().filter(|(path, inode)| !inode.is_directory() && in_the_way(path));
            let doomed: Vec<&TreePath> = entries.map(|(path, _)| path).collect();
            for path in doomed {
                self.remove(path);
                replaced.insert(path.clone());
            }
        }
        let mut links = Vec::new();
        for (path, inode) in delta.entries() {
            match &inode.kind {
                // A name of a symlink leads on what lies below it, so it has its place in the order. Links that stay in the
                // delta point at an earlier name.
                Kind::Hardlink(target) if !self.is_symlink(target) => links.push((path, inode, target)),
                Kind::Hardlink(target) => self.link(path, inode, target, is_outside(target).then_some(&replaced))?,
                _ => {
                    let place = self.place(path, inode)?;
                    if outside && !inode.is_directory() && self.get(&place).is_some() {
                        replaced.insert(place.clone());
                    }
                    self.insert(place, inode.clone());
                }
            }
        }
        for (path, inode, target) in links {
            self.link(path, inode, target, is_outside(target).then_some(&replaced))?;
        }
        Ok(self)
    }

    /// Whether a hardlink to `target` would be a name of a symlink.
    fn is_symlink(&self, target: &TreePath) -> bool {
        let Resolved::Found(found) = self.resolve_parent(target.as_bytes()) else { return false };
        self.behind(&found).is_some_and(|inode| matches!(inode.kind, Kind::Symlink(_)))
    }

    /// Lays a hardlink over the tree. As link(2), it does not follow a symlink that is its target. One whose target
    /// is no entry of its layer, and yet is something that this `replaced`, may mean what was there before.
    fn link(
        &mut self,
        path: &TreePath,
        inode: &Inode,
        target: &TreePath,
        replaced: Option<&BTreeSet<TreePath>>,
    ) -> Result<(), MergeError> {
        let found = match self.resolve_parent(target.as_bytes()) {
            Resolved::Found(found) if self.behind(&found).is_some_and(|inode| inode.kind.can_have_names()) => found,
            _ => return Err(MergeError::Dangling { path: path.clone(), target: target.clone() }),
        };
        if replaced.is_some_and(|replaced| replaced.contains(&found)) {
            return Err(MergeError::Ambiguous { path: path.clone(), target: target.clone(), place: found });
        }
        let place = self.place(path, inode)?;
        self.insert(place, Inode { kind: Kind::Hardlink(found), meta: inode.meta.clone() });
        Ok(())
    }

    fn place(&mut self, path: &TreePath, inode: &Inode) -> Result<TreePath, MergeError> {
        let Some(parent) = path.parent() else {
            return Ok(path.clone());
        };
        if parent.is_root() || self.get(&parent).is_some_and(Inode::is_directory) {
            return Ok(path.clone());
        }
        match self.resolve_parent(path.as_bytes()) {
            Resolved::Found(place) | Resolved::Missing(place) => {
                let implied: Vec<TreePath> = place.ancestors().filter(|above| self.get(above).is_none()).collect();
                for above in implied {
                    self.insert(above, Inode::directory(Meta::root_owned(0o755, inode.meta.mtime)));
                }
                Ok(place)
            }
            Resolved::Blocked(blocker) => Err(MergeError::NotADirectory { path: path.clone(), blocker }),
        }
    }

    /// The names of hardlink groups in `self` of which a name is in `changed`, for [`TreeDelta::between`].
    pub(super) fn group_of(&self, path: &TreePath) -> Vec<TreePath> {
        self.inodes.group(path)
    }

    /// The tree of these inodes when they are in path order, every hardlink points at an earlier inode that can have
    /// names, and nothing
    /// stands below anything but a directory (which is the caller's word).
    pub(crate) fn from_sorted(inodes: Vec<(TreePath, Inode)>) -> Option<Self> {
        Some(Self { inodes: Arc::new(Inodes::from_sorted(inodes)?) })
    }

    /// The raw map.
    pub(super) fn map(&self) -> &BTreeMap<TreePath, Inode> {
        self.inodes.map()
    }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}
