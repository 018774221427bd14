//! in-toto statements (in-toto attestation framework, `spec/v1/statement.md`).

use serde_json::{Map, Value, json};

use crate::image::{Digest, json};
use crate::publish::sign::SIGNATURE_PREDICATE;
use crate::publish::sigstore::Refusal;

/// The type of statements that are written.
const TYPE: &str = "https://in-toto.io/Statement/v1";
/// Types of statements that are read: cosign writes the older one, with the same fields.
const TYPES: [&str; 2] = [TYPE, "https://in-toto.io/Statement/v0.1"];
/// The largest statement that is read, in bytes.
const LARGEST: usize = 48 << 20;

/// What a statement says of its subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// URI of its type.
    pub kind: String,
    /// Of that type.
    pub value: Value,
}

/// "This predicate is true of the image with this digest."
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Digests of its subjects, as `sha256` has them; others are passed over.
    subjects: Vec<Digest>,
    name: Option<String>,
    predicate: Predicate,
}

impl Statement {
    /// The statement that signs an image. It names no repository: that is how cosign's verifiers know it.
    pub fn signature(digest: Digest) -> Self {
        let predicate = Predicate { kind: SIGNATURE_PREDICATE.to_owned(), value: Value::Object(Map::new()) };
        Self { subjects: vec![digest], name: None, predicate }
    }

    /// A statement on the image of this name and digest.
    pub fn attestation(name: &str, digest: Digest, predicate: Predicate) -> Self {
        let name = Some(super::repository(name).to_owned());
        Self { subjects: vec![digest], name, predicate }
    }

    /// Reads a statement that has been verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let what = "the statement";
        let mut value = json::parse(bytes, LARGEST).map_err(|source| Refusal::Json { what, source })?;
        let text = |value: &Value, key: &'static str| match value.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(Refusal::Malformed { what }),
        };
        let found = text(&value, "_type")?;
        if !TYPES.contains(&found.as_str()) {
            return Err(Refusal::Value { what: "the type of the statement", expected: TYPE.into(), found });
        }
        let kind = text(&value, "predicateType")?;
        let listed = value.get("subject").and_then(Value::as_array).ok_or(Refusal::Malformed { what })?;
        let sha256 =
            |subject: &Value| format!("sha256:{}", subject.get("digest")?.get("sha256")?.as_str()?).parse().ok();
        let subjects: Vec<Digest> = listed.iter().filter_map(sha256).collect();
        let name = listed.first().and_then(|subject| subject.get("name")?.as_str().map(str::to_owned));
        let value = value.get_mut("predicate").map(Value::take).unwrap_or_default();
        Ok(Self { subjects, name, predicate: Predicate { kind, value } })
    }

    /// The canonical JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let subjects: Vec<Value> = self.subjects.iter().map(|digest| self.subject(digest)).collect();
        json::canonical(&json!({
            "_type": TYPE,
            "subject": subjects,
            "predicateType": self.predicate.kind,
            "predicate": self.predicate.value,
        }))
    }

    fn subject(&self, digest: &Digest) -> Value {
        let digest = json!({ digest.algorithm(): digest.hex() });
        match &self.name {
            Some(name) => json!({ "name": name, "digest": digest }),
            None => json!({ "digest": digest }),
        }
    }

    /// Digests of the images that it is about.
    pub fn subjects(&self) -> &[Digest] {
        &self.subjects
    }

    /// The URI of the predicate's type.
    pub fn predicate_type(&self) -> &str {
        &self.predicate.kind
    }

    /// What it says.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }
}
