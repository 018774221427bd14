//! What a push did.

use serde::{Deserialize, Serialize};

use crate::image::Digest;
use crate::store::registry::Arrival;

/// What a push did, for machines: a JSON object that is the same whether it is printed or written to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Registry and repository.
    pub repository: String,
    /// Digest of what was pushed.
    pub image: Digest,
    /// Its media type.
    pub media_type: String,
    /// Every blob, in the image's order.
    pub blobs: Vec<ReceiptBlob>,
    /// Every manifest, what is referred to first, the image last.
    pub manifests: Vec<ReceiptManifest>,
    /// What was attached before the tags were set.
    pub attached: Vec<Attached>,
    /// Every tag.
    pub tags: Vec<ReceiptTag>,
    /// Sums.
    pub bytes: Totals,
}

/// One blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptBlob {
    /// Which.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub media_type: String,
    /// How it came there.
    #[serde(with = "arrival")]
    pub arrival: Arrival,
}

/// One manifest or index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptManifest {
    /// Which.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub media_type: String,
    /// The platform, where an index names it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub platform: Option<String>,
    /// Whether it had to be pushed.
    pub pushed: bool,
}

/// A signature, an attestation, or another manifest about the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// What it is: `signature`, `sbom`, `provenance`.
    pub kind: String,
    /// How it is stored: `legacy` or `bundle`.
    pub format: String,
    /// The manifest it is about.
    pub subject: Digest,
    /// Its own manifest.
    pub digest: Digest,
    /// The tag it is found by, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<String>,
    /// Who vouches: the identity in the certificate, or the name of the key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub identity: Option<String>,
    /// Its entry in the transparency log.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub log_index: Option<u64>,
    /// Whether it was there before.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub before: bool,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptTag {
    /// The tag.
    pub tag: String,
    /// What it named right before.
    pub from: Option<Digest>,
    /// What it names now.
    pub to: Digest,
    /// Whether somebody else moved it while the image was pushed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub raced: bool,
}

/// Bytes of blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sent to the registry.
    pub uploaded: u64,
    /// Mounted from other repositories.
    pub mounted: u64,
    /// There before.
    pub present: u64,
    /// Of those sent or read, fetched from a registry first.
    pub fetched: u64,
}

impl Totals {
    /// Adds a blob.
    pub(super) fn add(&mut self, arrival: Arrival, size: u64) {
        *match arrival {
            Arrival::Present => &mut self.present,
            Arrival::Mounted => &mut self.mounted,
            Arrival::Uploaded => &mut self.uploaded,
        } += size;
    }

    /// Bytes that did not have to be sent.
    pub fn saved(&self) -> u64 {
        self.mounted + self.present
    }
}

mod arrival {
    //! The words for how a blob came.
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::store::registry::Arrival;

    const WORDS: [(Arrival, &str); 3] =
        [(Arrival::Present, "present"), (Arrival::Mounted, "mounted"), (Arrival::Uploaded, "uploaded")];

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(arrival: &Arrival, serializer: S) -> Result<S::Ok, S::Error> {
        let word = WORDS.iter().find(|(known, _)| known == arrival).map_or("", |(_, word)| word);
        serializer.serialize_str(word)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arrival, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = WORDS.iter().find(|(_, word)| *word == text);
        found.map(|(arrival, _)| *arrival).ok_or_else(|| de::Error::custom("neither present, mounted nor uploaded"))
    }
}
