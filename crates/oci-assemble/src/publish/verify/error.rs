//! Why an image does not count as signed.

use super::{Refused, What};
use crate::image::Digest;
use crate::store::StoreError;

/// Why an image does not count as signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is nothing of the kind.
    #[error("{digest} has no {}{}", Wanted(what), Others(others))]
    Nothing {
        /// The image.
        digest: Digest,
        /// What was looked for.
        what: What,
        /// Types of the statements that are there.
        others: Vec<String>,
    },
    /// There is something, and none of it is good.
    #[error("none of {} that {digest} has is good", Count(refused.len()))]
    Refused {
        /// The image.
        digest: Digest,
        /// What is there, and why it is not accepted.
        refused: Vec<Refused>,
    },
    /// What is attached cannot be read.
    #[error("what is attached to {digest} cannot be read")]
    Read {
        /// The image.
        digest: Digest,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Identities and logs are believed because of a trust root.
    #[error("an identity or a log can only be verified with a trust root")]
    NoTrustRoot,
    /// Readers of signatures know one algorithm.
    #[error("only an image with a sha256 digest can be verified, not {digest}")]
    Algorithm {
        /// The image.
        digest: Digest,
    },
}

struct Wanted<'a>(&'a What);

impl std::fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            What::Signature => f.write_str("signature"),
            What::Attestation(kind) => write!(f, "attestation of type {kind}"),
        }
    }
}

struct Others<'a>(&'a [String]);

impl std::fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => Ok(()),
            others => write!(f, ", only statements of type {}", others.join(", ")),
        }
    }
}

struct Count(usize);

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("the one signature"),
            number => write!(f, "the {number} signatures"),
        }
    }
}
