//! Where bytes live: directories, layouts, archives, caches, mirrors.
//!
//! [`BlobSource`] gives blobs that are verified as they are read; [`BlobStore`] takes them as well. [`Layout`] is an
//! OCI layout directory that survives power cuts, concurrent writers and full disks.
//!
//! Why the crate `ocidir` (0.8) is not used for that, but only as a judge in the tests: it does not synchronise blobs
//! before the index that lists them, so after a power cut every blob may be empty while the index is whole; two writers
//! at the same time lose each other's entries; a full disk makes it panic; its check passes over the digests of
//! manifests and hangs on a pipe in the place of a blob; and its layers are dated by the clock.

pub mod dir;
pub mod layers;
#[cfg(feature = "registry")]
pub mod registry;

mod archive;
mod blob;
mod cache;
mod copy;
mod error;
mod file;
mod fsck;
mod gc;
mod kept;
mod layout;
#[cfg(feature = "pull")]
mod mirror;
mod parallel;
mod resolve;
#[cfg(test)]
#[cfg_attr(not(any(feature = "pull", feature = "registry")), expect(dead_code, reason = "the registry in it"))]
pub(crate) mod scratch;
mod source;
mod unpacked;
mod verified;

pub use archive::{Archive, ArchiveFault, write_archive};
pub use blob::{BlobSource, BlobStore, VerifiedReader, read_document};
pub use cache::{CacheDir, CacheEntry, CacheKind};
pub use copy::{Mirrored, Platforms, copy};
pub use error::StoreError;
pub use fsck::{Finding, FsckReport, fsck};
pub use gc::{GcMode, GcReport, expire, gc};
pub use kept::KeptContents;
pub use layout::{BlobSink, BlobWriter, Committed, Layout, Taken, Transaction, is_attached};
#[cfg(feature = "pull")]
pub use mirror::{MirrorOptions, ProxyError, Remote, SkopeoOptions, mirror};
pub use resolve::{MAX_DEPTH, Resolved, reachable, resolve, select};
#[cfg(any(feature = "pull", feature = "registry"))]
pub use source::Fetch;
pub use source::{Ambient, BaseImage, Places, open_local};
pub use unpacked::Unpacked;
pub use verified::Verified;
