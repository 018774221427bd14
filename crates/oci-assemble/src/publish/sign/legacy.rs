//! Manifests of the legacy form, which have a layer for each signature, under a tag made of the signed digest.

use std::collections::BTreeMap;

use serde_json::json;

use super::SignError;
use crate::image::{Descriptor, MAX_MANIFEST, Manifest, MediaType, json as strict};
use crate::publish::referrers::{Artifact, Place, ReferrerSource, fetch};

/// The media type of signed payloads.
pub(in crate::publish) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The artifact under `tag`, with what is there already and `layers` behind it. A layer that is there with the same
/// signature is not repeated.
pub(in crate::publish) fn appended(
    source: &dyn ReferrerSource,
    tag: String,
    layers: Vec<(Descriptor, Vec<u8>)>,
) -> Result<Artifact, SignError> {
    let mut all: Vec<Descriptor> = Vec::new();
    let mut annotations = BTreeMap::new();
    if let Some(found) = source.tagged(&tag)? {
        let existing = |source| SignError::Existing { tag: tag.clone(), source };
        if !found.media_type.is_manifest() {
            return Err(existing(None));
        }
        let bytes = fetch(source, &found, MAX_MANIFEST)?;
        let manifest = Manifest::parse(&bytes, Some(&found.media_type)).map_err(|error| existing(Some(error)))?;
        all = manifest.layers;
        annotations = manifest.annotations;
    }
    let mut blobs = Vec::new();
    for (layer, bytes) in layers {
        if !all.contains(&layer) {
            all.push(layer.clone());
        }
        if !blobs.iter().any(|(other, _): &(Descriptor, _)| other.digest == layer.digest) {
            blobs.push((Descriptor::new(layer.media_type, layer.digest, layer.size), bytes));
        }
    }
    let config = config(&all);
    let descriptor = Descriptor::of(MediaType::ImageConfig, &config);
    let mut manifest = Manifest::new(descriptor.clone(), all);
    manifest.annotations = annotations;
    blobs.push((descriptor, config));
    Ok(Artifact::new(Place::Tag(tag), &manifest, blobs))
}

/// The configuration that cosign writes. Nobody reads more of it than that it is one.
fn config(layers: &[Descriptor]) -> Vec<u8> {
    const ZERO: &str = "0001-01-01T00:00:00Z";
    let history: Vec<_> = layers.iter().map(|_| json!({ "created": ZERO })).collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.digest.to_string()).collect();
    strict::canonical(&json!({
        "architecture": "",
        "config": {},
        "created": ZERO,
        "history": history,
        "os": "",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }))
}
