//! A transparency log as Rekor is one, in both versions: entries are checked, put into a Merkle tree (RFC 6962), proven
//! and promised.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sigstore_crypto::{KeyPair, VerificationKey, parse_certificate_info, sha256};
use sigstore_types::{DerCertificate, DerPublicKey, SignatureBytes};

use super::authority::{key, public, signature};
use crate::image::{Digest, json};

/// A log.
pub(super) struct Log {
    key: KeyPair,
    /// Hashes of the leaves. The first one is there from the start, so that no entry has number 0, which JSON of
    /// protocol buffers leaves out.
    leaves: Mutex<Vec<[u8; 32]>>,
    /// How its checkpoints name it.
    origin: String,
}

/// What an entry says.
struct Entry {
    body: Value,
}

impl Log {
    pub(super) fn new(origin: &str) -> Self {
        let first = leaf(b"{}");
        Self { key: key(), leaves: Mutex::new(vec![first]), origin: origin.to_owned() }
    }

    pub(super) fn public(&self) -> Vec<u8> {
        public(&self.key)
    }

    pub(super) fn id(&self) -> Digest {
        Digest::of(&self.public())
    }

    /// Adds an entry by the first version of the interface. `None` when it is not one that the log takes.
    pub(super) fn add_v1(&self, request: &Value, now: i64) -> Option<Value> {
        let body = json::canonical(&entry_v1(request)?.body);
        let (index, size, root, path) = self.append(&body);
        let encoded = STANDARD.encode(&body);
        let log_id = self.id().hex();
        // RFC 8785, which for strings and small numbers is the canonical form here.
        let promised = json::canonical(&json!({
            "body": encoded, "integratedTime": now, "logID": log_id, "logIndex": index,
        }));
        let hex = |hash: &[u8; 32]| Digest::Sha256(*hash).hex();
        let entry = json!({
            "body": encoded,
            "integratedTime": now,
            "logID": log_id,
            "logIndex": index,
            "verification": {
                "inclusionProof": {
                    "checkpoint": self.checkpoint(size, &root),
                    "hashes": path.iter().map(hex).collect::<Vec<_>>(),
                    "logIndex": index,
                    "rootHash": hex(&root),
                    "treeSize": size,
                },
                "signedEntryTimestamp": STANDARD.encode(signature(&self.key, &promised)),
            },
        });
        Some(json!({ hex(&leaf(&body)): entry }))
    }

    /// Adds an entry by the second version.
    pub(super) fn add_v2(&self, request: &Value) -> Option<Value> {
        let body = json::canonical(&entry_v2(request)?.body);
        let (index, size, root, path) = self.append(&body);
        let encode = |hash: &[u8; 32]| STANDARD.encode(hash);
        Some(json!({
            "logIndex": index.to_string(),
            "logId": { "keyId": STANDARD.encode(self.id().bytes()) },
            "kindVersion": { "kind": "hashedrekord", "version": "0.0.2" },
            "inclusionProof": {
                "logIndex": index.to_string(),
                "rootHash": encode(&root),
                "treeSize": size.to_string(),
                "hashes": path.iter().map(encode).collect::<Vec<_>>(),
                "checkpoint": { "envelope": self.checkpoint(size, &root) },
            },
            "canonicalizedBody": STANDARD.encode(&body),
        }))
    }

    fn append(&self, body: &[u8]) -> (usize, usize, [u8; 32], Vec<[u8; 32]>) {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.push(leaf(body));
        let index = leaves.len() - 1;
        (index, leaves.len(), root(&leaves), path(index, &leaves))
    }

    /// A signed note (C2SP, `tlog-checkpoint`).
    fn checkpoint(&self, size: usize, root: &[u8; 32]) -> String {
        let origin = &self.origin;
        let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
        let signature = signature(&self.key, text.as_bytes());
        let line = STANDARD.encode([&self.id().bytes()[..4], &signature].concat());
        let name = origin.split(' ').next().unwrap_or_default();
        format!("{text}\n\u{2014} {name} {line}\n")
    }
}

