//! Carrying out a push, in two steps with room for signatures between them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::content::Content;
use super::error::{PublishError, Result};
use super::plan::{BlobAction, PlannedBlob, PlannedTag, PushPlan};
use super::receipt::{Attached, Receipt, ReceiptBlob, ReceiptManifest, ReceiptTag, Totals};
use crate::image::{Descriptor, Digest, Platform};
use crate::store::BlobSource;
use crate::store::registry::{Arrival, Name, Repository};

/// An image that is in its repository whole, and that no tag names yet.
#[derive(Debug)]
#[must_use = "without tags nobody finds the image"]
pub struct Untagged<'r> {
    repository: &'r Repository,
    content: &'r Content,
    tags: Vec<PlannedTag>,
    receipt: Receipt,
}

/// Brings blobs and manifests in, as planned. Blobs are read from `source` when they have to be sent, as many at a time
/// as there may be connections; manifests follow when all blobs are there, each after what it refers to.
pub fn push<'r>(
    repository: &'r Repository,
    content: &'r Content,
    plan: &PushPlan,
    source: &dyn BlobSource,
) -> Result<Untagged<'r>> {
    let arrivals = Mutex::new(BTreeMap::new());
    let mut missing: Vec<&PlannedBlob> =
        plan.blobs.iter().filter(|planned| planned.action != BlobAction::Present).collect();
    // The largest first: one that begins last would keep everybody waiting.
    missing.sort_by_key(|planned| (std::cmp::Reverse(planned.blob.size), planned.blob.digest));
    repository.for_each(&missing, |planned| {
        let PlannedBlob { blob, action } = planned;
        let mounted = match action {
            BlobAction::Mount(from) => repository.mount_blob(blob, from)?,
            _ => None,
        };
        let arrival = mounted.map_or_else(|| repository.upload_blob(blob, source), Ok)?;
        arrivals.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest, arrival);
        Ok(())
    })?;
    let arrivals = arrivals.into_inner().unwrap_or_else(PoisonError::into_inner);

    for (document, planned) in content.manifests.iter().zip(&plan.manifests) {
        if !planned.present {
            let Descriptor { digest, media_type, .. } = &document.descriptor;
            repository.put_manifest(Name::Digest(digest), media_type, &document.bytes)?;
        }
    }
    let receipt = receipt(plan, &arrivals);
    Ok(Untagged { repository, content, tags: plan.tags.clone(), receipt })
}

fn receipt(plan: &PushPlan, arrivals: &BTreeMap<Digest, Arrival>) -> Receipt {
    let mut bytes = Totals::default();
    let blobs = plan.blobs.iter().map(|planned| {
        let blob = &planned.blob;
        let arrival = arrivals.get(&blob.digest).copied().unwrap_or(Arrival::Present);
        bytes.add(arrival, blob.size);
        ReceiptBlob { digest: blob.digest, size: blob.size, media_type: blob.media_type.to_string(), arrival }
    });
    let blobs = blobs.collect();
    let manifests = plan.manifests.iter().map(|planned| ReceiptManifest {
        digest: planned.manifest.digest,
        size: planned.manifest.size,
        media_type: planned.manifest.media_type.to_string(),
        platform: planned.manifest.platform.as_ref().map(Platform::to_string),
        pushed: !planned.present,
    });
    Receipt {
        repository: plan.repository.clone(),
        image: plan.image.digest,
        media_type: plan.image.media_type.to_string(),
        blobs,
        manifests: manifests.collect(),
        attached: Vec::new(),
        tags: Vec::new(),
        bytes,
    }
}

impl Untagged<'_> {
    /// The repository it is in.
    pub fn repository(&self) -> &Repository {
        self.repository
    }

    /// What there is to be signed: every manifest and index, the image last.
    pub fn manifests(&self) -> impl ExactSizeIterator<Item = &Descriptor> {
        self.content.manifests.iter().map(|document| &document.descriptor)
    }

    /// Tags that will be set.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tags.iter().map(|planned| planned.tag.as_str())
    }

    /// Takes down what was attached.
    pub fn attached(mut self, attached: impl IntoIterator<Item = Attached>) -> Self {
        self.receipt.attached.extend(attached);
        self
    }

    /// Sets the tags, and reads back what each names then. A tag that somebody else moved in the meantime is moved all the
    /// same, and marked as raced: registries cannot compare before they write.
    pub fn tag(mut self) -> Result<Receipt> {
        let Some(top) = self.content.manifests.last() else { return Ok(self.receipt) };
        let Descriptor { digest, media_type, .. } = &top.descriptor;
        for PlannedTag { tag, from: expected, to } in self.tags {
            let from = self.repository.head(Name::Tag(&tag))?.map(|found| found.digest);
            if from != Some(*digest) {
                self.repository.put_manifest(Name::Tag(&tag), media_type, &top.bytes)?;
            }
            let found = self.repository.manifest(Name::Tag(&tag))?;
            if found.as_ref().is_none_or(|found| found.bytes != top.bytes) {
                let found = found.map_or_else(|| "nothing".to_owned(), |found| found.descriptor.digest.to_string());
                return Err(PublishError::Changed { tag, expected: Box::new(to), found });
            }
            self.receipt.tags.push(ReceiptTag { tag, from, to, raced: from != expected });
        }
        Ok(self.receipt)
    }
}
