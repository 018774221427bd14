//! What an image runs on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::rule::ValueFault;

/// `os/architecture[/variant]`, by the names of Go (OCI image-spec, image-index.md, "platform").
///
/// Law: `platform.to_string().parse() == Ok(platform)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, `v3`, …
    pub variant: Option<String>,
}

impl FromStr for Platform {
    type Err = ValueFault;

    fn from_str(text: &str) -> Result<Self, ValueFault> {
        const FAULT: ValueFault = ValueFault::Form { form: "linux/ARCHITECTURE[/VARIANT]" };
        let is_word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(is_word) {
            return Err(FAULT);
        }
        let (architecture, variant) = match parts.as_slice() {
            ["linux", architecture] => (architecture, None),
            ["linux", architecture, variant] => (architecture, Some((*variant).to_owned())),
            _ => return Err(FAULT),
        };
        Ok(Self { os: "linux".to_owned(), architecture: (*architecture).to_owned(), variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
