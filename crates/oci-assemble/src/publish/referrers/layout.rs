//! Attachments in an OCI layout: tags in its list of images, and manifests with a subject beside them.

use std::sync::Arc;

use cap_std::fs::Dir;

use super::{Artifact, Place, ReferrerSource, ReferrerStore, Result, fallback_tag};
use crate::image::{Descriptor, Digest, Index, MAX_MANIFEST, Manifest};
use crate::store::{BlobSource, BlobStore, Layout, StoreError, read_document};

/// What is attached to the images of a layout.
///
/// The image-spec does not say how a layout lists referrers; other programs find them, as this does, by looking into
/// every manifest of the list. So no index is kept for them.
#[derive(Clone, Debug)]
pub struct LayoutReferrers {
    layout: Arc<Layout>,
}

impl LayoutReferrers {
    /// The attachments in the layout below `dir`.
    pub fn open(dir: Dir) -> Result<Self> {
        Ok(Self { layout: Arc::new(Layout::open(dir)?) })
    }

    fn subject_of(&self, entry: &Descriptor) -> Result<Option<Digest>> {
        if !entry.media_type.is_manifest() {
            return Ok(None);
        }
        let bytes = read_document(self.layout.as_ref(), entry, MAX_MANIFEST)?;
        Ok(Manifest::parse(&bytes, Some(&entry.media_type))?.subject.map(|subject| subject.digest))
    }
}

impl ReferrerSource for LayoutReferrers {
    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>> {
        match self.layout.find(Some(tag), None) {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::NoImage { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let mut found: Vec<Descriptor> = Vec::new();
        for entry in self.layout.index()?.manifests {
            if self.subject_of(&entry)?.as_ref() == Some(subject) {
                found.push(entry);
            }
        }
        // Copied from a registry by a program that knows tags only.
        if let Some(tagged) = self.tagged(&fallback_tag(subject))?
            && tagged.media_type.is_index()
        {
            let bytes = read_document(self.layout.as_ref(), &tagged, MAX_MANIFEST)?;
            found.extend(Index::parse(&bytes, Some(&tagged.media_type))?.manifests);
        }
        found.dedup_by_key(|entry| entry.digest);
        Ok(found)
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.layout.open(descriptor)?.read_whole()
    }
}

impl ReferrerStore for LayoutReferrers {
    fn store(&self, artifacts: &[Artifact]) -> Result<()> {
        let dir = self.layout.dir().try_clone();
        let dir = dir.map_err(|source| StoreError::Io { action: "open", path: ".".into(), source })?;
        let transaction = Layout::write(dir)?;
        for artifact in artifacts {
            for (descriptor, bytes) in &artifact.blobs {
                transaction.put(descriptor, &mut bytes.as_slice())?;
            }
            transaction.put(&artifact.manifest, &mut artifact.bytes.as_slice())?;
        }
        let entries: Vec<(Option<&str>, &Descriptor)> = artifacts
            .iter()
            .map(|artifact| match &artifact.place {
                Place::Tag(tag) => (Some(tag.as_str()), &artifact.manifest),
                Place::Referrer(_) => (None, &artifact.manifest),
            })
            .collect();
        transaction.commit_all(&entries)?;
        Ok(())
    }
}
