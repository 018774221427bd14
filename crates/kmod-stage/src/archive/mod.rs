//! Files inside of packages, without a package manager: .deb (deb(5)) and .rpm (rpm's "Package format", V3 and V4).
//!
//! A deb is an ar archive with `data.tar` in it. An rpm is a lead of 96 bytes, two headers (the first padded to eight
//! bytes), and a compressed cpio archive of the newc form.

pub(crate) mod cpio;
mod deb;
mod rpm;
#[cfg(test)]
pub(crate) mod testing;

use std::io;

use crate::repository::RepositoryError;

/// Why a package cannot be looked into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// No package.
    #[error("it is neither a deb nor an rpm package")]
    Kind,
    /// No archive, and compressed in no way that is read.
    #[error("it is neither a cpio archive nor compressed by gzip, xz or zstd")]
    Form,
    /// The bytes are not what the format says.
    #[error("it is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The file is larger than it may be.
    #[error("{path} in it is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// What is compressed cannot be read.
    #[error("it cannot be decompressed")]
    Decompress(#[from] RepositoryError),
    /// The stream ends early, or is no archive.
    #[error("its files cannot be read")]
    Read(#[from] io::Error),
}

/// The bytes of the first regular file of a package whose path (relative, without `./`) is `wanted`.
pub fn file(package: &[u8], wanted: fn(&str) -> bool, limit: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
    if package.starts_with(deb::MAGIC) {
        deb::file(package, wanted, limit)
    } else if package.starts_with(&rpm::MAGIC) {
        rpm::file(package, wanted, limit)
    } else {
        Err(ArchiveError::Kind)
    }
}

/// `./usr/src` and `/usr/src` are `usr/src`.
fn relative(path: &str) -> &str {
    path.strip_prefix("./").or_else(|| path.strip_prefix('/')).unwrap_or(path)
}

#[cfg(test)]
mod tests;
