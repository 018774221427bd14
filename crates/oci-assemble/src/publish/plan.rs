//! What a push will do, before it does anything.

use serde::Serialize;

use super::content::Content;
use super::mounts::Mounts;
use super::observe::Observed;
use crate::image::{Descriptor, Digest};

/// What becomes of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlobAction {
    /// It is there.
    Present,
    /// It is mounted from the first of these repositories that has it, or sent if none does.
    Mount(Vec<String>),
    /// It is sent.
    Upload,
}

/// One blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBlob {
    /// Which.
    pub blob: Descriptor,
    /// What becomes of it.
    pub action: BlobAction,
}

/// One manifest or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedManifest {
    /// Which.
    pub manifest: Descriptor,
    /// Whether it is there.
    pub present: bool,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedTag {
    /// The tag.
    pub tag: String,
    /// What it names now.
    pub from: Option<Digest>,
    /// What it will name.
    pub to: Digest,
}

/// What a push will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPlan {
    /// Registry and repository.
    pub repository: String,
    /// What is pushed.
    pub image: Descriptor,
    /// Blobs, in the content's order.
    pub blobs: Vec<PlannedBlob>,
    /// Manifests, in the content's order.
    pub manifests: Vec<PlannedManifest>,
    /// Tags, in the order they were asked for, each once.
    pub tags: Vec<PlannedTag>,
}

impl PushPlan {
    /// Decides. A manifest that is there says nothing of its blobs: they were looked for themselves.
    pub fn new(content: &Content, observed: &Observed, mounts: &Mounts, tags: &[String]) -> Self {
        let action = |blob: &Descriptor| match mounts.get(&blob.digest) {
            _ if observed.blobs.contains(&blob.digest) => BlobAction::Present,
            Some(from) if !from.is_empty() => BlobAction::Mount(from.clone()),
            _ => BlobAction::Upload,
        };
        let blobs = content.blobs.iter().map(|blob| PlannedBlob { blob: blob.clone(), action: action(blob) });
        let manifests = content.manifests.iter().map(|document| PlannedManifest {
            manifest: document.descriptor.clone(),
            present: observed.manifests.contains(&document.descriptor.digest),
        });
        let to = content.top().digest;
        let mut planned: Vec<PlannedTag> = Vec::new();
        for tag in tags {
            if planned.iter().all(|known| known.tag != *tag) {
                let from = observed.tags.get(tag).copied().flatten();
                planned.push(PlannedTag { tag: tag.clone(), from, to });
            }
        }
        Self {
            repository: observed.repository.clone(),
            image: content.top().clone(),
            blobs: blobs.collect(),
            manifests: manifests.collect(),
            tags: planned,
        }
    }

    /// The sum of the sizes of blobs of one kind.
    pub fn bytes(&self, wanted: impl Fn(&BlobAction) -> bool) -> u64 {
        self.blobs.iter().filter(|planned| wanted(&planned.action)).map(|planned| planned.blob.size).sum()
    }

    /// Whether nothing is to be done.
    pub fn is_done(&self) -> bool {
        self.blobs.iter().all(|planned| planned.action == BlobAction::Present)
            && self.manifests.iter().all(|planned| planned.present)
            && self.tags.iter().all(|planned| planned.from == Some(planned.to))
    }

    /// The plan as JSON.
    pub fn to_value(&self) -> serde_json::Value {
        let blobs: Vec<_> = self
            .blobs
            .iter()
            .map(|planned| {
                let PlannedBlob { blob, action } = planned;
                let (name, from) = match action {
                    BlobAction::Present => ("present", None),
                    BlobAction::Mount(from) => ("mount", Some(from)),
                    BlobAction::Upload => ("upload", None),
                };
                let mut value = serde_json::json!({
                    "digest": blob.digest, "size": blob.size, "media_type": blob.media_type.as_str(), "action": name,
                });
                if let Some(from) = from {
                    value["from"] = from.clone().into();
                }
                value
            })
            .collect();
        let manifests: Vec<_> = self
            .manifests
            .iter()
            .map(|planned| {
                let PlannedManifest { manifest, present } = planned;
                serde_json::json!({
                    "digest": manifest.digest, "size": manifest.size, "media_type": manifest.media_type.as_str(),
                    "action": if *present { "present" } else { "push" },
                })
            })
            .collect();
        serde_json::json!({
            "repository": self.repository, "image": self.image.digest, "media_type": self.image.media_type.as_str(),
            "blobs": blobs, "manifests": manifests, "tags": self.tags,
        })
    }
}