fn entry_v1(request: &Value) -> Option<Entry> {
    let spec = request.get("spec")?;
    match request.get("kind")?.as_str()? {
        "hashedrekord" => {
            let hash = spec.pointer("/data/hash/value")?.as_str()?;
            let content = spec.pointer("/signature/content")?.as_str()?;
            let verifier = spec.pointer("/signature/publicKey/content")?.as_str()?;
            let digest: Digest = format!("sha256:{hash}").parse().ok()?;
            holds(&verifier_key(verifier)?, digest.bytes(), content)?;
            Some(Entry {
                body: json!({
                    "apiVersion": "0.0.1",
                    "kind": "hashedrekord",
                    "spec": {
                        "data": { "hash": { "algorithm": "sha256", "value": hash } },
                        "signature": { "content": content, "publicKey": { "content": verifier } },
                    },
                }),
            })
        }
        "dsse" => {
            let envelope = spec.pointer("/proposedContent/envelope")?.as_str()?;
            let verifier = spec.pointer("/proposedContent/verifiers/0")?.as_str()?;
            let parsed: Value = serde_json::from_str(envelope).ok()?;
            let payload = STANDARD.decode(parsed.get("payload")?.as_str()?).ok()?;
            let content = parsed.pointer("/signatures/0/sig")?.as_str()?;
            let covered = sigstore_types::pae(parsed.get("payloadType")?.as_str()?, &payload);
            holds(&verifier_key(verifier)?, sha256(&covered).as_bytes(), content)?;
            let hash = |bytes: &[u8]| json!({ "algorithm": "sha256", "value": Digest::of(bytes).hex() });
            Some(Entry {
                body: json!({
                    "apiVersion": "0.0.1",
                    "kind": "dsse",
                    "spec": {
                        "envelopeHash": hash(envelope.as_bytes()),
                        "payloadHash": hash(&payload),
                        "signatures": [{ "signature": content, "verifier": verifier }],
                    },
                }),
            })
        }
        _ => None,
    }
}

fn entry_v2(request: &Value) -> Option<Entry> {
    let request = request.get("hashedRekordRequestV002")?;
    let digest = request.get("digest")?.as_str()?;
    let content = request.pointer("/signature/content")?.as_str()?;
    let verifier = request.pointer("/signature/verifier")?;
    let key = match verifier.pointer("/x509Certificate/rawBytes") {
        Some(certificate) => of_certificate(&STANDARD.decode(certificate.as_str()?).ok()?)?,
        None => DerPublicKey::new(STANDARD.decode(verifier.pointer("/publicKey/rawBytes")?.as_str()?).ok()?),
    };
    holds(&key, &STANDARD.decode(digest).ok()?, content)?;
    let mut verifier = verifier.clone();
    // Clients may leave it to the log to see which algorithm it is.
    verifier.as_object_mut()?.insert("keyDetails".into(), "PKIX_ECDSA_P256_SHA_256".into());
    Some(Entry {
        body: json!({
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": { "hashedRekordV002": {
                "data": { "algorithm": "SHA2_256", "digest": digest },
                "signature": { "content": content, "verifier": verifier },
            } },
        }),
    })
}

/// The key in a PEM block, of a certificate or by itself.
fn verifier_key(base64: &str) -> Option<DerPublicKey> {
    let block = pem::parse(STANDARD.decode(base64).ok()?).ok()?;
    match block.tag() {
        "CERTIFICATE" => of_certificate(block.contents()),
        _ => Some(DerPublicKey::new(block.into_contents())),
    }
}

fn of_certificate(der: &[u8]) -> Option<DerPublicKey> {
    parse_certificate_info(&DerCertificate::from_bytes(der)).ok().map(|info| info.public_key)
}

/// Whether the signature is by the key: a log takes no other.
fn holds(key: &DerPublicKey, digest: &[u8], signature: &str) -> Option<()> {
    let signature = SignatureBytes::new(STANDARD.decode(signature).ok()?);
    VerificationKey::from_spki(key).ok()?.verify_prehashed(digest, &signature).ok()
}

fn leaf(body: &[u8]) -> [u8; 32] {
    *sha256(&[&[0][..], body].concat()).as_bytes()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    *sha256(&[&[1][..], left, right].concat()).as_bytes()
}

/// The largest power of two below `size`.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => *sha256(b"").as_bytes(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    if index < middle {
        let mut path = path(index, left);
        path.push(root(right));
        return path;
    }
    let mut path = path(index - middle, right);
    path.push(root(left));
    path
}
