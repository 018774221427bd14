//! The manifest as a value.

use std::collections::BTreeMap;

use oci_assemble::pkgdb::{FileFlags, Package};
use oci_assemble::tree::{Inode, TreeDelta, TreePath};

use super::{Presets, Rule};

/// One path that goes into the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where, behind the base's symlinks.
    pub path: TreePath,
    /// Where it is in the builder.
    pub listed: TreePath,
    /// The package it is of. A directory that only a package beside the chosen ones has is of that one.
    pub package: Option<String>,
    /// What the package says of it.
    pub flags: FileFlags,
    /// Kind, mode, owners as numbers of the image, capabilities, content by digest, link target.
    pub inode: Inode,
    /// Name of its user.
    pub user: String,
    /// Name of its group.
    pub group: String,
    /// Whether it takes the place of something of the base.
    pub replaces: bool,
}

/// Why a path is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    /// The base has the same, or a directory that layers cannot change.
    InBase,
    /// A rule excludes it.
    Rule(&'static Rule),
}

/// One path that does not go into the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Omitted {
    /// Where it would be.
    pub path: TreePath,
    /// Where it is in the builder.
    pub listed: TreePath,
    /// The package it is of.
    pub package: String,
    /// Why.
    pub reason: Omission,
}

/// What of packages goes into an image, and what does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The packages, sorted.
    pub packages: Vec<Package>,
    /// What goes in, in path order.
    pub entries: Vec<Entry>,
    /// What does not, in path order.
    pub omitted: Vec<Omitted>,
}

impl Manifest {
    /// How many paths each rule left out; those that left out none are not in it.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for omitted in &self.omitted {
            if let Omission::Rule(rule) = omitted.reason {
                *counts.entry(rule.name).or_default() += 1;
            }
        }
        counts
    }

    /// How many paths the base has already.
    pub fn in_base(&self) -> usize {
        self.omitted.iter().filter(|omitted| omitted.reason == Omission::InBase).count()
    }
}

/// What packages become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// What goes in and what does not.
    pub manifest: Manifest,
    /// The entries of the manifest, and nothing else. Contents are those of the builder.
    pub files: TreeDelta,
    /// What is made: lines of tmpfiles.d, and links that enable units.
    pub generated: TreeDelta,
    /// What became of the units.
    pub presets: Presets,
    /// What people should know, a line each.
    pub notes: Vec<String>,
}

impl Selected {
    /// Files and what is made, as one.
    pub fn delta(&self) -> TreeDelta {
        self.files.then(&self.generated)
    }
}
