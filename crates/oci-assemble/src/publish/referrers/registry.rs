//! Attachments in a repository of a registry.

use std::borrow::Borrow;

use super::{Artifact, Place, ReferrerSource, ReferrerStore, Result};
use crate::image::{Descriptor, Digest};
use crate::store::StoreError;
use crate::store::registry::{Bytes, Name, Repository};

/// What is attached to the images of a repository.
#[derive(Debug)]
pub struct RegistryReferrers<R>(R);

impl<R: Borrow<Repository>> RegistryReferrers<R> {
    /// The attachments in `repository`. To store, it must be open for pushing.
    pub fn new(repository: R) -> Self {
        Self(repository)
    }
}

impl<R: Borrow<Repository>> ReferrerSource for RegistryReferrers<R> {
    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>> {
        // Not only asked for: what a registry says of a manifest may be wrong, and then every reader of it fails.
        Ok(self.0.borrow().manifest(Name::Tag(tag))?.map(|found| found.descriptor))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        Ok(self.0.borrow().referrers(subject)?.manifests)
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let kind = &descriptor.media_type;
        if !kind.is_manifest() && !kind.is_index() {
            return self.0.borrow().blob(descriptor)?.read_whole();
        }
        let found = self.0.borrow().manifest(Name::Digest(&descriptor.digest))?;
        Ok(found.ok_or(StoreError::Missing { digest: descriptor.digest })?.bytes)
    }
}

impl<R: Borrow<Repository>> ReferrerStore for RegistryReferrers<R> {
    fn store(&self, artifacts: &[Artifact]) -> Result<()> {
        for artifact in artifacts {
            for (descriptor, bytes) in &artifact.blobs {
                self.0.borrow().put_blob(descriptor, &[], &Bytes(bytes))?;
            }
            let Artifact { place, manifest, bytes, .. } = artifact;
            match place {
                Place::Tag(tag) => drop(self.0.borrow().put_manifest(Name::Tag(tag), &manifest.media_type, bytes)?),
                Place::Referrer(_) => drop(self.0.borrow().put_referrer(bytes)?),
            }
        }
        Ok(())
    }
}
