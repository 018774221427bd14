//! What goes wrong while publishing.

use crate::image::{Digest, DocumentError};
use crate::store::StoreError;
use crate::store::registry::RegistryError;

/// Why an image was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The image cannot be read, or the registry did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index lists something that cannot be pushed as a manifest.
    #[error("{digest} has media type {media_type:?}, which registries take for no manifest")]
    Kind {
        /// What it is.
        digest: Box<Digest>,
        /// Its media type.
        media_type: String,
    },
    /// A document of the image cannot be read.
    #[error("manifest {digest} cannot be read")]
    Document {
        /// Which.
        digest: Box<Digest>,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// A name that is no tag.
    #[error("{tag:?} is no tag: letters, digits, and . _ - behind the first, at most 128")]
    Tag {
        /// The text.
        tag: String,
    },
    /// Something else was there when the registry was asked again.
    #[error("{tag} names {found} after it was set to {expected}")]
    Changed {
        /// The tag.
        tag: String,
        /// What was put there.
        expected: Box<Digest>,
        /// What was read back.
        found: String,
    },
}

impl From<RegistryError> for PublishError {
    fn from(error: RegistryError) -> Self {
        Self::Store(error.into())
    }
}

/// The result of publishing.
pub(super) type Result<T> = std::result::Result<T, PublishError>;
