//! From descriptors to images, and to everything they need.

use std::collections::BTreeSet;

use serde_json::Value;

use super::blob::{BlobSource, read_document};
use super::error::{Result, StoreError};
use crate::image::{Descriptor, Digest, Image, Index, MAX_CONFIG, MAX_MANIFEST, Manifest, MediaType, Platform, json};

/// How deep indexes in indexes are followed.
pub const MAX_DEPTH: usize = 3;

/// An image found behind a descriptor.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The image.
    pub image: Image,
    /// Its manifest, as the index or the caller names it.
    pub manifest: Descriptor,
}

/// The image behind `descriptor`: of `platform` if that names an index, else the only one in it. A manifest whose
/// configuration is for another platform than asked for is refused.
pub fn resolve(source: &dyn BlobSource, descriptor: &Descriptor, platform: Option<&Platform>) -> Result<Resolved> {
    let manifest = select(source, descriptor, platform)?;
    let manifest_bytes = read_document(source, &manifest, MAX_MANIFEST)?;
    let parsed = Manifest::parse(&manifest_bytes, Some(&manifest.media_type))?;
    let config_bytes = read_document(source, &parsed.config, MAX_CONFIG)?;
    let image = Image::parse(&manifest_bytes, &config_bytes)?;
    let found = &image.config().platform;
    if let Some(wanted) = platform
        && !found.satisfies(wanted)
    {
        return Err(StoreError::Platform { wanted: wanted.to_string(), found: found.to_string() });
    }
    Ok(Resolved { image, manifest })
}

/// The manifest for `platform` behind `descriptor`, which is a manifest itself or an index.
pub fn select(source: &dyn BlobSource, descriptor: &Descriptor, platform: Option<&Platform>) -> Result<Descriptor> {
    let mut found = descriptor.clone();
    for _ in 0..=MAX_DEPTH {
        if found.media_type.is_manifest() {
            return Ok(found);
        }
        if !found.media_type.is_index() {
            return Err(StoreError::Kind { media_type: found.media_type.to_string() });
        }
        let index = Index::parse(&read_document(source, &found, MAX_MANIFEST)?, Some(&found.media_type))?;
        found = match (platform, &index.manifests[..]) {
            (None, [only]) => only.clone(),
            (None, several) => {
                let present =
                    several.iter().map(|entry| entry.platform.as_ref().map_or("(none)".into(), Platform::to_string));
                return Err(StoreError::SeveralImages { found: several.len(), present: present.collect() });
            }
            (Some(platform), _) => index.select(platform)?.clone(),
        };
    }
    Err(StoreError::Nesting { limit: MAX_DEPTH })
}

/// Every blob that `roots` need, themselves included, each once, parents before children. Layers that may be kept from
/// registries are left out when they are not there. A blob of unknown type is looked into when it is small, so that
/// artifacts of other programs are kept whole.
pub fn reachable(source: &dyn BlobSource, roots: &[Descriptor]) -> Result<Vec<Descriptor>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for root in roots {
        visit(source, root, 0, &mut seen, &mut found)?;
    }
    Ok(found)
}

fn visit(
    source: &dyn BlobSource,
    descriptor: &Descriptor,
    depth: usize,
    seen: &mut BTreeSet<Digest>,
    found: &mut Vec<Descriptor>,
) -> Result<()> {
    if !seen.insert(descriptor.digest) {
        return Ok(());
    }
    // One level more than indexes may have: that of the manifests.
    if depth > MAX_DEPTH + 1 {
        return Err(StoreError::Nesting { limit: MAX_DEPTH });
    }
    found.push(descriptor.clone());
    for child in children(source, descriptor)? {
        visit(source, &child, depth + 1, seen, found)?;
    }
    Ok(())
}

/// What the document behind `descriptor` refers to; nothing when it is no document.
pub(super) fn children(source: &dyn BlobSource, descriptor: &Descriptor) -> Result<Vec<Descriptor>> {
    let kind = &descriptor.media_type;
    if kind.is_manifest() {
        let manifest = Manifest::parse(&read_document(source, descriptor, MAX_MANIFEST)?, Some(kind))?;
        let mut children = vec![manifest.config];
        for layer in manifest.layers {
            if !is_restricted(&layer.media_type) || source.has(&layer)? {
                children.push(layer);
            }
        }
        return Ok(children);
    }
    if kind.is_index() {
        return Ok(Index::parse(&read_document(source, descriptor, MAX_MANIFEST)?, Some(kind))?.manifests);
    }
    if matches!(kind, MediaType::Other(name) if name.ends_with("+json")) && descriptor.size <= MAX_MANIFEST as u64 {
        return Ok(referred(&read_document(source, descriptor, MAX_MANIFEST)?));
    }
    Ok(Vec::new())
}

pub(super) fn is_restricted(kind: &MediaType) -> bool {
    use crate::image::Distribution::Restricted;
    matches!(kind, MediaType::Layer(_, Restricted) | MediaType::DockerLayer(_, Restricted))
}

/// Descriptors in a document of a type we do not know, in the fields where documents of this family have them.
fn referred(bytes: &[u8]) -> Vec<Descriptor> {
    let Ok(Value::Object(mut document)) = json::parse(bytes, MAX_MANIFEST) else { return Vec::new() };
    let mut values: Vec<Value> = document.remove("config").into_iter().collect();
    for key in ["layers", "blobs", "manifests"] {
        if let Some(Value::Array(list)) = document.remove(key) {
            values.extend(list);
        }
    }
    values.into_iter().filter_map(|value| Descriptor::from_value(value).ok()).collect()
}
