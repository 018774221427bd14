//! A layer that is a part of a whole tree, for images that are cut anew.
//!
//! Where [`LayerDraft::new`] holds additions against the base they go on, a part repeats what is there: every entry, and
//! every directory above it, exactly as the tree has it. So layers that are parts of one tree can be merged in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::draft::MTIME_MAX;
use super::{Contents, LayerDraft, WriteError, write_tar};
use crate::image::{Digest, Hasher};
use crate::tree::{FileTree, Inode, Kind, TreeDelta, TreePath};

/// Why something of a tree cannot be part of a layer that every client reads alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// A device or pipe, which clients of bootable images refuse.
    #[error("{path} is a {kind}; layers carry only files, directories and links")]
    Kind {
        /// The path.
        path: TreePath,
        /// Its kind.
        kind: &'static str,
    },
    /// A name or symlink target that is not UTF-8, which ostree refuses.
    #[error("the name or target of {path} is not UTF-8")]
    NotUtf8 {
        /// The path.
        path: TreePath,
    },
    /// A name that clients take for a whiteout (image-spec layer.md, "Whiteouts").
    #[error("{path} has a name that starts with .wh., which clients take for a removal")]
    WhiteoutName {
        /// The path.
        path: TreePath,
    },
    /// An extended attribute with an equals sign in its name: a PAX record ends there.
    #[error("{path} carries the attribute {attribute:?}, whose name no tar header can hold")]
    Attribute {
        /// The path.
        path: TreePath,
        /// Its name.
        attribute: String,
    },
    /// An owner or time outside what a tar header can say to every client.
    #[error("{path} has an owner or a time out of range")]
    Range {
        /// The path.
        path: TreePath,
    },
    /// Names of one inode in different layers: each would become an inode of its own.
    #[error("{path} is another name of {target}, which is not in the same layer")]
    LinkLeaves {
        /// The link.
        path: TreePath,
        /// The first name of the inode.
        target: TreePath,
    },
}

/// Whether the inode can be in a layer.
pub(super) fn check(path: &TreePath, inode: &Inode) -> Result<(), PartError> {
    let path = || path.clone();
    let text = match &inode.kind {
        Kind::Symlink(target) => std::str::from_utf8(target).is_ok(),
        Kind::Directory | Kind::File(_) | Kind::Hardlink(_) => true,
        other => return Err(PartError::Kind { path: path(), kind: other.name() }),
    };
    if !text || path().to_str().is_none() {
        return Err(PartError::NotUtf8 { path: path() });
    }
    if path().name().starts_with(b".wh.") {
        return Err(PartError::WhiteoutName { path: path() });
    }
    if let Some(attribute) = inode.meta.xattrs.keys().find(|name| name.contains(&b'=')) {
        let attribute = String::from_utf8_lossy(attribute).into_owned();
        return Err(PartError::Attribute { path: path(), attribute });
    }
    let owners = u64::from(u32::MAX);
    let meta = &inode.meta;
    if meta.uid > owners || meta.gid > owners || !(0..=MTIME_MAX).contains(&meta.mtime) {
        return Err(PartError::Range { path: path() });
    }
    Ok(())
}

impl LayerDraft {
    /// The layer with these paths of `tree` and all directories above them. `epoch` dates its history entry.
    pub fn part<'p>(
        name: &str,
        tree: &FileTree,
        paths: impl IntoIterator<Item = &'p TreePath>,
        epoch: i64,
    ) -> Result<Self, PartError> {
        let mut wanted: BTreeSet<TreePath> = BTreeSet::new();
        for path in paths {
            for above in path.ancestors() {
                if !wanted.contains(&above) {
                    wanted.insert(above);
                }
            }
            wanted.insert(path.clone());
        }
        if tree.get(&TreePath::root()).is_some() {
            wanted.insert(TreePath::root());
        }
        let mut delta = TreeDelta::new();
        for path in wanted {
            let Some(inode) = tree.get(&path) else { continue };
            check(&path, inode)?;
            if let Kind::Hardlink(target) = &inode.kind
                && !delta.entries().contains_key(target)
            {
                return Err(PartError::LinkLeaves { path, target: target.clone() });
            }
            delta.insert(path, inode.clone());
        }
        Ok(Self { name: name.to_owned(), delta, epoch, annotations: BTreeMap::new() })
    }
}

