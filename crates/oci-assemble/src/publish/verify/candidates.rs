//! What may be a signature or an attestation: found and read, not yet judged.

use std::fmt;

use super::What;
use crate::image::{Descriptor, Digest, MAX_MANIFEST, Manifest};
use crate::publish::attest::ENVELOPE;
use crate::publish::referrers::{ReferrerSource, attestation_tag, fetch, signature_tag};
use crate::publish::sign::SIMPLE_SIGNING;
use crate::publish::sigstore::{Evidence, LARGEST, Refusal};
use crate::store::StoreError;

/// How many manifests and layers are looked at, the newest ones: a hundred signers, each in both forms. Whoever can push
/// could otherwise make verification take as long as they like.
const MOST: usize = 200;
/// The largest payload, and the largest bundle of a signature, in bytes. Larger ones hold documents, and are no signatures.
const SMALL: usize = 1 << 20;
/// When a referrer was made, where its listing says it (image-spec, "annotations.md").
const CREATED: &str = "org.opencontainers.image.created";
/// How bundles begin, whatever their version.
const BUNDLES: &str = "application/vnd.dev.sigstore.bundle";

/// Where a signature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A layer of the artifact under a tag.
    Legacy {
        /// The tag.
        tag: String,
        /// Number of the layer, from 0.
        layer: usize,
    },
    /// A referrer.
    Bundle {
        /// Digest of its manifest.
        manifest: Digest,
    },
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Legacy { tag, layer } => write!(f, "layer {layer} of {tag}"),
            Self::Bundle { manifest } => write!(f, "referrer {manifest}"),
        }
    }
}

pub(super) struct Candidate {
    pub(super) found: Found,
    pub(super) reading: Result<Reading, Refusal>,
}

pub(super) enum Reading {
    /// The payload of a legacy signature.
    Payload(Evidence),
    /// A statement.
    Statement(Evidence),
}

#[derive(Default)]
pub(super) struct Candidates {
    pub(super) found: Vec<Candidate>,
    /// Why a place could not be looked at.
    pub(super) failed: Option<StoreError>,
    /// Kinds of what is there and is something else.
    pub(super) others: Vec<String>,
}

/// Everything attached to `subject` that may be what is looked for.
pub(super) fn of(source: &dyn ReferrerSource, subject: &Descriptor, what: &What) -> Candidates {
    let mut candidates = Candidates::default();
    let legacy = legacy(source, &subject.digest, what, &mut candidates);
    let bundles = bundles(source, &subject.digest, what, &mut candidates);
    candidates.failed = legacy.and(bundles).err();
    candidates
}

fn legacy(
    source: &dyn ReferrerSource,
    subject: &Digest,
    what: &What,
    candidates: &mut Candidates,
) -> Result<(), StoreError> {
    let (tag, kind, limit) = match what {
        What::Signature => (signature_tag(subject), SIMPLE_SIGNING, SMALL),
        What::Attestation(_) => (attestation_tag(subject), ENVELOPE, LARGEST),
    };
    let Some(tagged) = source.tagged(&tag)? else { return Ok(()) };
    let at = |layer| Found::Legacy { tag: tag.clone(), layer };
    let manifest = match manifest(source, &tagged) {
        Ok(manifest) => manifest,
        Err(refusal) => {
            candidates.found.push(Candidate { found: at(0), reading: Err(refusal) });
            return Ok(());
        }
    };
    // Later signers stand behind earlier ones.
    for (number, layer) in manifest.layers.iter().enumerate().skip(manifest.layers.len().saturating_sub(MOST)) {
        if layer.media_type.as_str() != kind {
            candidates.others.push(layer.media_type.to_string());
            continue;
        }
        let bytes = fetch(source, layer, limit).map_err(Refusal::Read);
        let reading = bytes.and_then(|bytes| match what {
            What::Signature => Evidence::legacy(bytes, &layer.annotations).map(Reading::Payload),
            What::Attestation(_) => Evidence::legacy_envelope(&bytes, &layer.annotations).map(Reading::Statement),
        });
        candidates.found.push(Candidate { found: at(number), reading });
    }
    Ok(())
}

fn bundles(
    source: &dyn ReferrerSource,
    subject: &Digest,
    what: &What,
    candidates: &mut Candidates,
) -> Result<(), StoreError> {
    let mut entries = source.referrers(subject)?;
    // Listings under a tag have the newest last, and registries any order that they like; dates are for that only.
    if entries.len() > MOST {
        entries.sort_by_cached_key(|entry| entry.annotations.get(CREATED).cloned());
    }
    for entry in &entries[entries.len().saturating_sub(MOST)..] {
        let found = Found::Bundle { manifest: entry.digest };
        if !entry.media_type.is_manifest() {
            candidates.others.push(entry.media_type.to_string());
            continue;
        }
        let manifest = match manifest(source, entry) {
            Ok(manifest) => manifest,
            Err(refusal) => {
                candidates.found.push(Candidate { found, reading: Err(refusal) });
                continue;
            }
        };
        // What it is stands in the type of its layer; artifact types in listings are often wrong.
        let Some(layer) = manifest.layers.iter().find(|layer| layer.media_type.as_str().starts_with(BUNDLES)) else {
            let kind = manifest.rest.get("artifactType").and_then(serde_json::Value::as_str);
            candidates.others.push(kind.unwrap_or(manifest.config.media_type.as_str()).to_owned());
            continue;
        };
        let limit = match what {
            What::Signature if layer.size > SMALL as u64 => {
                candidates.others.push(layer.media_type.to_string());
                continue;
            }
            What::Signature => SMALL,
            What::Attestation(_) => LARGEST,
        };
        let bytes = fetch(source, layer, limit).map_err(Refusal::Read);
        let reading = bytes.and_then(|bytes| Evidence::bundle(&bytes).map(Reading::Statement));
        candidates.found.push(Candidate { found, reading });
    }
    Ok(())
}

fn manifest(source: &dyn ReferrerSource, descriptor: &Descriptor) -> Result<Manifest, Refusal> {
    let bytes = fetch(source, descriptor, MAX_MANIFEST).map_err(Refusal::Read)?;
    let manifest = Manifest::parse(&bytes, Some(&descriptor.media_type));
    manifest.map_err(|error| Refusal::Read(StoreError::Document(error)))
}
