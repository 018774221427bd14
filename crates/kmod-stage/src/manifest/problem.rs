//! Why the files of packages cannot go into an image.

use std::fmt;

use oci_assemble::layer::WholeError;
use oci_assemble::pkgdb::PkgDbError;
use oci_assemble::plan::generate::GenerateError;
use oci_assemble::tree::{Escaped, MergeError, PathError, TreePath};

use super::UnknownOwner;

/// Most problems that a message lists.
const LISTED: usize = 20;

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The builder's package database cannot be read.
    #[error("cannot read the package database of the builder")]
    Database(#[from] PkgDbError),
    /// The builder has none.
    #[error("the builder has no package database")]
    NoDatabase,
    /// A file of the builder or the base cannot be read.
    #[error("cannot read a file of the builder or the base")]
    Text(#[from] WholeError),
    /// A name that makes no path.
    #[error("a generated path is not valid")]
    Path(#[from] PathError),
    /// The files do not fit on the base.
    #[error("the files of the packages do not fit on the base")]
    Merge(#[from] MergeError),
    /// A unit that a preset enables cannot be.
    #[error("cannot enable a unit of the packages")]
    Enable(#[from] GenerateError),
    /// What is wrong with packages and files, all of it.
    #[error("{0}")]
    Problems(Problems),
}

/// All that is wrong; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    /// One to a line, the first twenty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(LISTED).enumerate() {
            write!(f, "{}{problem}", if index > 0 { "\n" } else { "" })?;
        }
        match self.0.len().checked_sub(LISTED) {
            Some(more) if more > 0 => write!(f, "\nand {more} more"),
            _ => Ok(()),
        }
    }
}

/// One thing that is wrong with a package or a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A package that is not installed in the builder.
    #[error("package {name} is not installed in the builder{}", meant(.near))]
    NotInstalled {
        /// Its name.
        name: String,
        /// Names that are nearly so.
        near: Vec<String>,
    },
    /// A package that is installed in another version.
    #[error("package {name} is installed in the builder as {}, not {version}", .installed.join(" and "))]
    OtherVersion {
        /// Its name.
        name: String,
        /// The version asked for.
        version: String,
        /// The versions there are.
        installed: Vec<String>,
    },
    /// A path that the database lists, but that is not on the disk.
    #[error("{path} of {package} is not in the builder, though its package database lists it")]
    Missing {
        /// The path.
        path: TreePath,
        /// The package.
        package: String,
    },
    /// A path that the database lists below something that is no directory.
    #[error("{} of {package} lies below something that is no directory in the builder", Escaped(.path))]
    Unplaced {
        /// The path, as it is listed.
        path: Vec<u8>,
        /// The package.
        package: String,
    },
    /// A path that lies below something of the base that is no directory.
    #[error("{path} of {package} lies below {blocker}, which is no directory in the base")]
    Blocked {
        /// The path.
        path: TreePath,
        /// The package.
        package: String,
        /// What is in the way.
        blocker: TreePath,
    },
    /// Two paths of packages that the base's merged directories make one.
    #[error(
        "{} of {} and {} of {} are both {path} in the image, but differ",
        .listed[0], .packages[0], .listed[1], .packages[1]
    )]
    Collision {
        /// The path in the image.
        path: TreePath,
        /// The paths in the builder.
        listed: [TreePath; 2],
        /// Their packages.
        packages: [String; 2],
    },
    /// A path that the base has otherwise.
    #[error(
        "{path} of {package} is in the base{}, with {difference}: name it in override to replace it",
        .owner.as_ref().map(|owner| format!(", from {owner}")).unwrap_or_default()
    )]
    InBase {
        /// The path.
        path: TreePath,
        /// The package of the builder.
        package: String,
        /// The package of the base that owns it, where known.
        owner: Option<String>,
        /// What differs.
        difference: String,
    },
    /// A directory that would take the place of something else, or the other way round.
    #[error("{path} of {package} is a {new}, but a {known} in the base: one layer cannot replace one by the other")]
    Kind {
        /// The path.
        path: TreePath,
        /// The package of the builder.
        package: String,
        /// What it would be.
        new: &'static str,
        /// What the base has.
        known: &'static str,
    },
    /// A file whose owner the image does not know.
    #[error(
        "{path} of {package} belongs to {owner}: the image must know the number, which [[{}]] with name and {} in the \
         recipe gives", .owner.kind, if .owner.kind == "user" { "uid" } else { "gid" }
    )]
    Owner {
        /// The path.
        path: TreePath,
        /// The package.
        package: String,
        /// The owner.
        owner: UnknownOwner,
    },
}

fn meant(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!(", did you mean {}?", near.join(" or ")),
    }
}