impl LayerDraft {
    /// The draft as several: what `part` names goes into a layer of that name, the rest stays, with all removals. A
    /// hardlink goes where its target goes. Where everything or nothing would leave, the draft stays as it is.
    ///
    /// Law: the parts applied one after the other are the draft applied.
    pub fn divide(self, part: impl Fn(&TreePath) -> Option<String>) -> Vec<Self> {
        let entries = self.delta.entries();
        let mut parts: BTreeMap<Option<String>, BTreeSet<TreePath>> = BTreeMap::new();
        for (path, inode) in entries.iter().filter(|(_, inode)| !inode.is_directory()) {
            let named = match &inode.kind {
                Kind::Hardlink(target) => part(target),
                _ => part(path),
            };
            parts.entry(named).or_default().insert(path.clone());
        }
        let marked = !self.delta.whiteouts().is_empty() || !self.delta.opaques().is_empty();
        if parts.keys().all(Option::is_none) || (parts.len() == 1 && !marked) {
            return vec![self];
        }
        let mut own = TreeDelta::new();
        self.delta.whiteouts().iter().for_each(|path| own.whiteout(path.clone()));
        self.delta.opaques().iter().for_each(|path| own.opaque(path.clone()));
        // What nobody else lists as a parent: empty directories, and those of the removals.
        let leaving: BTreeSet<TreePath> = parts
            .iter()
            .filter(|(name, _)| name.is_some())
            .flat_map(|(_, paths)| paths.iter().flat_map(TreePath::ancestors).collect::<Vec<_>>())
            .collect();
        let stays: BTreeSet<TreePath> = entries
            .iter()
            .filter(|(path, inode)| inode.is_directory() && !leaving.contains(*path))
            .map(|(path, _)| path.clone())
            .chain(self.delta.whiteouts().iter().chain(self.delta.opaques()).cloned())
            .collect();
        let kept = parts.remove(&None).unwrap_or_default();
        let rest = stays.iter().chain(&kept);
        fill(&mut own, entries, rest);
        let mut drafts = Vec::new();
        if !own.is_empty() {
            drafts.push(Self { delta: own, ..self.clone() });
        }
        for (name, paths) in parts {
            let mut delta = TreeDelta::new();
            fill(&mut delta, entries, paths.iter());
            let name = name.map_or_else(|| self.name.clone(), |part| format!("{}: {part}", self.name));
            drafts.push(Self { name, delta, ..self.clone() });
        }
        drafts
    }

    /// The draft with the extended attribute `name` taken off all it has but directories of `base`, which it only repeats.
    #[must_use]
    pub fn without_attribute(self, name: &[u8], base: &FileTree) -> Self {
        let goes = |path: &TreePath, inode: &Inode| {
            let repeated = inode.is_directory() && base.get(path).is_some_and(Inode::is_directory);
            !repeated && inode.meta.xattrs.contains_key(name)
        };
        let doomed = self.delta.entries().iter().filter(|(path, inode)| goes(path, inode));
        let doomed: BTreeSet<TreePath> = doomed.map(|(path, _)| path.clone()).collect();
        if doomed.is_empty() {
            return self;
        }
        let mut delta = TreeDelta::new();
        self.delta.whiteouts().iter().for_each(|path| delta.whiteout(path.clone()));
        self.delta.opaques().iter().for_each(|path| delta.opaque(path.clone()));
        for (path, inode) in self.delta.entries() {
            let mut inode = inode.clone();
            if doomed.contains(path) {
                inode.meta.xattrs.remove(name);
            }
            delta.insert(path.clone(), inode);
        }
        Self { delta, ..self }
    }
}

/// Copies entries with the directories above them.
fn fill<'p>(delta: &mut TreeDelta, entries: &BTreeMap<TreePath, Inode>, paths: impl Iterator<Item = &'p TreePath>) {
    let paths: Vec<&TreePath> = paths.collect();
    let wanted: BTreeSet<TreePath> =
        paths.iter().flat_map(|path| path.ancestors()).chain(paths.iter().map(|path| (*path).clone())).collect();
    for path in wanted {
        if let Some(inode) = entries.get(&path) {
            delta.insert(path, inode.clone());
        }
    }
    if let Some(root) = entries.get(&TreePath::root()) {
        delta.insert(TreePath::root(), root.clone());
    }
}

/// The diff_id of the draft and the bytes of its tar, without compressing it: a quarter of the work of sealing it.
///
/// Law: they are those that [`seal`](super::seal()) finds.
pub fn measure(draft: &LayerDraft, contents: &dyn Contents) -> Result<(Digest, u64), WriteError> {
    struct Sink(Hasher, u64);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            self.1 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Sink(Hasher::default(), 0);
    write_tar(draft, contents, &mut sink)?;
    Ok((sink.0.finish(), sink.1))
}
