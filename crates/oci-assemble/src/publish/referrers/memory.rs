//! Attachments in memory: for tests, and for what is decided before it is stored.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Artifact, Place, ReferrerSource, ReferrerStore, Result};
use crate::image::{Descriptor, Digest};
use crate::store::StoreError;

/// A repository in memory.
#[derive(Debug, Default)]
pub struct MemoryReferrers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tags: BTreeMap<String, Descriptor>,
    referrers: BTreeMap<Digest, Vec<Descriptor>>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

impl MemoryReferrers {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReferrerSource for MemoryReferrers {
    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>> {
        Ok(self.state().tags.get(tag).cloned())
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        Ok(self.state().referrers.get(subject).cloned().unwrap_or_default())
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let missing = StoreError::Missing { digest: descriptor.digest };
        self.state().blobs.get(&descriptor.digest).cloned().ok_or(missing)
    }
}

impl ReferrerStore for MemoryReferrers {
    fn store(&self, artifacts: &[Artifact]) -> Result<()> {
        let mut state = self.state();
        for artifact in artifacts {
            for (descriptor, bytes) in &artifact.blobs {
                state.blobs.insert(descriptor.digest, bytes.clone());
            }
            state.blobs.insert(artifact.manifest.digest, artifact.bytes.clone());
            match &artifact.place {
                Place::Tag(tag) => drop(state.tags.insert(tag.clone(), artifact.manifest.clone())),
                Place::Referrer(subject) => {
                    let listed = state.referrers.entry(*subject).or_default();
                    listed.retain(|old| old.digest != artifact.manifest.digest);
                    listed.push(artifact.manifest.clone());
                }
            }
        }
        Ok(())
    }
}
