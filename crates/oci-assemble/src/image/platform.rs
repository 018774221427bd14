//! The machines an image is for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use oci_spec::image as spec;
use serde_json::Value;

use super::document::{self, DocumentFault, Fields};

/// What an image needs to run on (image-spec, "image-index.md", `platform`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Operating system, as Go names it: `linux`.
    pub os: String,
    /// Architecture, as Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Variant of the architecture: `v8`.
    pub variant: Option<String>,
    /// Other fields, kept as they are.
    pub rest: BTreeMap<String, Value>,
}

/// The text is not `os/architecture` or `os/architecture/variant`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {text:?}: expected os/architecture or os/architecture/variant, like linux/amd64")]
pub struct PlatformError {
    /// The text, cut to 160 characters.
    pub text: String,
}

impl Platform {
    /// A platform without a variant.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: None, rest: BTreeMap::new() }
    }

    /// Whether an image for `self` is what somebody asking for `wanted` means: same system and architecture, and the
    /// same variant if `wanted` names one, an unnamed variant being the architecture's usual one.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.usual_variant() == wanted.usual_variant())
    }

    fn usual_variant(&self) -> Option<&str> {
        self.variant.as_deref().or(match self.architecture.as_str() {
            "amd64" => Some("v1"),
            "arm" => Some("v7"),
            "arm64" => Some("v8"),
            _ => None,
        })
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Self, DocumentFault> {
        Ok(Self {
            os: fields.required_text("os")?,
            architecture: fields.required_text("architecture")?,
            variant: fields.text("variant")?,
            rest: fields.rest()?,
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut map = document::object(&self.rest);
        map.insert("os".into(), self.os.as_str().into());
        map.insert("architecture".into(), self.architecture.as_str().into());
        if let Some(variant) = &self.variant {
            map.insert("variant".into(), variant.as_str().into());
        }
        Value::Object(map)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let is_word = |word: &&str| {
            !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            _ if !parts.iter().all(is_word) => {}
            [os, architecture] => return Ok(Self::new(os, architecture)),
            [os, architecture, variant] => {
                return Ok(Self { variant: Some(variant.to_owned()), ..Self::new(os, architecture) });
            }
            _ => {}
        }
        Err(PlatformError { text: text.chars().take(160).collect() })
    }
}

impl From<&Platform> for spec::Platform {
    fn from(platform: &Platform) -> Self {
        let texts = |key: &str| -> Option<Vec<String>> {
            let values = platform.rest.get(key)?.as_array()?;
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
        };
        let mut theirs = Self::default();
        theirs.set_architecture(platform.architecture.as_str().into());
        theirs.set_os(platform.os.as_str().into());
        theirs.set_variant(platform.variant.clone());
        theirs.set_os_version(platform.rest.get("os.version").and_then(Value::as_str).map(str::to_owned));
        theirs.set_os_features(texts("os.features"));
        theirs
    }
}

impl From<&spec::Platform> for Platform {
    fn from(platform: &spec::Platform) -> Self {
        let mut rest = BTreeMap::new();
        if let Some(version) = platform.os_version() {
            rest.insert("os.version".to_owned(), Value::from(version.as_str()));
        }
        if let Some(features) = platform.os_features() {
            rest.insert("os.features".to_owned(), Value::from(features.clone()));
        }
        Self {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone(),
            rest,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn reads_and_shows() {
        for text in ["linux/amd64", "linux/arm64/v8", "windows/amd64"] {
            let value = platform(text);
            assert_eq!(value.to_string(), text);
            assert_eq!(Platform::from(&spec::Platform::from(&value)), value);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/", "linux/a/b/c", "Linux/amd64", "linux/amd 64"] {
            assert_eq!(text.parse::<Platform>(), Err(PlatformError { text: text.into() }));
        }
    }

    #[test]
    fn an_unnamed_variant_is_the_usual_one() {
        for (offered, wanted, expected) in [
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64/v9", "linux/arm64/v8", false),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/amd64/v3", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v3", false),
            ("linux/s390x", "linux/amd64", false),
            ("windows/amd64", "linux/amd64", false),
        ] {
            assert_eq!(platform(offered).satisfies(&platform(wanted)), expected, "{offered} for {wanted}");
        }
    }
}
