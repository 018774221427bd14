//! Whether a signature is by whom it has to be.

use std::collections::BTreeMap;
use std::fmt;

use sigstore_trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_types::bundle::{
    MessageSignature, PublicKeyIdentifier, VerificationMaterial, VerificationMaterialContent, X509Certificate,
};
use sigstore_types::{
    Artifact, Bundle, DerCertificate, DsseEnvelope, MediaType, Sha256Hash, SignatureBytes, SignatureContent,
    TransparencyLogEntry,
};
use sigstore_verify::{Policy, PublicKeyVerificationPolicy, VerificationPolicy, Verifier};

use super::annotations::{BUNDLE, CERTIFICATE, CHAIN, LogBundle, SIGNATURE};
use super::key::PublicKey;
use super::proof::{CertifiedIdentity, Entry, IN_TOTO, decode};
use super::refusal::Refusal;
use crate::image::{Digest, json};

/// The largest bundle that is read, in bytes: a statement may hold a bill of materials, and base64 adds a third.
pub(in crate::publish) const LARGEST: usize = 64 << 20;
/// How the media types of trusted roots begin (sigstore's protobuf-specs, `sigstore_trustroot.proto`).
const ROOT_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";
/// Certificates between that of a signer and a root; real chains have one or two.
const MAX_CHAIN: usize = 8;

/// Authorities and logs that are believed.
pub struct TrustRoot(Verifier);

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoot").finish_non_exhaustive()
    }
}

/// Why a text is not a trust root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Not the JSON that it must be.
    #[error("it is not a trusted root (trusted_root.json)")]
    Form(#[source] sigstore_trust_root::Error),
    /// Another document of sigstore's: one that names services has no authorities, so that nothing would ever verify.
    #[error("it is no trusted root (trusted_root.json), it says that it is {found}")]
    Kind {
        /// What it says it is.
        found: String,
    },
    /// A key or certificate in it cannot be used.
    #[error("a key or certificate in it cannot be used")]
    Content(#[source] Box<sigstore_verify::Error>),
}

impl TrustRoot {
    /// Reads a trusted root, JSON, as sigstore's TUF repository and `cosign trusted-root create` give it.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let root = TrustedRoot::from_json(text).map_err(TrustError::Form)?;
        let said = json::parse(text.as_bytes(), LARGEST).ok();
        let said = said.as_ref().and_then(|value| value.get("mediaType")).and_then(serde_json::Value::as_str);
        if let Some(found) = said.filter(|kind| !kind.starts_with(ROOT_TYPE)) {
            return Err(TrustError::Kind { found: found.to_owned() });
        }
        Verifier::new(&root).map(Self).map_err(|error| TrustError::Content(Box::new(error)))
    }

    /// That of sigstore's public instance, as it stood when this program was made.
    pub fn public_good() -> Result<Self, TrustError> {
        Self::parse(SIGSTORE_PRODUCTION_TRUSTED_ROOT)
    }

    fn check(&self, artifact: Artifact<'_>, bundle: &Bundle, policy: &dyn Policy) -> Result<(), Refusal> {
        self.0.verify(artifact, bundle, policy)?;
        Ok(())
    }
}

/// Who made a signature, as far as it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Whom the certificate names; `None` for a key.
    pub certified: Option<CertifiedIdentity>,
    /// The verified entry of a log; `None` when none was asked for.
    pub entry: Option<Entry>,
}

/// What claims to be a signature, read but not believed.
#[derive(Clone, Debug)]
pub struct Evidence {
    content: SignatureContent,
    /// What is signed: a payload or a statement.
    bytes: Vec<u8>,
    /// The bundle; for the legacy form, what its annotations say. `None` for a bare signature.
    bundle: Option<Bundle>,
}

