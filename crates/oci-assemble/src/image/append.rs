//! An image as a value, and layers put on top of it.
//!
//! An [`Image`] is a manifest and a configuration that agree. Its bytes are those it was read from until it is
//! changed, so an image that is only read keeps its digest. A change rewrites the document it concerns in canonical
//! form, with OCI's media types. The descriptors, annotations and history of the base stay as they were: clients
//! find what they already have by them.

use std::fmt;
use std::sync::Arc;

use super::config::{Config, History};
use super::descriptor::Descriptor;
use super::digest::Digest;
use super::document::DocumentError;
use super::layer::Layer;
use super::manifest::Manifest;
use super::media_type::MediaType;
use super::platform::Platform;
use super::validate::{Mismatch, Observed, compare};

/// An image: base layers, layers put on top, configuration, annotations. Two images are equal when their digests are.
///
/// Laws: `Image::parse(i.manifest_bytes(), i.config_bytes()) == i`; `append` of a sequence is `append` one by one;
/// the digest depends on what was set, not on the order.
#[derive(Clone)]
#[must_use]
pub struct Image {
    pub(super) manifest: Manifest,
    pub(super) config: Config,
    manifest_bytes: Arc<[u8]>,
    config_bytes: Arc<[u8]>,
}

/// Why a manifest and a configuration are no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// One of the documents cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The configuration is not the one that the manifest names.
    #[error("configuration does not match the manifest")]
    Config(#[source] Mismatch),
    /// A manifest of something else: an artifact, a chart, an attestation.
    #[error("media type {media_type:?} of {place} does not belong to an image")]
    NotAnImage {
        /// The type found.
        media_type: String,
        /// `config`, or which layer.
        place: String,
    },
    /// Readers would disagree which layer has which `diff_id`.
    #[error("{layers} layers but {diff_ids} diff_ids")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
}

/// Why a layer cannot be put on an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Clients take a second layer with the same digest or `diff_id` for the first one, or refuse the image.
    #[error("layer already present: {digest} has the digest or diff_id of layer {index}")]
    Present {
        /// Digest of the blob.
        digest: Digest,
        /// Position of the equal layer, from 0 at the bottom.
        index: usize,
    },
    /// The descriptor is not one of a layer.
    #[error("media type {media_type:?} is not a layer's")]
    NotALayer {
        /// The type found.
        media_type: String,
    },
}

impl Image {
    /// An image without layers.
    pub fn scratch(platform: Platform) -> Self {
        let none = Descriptor::of(MediaType::ImageConfig, &[]);
        Self::seal(Manifest::new(none, Vec::new()), Config::new(platform))
    }

    /// Reads an image of one platform and checks that its two documents belong together.
    pub fn parse(manifest_bytes: &[u8], config_bytes: &[u8]) -> Result<Self, ImageError> {
        let manifest = Manifest::parse(manifest_bytes, None)?;
        if !manifest.config.media_type.is_config() {
            let media_type = manifest.config.media_type.to_string();
            return Err(ImageError::NotAnImage { media_type, place: "config".into() });
        }
        for (index, layer) in manifest.layers.iter().enumerate() {
            if layer.media_type.encoding().is_none() {
                let media_type = layer.media_type.to_string();
                return Err(ImageError::NotAnImage { media_type, place: format!("layer {index}") });
            }
        }
        let observed = Observed::of(&manifest.config, config_bytes);
        if let Some(mismatch) = compare(&manifest.config, None, &observed).pop() {
            return Err(ImageError::Config(mismatch));
        }
        let config = Config::parse(config_bytes)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.diff_ids.len());
        if layers != diff_ids {
            return Err(ImageError::LayerCount { layers, diff_ids });
        }
        Ok(Self { manifest, config, manifest_bytes: manifest_bytes.into(), config_bytes: config_bytes.into() })
    }

    /// Puts a layer on top. Exactly one entry is added to the history; a base that recorded less than one for each of
    /// its layers gets the missing ones first, because clients pair layers with history by counting.
    pub fn append(mut self, layer: Layer) -> Result<Self, AppendError> {
        let Layer { descriptor, diff_id, history, uncompressed_size: _ } = layer;
        if descriptor.media_type.encoding().is_none() {
            return Err(AppendError::NotALayer { media_type: descriptor.media_type.to_string() });
        }
        let present = |(below, id): (&Descriptor, &Digest)| below.digest == descriptor.digest || *id == diff_id;
        if let Some(index) = self.layers().position(present) {
            return Err(AppendError::Present { digest: descriptor.digest, index });
        }
        self.pad_history();
        self.manifest.layers.push(descriptor);
        self.config.diff_ids.push(diff_id);
        self.config.history.push(History { empty_layer: false, ..history });
        Ok(self.resealed())
    }

    /// [`Image::append`] for each layer, from the bottom up.
    pub fn append_all(self, layers: impl IntoIterator<Item = Layer>) -> Result<Self, AppendError> {
        layers.into_iter().try_fold(self, Self::append)
    }

    pub(super) fn pad_history(&mut self) {
        let recorded = self.config.layer_history().count();
        let unknown = || History { comment: Some("not recorded by the base image".into()), ..History::default() };
        let missing = self.manifest.layers.len().saturating_sub(recorded);
        self.config.history.extend(std::iter::repeat_with(unknown).take(missing));
    }

    /// The layers from the bottom up: blob and `diff_id`.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = (&Descriptor, &Digest)> {
        self.manifest.layers.iter().zip(&self.config.diff_ids)
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The manifest as it is stored.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The configuration as it is stored.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// The digest of the image: that of its manifest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest_bytes)
    }

    /// The manifest's descriptor, with the platform.
    pub fn descriptor(&self) -> Descriptor {
        let plain = Descriptor::of(self.manifest.media_type.clone(), &self.manifest_bytes);
        Descriptor { platform: Some(self.config.platform.clone()), ..plain }
    }

    /// Every blob the image needs, the manifest left out: configuration first, then layers from the bottom up.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.manifest.config).chain(&self.manifest.layers)
    }

    /// Writes both documents anew.
    pub(super) fn seal(manifest: Manifest, config: Config) -> Self {
        let config_bytes = config.to_bytes();
        let mut manifest = manifest.into_oci();
        manifest.config.digest = Digest::of(&config_bytes);
        manifest.config.size = config_bytes.len() as u64;
        let manifest_bytes = manifest.to_bytes().into();
        Self { manifest, config, manifest_bytes, config_bytes: config_bytes.into() }
    }

    pub(super) fn resealed(self) -> Self {
        Self::seal(self.manifest, self.config)
    }

    /// Writes the manifest anew; the configuration stays byte for byte.
    pub(super) fn resealed_manifest(self) -> Self {
        let manifest = self.manifest.into_oci();
        let manifest_bytes = manifest.to_bytes().into();
        Self { manifest, manifest_bytes, ..self }
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.manifest_bytes == other.manifest_bytes && self.config_bytes == other.config_bytes
    }
}

impl Eq for Image {}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Image");
        shown.field("manifest", &self.manifest).field("config", &self.config).finish_non_exhaustive()
    }
}
