//! What signing gives, and the forms it is written in.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sigstore_bundle::{BundleV03, VerificationMaterialV03};
use sigstore_crypto::{SubjectAltName, parse_certificate_info};
use sigstore_types::{
    Bundle, DerCertificate, DsseEnvelope, DsseSignature, KeyId, PayloadBytes, SignatureBytes, SignatureContent,
    TimestampToken, TransparencyLogEntry,
};

use super::annotations::{BUNDLE, CERTIFICATE, CHAIN, LogBundle, SIGNATURE, hex};
use super::key::{KeyError, PublicKey, SigningKey, pem_text};

/// The media type of bundles that are written.
pub(in crate::publish) const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The type of payload that envelopes have here.
pub(in crate::publish) const IN_TOTO: &str = "application/vnd.in-toto+json";

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// A document as it is: the payload of the legacy form.
    Payload(&'a [u8]),
    /// An in-toto statement, in a DSSE envelope.
    Statement(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The bytes that the signature covers: for a statement, DSSE's encoding before authentication.
    pub(super) fn covered(&self) -> Cow<'a, [u8]> {
        match self {
            Self::Payload(bytes) => Cow::Borrowed(bytes),
            Self::Statement(bytes) => Cow::Owned(sigstore_types::pae(IN_TOTO, bytes)),
        }
    }
}

/// A signature with all that proves who made it and when.
#[derive(Clone, Debug)]
pub struct Proof {
    pub(super) signature: SignatureBytes,
    pub(super) maker: Maker,
    pub(super) entry: Option<TransparencyLogEntry>,
    pub(super) timestamp: Option<TimestampToken>,
}

#[derive(Clone, Debug)]
pub(super) enum Maker {
    Key(PublicKey),
    /// The signer's certificate and those above it, the root last.
    Certified(Vec<DerCertificate>),
}

/// An entry of a transparency log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Digest of the log's key, hexadecimal.
    pub log: String,
    /// Number of the entry in it.
    pub index: u64,
    /// When it was added, in seconds since 1970; only logs of version 1 say it.
    pub time: Option<i64>,
}

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedIdentity {
    /// E-mail address or URI.
    pub identity: String,
    /// Issuer of the token that the certificate was given for.
    pub issuer: String,
}

impl Proof {
    /// A signature by a key, not logged anywhere.
    pub fn by_key(key: &SigningKey, message: Message<'_>) -> Result<Self, KeyError> {
        let signature = key.sign(&message.covered())?;
        Ok(Self { signature, maker: Maker::Key(key.public().clone()), entry: None, timestamp: None })
    }

    /// The entry of the log.
    pub fn entry(&self) -> Option<Entry> {
        self.entry.as_ref().map(Entry::of)
    }

    /// Whom the certificate names; `None` for a key.
    pub fn certified(&self) -> Option<CertifiedIdentity> {
        match &self.maker {
            Maker::Key(_) => None,
            Maker::Certified(chain) => CertifiedIdentity::of(chain.first()?),
        }
    }

    /// Annotations of the legacy form; `None` when it cannot be written: a certificate outlives its validity only through
    /// the promise of a log, which logs of version 2 do not give.
    pub fn annotations(&self) -> Option<BTreeMap<String, String>> {
        let mut annotations = BTreeMap::from([(SIGNATURE.to_owned(), self.signature.to_base64())]);
        let log = self.entry.as_ref().map(LogBundle::of);
        if let Maker::Certified(chain) = &self.maker {
            let promised = log.as_ref().is_some_and(Option::is_some);
            let (leaf, above) = chain.split_first().filter(|_| promised)?;
            annotations.insert(CERTIFICATE.into(), pem_text("CERTIFICATE", leaf.as_bytes()));
            let above: String = above.iter().map(|one| pem_text("CERTIFICATE", one.as_bytes())).collect();
            annotations.insert(CHAIN.into(), above);
        }
        if let Some(log) = log.flatten() {
            annotations.insert(BUNDLE.into(), log.to_json());
        }
        Some(annotations)
    }

    /// The bundle around `statement`, JSON.
    pub fn bundle(&self, statement: &[u8]) -> Vec<u8> {
        // Nothing in a bundle has a form that JSON does not.
        self.to_bundle(statement).to_json().unwrap_or_default().into_bytes()
    }

    pub(super) fn to_bundle(&self, statement: &[u8]) -> Bundle {
        let envelope = self.to_envelope(statement);
        let material = match &self.maker {
            Maker::Key(key) => VerificationMaterialV03::PublicKey { hint: key.hint() },
            Maker::Certified(chain) => VerificationMaterialV03::Certificate(
                chain.first().cloned().unwrap_or_else(|| DerCertificate::new(Vec::new())),
            ),
        };
        let mut bundle = BundleV03::new(material, SignatureContent::DsseEnvelope(envelope));
        if let Some(entry) = &self.entry {
            bundle = bundle.with_tlog_entry(entry.clone());
        }
        if let Some(timestamp) = &self.timestamp {
            bundle = bundle.with_rfc3161_timestamp(timestamp.clone());
        }
        bundle.into_bundle()
    }

    pub(super) fn to_envelope(&self, statement: &[u8]) -> DsseEnvelope {
        let signature = DsseSignature::new(self.signature.clone(), KeyId::default());
        DsseEnvelope::new(IN_TOTO, PayloadBytes::from_bytes(statement), signature)
    }

    /// The envelope around `statement`, JSON: the layer of the legacy form, and the very bytes whose digest is logged.
    pub fn envelope(&self, statement: &[u8]) -> Vec<u8> {
        envelope_json(statement, &self.signature).into_bytes()
    }
}

/// An envelope with its fields in the order in which cosign writes them: some verifiers compute the logged digest anew
/// from the fields.
pub(super) fn envelope_json(statement: &[u8], signature: &SignatureBytes) -> String {
    let text = |value: &str| json!(value).to_string();
    format!(
        "{{\"payload\":{},\"payloadType\":{},\"signatures\":[{{\"sig\":{}}}]}}",
        text(&encode(statement)),
        text(IN_TOTO),
        text(&signature.to_base64())
    )
}

impl Entry {
    pub(super) fn of(entry: &TransparencyLogEntry) -> Self {
        let time = entry.integrated_time.as_ref().map(|time| time.as_second());
        Self { log: hex(entry.log_id.key_id.as_bytes()), index: entry.log_index.get(), time }
    }
}

impl CertifiedIdentity {
    pub(super) fn of(certificate: &DerCertificate) -> Option<Self> {
        let info = parse_certificate_info(certificate).ok()?;
        let identity = info.identity.as_ref().map(SubjectAltName::as_str)?.to_owned();
        Some(Self { identity, issuer: info.issuer.unwrap_or_default() })
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
