//! Reading a bundle so that nothing unverified gets through.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use oci_assemble::image::{Descriptor, Digest, Encoding, MAX_CONFIG, MAX_MANIFEST, Manifest, MediaType};
use oci_assemble::layer::{IndexError, IndexOptions, LayerIndex, Limits, decode, index};
use oci_assemble::store::{BlobSource, Layout, StoreError, read_document};
use oci_assemble::tree::{TreeDelta, TreePath};
use serde_json::Value;

use super::config::BundleConfig;
use super::contents::BundleContents;
use super::error::BundleFault;
use super::modules::module_files;
use super::{ARTIFACT_TYPE, CONFIG_TYPE, LOG_TYPE};

/// Bytes of the decompressed content that are hashed at once.
const READ: usize = 64 << 10;

/// The field of manifests and descriptors that says what an artifact is (image-spec 1.1, "manifest.md").
const ARTIFACT_FIELD: &str = "artifactType";

/// A bundle's documents: what they say, not yet whether it is so.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) config: BundleConfig,
    pub(super) config_blob: Descriptor,
    pub(super) layer: Descriptor,
    pub(super) log: Option<Descriptor>,
}

impl Outline {
    /// Reads manifest and configuration, verified and bounded.
    pub(super) fn read(blobs: &dyn BlobSource, manifest: &Descriptor) -> Result<Self, BundleFault> {
        let shape = |what| BundleFault::Shape { what };
        if manifest.media_type != MediaType::ImageManifest {
            return Err(shape("what is listed is no image manifest"));
        }
        let parsed = Manifest::parse(&read_document(blobs, manifest, MAX_MANIFEST)?, Some(&manifest.media_type))?;
        if parsed.rest.get(ARTIFACT_FIELD).and_then(Value::as_str) != Some(ARTIFACT_TYPE) {
            return Err(shape("its artifact type is another"));
        }
        if parsed.config.media_type.as_str() != CONFIG_TYPE {
            return Err(shape("its configuration is of another type"));
        }
        let mut layers = parsed.layers.into_iter();
        let (Some(layer), log, None) = (layers.next(), layers.next(), layers.next()) else {
            return Err(shape("it has neither one layer nor a layer and a log"));
        };
        if layer.media_type != MediaType::layer(Encoding::Zstd) {
            return Err(shape("its content is no layer of type tar+zstd"));
        }
        if log.as_ref().is_some_and(|log| log.media_type.as_str() != LOG_TYPE) {
            return Err(shape("its second layer is no log"));
        }
        if layer.size.max(log.as_ref().map_or(0, |log| log.size)) > Limits::default().inflated {
            return Err(shape("a blob of it is larger than any layer"));
        }
        let config = BundleConfig::parse(&read_document(blobs, &parsed.config, MAX_CONFIG)?)?;
        Ok(Self { config, config_blob: parsed.config, layer, log })
    }

    /// As it is, when it is that of `key`.
    pub(super) fn of(self, key: &Digest) -> Result<Self, BundleFault> {
        let found = *self.config.key.digest();
        if found == *key { Ok(self) } else { Err(BundleFault::OtherKey { found }) }
    }

    /// The blobs beside the manifest.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        [&self.config_blob, &self.layer].into_iter().chain(&self.log)
    }
}

/// The manifest as an index lists it.
pub(super) fn listed(manifest: &Descriptor) -> Descriptor {
    let mut listed = Descriptor::new(manifest.media_type.clone(), manifest.digest, manifest.size);
    listed.rest = BTreeMap::from([(ARTIFACT_FIELD.to_owned(), ARTIFACT_TYPE.into())]);
    listed
}

/// Puts the artifact type into a manifest.
pub(super) fn typed(mut manifest: Manifest) -> Manifest {
    manifest.rest.insert(ARTIFACT_FIELD.to_owned(), ARTIFACT_TYPE.into());
    manifest
}

/// A bundle whose every byte was read and found to be what it should be.
#[derive(Debug)]
pub struct Examined {
    /// Its manifest.
    pub manifest: Descriptor,
    /// What it says of itself.
    pub config: BundleConfig,
    pub(super) layer: Descriptor,
    pub(super) log: Option<Descriptor>,
    pub(super) index: LayerIndex,
}

