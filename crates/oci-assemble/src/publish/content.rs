//! What an image consists of, in the order in which registries take it.

use std::collections::BTreeSet;

use super::error::{PublishError, Result};
use crate::image::{Descriptor, Digest, Distribution, Index, MAX_MANIFEST, Manifest, MediaType};
use crate::store::{BlobSource, MAX_DEPTH, StoreError, read_document};

/// A manifest or an index with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes, which are pushed as they are.
    pub bytes: Vec<u8>,
}

/// Everything behind one manifest or index.
///
/// Laws: each blob and each manifest is there once; a manifest comes after all that it refers to; the image is last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Manifests and indexes.
    pub manifests: Vec<Document>,
    /// Configurations and layers, in the order in which manifests name them. Layers that registries need not have, and
    /// that are not in the source, are left out.
    pub blobs: Vec<Descriptor>,
}

impl Content {
    /// Reads the documents behind `top`. No layer is read.
    pub fn gather(source: &dyn BlobSource, top: &Descriptor) -> Result<Self> {
        let mut content = Self { manifests: Vec::new(), blobs: Vec::new() };
        content.visit(source, top, 0, &mut BTreeSet::new())?;
        Ok(content)
    }

    /// The content of one manifest whose bytes are at hand: no source is asked for it.
    pub fn of_manifest(bytes: Vec<u8>) -> Result<Self> {
        let mut descriptor = Descriptor::of(MediaType::ImageManifest, &bytes);
        let manifest = parse(&descriptor, &bytes, None)?;
        descriptor.media_type = manifest.media_type.clone();
        let mut content = Self { manifests: Vec::new(), blobs: Vec::new() };
        let mut seen = BTreeSet::new();
        content.add_blobs(manifest, &mut seen, |_| Ok(true))?;
        content.manifests.push(Document { descriptor, bytes });
        Ok(content)
    }

    /// What is pushed: the last manifest.
    pub fn top(&self) -> &Descriptor {
        &self.manifests[self.manifests.len() - 1].descriptor
    }

    fn visit(
        &mut self,
        source: &dyn BlobSource,
        descriptor: &Descriptor,
        depth: usize,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<()> {
        if !seen.insert(descriptor.digest) {
            return Ok(());
        }
        // One level more than indexes may have: that of the manifests.
        if depth > MAX_DEPTH + 1 {
            return Err(StoreError::Nesting { limit: MAX_DEPTH }.into());
        }
        let kind = &descriptor.media_type;
        if !kind.is_manifest() && !kind.is_index() {
            let (digest, media_type) = (Box::new(descriptor.digest), kind.to_string());
            return Err(PublishError::Kind { digest, media_type });
        }
        let bytes = read_document(source, descriptor, MAX_MANIFEST)?;
        if kind.is_manifest() {
            let manifest = parse(descriptor, &bytes, Some(kind))?;
            self.add_blobs(manifest, seen, |layer| Ok(source.has(layer)?))?;
        } else {
            let index = Index::parse(&bytes, Some(kind));
            let digest = Box::new(descriptor.digest);
            for entry in index.map_err(|source| PublishError::Document { digest, source })?.manifests {
                self.visit(source, &entry, depth + 1, seen)?;
            }
        }
        self.manifests.push(Document { descriptor: descriptor.clone(), bytes });
        Ok(())
    }

    fn add_blobs(
        &mut self,
        manifest: Manifest,
        seen: &mut BTreeSet<Digest>,
        has: impl Fn(&Descriptor) -> Result<bool>,
    ) -> Result<()> {
        for blob in std::iter::once(manifest.config).chain(manifest.layers) {
            let restricted = matches!(
                blob.media_type,
                MediaType::Layer(_, Distribution::Restricted) | MediaType::DockerLayer(_, Distribution::Restricted)
            );
            if (!restricted || has(&blob)?) && seen.insert(blob.digest) {
                self.blobs.push(blob);
            }
        }
        Ok(())
    }
}

fn parse(descriptor: &Descriptor, bytes: &[u8], kind: Option<&MediaType>) -> Result<Manifest> {
    let manifest = Manifest::parse(bytes, kind);
    manifest.map_err(|source| PublishError::Document { digest: Box::new(descriptor.digest), source })
}
