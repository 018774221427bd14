//! The payload of the legacy form: "simple signing" (containers/image, `docs/containers-signature.5.md`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::image::{Digest, json};
use crate::publish::sigstore::Refusal;

/// What the payload of a container image says of its own type. cosign writes it; skopeo writes and wants "atomic
/// container signature" for its own signatures only, and accepts this one for sigstore's.
const TYPE: &str = "cosign container image signature";
/// The largest payload that is read, in bytes. A real one has three hundred, and annotations of its signer.
pub(in crate::publish) const LARGEST: usize = 1 << 20;

/// What a signature of the legacy form says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    critical: Critical,
    optional: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

impl Payload {
    /// "The manifest of this digest is the image of this name."
    pub fn new(name: &str, digest: Digest) -> Self {
        let critical =
            Critical { identity: Identity { name: name.to_owned() }, image: Image { digest }, kind: TYPE.to_owned() };
        Self { critical, optional: None }
    }

    /// Reads a payload that has been verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let what = "the payload";
        let value = json::parse(bytes, LARGEST).map_err(|source| Refusal::Json { what, source })?;
        let payload: Self = serde_json::from_value(value).map_err(|source| Refusal::Shape { what, source })?;
        if payload.critical.kind != TYPE {
            return Err(Refusal::Value {
                what: "the type of the payload",
                expected: TYPE.into(),
                found: payload.critical.kind,
            });
        }
        Ok(payload)
    }

    /// The JSON that is signed, keys in cosign's order.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings only: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The image that it is about.
    pub fn digest(&self) -> Digest {
        self.critical.image.digest
    }

    /// The name that the image was signed under.
    pub fn name(&self) -> &str {
        &self.critical.identity.name
    }
}
