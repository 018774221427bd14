//! An image elsewhere, whose blobs come into a layout as they are needed.

use std::borrow::Borrow;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use super::skopeo::{BlobError, ProxyError, Session, SkopeoOptions, name, raw_manifest};
use crate::image::{
    Descriptor, Digest, Hasher, ImageReference, MAX_MANIFEST, MediaType, Mismatch, RegistryReference, StorageImage,
    StorageReference, json,
};
use crate::layer::Limits;
use crate::store::blob::{BlobSource, BlobStore, VerifiedReader};
use crate::store::error::{Result, StoreError, mismatch};
use crate::store::layout::{BlobSink, Transaction};
use crate::store::resolve::is_restricted;

/// An image in a registry or in containers-storage. What is asked of it is fetched into the layout of a transaction,
/// verified, and read from there; what is there already is not fetched again.
pub struct Remote<T> {
    reference: ImageReference,
    options: SkopeoOptions,
    into: T,
    /// Proxies with nothing to do.
    idle: Mutex<Vec<Session>>,
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("reference", &self.reference.to_string()).finish_non_exhaustive()
    }
}

impl<T: Borrow<Transaction> + Send + Sync> Remote<T> {
    /// The image at `reference`, fetched into `into`. Nothing is asked yet.
    pub(super) fn new(reference: ImageReference, options: SkopeoOptions, into: T) -> Self {
        Self { reference, options, into, idle: Mutex::default() }
    }

    pub(super) fn into(&self) -> &Transaction {
        self.into.borrow()
    }

    /// Asks what the reference names now, which must be the digest in it if it has one, and keeps the document.
    pub(super) fn top(&self) -> Result<Descriptor> {
        let reference = name(&self.reference);
        let bytes = raw_manifest(&reference, &self.options)?;
        let mut descriptor = Descriptor::of(media_type(&bytes), &bytes);
        if let Some(expected) = self.reference.digest() {
            let mut hasher = expected.hasher();
            hasher.update(&bytes);
            let found = hasher.finish();
            if found != expected {
                let (expected, found) = (Box::new(expected), Box::new(found));
                return Err(ProxyError::Moved { reference, expected, found }.into());
            }
            descriptor.digest = expected;
        }
        self.into().put(&descriptor, &mut &bytes[..])?;
        Ok(descriptor)
    }

    /// Fetches a blob that is not in the layout. Without a size it may be as large as layers may be.
    pub(super) fn fetch(&self, digest: &Digest, size: Option<u64>) -> Result<u64> {
        let session = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = session.map_or_else(|| Session::open(&name(&self.reference), &self.options), Ok)?;
        let mut checked = Checked {
            sink: self.into().sink()?,
            hasher: digest.hasher(),
            taken: 0,
            limit: size.unwrap_or(Limits::default().inflated),
            digest: *digest,
        };
        match session.blob(digest, size, &mut checked) {
            Ok(()) => {}
            // A proxy that failed is not used again.
            Err(BlobError::Proxy(error)) => return Err(error.into()),
            Err(BlobError::Write(error)) => {
                return Err(mismatch(&error).map_or_else(
                    || StoreError::Io { action: "fetch", path: digest.to_string(), source: error },
                    StoreError::Blob,
                ));
            }
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        checked.publish(size)
    }

    fn fetch_document(&self, descriptor: &Descriptor) -> Result<()> {
        let mut pinned = self.reference.clone();
        if let ImageReference::Registry(RegistryReference { digest, .. })
        | ImageReference::ContainersStorage(StorageReference {
            image: StorageImage::Name(RegistryReference { digest, .. }),
            ..
        }) = &mut pinned
        {
            *digest = Some(descriptor.digest);
        }
        let bytes = raw_manifest(&name(&pinned), &self.options)?;
        self.into().put(descriptor, &mut &bytes[..])
    }
}

impl<T: Borrow<Transaction> + Send + Sync> BlobSource for Remote<T> {
    /// What is not in the layout is taken to be at the other end, layers that registries need not have left out.
    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(!is_restricted(&descriptor.media_type) || self.into().has(descriptor)?)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>> {
        if !self.into().is_intact(descriptor)? {
            if descriptor.media_type.is_manifest() || descriptor.media_type.is_index() {
                self.fetch_document(descriptor)?;
            } else {
                self.fetch(&descriptor.digest, Some(descriptor.size))?;
            }
        }
        self.into().open(descriptor)
    }
}

/// Hashes and counts on the way into the layout.
struct Checked<'t> {
    sink: BlobSink<'t>,
    hasher: Hasher,
    taken: u64,
    limit: u64,
    digest: Digest,
}

impl Checked<'_> {
    fn publish(self, size: Option<u64>) -> Result<u64> {
        let (digest, found) = (self.digest, self.taken);
        if let Some(expected) = size
            && expected != found
        {
            return Err(Mismatch::Size { digest, expected, found }.into());
        }
        let computed = self.hasher.finish();
        if computed != digest {
            return Err(Mismatch::Digest { expected: Box::new(digest), found: Box::new(computed) }.into());
        }
        self.sink.publish(&digest, found)?;
        Ok(found)
    }
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.taken + bytes.len() as u64;
        if taken > self.limit {
            let mismatch = Mismatch::Size { digest: self.digest, expected: self.limit, found: self.limit + 1 };
            return Err(io::Error::new(io::ErrorKind::InvalidData, mismatch));
        }
        self.sink.write_all(bytes)?;
        self.hasher.update(bytes);
        self.taken = taken;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// What kind of document a registry gave: what it says itself, or what its fields make it.
fn media_type(bytes: &[u8]) -> MediaType {
    let document = json::parse(bytes, MAX_MANIFEST).unwrap_or_default();
    match document.get("mediaType").and_then(serde_json::Value::as_str) {
        Some(text) => MediaType::from(text),
        None if document.get("manifests").is_some() => MediaType::ImageIndex,
        None => MediaType::ImageManifest,
    }
}
