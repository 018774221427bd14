//! From what changed to what layers can say.

use std::collections::BTreeSet;
use std::fmt;

use oci_assemble::tree::{FileTree, Inode, Meta, TreeDelta, TreePath};

use super::changes::{is_exported, same};
use super::retain::retain;

/// Changes that layers can say to every client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What must be removed by a layer of its own first: a path where a directory takes the place of something else, or
    /// the other way round. One layer cannot say so (clients disagree about a path and its removal in one layer, and
    /// about a directory that hides a symlink), two can, one after the other.
    pub removals: TreeDelta,
    /// The changes.
    pub delta: TreeDelta,
    /// What cannot be said at all.
    pub left_out: Vec<LeftOut>,
}

/// A change that layers cannot carry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// Another mode, owner or attribute of a directory that the base has: some clients ignore that in a later layer.
    Directory {
        /// The directory.
        path: TreePath,
        /// In the base.
        base: Meta,
        /// After the run.
        found: Meta,
    },
    /// An attribute of a file that was changed: exports do not carry it and layers must not. Labels are not named, as they
    /// come from the policy.
    Attribute {
        /// The file.
        path: TreePath,
        /// Name of the attribute.
        attribute: Box<[u8]>,
    },
}

/// What of `delta` layers on `base` can carry.
///
/// Law: `removals` applied to `base`, then `delta`, gives what the given delta gives, but for what is left out.
pub fn settle(delta: &TreeDelta, base: &FileTree) -> Settled {
    let mut removals = TreeDelta::new();
    let mut left_out = Vec::new();
    let mut going: BTreeSet<&TreePath> = BTreeSet::new();
    for (path, inode) in delta.entries() {
        let Some(known) = base.get(path) else { continue };
        match (known.is_directory(), inode.is_directory()) {
            (true, true) => {
                going.insert(path);
                if !same(base, known, inode) {
                    let (base, found) = (known.meta.clone(), inode.meta.clone());
                    left_out.push(LeftOut::Directory { path: path.clone(), base, found });
                }
            }
            (false, false) => {
                let lost = lost_attributes(known);
                left_out.extend(lost.map(|attribute| LeftOut::Attribute { path: path.clone(), attribute }));
            }
            _ => removals.whiteout(path.clone()),
        }
    }
    Settled { removals, delta: retain(delta, |path| !going.contains(path)), left_out }
}

fn lost_attributes(known: &Inode) -> impl Iterator<Item = Box<[u8]>> {
    let of_machine = |name: &[u8]| {
        matches!(name, b"security.selinux" | b"security.ima" | b"security.evm")
            || name.starts_with(b"trusted.overlay.")
            || name.starts_with(b"user.overlay.")
    };
    known.meta.xattrs.keys().filter(move |name| !is_exported(name) && !of_machine(name)).cloned()
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, base, found } => write!(
                f,
                "{path} stays {:04o} {}:{} as in the base, not {:04o} {}:{}: clients ignore changes of a directory in later layers",
                base.mode, base.uid, base.gid, found.mode, found.uid, found.gid
            ),
            Self::Attribute { path, attribute } => {
                write!(f, "{path} loses the attribute {}", String::from_utf8_lossy(attribute).escape_debug())
            }
        }
    }
}
