//! Reading JSON documents field by field: what every parser in this module shares.
//!
//! Known fields are taken out of the object with their types checked; what stays is kept as it is. A key that
//! differs from a known one in case only is refused: readers written in Go take it for the known one.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::digest::{Digest, DigestError};
use super::json::{self, JsonError};

/// Bytes of a manifest or an index that are read at most: what registries and containers/image accept.
pub const MAX_MANIFEST: usize = 4 << 20;
/// Bytes of an image configuration that are read at most, as containers/image has it.
pub const MAX_CONFIG: usize = 4 << 20;
/// Descriptors accepted in one document. Images have a hundred layers, indexes a dozen platforms.
pub const MAX_DESCRIPTORS: usize = 1000;

/// The kinds of JSON documents an image consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// An image manifest.
    Manifest,
    /// An image index or a manifest list.
    Index,
    /// An image configuration.
    Config,
    /// A descriptor on its own.
    Descriptor,
    /// The file `oci-layout`.
    LayoutHeader,
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "image manifest",
            Self::Index => "image index",
            Self::Config => "image configuration",
            Self::Descriptor => "descriptor",
            Self::LayoutHeader => "oci-layout file",
        })
    }
}

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
#[error("invalid {document}")]
pub struct DocumentError {
    /// What was read.
    pub document: Document,
    /// What is wrong with it.
    #[source]
    pub fault: DocumentFault,
}

/// The JSON pointer to the whole document is empty, which says nothing to people.
fn whole(at: &str) -> &str {
    if at.is_empty() { "the document" } else { at }
}

/// What is wrong with a document. `at` is a JSON pointer (RFC 6901).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentFault {
    /// Not JSON, or not the strict JSON that is accepted.
    #[error(transparent)]
    Json(JsonError),
    /// A required field is not there.
    #[error("{} is missing", whole(.at))]
    Missing {
        /// Where.
        at: String,
    },
    /// A field has another type than the specification says.
    #[error("{} is not {expected}", whole(.at))]
    Type {
        /// Where.
        at: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A field is no digest.
    #[error("{at} is no digest")]
    Digest {
        /// Where.
        at: String,
        /// Why not.
        #[source]
        source: DigestError,
    },
    /// A key that Go programs take for a known one, and others do not.
    #[error("{at} is spelt differently from {known:?} in case only")]
    Case {
        /// Where.
        at: String,
        /// The key of the specification.
        known: &'static str,
    },
    /// `schemaVersion` is not 2.
    #[error("schemaVersion is {found}, not 2")]
    SchemaVersion {
        /// What it is.
        found: String,
    },
    /// The `mediaType` inside is not what the document was fetched as.
    #[error("media type is {found:?}, not {expected:?}")]
    MediaType {
        /// What the descriptor or the kind of document asks for.
        expected: String,
        /// What stands in the document.
        found: String,
    },
    /// A document that is a manifest to one reader and an index to another (CVE-2021-41190).
    #[error("{first} and {second} stand in one document")]
    Ambiguous {
        /// A key of one kind of document.
        first: &'static str,
        /// A key of the other kind.
        second: &'static str,
    },
    /// More descriptors than [`MAX_DESCRIPTORS`].
    #[error("{at} has {found} descriptors, more than {}", MAX_DESCRIPTORS)]
    TooManyDescriptors {
        /// Where.
        at: String,
        /// How many.
        found: usize,
    },
    /// `imageLayoutVersion` is not 1.x.
    #[error("layout version {found:?} is not 1.x")]
    LayoutVersion {
        /// What it is.
        found: String,
    },
}

impl DocumentFault {
    pub(crate) fn within(self, document: Document) -> DocumentError {
        DocumentError { document, fault: self }
    }
}

type Result<T> = std::result::Result<T, DocumentFault>;

/// An object while its known fields are taken out.
pub(crate) struct Fields {
    map: Map<String, Value>,
    at: String,
    known: Vec<&'static str>,
}

