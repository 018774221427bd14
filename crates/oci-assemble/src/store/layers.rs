//! The layers of an image as one tree, and the bytes of its files.
//!
//! Each layer is read once, when its index is not cached yet: the stream is held against the gate, its diff_id is
//! verified and its index goes to the cache under that diff_id. From then on a layer is opened only for bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::blob::BlobSource;
use super::error::StoreError;
use crate::image::{Descriptor, Digest, Encoding, Hasher, MediaType};
use crate::layer::{Contents, Gate, IndexError, IndexOptions, LayerIndex, decode, index};
use crate::tree::{Content, FileTree, MergeError};

/// Keeps layer indexes by diff_id and blob digest (which rules a blob breaks depends on how it is compressed).
/// Law: `get` after `put` gives the same index, or nothing.
pub trait IndexCache: Sync {
    /// The index of a layer, when it is known.
    fn get(&self, diff_id: &Digest, blob: &Digest) -> Option<LayerIndex>;
    /// Remembers an index. A failure costs time later and nothing else.
    fn put(&self, blob: &Digest, index: &LayerIndex);
}

/// Forgets everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCache;

impl IndexCache for NoCache {
    fn get(&self, _: &Digest, _: &Digest) -> Option<LayerIndex> {
        None
    }

    fn put(&self, _: &Digest, _: &LayerIndex) {}
}

