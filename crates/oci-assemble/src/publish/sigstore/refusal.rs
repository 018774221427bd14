//! Why a signature is not accepted.

use crate::image::Digest;
use crate::image::json::JsonError;
use crate::store::StoreError;

/// Why one signature, or what claims to be one, is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It cannot be read from where it is stored.
    #[error("it cannot be read")]
    Read(#[source] StoreError),
    /// A part is not strict JSON.
    #[error("{what} is not strict JSON")]
    Json {
        /// The part.
        what: &'static str,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// A part has not the fields that it should have.
    #[error("{what} has not the expected fields")]
    Shape {
        /// The part.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A part is not what it should be.
    #[error("{what} is malformed")]
    Malformed {
        /// The part.
        what: &'static str,
    },
    /// A part is not there.
    #[error("{what} is missing")]
    Missing {
        /// The part.
        what: &'static str,
    },
    /// A part has another value than it must have.
    #[error("{what} is {found:?}, not {expected:?}")]
    Value {
        /// The part.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// It is about another image.
    #[error("it is for {found:?}, not for {expected}")]
    Digest {
        /// The image that is verified.
        expected: Digest,
        /// What the signature is for.
        found: Vec<String>,
    },
    /// The certificate names somebody else.
    #[error("it is by {found:?}, not by {expected:?}")]
    Identity {
        /// Who must have signed.
        expected: String,
        /// Who did.
        found: String,
    },
    /// The certificate was given for a token of somebody else.
    #[error("its identity was vouched for by {found:?}, not by {expected:?}")]
    Issuer {
        /// Who must have issued the token.
        expected: String,
        /// Who did.
        found: String,
    },
    /// An identity is asked for, and a key has signed.
    #[error("it is by a key, not by an identity with a certificate")]
    NotCertified,
    /// Not by the key that is asked for.
    #[error("it is not by the key")]
    NotByKey(#[source] sigstore_crypto::Error),
    /// A logged signature is asked for.
    #[error("it has no entry of a transparency log")]
    NotLogged,
    /// No trust root was given, and without one this cannot be decided.
    #[error("it cannot be judged without a trust root")]
    NoTrustRoot,
    /// Signature, certificate, log and timestamps do not all hold.
    #[error("its proof does not hold")]
    Proof(#[source] Box<sigstore_verify::Error>),
}

impl From<sigstore_verify::Error> for Refusal {
    fn from(error: sigstore_verify::Error) -> Self {
        use sigstore_crypto::SubjectAltName;
        let found = |identity: &Option<SubjectAltName>| {
            identity.as_ref().map(SubjectAltName::as_str).unwrap_or_default().to_owned()
        };
        match error {
            sigstore_verify::Error::IdentityMismatch { expected, actual } => {
                Self::Identity { expected: expected.to_string(), found: found(&actual) }
            }
            sigstore_verify::Error::IssuerMismatch { expected, actual } => {
                Self::Issuer { expected, found: actual.unwrap_or_default() }
            }
            other => Self::Proof(Box::new(other)),
        }
    }
}
