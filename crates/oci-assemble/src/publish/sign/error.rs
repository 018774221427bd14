//! Why something is not signed.

use crate::image::DocumentError;
use crate::publish::sigstore::{KeyError, Refusal, ServiceError};
use crate::store::StoreError;

/// Why something is not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key did not sign.
    #[error("the key did not sign")]
    Key(#[from] KeyError),
    /// A service of a keyless signature did not do its part.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The legacy form needs what logs of version 2 do not give.
    #[error("the legacy form needs the promise of a log of version 1")]
    NoPromise,
    /// Readers of signatures know one algorithm.
    #[error("only an image with a sha256 digest can be signed")]
    Algorithm,
    /// The log takes no statement of this size, and it is no document that could be referred to.
    #[error("the statement is larger than the {limit} bytes that the log takes")]
    TooLarge {
        /// Bytes that it takes.
        limit: usize,
    },
    /// The signature that was just made does not verify: a service is not what the trust root says.
    #[error("the signature that was just made does not verify")]
    Check(#[source] Box<Refusal>),
    /// What is attached already cannot be read.
    #[error("what is attached already cannot be read")]
    Read(#[from] StoreError),
    /// What is under the tag is no list of signatures.
    #[error("what is under the tag {tag} is no artifact that can be added to")]
    Existing {
        /// The tag.
        tag: String,
        /// Why.
        #[source]
        source: Option<DocumentError>,
    },
}