impl Evidence {
    /// Reads a layer of the legacy form and its annotations: a signed payload.
    pub fn legacy(payload: Vec<u8>, annotations: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        let signature = annotations.get(SIGNATURE).ok_or(Refusal::Missing { what: SIGNATURE })?;
        let signature = decode(signature).filter(|bytes| !bytes.is_empty());
        let signature = SignatureBytes::new(signature.ok_or(Refusal::Malformed { what: SIGNATURE })?);
        let content = SignatureContent::MessageSignature(MessageSignature::new(signature));
        let bundle = annotated(annotations, &content)?;
        Ok(Self { content, bytes: payload, bundle })
    }

    /// Reads a layer of the legacy form and its annotations: an envelope.
    pub fn legacy_envelope(layer: &[u8], annotations: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        let what = "the envelope";
        let value = json::parse(layer, LARGEST).map_err(|source| Refusal::Json { what, source })?;
        let envelope: DsseEnvelope = serde_json::from_value(value).map_err(|source| Refusal::Shape { what, source })?;
        let bytes = statement(&envelope)?;
        let content = SignatureContent::DsseEnvelope(envelope);
        let bundle = annotated(annotations, &content)?;
        Ok(Self { content, bytes, bundle })
    }

    /// Reads a bundle around a statement.
    pub fn bundle(text: &[u8]) -> Result<Self, Refusal> {
        let what = "the bundle";
        let value = json::parse(text, LARGEST).map_err(|source| Refusal::Json { what, source })?;
        let bundle: Bundle = serde_json::from_value(value).map_err(|source| Refusal::Shape { what, source })?;
        let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
            return Err(Refusal::Missing { what: "an envelope" });
        };
        let bytes = statement(envelope)?;
        Ok(Self { content: bundle.content.clone(), bytes, bundle: Some(bundle) })
    }

    /// The payload or statement. Nobody vouches for it yet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whom the certificate names, as it claims itself.
    pub fn claimed(&self) -> Option<CertifiedIdentity> {
        CertifiedIdentity::of(self.bundle.as_ref()?.signing_certificate()?)
    }

    /// Whether the signature over [`Evidence::bytes`] is by `key`; with `logged`, whether a log that the root knows has
    /// it, too.
    pub fn by_key(&self, key: &PublicKey, logged: Option<&TrustRoot>, subject: &Digest) -> Result<Vouched, Refusal> {
        let (covered, signature) = match &self.content {
            SignatureContent::MessageSignature(message) => (self.bytes.clone(), &message.signature),
            SignatureContent::DsseEnvelope(envelope) => (envelope.pae(), &envelope.signature.sig),
            _ => return Err(Refusal::Malformed { what: "the signature" }),
        };
        key.verify(&covered, signature.as_bytes()).map_err(Refusal::NotByKey)?;
        let Some(root) = logged else { return Ok(Vouched { certified: None, entry: None }) };
        let mut bundle = self.bundle.clone().ok_or(Refusal::NotLogged)?;
        // The hint is not proven; the key is the one that was asked for.
        bundle.verification_material.content =
            VerificationMaterialContent::PublicKey(PublicKeyIdentifier::new(key.hint()));
        let entry = proven_entry(&bundle)?;
        root.check(self.artifact(subject)?, &bundle, &PublicKeyVerificationPolicy::new(key.der().clone()))?;
        Ok(Vouched { certified: None, entry: Some(entry) })
    }

    /// Whether the signature over [`Evidence::bytes`] is by this identity, certified by an authority of `root` for a token
    /// of this issuer, and logged while the certificate was valid.
    pub fn by_identity(
        &self,
        wanted: &CertifiedIdentity,
        root: &TrustRoot,
        subject: &Digest,
    ) -> Result<Vouched, Refusal> {
        let bundle = self.bundle.as_ref().ok_or(Refusal::NotCertified)?;
        bundle.signing_certificate().ok_or(Refusal::NotCertified)?;
        let entry = proven_entry(bundle)?;
        let policy = VerificationPolicy::new(wanted.identity.as_str(), wanted.issuer.as_str());
        root.check(self.artifact(subject)?, bundle, &policy)?;
        Ok(Vouched { certified: Some(wanted.clone()), entry: Some(entry) })
    }

    /// What the verifier compares with the signed content: the payload itself, or the image that a statement is about.
    fn artifact(&self, subject: &Digest) -> Result<Artifact<'_>, Refusal> {
        match (&self.content, subject) {
            (SignatureContent::MessageSignature(_), _) => Ok(Artifact::from(self.bytes.as_slice())),
            (_, Digest::Sha256(bytes)) => {
                let hash = Sha256Hash::try_from(&bytes[..]).map_err(|_| Refusal::Malformed { what: "the digest" })?;
                Ok(Artifact::from(hash))
            }
            (_, Digest::Sha512(_)) => Err(Refusal::Value {
                what: "the algorithm of the image's digest",
                expected: "sha256".into(),
                found: "sha512".into(),
            }),
        }
    }
}

