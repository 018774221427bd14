//! Short digests of what clients see of paths: only for planning, whether something changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::{Digest, Hasher};
use crate::tree::{Inode, Kind, TreePath};

/// Hashes all that clients see of a path.
pub(super) fn print(hasher: &mut Hasher, path: &TreePath, inode: &Inode) {
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(path.as_bytes());
    let meta = &inode.meta;
    field(format!("{} {} {} {} {}", inode.kind.name(), meta.mode, meta.uid, meta.gid, meta.mtime).as_bytes());
    for (name, value) in &meta.xattrs {
        field(name);
        field(value);
    }
    match &inode.kind {
        Kind::File(content) => {
            field(content.digest().map(|digest| digest.to_string()).unwrap_or_default().as_bytes());
            field(&content.size().to_le_bytes());
        }
        Kind::Symlink(target) => field(target),
        Kind::Hardlink(target) => field(target.as_bytes()),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            field(&major.to_le_bytes());
            field(&minor.to_le_bytes());
        }
        Kind::Directory | Kind::Fifo => {}
    }
}

/// Finds the directories above components, while paths come in order.
pub(super) struct Above {
    pub(super) folders: Vec<u64>,
    at: BTreeMap<TreePath, usize>,
    pub(super) of: Vec<BTreeSet<usize>>,
    /// The directory of the last path of each component: the next one is often in the same.
    last: Vec<Option<TreePath>>,
}

impl Above {
    pub(super) fn new(components: usize) -> Self {
        let (of, last) = (vec![BTreeSet::new(); components], vec![None; components]);
        Self { folders: Vec::new(), at: BTreeMap::new(), of, last }
    }

    pub(super) fn folder(&mut self, path: &TreePath, inode: &Inode) {
        let mut hasher = Hasher::default();
        print(&mut hasher, path, inode);
        self.at.insert(path.clone(), self.folders.len());
        self.folders.push(short(hasher));
    }

    pub(super) fn add(&mut self, component: usize, path: &TreePath) {
        let parent = path.parent();
        if parent.is_none() || self.last[component] == parent {
            return;
        }
        for folder in std::iter::successors(parent.clone(), TreePath::parent) {
            // Those above one that was seen were seen, too.
            if self.at.get(&folder).is_some_and(|at| !self.of[component].insert(*at)) {
                break;
            }
        }
        self.last[component] = parent;
    }
}

/// The first 64 bits of a digest.
pub(super) fn short(hasher: Hasher) -> u64 {
    let Digest::Sha256(bytes) = hasher.finish() else { return 0 };
    bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
