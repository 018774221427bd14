//! The configuration of a bundle: JSON, one text for one value.

use std::collections::BTreeMap;

use oci_assemble::image::{Digest, MAX_CONFIG, json};
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::key::BundleKey;
use super::record::BundleRecord;

/// The form of configurations that is written and read.
const SCHEMA: u64 = 1;

/// Everything a bundle says of itself.
///
/// Law: `BundleConfig::parse(&c.to_bytes()?)` gives `c` back, and no other text does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleConfig {
    /// What went in.
    pub key: BundleKey,
    /// What the stage states.
    pub record: BundleRecord,
    /// What came out.
    pub content: ContentRecord,
}

/// The content of a bundle, uncompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentRecord {
    /// Digest of the tar stream.
    pub diff_id: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Names of regular files in it.
    pub files: u64,
}

/// The document as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u64,
    key: Digest,
    inputs: BTreeMap<String, String>,
    record: BundleRecord,
    content: ContentRecord,
}

impl BundleConfig {
    /// The canonical JSON; at most [`MAX_CONFIG`] bytes, what registries and their clients take.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ConfigError> {
        let document = Document {
            schema: SCHEMA,
            key: *self.key.digest(),
            inputs: self.key.inputs().clone(),
            record: self.record.clone(),
            content: self.content,
        };
        let bytes = json::canonical(&serde_json::to_value(document).map_err(ConfigError::Shape)?);
        if bytes.len() > MAX_CONFIG {
            return Err(ConfigError::TooLarge { size: bytes.len(), limit: MAX_CONFIG });
        }
        Ok(bytes)
    }

    /// Reads what [`BundleConfig::to_bytes`] wrote. A schema that is not ours is an error before any field is looked
    /// at; then an unknown field is one, a key that is not that of the inputs, and any text but the canonical one.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let value = json::parse(bytes, MAX_CONFIG).map_err(ConfigError::Json)?;
        let found = value.get("schema").ok_or(ConfigError::NoSchema)?;
        if found.as_u64() != Some(SCHEMA) {
            return Err(ConfigError::Schema { found: found.to_string(), expected: SCHEMA });
        }
        // From the text, so that errors name the place.
        let document: Document = serde_json::from_slice(bytes).map_err(ConfigError::Shape)?;
        let key = BundleKey::new(document.inputs).map_err(ConfigError::Input)?;
        if *key.digest() != document.key {
            return Err(ConfigError::Key { stated: document.key, computed: *key.digest() });
        }
        let config = Self { key, record: document.record, content: document.content };
        if config.to_bytes()? == bytes { Ok(config) } else { Err(ConfigError::NotCanonical) }
    }
}
