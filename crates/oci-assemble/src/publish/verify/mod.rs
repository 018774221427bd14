//! Verification: is this manifest signed by whom it has to be?
//!
//! The caller resolves names first: what is verified is a digest, and what is handed out is that digest. For a
//! signature to count,
//!
//! 1. it is by the key, or by the identity and the issuer that were asked for, exactly, with a certificate of an authority
//!    of the trust root that is logged in a certificate log of the root;
//! 2. a signature of an identity has an entry in a transparency log of the root, made while the certificate was valid,
//!    and the entry is for this signature (CVE-2022-36056); times that neither a log nor a timestamp authority of the root
//!    vouches for count for nothing;
//! 3. what it says can be read, is of the type asked for (an attestation is no signature), and names this digest.
//!
//! One such signature is enough; the others are reported. Everything else is refused: what cannot be read never
//! counts as good.

mod candidates;
mod error;
#[cfg(test)]
mod tests;

use crate::image::{Descriptor, Digest};

use super::attest::Statement;
use super::referrers::ReferrerSource;
use super::sign::{Payload, SIGNATURE_PREDICATE};
use super::sigstore::{CertifiedIdentity, Evidence, PublicKey, Refusal, TrustRoot, Vouched};
pub use candidates::Found;
use candidates::{Candidate, Candidates, Reading};
pub use error::VerifyError;

/// Who must have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatory {
    /// The owner of a key.
    Key {
        /// The key.
        key: PublicKey,
        /// Whether the signature must be in a transparency log, too. Whoever names a key trusts it, as a host's policy does; the
        /// log makes known that it was used.
        logged: bool,
    },
    /// An identity in a certificate.
    Identity(CertifiedIdentity),
}

/// What must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A signature.
    Signature,
    /// An attestation with this type of predicate.
    Attestation(String),
}

impl What {
    fn predicate(&self) -> &str {
        match self {
            Self::Signature => SIGNATURE_PREDICATE,
            Self::Attestation(kind) => kind,
        }
    }
}

/// What is verified, and what it was verified with.
#[derive(Debug)]
pub struct Verified {
    /// The manifest or index. Nothing but this digest is verified: no tag, and no name.
    pub digest: Digest,
    /// Good signatures; at least one.
    pub accepted: Vec<Accepted>,
    /// What claimed to be one, and is not.
    pub refused: Vec<Refused>,
}

/// A good signature.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// Where it is.
    pub found: Found,
    /// By whom it is, and where it is logged.
    pub vouched: Vouched,
    /// The name that the image was signed under; only the legacy form has it.
    pub name: Option<String>,
    /// What is attested; only for attestations.
    pub statement: Option<Statement>,
}

/// Something that is not accepted.
#[derive(Debug)]
pub struct Refused {
    /// Where it is.
    pub found: Found,
    /// Why.
    pub refusal: Refusal,
}

/// Looks for signatures or attestations of `subject` and verifies them. `root` is needed for identities, and for
/// keys whose signatures have to be logged.
pub fn verify(
    source: &dyn ReferrerSource,
    subject: &Descriptor,
    what: &What,
    signatory: &Signatory,
    root: Option<&TrustRoot>,
) -> Result<Verified, VerifyError> {
    let digest = subject.digest;
    if matches!(digest, Digest::Sha512(_)) {
        return Err(VerifyError::Algorithm { digest });
    }
    let needs_root = !matches!(signatory, Signatory::Key { logged: false, .. });
    if needs_root && root.is_none() {
        return Err(VerifyError::NoTrustRoot);
    }
    let Candidates { found, failed, mut others } = candidates::of(source, subject, what);
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for Candidate { found, reading } in found {
        match reading.and_then(|reading| judge(reading, &digest, what, signatory, root)) {
            Ok(Judged::Good { vouched, name, statement }) => {
                accepted.push(Accepted { found, vouched, name, statement });
            }
            Ok(Judged::Other(kind)) => others.push(kind),
            Err(refusal) => refused.push(Refused { found, refusal }),
        }
    }
    if !accepted.is_empty() {
        return Ok(Verified { digest, accepted, refused });
    }
    if let Some(error) = failed {
        return Err(VerifyError::Read { digest, source: error });
    }
    if let Some(error) = unreadable(&mut refused) {
        return Err(VerifyError::Read { digest, source: error });
    }
    others.sort();
    others.dedup();
    if refused.is_empty() {
        return Err(VerifyError::Nothing { digest, what: what.clone(), others });
    }
    Err(VerifyError::Refused { digest, refused })
}

/// A failure of the store itself: the signature that could not be read may be a good one.
fn unreadable(refused: &mut Vec<Refused>) -> Option<crate::store::StoreError> {
    use crate::store::StoreError::{Blob, Document, Missing, TooLarge};
    let failed = |one: &Refused| matches!(&one.refusal, Refusal::Read(error) if !matches!(error, Blob(_) | Document(_) | Missing { .. } | TooLarge { .. }));
    let place = refused.iter().position(failed)?;
    match refused.remove(place).refusal {
        Refusal::Read(error) => Some(error),
        _ => None,
    }
}

enum Judged {
    Good {
        vouched: Vouched,
        name: Option<String>,
        statement: Option<Statement>,
    },
    /// A statement of another type than was asked for.
    Other(String),
}

fn judge(
    reading: Reading,
    digest: &Digest,
    what: &What,
    signatory: &Signatory,
    root: Option<&TrustRoot>,
) -> Result<Judged, Refusal> {
    match reading {
        Reading::Payload(evidence) => {
            let vouched = vouch(&evidence, digest, signatory, root)?;
            let payload = Payload::parse(evidence.bytes())?;
            if payload.digest() != *digest {
                return Err(Refusal::Digest { expected: *digest, found: vec![payload.digest().to_string()] });
            }
            Ok(Judged::Good { vouched, name: Some(payload.name().to_owned()), statement: None })
        }
        Reading::Statement(evidence) => {
            let statement = Statement::parse(evidence.bytes())?;
            if statement.predicate_type() != what.predicate() {
                return Ok(Judged::Other(statement.predicate_type().to_owned()));
            }
            if !statement.subjects().contains(digest) {
                let found = statement.subjects().iter().map(Digest::to_string).collect();
                return Err(Refusal::Digest { expected: *digest, found });
            }
            let vouched = vouch(&evidence, digest, signatory, root)?;
            let statement = (*what != What::Signature).then_some(statement);
            Ok(Judged::Good { vouched, name: None, statement })
        }
    }
}

fn vouch(
    evidence: &Evidence,
    digest: &Digest,
    signatory: &Signatory,
    root: Option<&TrustRoot>,
) -> Result<Vouched, Refusal> {
    match signatory {
        Signatory::Key { key, logged: false } => evidence.by_key(key, None, digest),
        Signatory::Key { key, logged: true } => evidence.by_key(key, Some(root.ok_or(Refusal::NoTrustRoot)?), digest),
        Signatory::Identity(wanted) => evidence.by_identity(wanted, root.ok_or(Refusal::NoTrustRoot)?, digest),
    }
}
