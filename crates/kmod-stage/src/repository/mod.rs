//! What package repositories offer, read from their metadata.
//!
//! Plans and locks need to know which kernels there are before any container runs. A caller fetches the files, this
//! module reads them: `repodata` for rpm (repomd.xml names and pins primary.xml, which lists the packages), `debian`
//! (Release names and pins Packages files), and the files that say where repositories are (`.repo`, `.sources`, `.list`).
//! `configured` and [`Repository::packages`] put it together for whatever a [`Fetch`] can get.
//!
//! Everything here is bytes of strangers. Readers stream, keep only the packages that are wanted, and stop at limits.
//! Signatures are not checked here: what a caller passes must already be verified, by its signature or by the digest
//! that a verified file gives for it ([`MetadataFile::verify`]).

pub mod deb822;
pub mod debian;
mod decompress;
mod error;
mod fetch;
pub mod lines;
pub mod list_file;
pub mod repo_file;
pub mod repodata;
pub mod sources_file;
mod survey;
mod variables;

use std::collections::BTreeMap;

use oci_assemble::image::Digest;

use crate::version::PackageVersion;

pub use decompress::{PLAIN_MAX, decompress};
pub use error::{Place, RepositoryError, RepositoryFault};
pub(crate) use fetch::file_path;
pub use fetch::{Fetch, FetchError, LocalFiles};
pub(crate) use survey::{LIST_MAX, ROOT_MAX};
pub use survey::{Repository, SurveyError, Unread, configured};
pub use variables::Variables;

/// Most packages that one reading keeps. Debian's largest list has some 70,000; one package takes less than 1 KiB.
const PACKAGES_MAX: usize = 200_000;

/// A package that a repository offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version, by the rules of the repository's family.
    pub version: PackageVersion,
    /// Architecture as the family calls it: `x86_64`, `amd64`; also `noarch`, `all`, `src`.
    pub architecture: String,
    /// Digest of the package file.
    pub digest: Digest,
    /// Bytes of the package file.
    pub size: u64,
    /// Path of the package file below the repository: relative, without `..`.
    pub location: String,
    /// URL that the path is relative to, where it is not the repository's (`xml:base` of rpm repositories).
    pub location_base: Option<String>,
    /// `Depends` as written. Debian only: for rpm no plan needs them.
    pub depends: Option<String>,
}

/// A file of the repository's metadata, as the file at the root pins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataFile {
    /// Path below the repository (rpm) or the suite's directory (Debian): relative, without `..`.
    pub location: String,
    /// Digest of the file as it is fetched.
    pub digest: Digest,
    /// Bytes of the file as it is fetched.
    pub size: Option<u64>,
}

impl MetadataFile {
    /// Compares a fetched file with what is pinned.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), RepositoryError> {
        let mut hasher = self.digest.hasher();
        hasher.update(bytes);
        let found = hasher.finish();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if found == self.digest && self.size.is_none_or(|size| size == length) {
            return Ok(());
        }
        let fault = RepositoryFault::OtherBytes { expected: self.digest, found };
        Err(RepositoryError::new(&self.location, Place::File, fault))
    }
}

/// Metadata files by what they are called: `primary` (rpm), `main/binary-amd64/Packages.xz` (Debian).
pub type MetadataFiles = BTreeMap<String, MetadataFile>;

/// Refuses locations that lead out of the repository.
fn location(text: &str) -> Result<String, RepositoryFault> {
    let plain = !text.is_empty() && !text.starts_with('/') && text.split('/').all(|part| part != "..");
    let printable = text.chars().all(|c| !c.is_control() && c != '\\');
    if plain && printable && !text.contains("://") {
        Ok(text.to_owned())
    } else {
        Err(RepositoryFault::Location(text.chars().take(256).collect()))
    }
}

/// The digest of `algorithm` (as metadata call it) with these hexadecimal digits.
fn digest(algorithm: &str, hex: &str) -> Result<Digest, RepositoryFault> {
    let refuse = || RepositoryFault::Digest(format!("{algorithm}:{hex}").chars().take(160).collect());
    format!("{}:{}", algorithm.to_ascii_lowercase(), hex.to_ascii_lowercase()).parse().map_err(|_| refuse())
}

#[cfg(test)]
mod tests;
