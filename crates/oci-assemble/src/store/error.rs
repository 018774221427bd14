//! What goes wrong between blobs and where they live.

use std::io;

use super::archive::ArchiveFault;
use crate::image::{Digest, DocumentError, ImageError, Mismatch, SelectError};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused something.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file, relative to the layout, archive or cache.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A symlink, pipe or device where a file has to be.
    #[error("{path} is not a regular file")]
    NotRegular {
        /// Relative to the layout.
        path: String,
    },
    /// A layout that lists images was taken for one that only caches blobs.
    #[error("the layout lists images, so its blobs are no mere copies")]
    Listed,
    /// A blob is not there.
    #[error("blob {digest} is missing")]
    Missing {
        /// Which.
        digest: Digest,
    },
    /// A blob is not what its descriptor says.
    #[error(transparent)]
    Blob(#[from] Mismatch),
    /// A document is larger than any real one.
    #[error("blob {digest} has {size} bytes, too many for a document")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// What its descriptor says.
        size: u64,
    },
    /// A document cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A manifest and its configuration are no image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An index does not have the platform.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The manifest is for another platform than was asked for.
    #[error("the image is for {found}, not for {wanted}")]
    Platform {
        /// What was asked for.
        wanted: String,
        /// What it is for.
        found: String,
    },
    /// Indexes within indexes, deeper than any real one.
    #[error("indexes are nested deeper than {limit}")]
    Nesting {
        /// How deep they are followed.
        limit: usize,
    },
    /// The descriptor names something that is neither image nor index.
    #[error("media type {media_type:?} is neither an image nor an index")]
    Kind {
        /// What it names.
        media_type: String,
    },
    /// The layout has no image of that name.
    #[error("no image {wanted} in the layout, which has {present:?}")]
    NoImage {
        /// Tag or digest asked for.
        wanted: String,
        /// Tags there are.
        present: Vec<String>,
    },
    /// No name was given, and there are several images.
    #[error("the layout has {found} images {present:?}, name one")]
    SeveralImages {
        /// How many.
        found: usize,
        /// Their tags.
        present: Vec<String>,
    },
    /// A tag that cannot stand in a layout.
    #[error("{tag:?} is not a valid tag")]
    Tag {
        /// The text.
        tag: String,
    },
    /// The image is not on disk, and nothing was given to fetch it with.
    #[error("{reference} has to be fetched first")]
    Elsewhere {
        /// Where it is.
        reference: String,
    },
    /// skopeo could not be used, or did not give what it should.
    #[cfg(feature = "pull")]
    #[error(transparent)]
    Proxy(#[from] super::mirror::ProxyError),
    /// A registry did not do what it was asked.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Registry(#[from] Box<super::registry::RegistryError>),
    /// A tar that is not a layout.
    #[error("not an OCI archive")]
    Archive(#[from] ArchiveFault),
    /// Somebody reads or writes the layout, so nothing can be deleted; or writes the same archive.
    #[error("the layout or archive is in use")]
    InUse,
}

impl StoreError {
    /// Whether a blob that was asked for is at fault: it is not there, or not what its descriptor says.
    pub fn is_of_blob(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Blob(_) | Self::NotRegular { .. } => true,
            #[cfg(feature = "registry")]
            Self::Registry(error) => error.is_missing(),
            _ => false,
        }
    }
}

/// The result of asking a store.
pub(super) type Result<T> = std::result::Result<T, StoreError>;

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Io { source, .. } => source.kind(),
            StoreError::Missing { .. } | StoreError::NoImage { .. } => io::ErrorKind::NotFound,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

#[cfg(feature = "registry")]
impl From<super::registry::RegistryError> for StoreError {
    fn from(error: super::registry::RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

/// Makes an [`StoreError::Io`] of what the system said; or what a reader of ours said, if it was one.
pub(super) fn io(action: &'static str, path: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    move |source| {
        if let Some(mismatch) = mismatch(&source) {
            return StoreError::Blob(mismatch);
        }
        #[cfg(feature = "registry")]
        let source = match super::registry::of_registry(source) {
            Ok(error) => return error,
            Err(source) => source,
        };
        StoreError::Io { action, path: path.into(), source }
    }
}

/// The mismatch that a verified reader reported.
pub(super) fn mismatch(error: &io::Error) -> Option<Mismatch> {
    error.get_ref()?.downcast_ref::<Mismatch>().cloned()
}
