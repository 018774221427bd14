//! Installed-package databases found in a tree: which packages there are and who owns each path.
//!
//! Four kinds are read: the text files of dpkg, apk and pacman, and rpm's `SQLite` database (feature `rpm`). Nothing is
//! executed and nothing is written: the bytes come from a layer's index, and a write-ahead log beside the database is
//! applied in memory.
//! Older database formats of rpm are named in a typed error rather than taken for "no packages".

mod apk;
mod detect;
mod dpkg;
mod fetch;
mod flags;
mod package;
mod pacman;
#[cfg(feature = "rpm")]
pub mod rpm;

pub use detect::{DbKind, DbLocation, detect, files, main_files};
pub use fetch::read_at_once;
pub use flags::{FileFlag, FileFlags};
pub use package::{Package, Packages};

use crate::layer::{Contents, WholeError};
use crate::tree::{FileTree, TreePath};

/// Why a package database cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkgDbError {
    /// A file of the database could not be read.
    #[error(transparent)]
    Read(#[from] WholeError),
    /// The files of the database could not be fetched.
    #[error("cannot read the files of the package database")]
    Fetch(#[source] std::io::Error),
    /// The database is in a format that rpm has left behind.
    #[error("{path} is an rpm database of the kind {kind}, which is not read")]
    Legacy {
        /// The database file.
        path: TreePath,
        /// Its kind.
        kind: DbKind,
    },
    /// This build has no reader for the kind.
    #[error("{path} needs the feature rpm, which this build lacks")]
    NoReader {
        /// The database file.
        path: TreePath,
    },
    /// There are two live databases of one kind, so no answer would be right.
    #[error("there are two package databases, {first} and {second}")]
    Ambiguous {
        /// The one found first.
        first: TreePath,
        /// The other.
        second: TreePath,
    },
    /// The bytes are not what the format says.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The database file.
        path: TreePath,
        /// What is wrong.
        what: &'static str,
    },
    /// `SQLite` refuses the database.
    #[cfg(feature = "rpm")]
    #[error("{path} is no usable SQLite database")]
    Sqlite {
        /// The database file.
        path: TreePath,
        /// What `SQLite` said.
        #[source]
        source: rusqlite::Error,
    },
}

/// The installed packages of a tree with what they own; `Ok(None)` when it has no package database.
pub fn read(tree: &FileTree, contents: &dyn Contents) -> Result<Option<Packages>, PkgDbError> {
    read_depth(tree, contents, Depth::Files)
}

/// As [`read`], without the files: no path has an owner. Of dpkg's database only the main file is opened.
pub fn installed(tree: &FileTree, contents: &dyn Contents) -> Result<Option<Packages>, PkgDbError> {
    read_depth(tree, contents, Depth::Names)
}

/// How much of a database is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Packages alone.
    Names,
    /// Packages and what they own.
    Files,
}

fn read_depth(tree: &FileTree, contents: &dyn Contents, depth: Depth) -> Result<Option<Packages>, PkgDbError> {
    let Some(location) = detect(tree) else { return Ok(None) };
    if let Some(second) = location.second {
        return Err(PkgDbError::Ambiguous { first: location.path, second });
    }
    match location.kind {
        DbKind::Dpkg => dpkg::read(tree, contents, &location, depth).map(Some),
        DbKind::Apk => apk::read(tree, contents, &location, depth).map(Some),
        DbKind::Pacman => pacman::read(tree, contents, &location, depth).map(Some),
        #[cfg(feature = "rpm")]
        DbKind::RpmSqlite => rpm::read(tree, contents, &location, depth).map(Some),
        #[cfg(not(feature = "rpm"))]
        DbKind::RpmSqlite => Err(PkgDbError::NoReader { path: location.path }),
        kind @ (DbKind::RpmNdb | DbKind::RpmBdb) => Err(PkgDbError::Legacy { path: location.path, kind }),
    }
}

#[cfg(test)]
mod tests;