impl Fields {
    pub(crate) fn parse(bytes: &[u8], limit: usize) -> Result<Self> {
        Self::new(json::parse(bytes, limit).map_err(DocumentFault::Json)?, String::new())
    }

    pub(crate) fn new(value: Value, at: String) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { map, at, known: Vec::new() }),
            _ => Err(DocumentFault::Type { at, expected: "an object" }),
        }
    }

    pub(crate) fn at(&self, key: &str) -> String {
        format!("{}/{}", self.at, key.replace('~', "~0").replace('/', "~1"))
    }

    fn wrong<T>(&self, key: &str, expected: &'static str) -> Result<T> {
        Err(DocumentFault::Type { at: self.at(key), expected })
    }

    fn missing(&self, key: &str) -> DocumentFault {
        DocumentFault::Missing { at: self.at(key) }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Takes a field; `null` is as if it were absent, as Go reads it.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => self.wrong(key, "a string"),
        }
    }

    pub(crate) fn required_text(&mut self, key: &'static str) -> Result<String> {
        self.text(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Result<bool> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(_) => self.wrong(key, "a boolean"),
        }
    }

    pub(crate) fn digest(&mut self, key: &'static str) -> Result<Digest> {
        let text = self.required_text(key)?;
        text.parse().map_err(|source| DocumentFault::Digest { at: self.at(key), source })
    }

    /// A count of bytes: an integer, neither `1e3` nor `"3"`, that fits the signed 64 bits of the specification.
    pub(crate) fn size(&mut self, key: &'static str) -> Result<u64> {
        let value = self.take(key).ok_or_else(|| self.missing(key))?;
        match value.as_u64() {
            Some(size) if i64::try_from(size).is_ok() => Ok(size),
            _ => self.wrong(key, "a number of bytes"),
        }
    }

    pub(crate) fn array(&mut self, key: &'static str) -> Result<Option<Vec<Value>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(_) => self.wrong(key, "an array"),
        }
    }

    pub(crate) fn required_array(&mut self, key: &'static str) -> Result<Vec<Value>> {
        self.array(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn texts(&mut self, key: &'static str) -> Result<Vec<String>> {
        let values = self.array(key)?.unwrap_or_default();
        let all: Option<Vec<_>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        all.map_or_else(|| self.wrong(key, "an array of strings"), Ok)
    }

    /// A map of strings: labels or annotations.
    pub(crate) fn string_map(&mut self, key: &'static str) -> Result<BTreeMap<String, String>> {
        let Some(map) = self.object(key)? else { return Ok(BTreeMap::new()) };
        let all: Option<BTreeMap<_, _>> =
            map.map.into_iter().map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect();
        all.map_or_else(|| self.wrong(key, "a map of strings"), Ok)
    }

    pub(crate) fn object(&mut self, key: &'static str) -> Result<Option<Fields>> {
        self.take(key).map(|value| Fields::new(value, self.at(key))).transpose()
    }

    pub(crate) fn required_object(&mut self, key: &'static str) -> Result<Fields> {
        self.object(key)?.ok_or_else(|| self.missing(key))
    }

    /// What was not taken.
    pub(crate) fn rest(self) -> Result<BTreeMap<String, Value>> {
        for key in self.map.keys() {
            if let Some(known) = self.known.iter().find(|known| fold(known) == fold(key)) {
                return Err(DocumentFault::Case { at: self.at(key), known });
            }
        }
        Ok(self.map.into_iter().collect())
    }
}

/// Simple case folding as Go's decoder does it; through upper case, so that U+017F meets `s` and U+212A meets `k`.
fn fold(key: &str) -> String {
    key.to_lowercase().to_uppercase()
}

/// The object of `rest`, to which a writer adds the known fields.
pub(crate) fn object(rest: &BTreeMap<String, Value>) -> Map<String, Value> {
    rest.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A map of strings as JSON.
pub(crate) fn strings(map: &BTreeMap<String, String>) -> Value {
    Value::Object(map.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect())
}
