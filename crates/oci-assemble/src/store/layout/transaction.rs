//! Putting blobs into a layout.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cap_std::fs::Dir;

use super::Layout;
use super::own::Own;
use super::sink::{BlobSink, BlobWriter};
use crate::image::{Descriptor, Digest, Image, MediaType};
#[cfg(feature = "pull")]
use crate::image::{Distribution, Encoding};
use crate::store::blob::{BlobSource, BlobStore, VerifiedReader};
use crate::store::error::{Result, StoreError, io as failed};
use crate::store::verified::Verified;

/// A writer of a layout, before its images are listed. Dropped without a commit, it leaves blobs that nothing refers to,
/// which the next writer of the same blobs uses and [`gc`](super::super::gc) removes.
#[derive(Debug)]
pub struct Transaction {
    pub(super) own: Own,
    pub(super) layout: Layout,
    counter: AtomicU64,
    /// Blobs that were hashed by this transaction. Their stamps are remembered when they are known to be on disk.
    pub(super) hashed: Mutex<Vec<Digest>>,
}

impl Layout {
    /// Begins writing to the layout in `dir`, which becomes one if it is none. Costs a few small files. Waits for other
    /// writers only while they change the index.
    pub fn write(dir: Dir) -> Result<Transaction> {
        Self::write_with(dir, Verified::default())
    }

    /// As [`Layout::write`], with a memory of files that were verified before.
    pub fn write_with(dir: Dir, verified: Verified) -> Result<Transaction> {
        let own = Own::make(&dir)?;
        let layout = Self::open_with(dir, verified)?;
        Ok(Transaction { own, layout, counter: AtomicU64::new(0), hashed: Mutex::default() })
    }
}

impl Transaction {
    /// A sink for a blob whose digest its writer computes.
    pub fn sink(&self) -> Result<BlobSink<'_>> {
        BlobSink::new(self)
    }

    /// A writer that computes the digest of a blob.
    pub fn blob(&self) -> Result<BlobWriter<'_>> {
        Ok(BlobWriter::new(self.sink()?))
    }

    /// Stores `bytes` and says what they are.
    pub fn put_bytes(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.put(&descriptor, &mut &bytes[..])?;
        Ok(descriptor)
    }

    /// Stores the manifest and the configuration of an image. Its layers come by other calls.
    pub fn put_image(&self, image: &Image) -> Result<Descriptor> {
        self.put(&image.manifest().config, &mut image.config_bytes())?;
        let descriptor = image.descriptor();
        self.put(&descriptor, &mut image.manifest_bytes())?;
        Ok(descriptor)
    }

    pub(super) fn copy(&self, descriptor: &Descriptor, mut reader: VerifiedReader<'_>) -> Result<()> {
        let mut sink = self.sink()?;
        io::copy(&mut reader, &mut sink).map_err(failed("store", descriptor.digest.to_string()))?;
        sink.publish(&descriptor.digest, descriptor.size)
    }

    /// Whether the layout has the blob, and it is what it should be. Costs a read of it when that is not known yet.
    pub(in crate::store) fn is_intact(&self, descriptor: &Descriptor) -> Result<bool> {
        let (file, stamp) = match self.layout.file(descriptor) {
            Ok(Some(found)) => found,
            // Something else in its place is replaced.
            Ok(None) | Err(StoreError::Blob(_) | StoreError::NotRegular { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.layout.verified.knows(&stamp, &descriptor.digest) {
            return Ok(true);
        }
        match hash(descriptor, &file) {
            Ok(()) => self.was_hashed(&descriptor.digest),
            Err(StoreError::Blob(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The size of a blob that is there and is what it should be.
    #[cfg(feature = "pull")]
    pub(in crate::store) fn intact_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(dir) = super::read::blob_dir(&self.layout.dir, digest)? else { return Ok(None) };
        let Ok(Some((_, stamp))) = crate::store::file::open_regular(&dir, &digest.hex()) else { return Ok(None) };
        let descriptor = Descriptor::new(MediaType::Layer(Encoding::Plain, Distribution::Free), *digest, stamp.size);
        Ok(self.is_intact(&descriptor)?.then_some(stamp.size))
    }

    /// Renames a file of the transaction to its digest, in the place of what is there.
    pub(super) fn publish(&self, name: &str, digest: &Digest) -> Result<()> {
        let place = |error| failed("publish", digest.to_string())(error);
        let algorithm = format!("blobs/{}", digest.algorithm());
        self.layout.dir.create_dir_all(&algorithm).map_err(place)?;
        let to = self.layout.dir.open_dir(&algorithm).map_err(place)?;
        self.own.dir.rename(name, &to, digest.hex()).map_err(place)?;
        self.was_hashed(digest);
        Ok(())
    }

    fn was_hashed(&self, digest: &Digest) {
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner).push(*digest);
    }

    pub(super) fn next_name(&self) -> String {
        self.counter.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

/// Reads a file and holds it against its descriptor.
pub(super) fn hash(descriptor: &Descriptor, file: &File) -> Result<()> {
    let mut reader = VerifiedReader::new(descriptor, file);
    io::copy(&mut reader, &mut io::sink()).map_err(failed("read", descriptor.digest.to_string()))?;
    Ok(())
}

impl BlobSource for Transaction {
    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        self.layout.has(descriptor)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>> {
        self.layout.open(descriptor)
    }

    fn layout(&self) -> Option<&Layout> {
        Some(&self.layout)
    }
}

impl BlobStore for Transaction {
    fn put(&self, descriptor: &Descriptor, reader: &mut (dyn Read + Send)) -> Result<()> {
        if self.is_intact(descriptor)? {
            return Ok(());
        }
        self.copy(descriptor, VerifiedReader::new(descriptor, reader))
    }
}
