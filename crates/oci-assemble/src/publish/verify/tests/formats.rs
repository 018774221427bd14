//! What is stored, byte for byte, with placeholders for what no two runs have in common.

use serde_json::Value;

use super::*;
use crate::publish::attest::{Attestation, Document, attest};

/// Puts names in the place of signatures, keys, certificates, times and digests that depend on them.
fn masked(value: &mut Value, key: &str) {
    match value {
        // How many there are depends on what else is in the log.
        Value::Array(_) if key == "hashes" => *value = "<hashes>".into(),
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| masked(value, key)),
        Value::Array(values) => values.iter_mut().for_each(|value| masked(value, key)),
        Value::String(text) => {
            let json: Option<Value> = serde_json::from_str(text).ok().filter(|value: &Value| value.is_object());
            if let Some(mut inner) = json {
                masked(&mut inner, "");
                *value = inner;
                return;
            }
            let decoded = base64(text);
            if let Some(mut inner) = decoded.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
                && inner.is_object()
            {
                masked(&mut inner, "");
                *value = inner;
                return;
            }
            let length = text.len();
            let secret = matches!(
                key,
                "dev.cosignproject.cosign/signature"
                    | "sig"
                    | "signature"
                    | "content"
                    | "SignedEntryTimestamp"
                    | "signedEntryTimestamp"
                    | "rawBytes"
                    | "verifier"
                    | "rootHash"
                    | "keyId"
                    | "logID"
                    | "hint"
                    | "signedTimestamp"
                    | "value"
                    | "envelope"
                    | "hashes"
            );
            if (secret && length > 20) || text.starts_with("-----BEGIN") || text.contains("\u{2014} ") {
                let lines = text.split_inclusive('\n').filter(|line| line.starts_with("-----BEGIN")).count();
                *text = if lines > 0 { format!("<{lines} PEM>") } else { "<base64 or hex>".into() };
            }
            if key == "integratedTime" || key == "logIndex" || key == "treeSize" {
                *text = "<number>".into();
            }
        }
        Value::Number(_) if matches!(key, "integratedTime" | "logIndex") => *value = "<number>".into(),
        _ => {}
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// An artifact as text: manifest, then blobs, of which digests and sizes depend on signatures.
fn shown(artifact: &Artifact) -> String {
    let place = match &artifact.place {
        Place::Tag(tag) => format!("tag {tag}"),
        Place::Referrer(subject) => format!("referrer of {subject}"),
    };
    let mut manifest: Value = serde_json::from_slice(&artifact.bytes).unwrap();
    masked(&mut manifest, "");
    let mut text = format!("== {place}\n{manifest:#}\n");
    for (descriptor, bytes) in &artifact.blobs {
        let mut blob: Value = serde_json::from_slice(bytes).unwrap();
        masked(&mut blob, "");
        text.push_str(&format!("-- {}\n{blob:#}\n", descriptor.media_type));
    }
    // Bundles and envelopes hold signatures; what depends on their bytes differs each time.
    for (descriptor, _) in &artifact.blobs {
        text = text.replace(&descriptor.digest.to_string(), &format!("<digest of {}>", descriptor.media_type));
        text = text.replace(&format!("\"size\": {}", descriptor.size), "\"size\": <size>");
    }
    text
}

/// Holds artifacts against a file beside this one, which `UPDATE_GOLDEN=1` writes anew.
fn compare(name: &str, artifacts: &[Artifact]) {
    let text: String = artifacts.iter().map(shown).collect();
    let file = format!("{}/src/publish/verify/tests/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{name}");
}

#[test]
fn a_key_is_stored_as_cosign_does() {
    let key = KeySigner::new(SigningKey::generate().unwrap());
    let signed = sign(&subject("image"), &[&key], Format::Both, &MemoryReferrers::new(), created()).unwrap();
    compare("key", &signed.artifacts);
}

#[test]
fn identities_are_stored_as_cosign_does() {
    for (name, version, format) in
        [("keyless_v1", RekorVersion::V1, Format::Both), ("keyless_v2", RekorVersion::V2, Format::Bundle)]
    {
        let signer = keyless(&SERVICES, version, None);
        let made = sign(&subject("image"), &[&signer], format, &MemoryReferrers::new(), created()).unwrap();
        compare(name, &made.artifacts);
    }
}

#[test]
fn attestations_are_stored_as_cosign_does() {
    let key = KeySigner::new(SigningKey::generate().unwrap());
    let sbom = b"{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.6\",\"components\":[]}";
    let sbom = Attestation::Document(Document::parse(sbom).unwrap());
    let attested = attest(&subject("image"), &sbom, &[&key], Format::Both, &MemoryReferrers::new(), created()).unwrap();
    compare("attestation", &attested.artifacts);
}

#[test]
fn the_payload_is_what_cosign_signs() {
    let digest = subject("image").descriptor.digest;
    let text = String::from_utf8(Payload::new(NAME, digest).to_bytes()).unwrap();
    let expected = format!(
        "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"{NAME}\"}},\"image\":{{\"docker-manifest-digest\":\
         \"{digest}\"}},\"type\":\"cosign container image signature\"}},\"optional\":null}}"
    );
    assert_eq!(text, expected);
    assert_eq!(Payload::parse(text.as_bytes()).unwrap(), Payload::new(NAME, digest));
}
