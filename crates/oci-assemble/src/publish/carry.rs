//! What is attached to an image, on its way to where the image goes.
//!
//! Programs that copy images leave signatures behind, and a signature that was made in a layout is of no use there. Every
//! artifact goes byte for byte; one of the legacy form whose tag is taken gives its layers to what is under the tag.

use super::referrers::{Artifact, Place, ReferrerSource, ReferrerStore, attestation_tag, fetch, signature_tag};
use super::sign::{SIGNATURE_PREDICATE, SignError, appended};
use super::sigstore::LARGEST;
use crate::image::{Descriptor, Digest, MAX_MANIFEST, Manifest};
use crate::store::StoreError;

/// Something that was attached, and is now elsewhere too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What it is: `signature`, `attestation` or `document`.
    pub kind: &'static str,
    /// How it is stored: `legacy`, `bundle`, or `referrer` for what is no bundle.
    pub format: &'static str,
    /// Where it is found.
    pub place: Place,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Whether it was there before.
    pub before: bool,
    /// Whether it stays behind, as a part of it is larger than signatures and attestations are.
    pub left: bool,
}

/// Brings what `from` has attached to `subject` to where `to` has it. The subject has to be there.
pub fn carry(from: &dyn ReferrerSource, to: &dyn ReferrerStore, subject: &Digest) -> Result<Vec<Carried>, SignError> {
    let mut carried = Vec::new();
    for (tag, kind) in [(signature_tag(subject), "signature"), (attestation_tag(subject), "attestation")] {
        let Some(found) = from.tagged(&tag)? else { continue };
        let place = Place::Tag(tag.clone());
        let Some((manifest, copy)) = whole(from, &found, place.clone())? else {
            let digest = found.digest;
            carried.push(Carried { kind, format: "legacy", place, digest, before: false, left: true });
            continue;
        };
        let there = to.tagged(&tag)?;
        let artifact = match &there {
            Some(there) if there.digest != found.digest => {
                let blob = |layer: &Descriptor| {
                    let (_, bytes) = copy.blobs.iter().find(|(blob, _)| blob.digest == layer.digest)?;
                    Some((layer.clone(), bytes.clone()))
                };
                appended(to, tag, manifest.layers.iter().filter_map(blob).collect())?
            }
            _ => copy,
        };
        let digest = artifact.manifest.digest;
        let before = there.is_some_and(|there| there.digest == digest);
        carried.push(Carried { kind, format: "legacy", place, digest, before, left: false });
        if !before {
            to.store(&[artifact])?;
        }
    }
    let entries = from.referrers(subject)?;
    let there = if entries.is_empty() { Vec::new() } else { to.referrers(subject)? };
    for entry in entries.iter().filter(|entry| entry.media_type.is_manifest()) {
        let place = Place::Referrer(*subject);
        let Some((manifest, artifact)) = whole(from, entry, place.clone())? else {
            let (kind, format, digest) = ("document", "referrer", entry.digest);
            carried.push(Carried { kind, format, place, digest, before: false, left: true });
            continue;
        };
        // Somebody listed what does not refer to the image itself: no registry would list it.
        if manifest.subject.as_ref().map(|subject| subject.digest) != Some(*subject) {
            continue;
        }
        let (kind, format) = match manifest.annotations.get("dev.sigstore.bundle.predicateType").map(String::as_str) {
            Some(SIGNATURE_PREDICATE) => ("signature", "bundle"),
            Some(_) => ("attestation", "bundle"),
            None => ("document", "referrer"),
        };
        let before = there.iter().any(|there| there.digest == entry.digest);
        carried.push(Carried { kind, format, place, digest: entry.digest, before, left: false });
        if !before {
            to.store(&[artifact])?;
        }
    }
    Ok(carried)
}

/// An artifact with all its blobs, and its manifest as it is; `None` when a blob is larger than any that is verified.
fn whole(
    from: &dyn ReferrerSource,
    found: &Descriptor,
    place: Place,
) -> Result<Option<(Manifest, Artifact)>, SignError> {
    let bytes = fetch(from, found, MAX_MANIFEST)?;
    let manifest = Manifest::parse(&bytes, Some(&found.media_type)).map_err(StoreError::Document)?;
    if manifest.layers.iter().any(|blob| blob.size > LARGEST as u64) {
        return Ok(None);
    }
    let mut blobs: Vec<(Descriptor, Vec<u8>)> = Vec::new();
    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
        if !blobs.iter().any(|(other, _)| other.digest == blob.digest) {
            let plain = Descriptor::new(blob.media_type.clone(), blob.digest, blob.size);
            blobs.push((plain, fetch(from, blob, LARGEST)?));
        }
    }
    let mut artifact = Artifact::new(place, &manifest, blobs);
    // The bytes decide, not how they would be written here.
    (artifact.manifest.digest, artifact.manifest.size, artifact.bytes) = (found.digest, found.size, bytes);
    Ok(Some((manifest, artifact)))
}
