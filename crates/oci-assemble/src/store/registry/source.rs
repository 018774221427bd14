//! Repositories as sources of blobs: passed through, or kept in a layout.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::RegistryError;
use super::repository::{Name, Repository};
use crate::image::{Descriptor, Mismatch, RegistryReference};
use crate::store::blob::{BlobSource, BlobStore, VerifiedReader};
use crate::store::error::{Result, StoreError};
use crate::store::layout::{Taken, Transaction};
use crate::store::resolve::{is_restricted, reachable};

impl Repository {
    /// What a reference to something in this repository names now, which must be the digest in it if it has one.
    pub fn find(&self, reference: &RegistryReference) -> Result<super::RemoteManifest> {
        let name = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Name::Digest(digest),
            (None, Some(tag)) => Name::Tag(tag),
            // What everybody takes a name without a tag for.
            (None, None) => Name::Tag("latest"),
        };
        let absent = || RegistryError::Absent { reference: reference.to_string() };
        Ok(self.manifest(name)?.ok_or_else(absent)?)
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = descriptor.digest;
        let found = self.manifest(Name::Digest(&digest))?.ok_or(StoreError::Missing { digest })?;
        let (expected, found_size) = (descriptor.size, found.bytes.len() as u64);
        if expected != found_size {
            return Err(Mismatch::Size { digest, expected, found: found_size }.into());
        }
        Ok(found.bytes)
    }
}

fn is_document(descriptor: &Descriptor) -> bool {
    descriptor.media_type.is_manifest() || descriptor.media_type.is_index()
}

/// Nothing is kept: each opening is a request.
impl BlobSource for Repository {
    /// Layers that registries need not have are asked for; everything else is taken to be there.
    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(!is_restricted(&descriptor.media_type) || self.has_blob(descriptor)?)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>> {
        if is_document(descriptor) {
            return Ok(VerifiedReader::new(descriptor, std::io::Cursor::new(self.document(descriptor)?)));
        }
        match self.blob(descriptor) {
            Err(error) if error.is_missing() => Err(StoreError::Missing { digest: descriptor.digest }),
            other => Ok(other?),
        }
    }
}

/// A repository whose blobs are kept in a layout when they are read for the first time.
#[derive(Debug)]
pub struct Kept<T> {
    repository: Repository,
    into: T,
    fetched: AtomicU64,
}

impl<T: Borrow<Transaction> + Send + Sync> Kept<T> {
    /// The repository, and the layout to keep blobs in.
    pub fn new(repository: Repository, into: T) -> Self {
        Self { repository, into, fetched: AtomicU64::new(0) }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Bytes of blobs and documents that had to be fetched so far.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Fetches everything that an image needs, as many blobs at a time as there may be connections.
    pub fn fetch_all(&self, image: &Descriptor) -> Result<()> {
        let blobs = reachable(self, std::slice::from_ref(image))?;
        self.repository.for_each(&blobs, |blob| self.open(blob).map(drop))
    }

    /// What a reference names, kept.
    pub fn find(&self, reference: &RegistryReference) -> Result<Descriptor> {
        let found = self.repository.find(reference)?;
        self.into.borrow().put(&found.descriptor, &mut &found.bytes[..])?;
        Ok(found.descriptor)
    }
}

impl<T: Borrow<Transaction> + Send + Sync> BlobSource for Kept<T> {
    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.into.borrow().has(descriptor)? || self.repository.has(descriptor)?)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>> {
        let into = self.into.borrow();
        if into.take(&self.repository, descriptor)? == Taken::Copied {
            self.fetched.fetch_add(descriptor.size, Ordering::Relaxed);
        }
        into.open(descriptor)
    }
}

/// What went wrong in a registry behind an error of the system, which readers give.
pub(in crate::store) fn of_registry(error: std::io::Error) -> std::result::Result<StoreError, std::io::Error> {
    error.downcast::<RegistryError>().map(StoreError::from)
}
