//! Which tools a distribution installs packages with.

use std::fmt;

use oci_assemble::pkgdb::{DbKind, detect};
use oci_assemble::tree::FileTree;

/// The package manager of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// dpkg and apt.
    Debian,
    /// rpm and dnf.
    Rpm,
}

impl Family {
    /// That of an image; `None` when it has no package database, or one of a manager that builders do not know.
    pub fn of(tree: &FileTree) -> Option<Self> {
        match detect(tree)?.kind {
            DbKind::Dpkg => Some(Self::Debian),
            DbKind::RpmSqlite | DbKind::RpmNdb | DbKind::RpmBdb => Some(Self::Rpm),
            DbKind::Apk | DbKind::Pacman => None,
        }
    }

    /// Where a kernel finds modules that are not its own, relative to its directory: DKMS decides by distribution,
    /// whatever `dkms.conf` says.
    pub fn module_directory(self) -> &'static str {
        match self {
            Self::Debian => "updates/dkms",
            Self::Rpm => "extra",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debian => "apt",
            Self::Rpm => "dnf",
        })
    }
}