/// The statement in an envelope, which must be one of in-toto.
fn statement(envelope: &DsseEnvelope) -> Result<Vec<u8>, Refusal> {
    if envelope.payload_type != IN_TOTO {
        return Err(Refusal::Value {
            what: "the type of the payload",
            expected: IN_TOTO.into(),
            found: envelope.payload_type.clone(),
        });
    }
    Ok(envelope.payload.as_bytes().to_vec())
}

/// The first entry with something that proves it. The verifier believes an entry that promises and proves nothing as
/// long as another one does; and one that does neither is none.
fn proven_entry(bundle: &Bundle) -> Result<Entry, Refusal> {
    let entries = &bundle.verification_material.tlog_entries;
    let proven = |entry: &&TransparencyLogEntry| entry.inclusion_promise.is_some() || entry.inclusion_proof.is_some();
    if !entries.iter().all(|entry| proven(&entry)) {
        return Err(Refusal::NotLogged);
    }
    entries.iter().find(proven).map(Entry::of).ok_or(Refusal::NotLogged)
}

/// What the annotations say as a bundle of version 0.1, the first one, in which a promise of the log is enough.
fn annotated(annotations: &BTreeMap<String, String>, content: &SignatureContent) -> Result<Option<Bundle>, Refusal> {
    let certificates = match annotations.get(CERTIFICATE).filter(|text| !text.is_empty()) {
        None => Vec::new(),
        Some(leaf) => {
            let mut chain = certificates(CERTIFICATE, leaf)?;
            chain.truncate(1);
            if let Some(above) = annotations.get(CHAIN).filter(|text| !text.is_empty()) {
                // The last one is the root, which is believed only when the trust root has it.
                let mut above = certificates(CHAIN, above)?;
                above.pop();
                chain.extend(above);
            }
            chain
        }
    };
    let log = annotations.get(BUNDLE).map(|text| LogBundle::parse(text)).transpose()?;
    if certificates.is_empty() && log.is_none() {
        return Ok(None);
    }
    let material = if certificates.is_empty() {
        VerificationMaterialContent::PublicKey(PublicKeyIdentifier::new(""))
    } else {
        let certificates = certificates.into_iter().map(X509Certificate::new).collect();
        VerificationMaterialContent::X509CertificateChain { certificates }
    };
    let entries = log.iter().map(LogBundle::entry).collect::<Result<_, _>>()?;
    let material = VerificationMaterial::new(material).with_tlog_entries(entries);
    Ok(Some(Bundle::new(MediaType::Bundle0_1, material, content.clone())))
}

fn certificates(what: &'static str, text: &str) -> Result<Vec<DerCertificate>, Refusal> {
    let malformed = || Refusal::Malformed { what };
    let blocks = pem::parse_many(text).map_err(|_| malformed())?;
    if blocks.is_empty() || blocks.len() > MAX_CHAIN || blocks.iter().any(|block| block.tag() != "CERTIFICATE") {
        return Err(malformed());
    }
    Ok(blocks.into_iter().map(|block| DerCertificate::new(block.into_contents())).collect())
}
