//! The layers of an image as one tree, and the bytes of its files.
//!
//! Each layer is read once, when its index is not cached yet: the stream is held against the gate, its diff_id is
//! verified and its index goes to the cache under that diff_id. From then on a layer is opened only for bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use self::blobs::LayerBlobs;
pub use self::claimed::ClaimedIndexes;
pub use self::held::{ENTRY_MEMORY, HeldLayers, HoldOptions};
pub use self::merged::MergedLayers;
use super::blob::BlobSource;
use super::error::StoreError;
use crate::image::{Descriptor, Digest, Encoding, MediaType};
use crate::layer::{
    Contents, Gate, IndexError, IndexOptions, LayerIndex, MergedIndex, Places, Violations, decode, index,
};
use crate::tree::{Content, FileTree, MergeError};

mod blobs;
mod claimed;
mod held;
mod hold;
mod merged;

/// Bytes of a decompressed layer that are hashed at once.
const READ: usize = 64 << 10;

/// Keeps layer indexes by diff_id and blob digest (which rules a blob breaks depends on how it is compressed), and what
/// the layers of an image merge to. Law: `get` after `put` gives the same value, or nothing.
pub trait IndexCache: Sync {
    /// The index of a layer, when it is known.
    fn get(&self, diff_id: &Digest, blob: &Digest) -> Option<LayerIndex>;
    /// Remembers an index. A failure costs time later and nothing else.
    fn put(&self, blob: &Digest, index: &LayerIndex);
    /// What the layers merge to of which `key` is made, when it is known.
    fn get_merged(&self, _key: &Digest) -> Option<MergedIndex> {
        None
    }
    /// Remembers what layers merge to, as [`IndexCache::put`] does.
    fn put_merged(&self, _key: &Digest, _merged: &MergedIndex) {}
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
    /// The file for what does not fit into memory cannot be written: not the layer's fault.
    #[error("cannot write what does not fit into memory to a file in {}", dir.display())]
    Spill {
        /// Where the file is, which has no name.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
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
    bytes: LayerBlobs<'a>,
    indexes: Vec<LayerIndex>,
    /// Made when the first file is opened.
    places: OnceLock<Places>,
    read: usize,
}

impl std::fmt::Debug for ImageLayers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageLayers").field("layers", &self.indexes.len()).finish_non_exhaustive()
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
        let (mut opened, mut indexes) = (Vec::with_capacity(layers.len()), Vec::with_capacity(layers.len()));
        for (position, result) in done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            let descriptor = layers[position].0.clone();
            let digest = descriptor.digest;
            let (encoding, index) = result.map_err(|fault| LayerError { position, digest, fault })?;
            opened.push((descriptor, encoding));
            indexes.push(index);
        }
        let bytes = LayerBlobs { blobs, layers: opened };
        Ok(Self { bytes, indexes, places: OnceLock::new(), read: read.into_inner() })
    }

    /// How many layers had to be read because no index was cached.
    pub fn read(&self) -> usize {
        self.read
    }

    /// The layers with their indexes, lowest first.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = (&Descriptor, &LayerIndex)> {
        self.bytes.layers.iter().map(|(descriptor, _)| descriptor).zip(&self.indexes)
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

    fn places(&self) -> &Places {
        self.places.get_or_init(|| Places::of(&self.indexes))
    }
}

/// An index of a stream that was only recorded, not refused, must not pass for a sound one.
fn is_sound(violations: &Violations, gate: Gate) -> bool {
    gate == Gate::Record || !violations.iter().any(|(rule, ..)| rule.is_ambiguous())
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
    let sound = |index: &LayerIndex| is_sound(&index.violations, gate);
    if let Some(index) = cache.get(diff_id, &descriptor.digest).filter(|index| index.diff_id == *diff_id).filter(sound)
    {
        return Ok((encoding, index));
    }
    read.fetch_add(1, Ordering::Relaxed);
    let blob = blobs.open(descriptor).map_err(LayerFault::Open)?;
    let mut stream =
        decode(blob, encoding).map_err(|source| LayerFault::Index(IndexError::Read { offset: 0, source }))?;
    let buffered = BufReader::with_capacity(READ, &mut stream);
    let mut found = index(buffered, IndexOptions { gate, ..IndexOptions::default() }).map_err(LayerFault::Index)?;
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
        self.bytes.open(self.places(), content)
    }

    fn has(&self, content: &Content) -> bool {
        self.places().has(content)
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        self.bytes.visit(self.places(), wanted, each)
    }
}

#[cfg(test)]
mod tests;
