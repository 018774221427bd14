//! Blobs in memory.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Mutex, PoisonError};

use crate::image::{Descriptor, Digest};
use crate::store::{BlobSource, BlobStore, StoreError, VerifiedReader};

/// A store of blobs in memory.
#[derive(Debug, Default)]
pub struct Blobs(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl Blobs {
    /// The bytes of a blob.
    pub fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}

impl BlobSource for Blobs {
    fn has(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.get(&descriptor.digest).is_some())
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>, StoreError> {
        let bytes = self.get(&descriptor.digest).ok_or(StoreError::Missing { digest: descriptor.digest })?;
        Ok(VerifiedReader::new(descriptor, Cursor::new(bytes)))
    }
}

impl BlobStore for Blobs {
    fn put(&self, descriptor: &Descriptor, reader: &mut (dyn Read + Send)) -> Result<(), StoreError> {
        let bytes = VerifiedReader::new(descriptor, reader).read_whole()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(descriptor.digest, bytes);
        Ok(())
    }
}
