//! Signing: a subject and signers in, artifacts to attach out.
//!
//! A [`Signer`] proves that it saw some bytes. What those bytes are is decided here: a *payload* that names the image
//! for the legacy form, an in-toto *statement* for the bundle form. Several signers stand side by side in one legacy
//! artifact, and what others put there before stays; each bundle is an artifact of its own.

mod before;
mod error;
mod legacy;
mod payload;
mod signer;

pub use before::Before;
pub use error::SignError;
pub use payload::Payload;
pub use signer::{KeySigner, KeylessSigner, Signer, SignerIdentity};

pub(super) use before::{Same, before};
pub(super) use legacy::{SIMPLE_SIGNING, appended};

use super::attest::Statement;
use super::referrers::{Artifact, ReferrerSource, referrer, signature_tag};
use super::sigstore::{BUNDLE_TYPE, Message, Proof};
use crate::image::{Descriptor, Digest, Epoch};

/// The type of a statement that says: this image is mine (cosign 3).
pub const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// In which forms signatures and attestations are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Under a tag; what hosts can enforce today.
    Legacy,
    /// As a referrer; what cosign 3 writes.
    Bundle,
    /// Each of them.
    #[default]
    Both,
}

impl Format {
    pub(super) fn legacy(self) -> bool {
        self != Self::Bundle
    }

    pub(super) fn bundle(self) -> bool {
        self != Self::Legacy
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// The name it goes by: `HOST/REPOSITORY[:TAG]`. With a tag, a host that demands it notices when somebody moves the
    /// tag to another signed image.
    pub name: String,
}

impl Subject {
    pub(super) fn digest(&self) -> Result<&Digest, SignError> {
        match &self.descriptor.digest {
            // Neither form has room for another algorithm that its readers know.
            Digest::Sha512(_) => Err(SignError::Algorithm),
            digest @ Digest::Sha256(_) => Ok(digest),
        }
    }
}

/// Artifacts to store, and what can be said of the signatures in them.
#[derive(Clone, Debug, Default)]
pub struct Signed {
    /// To be stored together.
    pub artifacts: Vec<Artifact>,
    /// One for each signature and form.
    pub proofs: Vec<Made>,
    /// What was signed before, and is not signed again.
    pub before: Vec<Before>,
}

/// One signature that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// In which form it is stored.
    pub format: Format,
    /// By whom.
    pub signer: SignerIdentity,
    /// All of it.
    pub proof: Proof,
    /// Digest of the artifact of the legacy form that it is in.
    pub legacy: Option<Digest>,
    /// Digest of the artifact of its bundle.
    pub bundle: Option<Digest>,
}

/// Signs `subject`. `source` is asked what is under the tag of the legacy form, which is kept, and what the signers signed
/// before, which they do not sign again. `created` dates bundles.
///
/// Registries cannot compare and swap: who signs one image from two jobs at a time may lose a legacy signature.
pub fn sign(
    subject: &Subject,
    signers: &[&dyn Signer],
    format: Format,
    source: &dyn ReferrerSource,
    created: Epoch,
) -> Result<Signed, SignError> {
    let digest = subject.digest()?;
    let mut signed = Signed::default();
    let mut missing = (Vec::new(), Vec::new());
    for signer in signers {
        let (legacy, bundle) = before(source, subject, *signer, &Same::Name)?;
        for (found, wanted, missing) in
            [(legacy, format.legacy(), &mut missing.0), (bundle, format.bundle(), &mut missing.1)]
        {
            match found {
                _ if !wanted => {}
                Some(found) => signed.before.push(found),
                None => missing.push(signer),
            }
        }
    }
    if !missing.0.is_empty() {
        let payload = Payload::new(&subject.name, *digest).to_bytes();
        let mut layers = Vec::new();
        for signer in missing.0 {
            let proof = signer.prove(Message::Payload(&payload))?;
            let annotations = proof.annotations().ok_or(SignError::NoPromise)?;
            let mut layer = Descriptor::of(SIMPLE_SIGNING.into(), &payload);
            layer.annotations = annotations;
            layers.push((layer, payload.clone()));
            let by = signer.identity();
            signed.proofs.push(Made { format: Format::Legacy, signer: by, proof, legacy: None, bundle: None });
        }
        let artifact = appended(source, signature_tag(digest), layers)?;
        signed.proofs.iter_mut().for_each(|made| made.legacy = Some(artifact.manifest.digest));
        signed.artifacts.push(artifact);
    }
    let statement = Statement::signature(*digest).to_bytes();
    for signer in missing.1 {
        let proof = signer.prove(Message::Statement(&statement))?;
        let artifact = bundle(&subject.descriptor, SIGNATURE_PREDICATE, &proof.bundle(&statement), created);
        let (by, bundle) = (signer.identity(), Some(artifact.manifest.digest));
        signed.proofs.push(Made { format: Format::Bundle, signer: by, proof, legacy: None, bundle });
        signed.artifacts.push(artifact);
    }
    Ok(signed)
}

/// The artifact of a bundle: a manifest whose subject is the signed one, as cosign 3 writes it.
pub(super) fn bundle(subject: &Descriptor, predicate: &str, bytes: &[u8], created: Epoch) -> Artifact {
    let annotations = [
        ("dev.sigstore.bundle.content", "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType", predicate.to_owned()),
        ("org.opencontainers.image.created", created.to_string()),
    ];
    referrer(subject, BUNDLE_TYPE, bytes, annotations)
}
