//! Documents that other programs make of an image, known by their content.

use serde_json::Value;

use crate::image::json::{self, JsonError};

/// The largest document that is attested, in bytes: ten times a bill of materials of a desktop.
const LARGEST: usize = 32 << 20;

/// A format of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// CycloneDX, JSON.
    CycloneDx,
    /// SPDX 2, JSON.
    Spdx,
    /// OpenVEX.
    OpenVex,
}

impl DocumentKind {
    /// The type of predicate that has such a document as its value.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "https://cyclonedx.org/bom",
            Self::Spdx => "https://spdx.dev/Document",
            Self::OpenVex => "https://openvex.dev/ns/v0.2.0",
        }
    }

    /// The media type of such a document by itself.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
            Self::OpenVex => "application/vnd.openvex+json",
        }
    }
}

/// Why bytes are not a document that can be attested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentFault {
    /// Not JSON.
    #[error("it is not strict JSON")]
    Json(#[from] JsonError),
    /// JSON of another kind.
    #[error("it is neither CycloneDX (\"bomFormat\") nor SPDX (\"spdxVersion\") nor OpenVEX (\"@context\")")]
    Unknown,
}

/// A document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// Its content.
    pub value: Value,
    /// Its bytes as they were given.
    pub bytes: Vec<u8>,
}

impl Document {
    /// Reads a document and finds out what it is.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentFault> {
        let value = json::parse(bytes, LARGEST)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = if text("bomFormat") == "CycloneDX" {
            DocumentKind::CycloneDx
        } else if text("spdxVersion").starts_with("SPDX-") {
            DocumentKind::Spdx
        } else if text("@context").starts_with("https://openvex.dev/ns") {
            DocumentKind::OpenVex
        } else {
            return Err(DocumentFault::Unknown);
        };
        Ok(Self { kind, value, bytes: bytes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn content_says_what_a_document_is() {
        let kind = |text: &str| Document::parse(text.as_bytes()).map(|document| document.kind);
        assert_eq!(kind("{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.6\"}").unwrap(), DocumentKind::CycloneDx);
        assert_eq!(kind("{\"spdxVersion\":\"SPDX-2.3\"}").unwrap(), DocumentKind::Spdx);
        assert_eq!(kind("{\"@context\":\"https://openvex.dev/ns/v0.2.0\"}").unwrap(), DocumentKind::OpenVex);
        for text in ["{}", "[]", "{\"bomFormat\":1}", "{\"spdxVersion\":\"2.3\"}"] {
            assert!(matches!(kind(text), Err(DocumentFault::Unknown)), "{text}");
        }
        assert!(matches!(kind("{\"bomFormat\":\"CycloneDX\",\"bomFormat\":\"x\"}"), Err(DocumentFault::Json(_))));
    }
}
