//! Packages and owners as values.

use std::collections::BTreeMap;
use std::fmt;

use super::{DbKind, FileFlags};
use crate::tree::{FileTree, Resolved, TreePath};

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Epoch of the version, when it has one.
    pub epoch: Option<u64>,
    /// Upstream's version.
    pub version: String,
    /// Release (rpm) or Debian revision; native Debian packages have none.
    pub release: Option<String>,
    /// Architecture as the package manager names it; keys of rpm have none.
    pub arch: Option<String>,
    /// What it was built from: the file name of the source rpm, or the name of the Debian source package.
    pub source: Option<String>,
    /// Licence, as the package states it (rpm only).
    pub license: Option<String>,
    /// Installed size in bytes.
    pub size: Option<u64>,
    /// When it was installed, seconds since 1970; for dpkg the time of its file list.
    pub installed: Option<i64>,
    /// When it was built, seconds since 1970; dpkg does not say.
    pub built: Option<i64>,
    /// Times of the entries of its changelog, seconds since 1970, as they are listed (rpm only).
    pub changelog: Vec<i64>,
}

impl Package {
    /// The name of what it was built from; its own name when the database does not say.
    pub fn source_name(&self) -> &str {
        let Some(source) = &self.source else { return &self.name };
        // rpm has a file name: NAME-VERSION-RELEASE.src.rpm (rpm's `lib/rpmtag.h`, SOURCERPM).
        let file = source.strip_suffix(".src.rpm").or_else(|| source.strip_suffix(".nosrc.rpm"));
        let name = file.and_then(|file| file.rsplitn(3, '-').nth(2)).unwrap_or(source);
        if name.is_empty() { &self.name } else { name }
    }

    /// `[epoch:]version[-release]`.
    pub fn evr(&self) -> String {
        let epoch = self.epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        let release = self.release.as_ref().map(|release| format!("-{release}")).unwrap_or_default();
        format!("{epoch}{}{release}", self.version)
    }
}

impl fmt::Display for Package {
    /// `name-evr.arch`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.evr())?;
        self.arch.as_ref().map_or(Ok(()), |arch| write!(f, ".{arch}"))
    }
}

/// The packages of a tree and what they own.
///
/// Laws: packages are sorted and unique; every owner is one of them; each path that a reader found has its owner or is
/// unplaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages {
    /// The kind of database they were read from.
    pub kind: DbKind,
    /// The database's main file.
    pub path: TreePath,
    list: Vec<Package>,
    /// Path → indices into `list`, ascending.
    owners: BTreeMap<TreePath, Vec<usize>>,
    /// What packages say of paths, where they say anything.
    flags: BTreeMap<(TreePath, usize), FileFlags>,
    /// Paths as they are listed, with the index of the package, that no path of the tree can be.
    unplaced: Vec<(usize, Vec<u8>)>,
}

/// A path as a package lists it.
pub(super) struct Listed {
    /// Absolute, not led through any symlink.
    pub(super) path: Vec<u8>,
    /// What the package says of it.
    pub(super) flags: FileFlags,
}

impl Listed {
    /// A path of which nothing is said.
    pub(super) fn plain(path: Vec<u8>) -> Self {
        Self { path, flags: FileFlags::default() }
    }
}

impl Packages {
    /// Sorts what a reader found: each package with the paths it lists. The paths are led through the symlinks of
    /// `tree`, so that `/bin/sh` of a list finds `/usr/bin/sh` of the tree.
    pub(super) fn new(kind: DbKind, path: TreePath, tree: &FileTree, mut found: Vec<(Package, Vec<Listed>)>) -> Self {
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1.append(&mut next.1);
            }
            same
        });
        let mut owners: BTreeMap<TreePath, Vec<usize>> = BTreeMap::new();
        let (mut flags, mut unplaced) = (BTreeMap::new(), Vec::new());
        let mut folders: BTreeMap<Vec<u8>, Option<TreePath>> = BTreeMap::new();
        let mut list = Vec::with_capacity(found.len());
        for (index, (package, paths)) in found.into_iter().enumerate() {
            for Listed { path, flags: said } in paths {
                let at = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                let (folder, name) = path.split_at(at);
                let folder = folders.entry(folder.to_vec()).or_insert_with_key(|folder| match tree.resolve(folder) {
                    Resolved::Found(place) | Resolved::Missing(place) => Some(place),
                    Resolved::Blocked(_) => None,
                });
                let Some(place) = folder.as_ref().and_then(|folder| folder.join(name).ok()) else {
                    unplaced.push((index, path));
                    continue;
                };
                if !said.is_empty() {
                    flags.insert((place.clone(), index), said);
                }
                let owning = owners.entry(place).or_default();
                if owning.last() != Some(&index) {
                    owning.push(index);
                }
            }
            list.push(package);
        }
        Self { kind, path, list, owners, flags, unplaced }
    }

    /// All packages, sorted.
    pub fn packages(&self) -> &[Package] {
        &self.list
    }

    /// The packages of this name: several kernels, or several architectures.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Package> {
        self.list.iter().filter(move |package| package.name == name)
    }

    /// The package that owns `path`; of a directory that many own, the first.
    pub fn owner(&self, path: &TreePath) -> Option<&Package> {
        self.owners(path).next()
    }

    /// All packages that own `path`, sorted.
    pub fn owners(&self, path: &TreePath) -> impl Iterator<Item = &Package> {
        self.owners.get(path).into_iter().flatten().filter_map(|index| self.list.get(*index))
    }

    /// All owned paths in order, with their first owner.
    pub fn owned(&self) -> impl Iterator<Item = (&TreePath, &Package)> {
        self.owners.iter().filter_map(|(path, owners)| Some((path, self.list.get(*owners.first()?)?)))
    }

    /// What `package` says of `path`; nothing when it does not own it.
    pub fn flags(&self, path: &TreePath, package: &Package) -> FileFlags {
        let index = self.list.binary_search(package).ok();
        index.and_then(|index| self.flags.get(&(path.clone(), index))).copied().unwrap_or_default()
    }

    /// Paths as packages list them that nothing of the tree can be: they lie below something that is no directory.
    pub fn unplaced(&self) -> impl Iterator<Item = (&Package, &[u8])> {
        self.unplaced.iter().filter_map(|(index, path)| Some((self.list.get(*index)?, path.as_slice())))
    }
}
