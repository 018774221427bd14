//! Annotations of the legacy form (cosign, `specs/SIGNATURE_SPEC.md`), and how they become the values of a bundle.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sigstore_types::TransparencyLogEntry;

use super::refusal::Refusal;
use crate::image::json;

/// Base64 of the signature.
pub(in crate::publish) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The certificate of the signer, PEM.
pub(in crate::publish) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// The certificates above it, the root last, PEM.
pub(in crate::publish) const CHAIN: &str = "dev.sigstore.cosign/chain";
/// What the log said: [`LogBundle`].
pub(in crate::publish) const BUNDLE: &str = "dev.sigstore.cosign/bundle";
/// Predicate of an attestation; a hint, as nothing signs it.
pub(in crate::publish) const PREDICATE_TYPE: &str = "predicateType";

/// The largest annotation that is read, in bytes. The entry of an attestation by hash has two thousand.
const LARGEST: usize = 1 << 20;

/// The answer of a log of version 1: a promise to include an entry.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::publish) struct LogBundle {
    #[serde(rename = "SignedEntryTimestamp")]
    promise: String,
    #[serde(rename = "Payload")]
    payload: LogPayload,
}

#[derive(Debug, Serialize, Deserialize)]
struct LogPayload {
    body: String,
    #[serde(rename = "integratedTime")]
    time: i64,
    #[serde(rename = "logIndex")]
    index: i64,
    /// Hexadecimal.
    #[serde(rename = "logID")]
    log: String,
}

impl LogBundle {
    /// What to write for an entry; `None` when the log promised nothing, as those of version 2 do.
    pub(super) fn of(entry: &TransparencyLogEntry) -> Option<Self> {
        let promise = entry.inclusion_promise.as_ref()?.signed_entry_timestamp.to_base64();
        let payload = LogPayload {
            body: entry.canonicalized_body.to_base64(),
            time: entry.integrated_time.as_ref()?.as_second(),
            index: entry.log_index.as_i64(),
            log: hex(entry.log_id.key_id.as_bytes()),
        };
        Some(Self { promise, payload })
    }

    pub(super) fn to_json(&self) -> String {
        // Strings and numbers only: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let value = json::parse(text.as_bytes(), LARGEST).map_err(|source| Refusal::Json { what: BUNDLE, source })?;
        serde_json::from_value(value).map_err(|source| Refusal::Shape { what: BUNDLE, source })
    }

    /// The entry as bundles have it.
    pub(super) fn entry(&self) -> Result<TransparencyLogEntry, Refusal> {
        let malformed = || Refusal::Malformed { what: BUNDLE };
        let body = super::proof::decode(&self.payload.body).ok_or_else(malformed)?;
        let body = json::parse(&body, LARGEST).map_err(|source| Refusal::Json { what: BUNDLE, source })?;
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(malformed);
        let log = unhex(&self.payload.log).ok_or_else(malformed)?;
        let entry = json!({
            "logIndex": self.payload.index.to_string(),
            "logId": { "keyId": super::proof::encode(&log) },
            "kindVersion": { "kind": text("kind")?, "version": text("apiVersion")? },
            "integratedTime": self.payload.time.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": self.promise },
            "canonicalizedBody": self.payload.body,
        });
        serde_json::from_value(entry).map_err(|source| Refusal::Shape { what: BUNDLE, source })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}
