//! Metadata of rpm repositories: `repodata/repomd.xml` and the package list that it names `primary`.
//!
//! The format has no specification; createrepo_c writes it and libdnf reads it. File lists and changelogs are other
//! files, which are not read here.

mod document;
mod primary;
mod repomd;

pub use primary::read_primary;
pub use repomd::Repomd;
