//! What a blob is, as descriptors say it.
//!
//! image-spec, "media-types.md", with the Docker types it lists as compatible.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use oci_spec::image as spec;

/// A media type. Types of both worlds that mean the same are two values: a descriptor is kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// OCI image manifest.
    ImageManifest,
    /// OCI image index.
    ImageIndex,
    /// OCI image configuration.
    ImageConfig,
    /// OCI layer: a tar, encoded in some way, distributable or not.
    Layer(Encoding, Distribution),
    /// The `{}` blob that artifacts use for what they do not have.
    Empty,
    /// Docker image manifest, version 2, schema 2.
    DockerManifest,
    /// Docker manifest list.
    DockerManifestList,
    /// Docker image configuration.
    DockerConfig,
    /// Docker layer.
    DockerLayer(Encoding, Distribution),
    /// Any other type, as it is written.
    Other(String),
}

/// How the tar of a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// Not compressed.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

/// Whether registries may pass a layer on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Distribution {
    /// Like every other layer.
    Free,
    /// "Non-distributable" (OCI) or "foreign" (Docker): may be absent from registries.
    Restricted,
}

use Distribution::{Free, Restricted};
use Encoding::{Gzip, Plain, Zstd};

const NAMES: [(MediaType, &str); 19] = [
    (MediaType::ImageManifest, "application/vnd.oci.image.manifest.v1+json"),
    (MediaType::ImageIndex, "application/vnd.oci.image.index.v1+json"),
    (MediaType::ImageConfig, "application/vnd.oci.image.config.v1+json"),
    (MediaType::Layer(Plain, Free), "application/vnd.oci.image.layer.v1.tar"),
    (MediaType::Layer(Gzip, Free), "application/vnd.oci.image.layer.v1.tar+gzip"),
    (MediaType::Layer(Zstd, Free), "application/vnd.oci.image.layer.v1.tar+zstd"),
    (MediaType::Layer(Plain, Restricted), "application/vnd.oci.image.layer.nondistributable.v1.tar"),
    (MediaType::Layer(Gzip, Restricted), "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
    (MediaType::Layer(Zstd, Restricted), "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"),
    (MediaType::Empty, "application/vnd.oci.empty.v1+json"),
    (MediaType::DockerManifest, "application/vnd.docker.distribution.manifest.v2+json"),
    (MediaType::DockerManifestList, "application/vnd.docker.distribution.manifest.list.v2+json"),
    (MediaType::DockerConfig, "application/vnd.docker.container.image.v1+json"),
    (MediaType::DockerLayer(Plain, Free), "application/vnd.docker.image.rootfs.diff.tar"),
    (MediaType::DockerLayer(Gzip, Free), "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    (MediaType::DockerLayer(Zstd, Free), "application/vnd.docker.image.rootfs.diff.tar.zstd"),
    (MediaType::DockerLayer(Plain, Restricted), "application/vnd.docker.image.rootfs.foreign.diff.tar"),
    (MediaType::DockerLayer(Gzip, Restricted), "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    (MediaType::DockerLayer(Zstd, Restricted), "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd"),
];

impl MediaType {
    /// The layer type for new layers of `encoding`.
    pub fn layer(encoding: Encoding) -> Self {
        Self::Layer(encoding, Free)
    }

    /// The wire form.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => NAMES.iter().find(|(value, _)| value == known).map_or("", |(_, name)| name),
        }
    }

    /// How the tar is stored, when this is a layer.
    pub fn encoding(&self) -> Option<Encoding> {
        match self {
            Self::Layer(encoding, _) | Self::DockerLayer(encoding, _) => Some(*encoding),
            _ => None,
        }
    }

    /// Whether this names an image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::ImageManifest | Self::DockerManifest)
    }

    /// Whether this names a list of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::ImageIndex | Self::DockerManifestList)
    }

    /// Whether this names an image configuration.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::ImageConfig | Self::DockerConfig)
    }

    /// The OCI type for the same bytes.
    #[must_use]
    pub fn to_oci(self) -> Self {
        match self {
            Self::DockerManifest => Self::ImageManifest,
            Self::DockerManifestList => Self::ImageIndex,
            Self::DockerConfig => Self::ImageConfig,
            Self::DockerLayer(encoding, distribution) => Self::Layer(encoding, distribution),
            other => other,
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map_or_else(|| Self::Other(text.to_owned()), |(value, _)| value.clone())
    }
}

impl FromStr for MediaType {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text))
    }
}

impl From<&spec::MediaType> for MediaType {
    fn from(media_type: &spec::MediaType) -> Self {
        Self::from(media_type.as_ref())
    }
}

impl From<&MediaType> for spec::MediaType {
    fn from(media_type: &MediaType) -> Self {
        Self::from(media_type.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_agrees_with_the_specification() {
        for (value, name) in &NAMES {
            assert_eq!(&MediaType::from(*name), value);
            assert_eq!(value.as_str(), *name);
            let theirs = spec::MediaType::from(value);
            assert_eq!(&MediaType::from(&theirs), value);
            let docker = name.starts_with("application/vnd.docker.");
            assert_eq!(matches!(theirs, spec::MediaType::Other(_)), docker, "{name}");
            assert!(!value.clone().to_oci().as_str().contains("docker"));
        }
        let other = MediaType::from("text/plain");
        assert_eq!((other.as_str(), other.encoding()), ("text/plain", None));
    }
}
