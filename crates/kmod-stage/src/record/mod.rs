//! Packages whose files a stage brings, entered into the package database of the image.
//!
//! Files that are taken out of packages are unknown to the image's package manager, and so to scanners and bills of
//! material. A stage may enter those packages, as `rpm --install --justdb --noscripts --nodeps` does. The database to
//! enter them into is that of the image so far, which other stages change, while the result of a builder is kept for
//! many images. So it takes two steps: in the builder the package manager itself has written the entries, and the result
//! has them below a path that is no part of any image; when the image is assembled, they are put into its database.

mod dpkg;
mod rpm;

use oci_assemble::image::Epoch;
use oci_assemble::layer::WholeError;
use oci_assemble::pkgdb::{DbKind, PkgDbError, detect};
use oci_assemble::plan::step::View;
use oci_assemble::tree::{Inode, PathError, TreeDelta, TreePath};

use crate::capture::Export;

pub(crate) use dpkg::SUMS;

/// Where results have what is to be entered.
const RECORD: &str = "usr/lib/.assemble-record";

/// Why packages could not be entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A database that is not written.
    #[error("packages are entered into the databases of dpkg and of rpm's sqlite form; the {whose} has {}", .kind.map_or_else(|| "none".to_owned(), |kind| kind.to_string()))]
    Kind {
        /// Whose database.
        whose: &'static str,
        /// Its kind.
        kind: Option<DbKind>,
    },
    /// A package that the builder does not know.
    #[error("the builder's database has no package {name}")]
    NoPackage {
        /// Its name.
        name: String,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Database(#[from] PkgDbError),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] WholeError),
    /// A name that no path has.
    #[error(transparent)]
    Name(#[from] PathError),
    /// SQLite refuses.
    #[error("SQLite cannot change {path}")]
    Sqlite {
        /// The database.
        path: TreePath,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A database that is not as the package manager makes it.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The database.
        path: TreePath,
        /// What is wrong.
        what: &'static str,
    },
}

/// The entries of `packages` in the database of a builder, to be kept with its result.
///
/// Law: equal exports and names give equal entries.
pub fn taken(packages: &[String], export: &Export, epoch: Epoch) -> Result<TreeDelta, RecordError> {
    let found = detect(&export.tree);
    match found.as_ref().map(|location| (location.kind, &location.path)) {
        Some((DbKind::Dpkg, status)) => dpkg::taken(packages, export, status, epoch),
        Some((DbKind::RpmSqlite, path)) => rpm::taken(packages, export, path, epoch),
        other => Err(RecordError::Kind { whose: "builder", kind: other.map(|(kind, _)| kind) }),
    }
}

/// `delta` without the entries that were kept with it, and with the database of the image of `view` that has them.
/// `contents` are those of the delta.
pub fn entered(
    mut delta: TreeDelta,
    contents: &dyn oci_assemble::layer::Contents,
    view: View<'_>,
) -> Result<TreeDelta, RecordError> {
    let mut kept: Vec<(TreePath, Inode)> = Vec::new();
    let top = TreePath::new(RECORD)?;
    for (path, inode) in delta.entries().iter().filter(|(path, _)| **path == top || path.is_below(&top)) {
        kept.push((path.clone(), inode.clone()));
    }
    for (path, _) in kept.iter().rev() {
        delta.forget(path);
    }
    kept.retain(|(_, inode)| !inode.is_directory());
    if kept.is_empty() {
        return Ok(delta);
    }
    let found = detect(view.tree);
    let kept = Kept { files: kept, contents };
    let change = match found.as_ref().map(|location| (location.kind, &location.path)) {
        Some((DbKind::Dpkg, status)) => dpkg::entered(&kept, status, view)?,
        Some((DbKind::RpmSqlite, path)) => rpm::entered(&kept, path, view)?,
        other => return Err(RecordError::Kind { whose: "image", kind: other.map(|(kind, _)| kind) }),
    };
    Ok(delta.then(&change))
}

/// The entries kept with a result.
struct Kept<'a> {
    files: Vec<(TreePath, Inode)>,
    contents: &'a dyn oci_assemble::layer::Contents,
}

impl Kept<'_> {
    /// The bytes of a file below [`RECORD`].
    fn bytes(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, RecordError> {
        let path = TreePath::new(RECORD)?.join(name)?;
        let Some((_, inode)) = self.files.iter().find(|(own, _)| *own == path) else { return Ok(None) };
        let mut alone = oci_assemble::tree::FileTree::new();
        alone.insert(path.clone(), inode.clone());
        Ok(Some(oci_assemble::layer::whole(&alone, self.contents, &path, limit)?))
    }
}

#[cfg(test)]
mod tests;