/// Reads everything behind `manifest` once: documents, content (digest of the blob, diff_id, kernel modules), log.
pub(super) fn examine(blobs: &dyn BlobSource, manifest: &Descriptor, key: &Digest) -> Result<Examined, BundleFault> {
    let Outline { config, layer, log, .. } = Outline::read(blobs, manifest)?.of(key)?;
    let index = read_content(blobs, &layer)?;
    check(&config, &index)?;
    if let Some(log) = &log {
        io::copy(&mut blobs.open(log)?, &mut io::sink()).map_err(BundleFault::Log)?;
    }
    Ok(Examined { manifest: listed(manifest), config, layer, log, index })
}

/// Reads the content to its end, so that the blob's digest is verified too.
pub(super) fn read_content(blobs: &dyn BlobSource, layer: &Descriptor) -> Result<LayerIndex, BundleFault> {
    let unreadable = |source| BundleFault::Content(IndexError::Read { offset: 0, source });
    let stream = decode(blobs.open(layer)?, Encoding::Zstd).map_err(unreadable)?;
    index(io::BufReader::with_capacity(READ, stream), IndexOptions::default()).map_err(BundleFault::Content)
}

/// Holds what the configuration says against the content.
pub(super) fn check(config: &BundleConfig, index: &LayerIndex) -> Result<(), BundleFault> {
    let stated = &config.content;
    let found = (index.diff_id.to_string(), index.size, file_count(&index.delta));
    for (what, stated, found) in [
        ("diff_id", stated.diff_id.to_string(), found.0),
        ("size", stated.size.to_string(), found.1.to_string()),
        ("files", stated.files.to_string(), found.2.to_string()),
    ] {
        if stated != found {
            return Err(BundleFault::Differs { what, stated, found });
        }
    }
    let mut left = module_files(&index.delta);
    for module in &config.record.modules {
        let content = left.remove(&module.path);
        if content.is_none_or(|content| content.digest() != Some(module.digest) || content.size() != module.size) {
            return Err(BundleFault::Module { path: module.path.clone() });
        }
    }
    let unstated: Option<&TreePath> = left.into_keys().next();
    unstated.map_or(Ok(()), |path| Err(BundleFault::Module { path: path.clone() }))
}

/// Names of regular files.
pub(super) fn file_count(delta: &TreeDelta) -> u64 {
    // Of a link that leaves the delta nobody knows better.
    let files = delta.entries().values().filter(|inode| {
        let inode = delta.linked(inode);
        inode.content().is_some() || inode.kind.is_hardlink()
    });
    files.count() as u64
}

/// A sound bundle in a layout. As long as it or its contents live, `gc` deletes nothing from there.
#[derive(Debug)]
pub struct Bundle {
    examined: Examined,
    layout: Arc<Layout>,
}

impl Bundle {
    pub(super) fn new(examined: Examined, layout: Layout) -> Self {
        Self { examined, layout: Arc::new(layout) }
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Descriptor {
        &self.examined.manifest
    }

    /// What it says of itself.
    pub fn config(&self) -> &BundleConfig {
        &self.examined.config
    }

    /// What it changes; contents are named by digest.
    pub fn delta(&self) -> &TreeDelta {
        &self.examined.index.delta
    }

    /// What the builder printed, uncompressed, when it was kept.
    pub fn log(&self) -> Result<Option<impl Read + use<>>, StoreError> {
        let Some(log) = &self.examined.log else { return Ok(None) };
        let failed = |source| StoreError::Io { action: "read", path: log.digest.to_string(), source };
        decode(self.layout.reader(log)?, Encoding::Zstd).map(Some).map_err(failed)
    }

    /// The delta, the bytes of its files, and what is known of it.
    pub fn open(self) -> (TreeDelta, BundleContents, BundleConfig) {
        let Examined { config, layer, index, .. } = self.examined;
        (index.delta, BundleContents::new(self.layout, layer, index.offsets), config)
    }
}
