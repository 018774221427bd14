//! Where a tree keeps its package database.

use std::collections::BTreeSet;
use std::fmt;

use crate::tree::{FileTree, Inode, TreePath};

/// A kind of package database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DbKind {
    /// dpkg's `status` with `info/*.list`, or `status.d` of distroless images.
    Dpkg,
    /// rpm's `SQLite` database, the default since rpm 4.16.
    RpmSqlite,
    /// rpm's ndb, of SUSE.
    RpmNdb,
    /// rpm's Berkeley DB, of `CentOS` 8 and older.
    RpmBdb,
    /// apk's `installed`, of Alpine and its relatives.
    Apk,
    /// pacman's `local`, a directory a package, of Arch Linux and its relatives.
    Pacman,
}

impl fmt::Display for DbKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dpkg => "dpkg",
            Self::RpmSqlite => "rpm sqlite",
            Self::RpmNdb => "rpm ndb",
            Self::RpmBdb => "rpm bdb",
            Self::Apk => "apk",
            Self::Pacman => "pacman",
        })
    }
}

/// A package database in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbLocation {
    /// Its kind.
    pub kind: DbKind,
    /// The main file, symlinks followed: `rpmdb.sqlite`, dpkg's `status` or the directory `status.d`, apk's `installed`,
    /// pacman's directory `local`.
    pub path: TreePath,
    /// Another database of the same package manager that is not the same file.
    pub second: Option<TreePath>,
}

/// Where rpm's database is: since Fedora 36, on rpm-ostree systems, and before. On real systems the others are links
/// to one of them. Copies elsewhere (`/usr/lib/sysimage/rpm-ostree-base-db`, `/sysroot`) are not live.
const RPM: [&str; 3] = ["usr/lib/sysimage/rpm", "usr/share/rpm", "var/lib/rpm"];
const RPM_FILES: [(&str, DbKind); 3] =
    [("rpmdb.sqlite", DbKind::RpmSqlite), ("Packages.db", DbKind::RpmNdb), ("Packages", DbKind::RpmBdb)];
/// dpkg's own place, and where bootable Debian images keep it because `/var` starts out empty. When both are there,
/// the first is the one that dpkg last wrote.
const DPKG: [&str; 2] = ["var/lib/dpkg", "usr/lib/dpkg"];
/// apk's database: since version 3, and before.
const APK: [&str; 2] = ["usr/lib/apk/db/installed", "lib/apk/db/installed"];
/// pacman's own place, and where bootable images keep it.
const PACMAN: [&str; 3] = ["var/lib/pacman/local", "usr/lib/sysimage/lib/pacman/local", "usr/lib/pacman/local"];

/// Finds the live package database. A database without bytes counts for nothing; when a tree has both, rpm's is the
/// live one unless the tree is a Debian system (it has `/etc/debian_version`).
pub fn detect(tree: &FileTree) -> Option<DbLocation> {
    let debian = tree.lookup("etc/debian_version").is_some();
    let known = if debian { dpkg(tree).or_else(|| rpm(tree)) } else { rpm(tree).or_else(|| dpkg(tree)) };
    known.or_else(|| apk(tree)).or_else(|| pacman(tree))
}

/// The files that [`installed`](super::installed) opens of the database at `location`: a few.
pub fn main_files(tree: &FileTree, location: &DbLocation) -> Vec<TreePath> {
    match location.kind {
        DbKind::Dpkg if tree.content(&location.path).is_some() => vec![location.path.clone()],
        _ => files(tree, location),
    }
}

/// The files that [`read`](super::read) opens of the database at `location`.
pub fn files(tree: &FileTree, location: &DbLocation) -> Vec<TreePath> {
    let beside = |name: &str| location.path.parent().and_then(|folder| folder.join(name).ok());
    let mut files: BTreeSet<TreePath> = BTreeSet::new();
    match location.kind {
        DbKind::Dpkg => {
            let folders = [Some(location.path.clone()), beside("info")];
            for folder in folders.into_iter().flatten() {
                let children = tree.children(&folder).map(|(path, _)| path.clone());
                files.extend(children.filter(|path| folder == location.path || listing(path)));
            }
            files.extend(beside("diversions"));
        }
        DbKind::Pacman => {
            for (folder, _) in tree.children(&location.path) {
                files.extend(["desc", "files"].into_iter().filter_map(|name| folder.join(name).ok()));
            }
        }
        DbKind::Apk => {}
        _ => files.extend(beside("rpmdb.sqlite-wal")),
    }
    files.insert(location.path.clone());
    files.into_iter().filter(|path| tree.content(path).is_some()).collect()
}

/// Whether a file of dpkg's `info` is opened.
fn listing(path: &TreePath) -> bool {
    [b".list".as_slice(), b".conffiles"].iter().any(|end| path.as_bytes().ends_with(end))
}

fn rpm(tree: &FileTree) -> Option<DbLocation> {
    for (name, kind) in RPM_FILES {
        let mut found = RPM.iter().filter_map(|folder| filled(tree, &format!("{folder}/{name}")));
        if let Some(path) = found.next() {
            return Some(DbLocation { kind, second: found.find(|other| *other != path), path });
        }
    }
    None
}

fn dpkg(tree: &FileTree) -> Option<DbLocation> {
    let status = DPKG.iter().find_map(|folder| filled(tree, &format!("{folder}/status")));
    let path = status.or_else(|| {
        DPKG.iter().find_map(|folder| {
            let (path, inode) = tree.lookup(format!("{folder}/status.d"))?;
            (Inode::is_directory(inode) && tree.children(&path).next().is_some()).then_some(path)
        })
    })?;
    Some(DbLocation { kind: DbKind::Dpkg, path, second: None })
}

fn apk(tree: &FileTree) -> Option<DbLocation> {
    let mut found = APK.iter().filter_map(|path| filled(tree, path));
    let path = found.next()?;
    Some(DbLocation { kind: DbKind::Apk, second: found.find(|other| *other != path), path })
}

fn pacman(tree: &FileTree) -> Option<DbLocation> {
    let filled = |folder: &&str| {
        let (path, inode) = tree.lookup(folder)?;
        let package = |name: &TreePath| tree.content(&name.join("desc").ok()?).map(drop);
        (inode.is_directory() && tree.children(&path).any(|(name, _)| package(name).is_some())).then_some(path)
    };
    let mut found = PACMAN.iter().filter_map(filled);
    let path = found.next()?;
    Some(DbLocation { kind: DbKind::Pacman, second: found.find(|other| *other != path), path })
}

/// The regular file that `path` leads to, when it is not empty.
fn filled(tree: &FileTree, path: &str) -> Option<TreePath> {
    let (found, _) = tree.lookup(path)?;
    (tree.content(&found)?.size() > 0).then_some(found)
}
