//! How images are called inside podman's storage.

use std::fmt;
use std::str::FromStr;

use oci_assemble::image::Digest;

/// The ID of an image in podman's storage: the SHA-256 digest of its configuration, written without `sha256:`.
///
/// Law: `id.to_string().parse() == Ok(id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(Digest);

/// A text that is no image ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no image ID: those are 64 digits 0-9 and a-f")]
pub struct ImageIdError {
    /// The text, cut to 160 characters.
    pub text: String,
}

impl ImageId {
    /// The ID of the image with this configuration; none for a digest other than SHA-256.
    pub fn of_config(config: Digest) -> Option<Self> {
        matches!(config, Digest::Sha256(_)).then_some(Self(config))
    }

    /// Digest of the configuration.
    pub fn config(&self) -> Digest {
        self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl FromStr for ImageId {
    type Err = ImageIdError;

    /// Takes the digits with or without `sha256:`: podman writes both.
    fn from_str(text: &str) -> Result<Self, ImageIdError> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let digest = format!("sha256:{digits}").parse();
        digest.map(Self).map_err(|_| ImageIdError { text: text.chars().take(160).collect() })
    }
}

/// The name of an image that this program put into podman's storage.
///
/// Such names begin with `localhost/assemble-`, so they never stand for an image of a registry or of the user, and
/// can be found and removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalImage {
    kind: &'static str,
    digest: Digest,
}

impl LocalImage {
    /// What builders start from: a copy of the image with that manifest.
    pub fn builder(manifest: Digest) -> Self {
        Self { kind: "builder", digest: manifest }
    }

    /// The toolchain, made once for everything that `key` covers.
    pub fn toolchain(key: Digest) -> Self {
        Self { kind: "toolchain", digest: key }
    }

    /// The repository, without `localhost/`.
    pub(crate) fn repository(&self) -> String {
        format!("assemble-{}", self.kind)
    }

    /// The tag. All digits: a name must never stand for two images. A tag has at most 128 characters, those of SHA-512.
    pub(crate) fn tag(&self) -> String {
        self.digest.hex()
    }
}

impl fmt::Display for LocalImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "localhost/{}:{}", self.repository(), self.tag())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_the_digits_of_the_configuration() {
        let digest = Digest::of(b"");
        let id = ImageId::of_config(digest).unwrap();
        assert_eq!(id.to_string(), digest.hex());
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(digest.to_string().parse(), Ok(id));
        assert_eq!(ImageId::of_config(Digest::Sha512([0; 64])), None);
        for text in ["", "latest", "sha512:00", &digest.hex()[1..], "sha256:sha256:"] {
            assert!(text.parse::<ImageId>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_ours_and_carry_the_whole_digest() {
        let digest = Digest::of(b"");
        let hex = digest.hex();
        assert_eq!(LocalImage::builder(digest).to_string(), format!("localhost/assemble-builder:{hex}"));
        assert_eq!(LocalImage::toolchain(digest).to_string(), format!("localhost/assemble-toolchain:{hex}"));
    }
}
