//! Attestations: signed statements on an image, such as what it is made of and how it was made.
//!
//! The statement is in-toto's, version 1, and the same bytes under the same signature stand in both forms. A log of
//! version 1 is sent the whole statement, and public ones take about a hundred kilobytes: a document that is larger is
//! stored beside the image, and what is attested is a reference to it by digest (in-toto, "Reference predicate").

mod document;
mod provenance;
mod statement;

use serde_json::{Value, json};

pub use document::{Document, DocumentFault, DocumentKind};
pub use provenance::{Dependency, Provenance, Run};
pub use statement::{Predicate, Statement};

use super::referrers::{Artifact, ReferrerSource, attestation_tag, referrer};
use super::sign::{Format, Made, Same, SignError, Signed, Signer, Subject, appended, before, bundle};
use super::sigstore::{Message, PREDICATE_TYPE, SIGNATURE};
use crate::image::{Descriptor, Epoch};

/// The type of a predicate that refers to documents.
pub const REFERENCE_PREDICATE: &str = "https://in-toto.io/attestation/reference/v0.1";
/// The media type of envelopes.
pub(super) const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// What is attested.
#[derive(Clone, Debug, PartialEq)]
pub enum Attestation {
    /// A document that was made by another program.
    Document(Document),
    /// How the image was made.
    Provenance(Box<Provenance>),
    /// Anything else.
    Other(Predicate),
}

/// Signs a statement on `subject`. `source` is asked what is under the tag of the legacy form, which is kept, and what the
/// signers attested before, which they do not attest again. `created` dates bundles.
pub fn attest(
    subject: &Subject,
    attestation: &Attestation,
    signers: &[&dyn Signer],
    format: Format,
    source: &dyn ReferrerSource,
    created: Epoch,
) -> Result<Signed, SignError> {
    let digest = *subject.digest()?;
    let limit = signers.iter().filter_map(|signer| signer.largest_statement()).min();
    let (statement, stored) = statement(subject, attestation, limit)?;
    let mut signed = Signed::default();
    let bytes = statement.to_bytes();
    let mut layers = Vec::new();
    for signer in signers {
        let (legacy, bundled) = before(source, subject, *signer, &Same::Statement(&statement))?;
        let wanted = (format.legacy() && legacy.is_none(), format.bundle() && bundled.is_none());
        signed.before.extend(legacy.filter(|_| format.legacy()));
        signed.before.extend(bundled.filter(|_| format.bundle()));
        let format = match wanted {
            (true, true) => Format::Both,
            (true, false) => Format::Legacy,
            (false, true) => Format::Bundle,
            (false, false) => continue,
        };
        let proof = signer.prove(Message::Statement(&bytes))?;
        let mut made = Made { format, signer: signer.identity(), proof, legacy: None, bundle: None };
        let proof = &made.proof;
        if format.legacy() {
            let mut annotations = proof.annotations().ok_or(SignError::NoPromise)?;
            // The envelope has the signature; cosign leaves this one empty.
            annotations.insert(SIGNATURE.to_owned(), String::new());
            annotations.insert(PREDICATE_TYPE.to_owned(), statement.predicate_type().to_owned());
            let envelope = proof.envelope(&bytes);
            let mut layer = Descriptor::of(ENVELOPE.into(), &envelope);
            layer.annotations = annotations;
            layers.push((layer, envelope));
        }
        if format.bundle() {
            let bundle = bundle(&subject.descriptor, statement.predicate_type(), &proof.bundle(&bytes), created);
            made.bundle = Some(bundle.manifest.digest);
            signed.artifacts.push(bundle);
        }
        signed.proofs.push(made);
    }
    if !layers.is_empty() {
        let artifact = appended(source, attestation_tag(&digest), layers)?;
        for made in signed.proofs.iter_mut().filter(|made| made.format.legacy()) {
            made.legacy = Some(artifact.manifest.digest);
        }
        signed.artifacts.push(artifact);
    }
    if !signed.proofs.is_empty() {
        signed.artifacts.extend(stored);
    }
    Ok(signed)
}

/// Whether signers that take statements of `limit` bytes can attest it at all. To be asked before anything is sent.
pub fn check(subject: &Subject, attestation: &Attestation, limit: Option<usize>) -> Result<(), SignError> {
    statement(subject, attestation, limit).map(drop)
}

/// What is signed, and what is stored beside it because it is too large to be signed whole.
fn statement(
    subject: &Subject,
    attestation: &Attestation,
    limit: Option<usize>,
) -> Result<(Statement, Option<Artifact>), SignError> {
    let digest = *subject.digest()?;
    let of = |predicate| Statement::attestation(&subject.name, digest, predicate);
    let fits = |statement: &Statement| limit.is_none_or(|limit| statement.to_bytes().len() <= limit);
    let whole = of(predicate(attestation));
    if fits(&whole) {
        return Ok((whole, None));
    }
    let (less, stored) = match attestation {
        Attestation::Document(document) => {
            let artifact = referrer(&subject.descriptor, document.kind.media_type(), &document.bytes, []);
            (Some(of(reference(subject, document))), Some(artifact))
        }
        // Still of the type that is asked for; the lock, whose digest it has, names the packages.
        Attestation::Provenance(provenance) => {
            (provenance.without_packages().map(|provenance| of(provenance.predicate())), None)
        }
        Attestation::Other(_) => (None, None),
    };
    let less = less.filter(fits).ok_or(SignError::TooLarge { limit: limit.unwrap_or_default() })?;
    Ok((less, stored))
}

fn predicate(attestation: &Attestation) -> Predicate {
    match attestation {
        Attestation::Document(document) => {
            Predicate { kind: document.kind.predicate_type().to_owned(), value: document.value.clone() }
        }
        Attestation::Provenance(provenance) => provenance.predicate(),
        Attestation::Other(predicate) => predicate.clone(),
    }
}

/// A predicate that says: this document belongs to the image.
fn reference(subject: &Subject, document: &Document) -> Predicate {
    let blob = Descriptor::of(document.kind.media_type().into(), &document.bytes);
    let repository = repository(&subject.name);
    let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
    let value: Value = json!({
        "attester": { "id": provenance::BUILDER },
        "references": [{
            "downloadLocation": format!("https://{host}/v2/{path}/blobs/{}", blob.digest),
            "digest": { blob.digest.algorithm(): blob.digest.hex() },
            "mediaType": blob.media_type.as_str(),
        }],
    });
    Predicate { kind: REFERENCE_PREDICATE.to_owned(), value }
}

/// A name without its tag.
pub(super) fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        // What follows the colon of a port has a slash.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        for (name, expected) in [
            ("quay.io/a/b:tag", "quay.io/a/b"),
            ("localhost:5000/a", "localhost:5000/a"),
            ("localhost:5000/a:b", "localhost:5000/a"),
            ("quay.io/a", "quay.io/a"),
        ] {
            assert_eq!(repository(name), expected);
        }
    }
}