/// Why a layer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("layer {position} ({digest})")]
pub struct LayerError {
    /// Number of the layer, from 0.
    pub position: usize,
    /// Digest of its blob.
    pub digest: Digest,
    /// What is wrong.
    #[source]
    pub fault: LayerFault,
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerFault {
    /// Its media type is no layer.
    #[error("the media type {media_type} is not that of a layer")]
    MediaType {
        /// The media type.
        media_type: MediaType,
    },
    /// The blob cannot be opened.
    #[error("cannot open the blob")]
    Open(#[source] StoreError),
    /// The blob cannot be decompressed.
    #[error("cannot decompress the blob")]
    Decode(#[source] io::Error),
    /// The stream cannot be read.
    #[error("cannot read the layer")]
    Index(#[source] IndexError),
    /// The uncompressed stream is not what the configuration says.
    #[error("the configuration says diff_id {expected}, the stream has {found}")]
    DiffId {
        /// In the configuration.
        expected: Digest,
        /// Of the stream.
        found: Digest,
    },
    /// It does not fit on the layers below.
    #[error("the layer does not apply")]
    Merge(#[source] MergeError),
}

/// How layers are read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// What to do about streams that readers disagree about.
    pub gate: Gate,
    /// Layers read at the same time.
    pub threads: NonZero<usize>,
}

/// The indexed layers of an image.
pub struct ImageLayers<'a> {
    blobs: &'a dyn BlobSource,
    layers: Vec<(Descriptor, Encoding, LayerIndex)>,
    places: BTreeMap<Digest, (usize, u64)>,
    read: usize,
}

impl std::fmt::Debug for ImageLayers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageLayers").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}

impl<'a> ImageLayers<'a> {
    /// Indexes layers, each given with its diff_id; from `cache` where that has them.
    pub fn open(
        blobs: &'a dyn BlobSource,
        layers: &[(Descriptor, Digest)],
        cache: &dyn IndexCache,
        options: ReadOptions,
    ) -> Result<Self, LayerError> {
        let next = AtomicUsize::new(0);
        let read = AtomicUsize::new(0);
        let done = Mutex::new(BTreeMap::new());
        let work = || {
            loop {
                let position = next.fetch_add(1, Ordering::Relaxed);
                let Some((descriptor, diff_id)) = layers.get(position) else { return };
                let result = open_one(blobs, descriptor, diff_id, cache, options.gate, &read);
                let failed = result.is_err();
                done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(position, result);
                if failed {
                    next.store(layers.len(), Ordering::Relaxed); // the others would be read in vain
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..options.threads.get().min(layers.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut opened = Vec::with_capacity(layers.len());
        let mut places = BTreeMap::new();
        for (position, result) in done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            let descriptor = layers[position].0.clone();
            let digest = descriptor.digest;
            let (encoding, index) = result.map_err(|fault| LayerError { position, digest, fault })?;
            for (content, offset) in &index.offsets {
                places.entry(*content).or_insert((position, *offset));
            }
            opened.push((descriptor, encoding, index));
        }
        Ok(Self { blobs, layers: opened, places, read: read.into_inner() })
    }

    /// How many layers had to be read because no index was cached.
    pub fn read(&self) -> usize {
        self.read
    }

    /// The layers with their indexes, lowest first.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = (&Descriptor, &LayerIndex)> {
        self.layers.iter().map(|(descriptor, _, index)| (descriptor, index))
    }

    /// All layers merged.
    pub fn tree(&self) -> Result<FileTree, LayerError> {
        let mut tree = FileTree::new();
        for (position, (descriptor, index)) in self.layers().enumerate() {
            tree = tree.apply(&index.delta).map_err(|error| LayerError {
                position,
                digest: descriptor.digest,
                fault: LayerFault::Merge(error),
            })?;
        }
        Ok(tree)
    }

    fn stream(&self, layer: usize) -> io::Result<Box<dyn Read + '_>> {
        let (descriptor, encoding, _) = &self.layers[layer];
        let blob = self.blobs.open(descriptor)?;
        Ok(Box::new(decode(blob, *encoding)?))
    }
}

fn open_one(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
    diff_id: &Digest,
    cache: &dyn IndexCache,
    gate: Gate,
    read: &AtomicUsize,
) -> Result<(Encoding, LayerIndex), LayerFault> {
    let encoding = descriptor.media_type.encoding();
    let encoding = encoding.ok_or_else(|| LayerFault::MediaType { media_type: descriptor.media_type.clone() })?;
    // An index of a stream that was only recorded, not refused, must not pass for a sound one.
    let sound =
        |index: &LayerIndex| gate == Gate::Record || !index.violations.iter().any(|(rule, ..)| rule.is_ambiguous());
    if let Some(index) = cache.get(diff_id, &descriptor.digest).filter(|index| index.diff_id == *diff_id).filter(sound)
    {
        return Ok((encoding, index));
    }
    read.fetch_add(1, Ordering::Relaxed);
    let blob = blobs.open(descriptor).map_err(LayerFault::Open)?;
    let mut stream =
        decode(blob, encoding).map_err(|source| LayerFault::Index(IndexError::Read { offset: 0, source }))?;
    let mut found = index(&mut stream, IndexOptions { gate, ..IndexOptions::default() }).map_err(LayerFault::Index)?;
    if let Some(rule) = stream.broken() {
        found.violations.record(crate::layer::Violation { rule, offset: 0, path: Vec::new() });
    }
    let computed = match diff_id {
        Digest::Sha256(_) => found.diff_id,
        Digest::Sha512(_) => {
            // The index is by SHA-256; the other digest takes one more pass.
            let mut hasher = diff_id.hasher();
            let again = blobs.open(descriptor).map_err(LayerFault::Open)?;
            decode(again, encoding)
                .and_then(|mut stream| io::copy(&mut stream, &mut hasher))
                .map_err(LayerFault::Decode)?;
            hasher.finish()
        }
    };
    if computed != *diff_id {
        return Err(LayerFault::DiffId { expected: *diff_id, found: computed });
    }
    found.diff_id = *diff_id;
    cache.put(&descriptor.digest, &found);
    Ok((encoding, found))
}

impl Contents for ImageLayers<'_> {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        let Content::Stored { digest, size } = content else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if *size == 0 {
            return Ok(Box::new(io::empty()));
        }
        let (layer, offset) = *self.places.get(digest).ok_or(io::ErrorKind::NotFound)?;
        let mut stream = self.stream(layer)?;
        skip(&mut stream, offset)?;
        Ok(Box::new(Verified::new(stream, *digest, *size)))
    }

    fn has(&self, content: &Content) -> bool {
        match content {
            Content::Stored { digest, size } => *size == 0 || self.places.contains_key(digest),
            _ => false,
        }
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut by_layer: BTreeMap<usize, BTreeMap<u64, &Content>> = BTreeMap::new();
        for content in wanted {
            let place = content.digest().and_then(|digest| self.places.get(&digest));
            match place {
                Some((layer, offset)) => drop(by_layer.entry(*layer).or_default().insert(*offset, content)),
                None if self.has(content) => each(content, &mut io::empty())?,
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        }
        for (layer, contents) in by_layer {
            let mut stream = self.stream(layer)?;
            let mut at = 0;
            for (offset, content) in contents {
                skip(&mut stream, offset - at)?;
                let digest = content.digest().ok_or(io::ErrorKind::NotFound)?;
                let mut bytes = Verified::new(&mut stream, digest, content.size());
                each(content, &mut bytes)?;
                io::copy(&mut bytes, &mut io::sink())?;
                at = offset + content.size();
            }
        }
        Ok(())
    }
}

fn skip(stream: &mut impl Read, amount: u64) -> io::Result<()> {
    if io::copy(&mut stream.take(amount), &mut io::sink())? < amount {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A file's bytes out of a layer, held against its digest: a part of a blob cannot be held against the blob's.
struct Verified<R> {
    stream: R,
    left: u64,
    hasher: Option<Hasher>,
    expected: Digest,
}

impl<R> Verified<R> {
    fn new(stream: R, expected: Digest, size: u64) -> Self {
        Self { stream, left: size, hasher: Some(expected.hasher()), expected }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let read = self.stream.read(&mut out[..room])?;
        if read == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..read]);
        }
        self.left -= read as u64;
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
        {
            let found = hasher.finish();
            if found != self.expected {
                let text = format!("a file of the layer has digest {found}, its index says {}", self.expected);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
