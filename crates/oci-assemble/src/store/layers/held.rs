//! The layers of an image with all their bytes at hand.
//!
//! Cutting an image anew reads every file of it, in another order than the layers have them. So each layer is
//! decompressed once, and what comes out is held: in memory up to a cap, beyond that in a file that has no name, so that
//! nothing is left of it whatever happens.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use cap_std::fs::Dir;

use super::hold::{Hold, Holding, Pieces, Unspilled};
use super::{IndexCache, LayerError, LayerFault, ReadOptions, is_sound};
use crate::image::{Descriptor, Digest, Encoding};
use crate::layer::{Contents, IndexError, IndexOptions, LayerIndex, MergedIndex, Violations, decode, index};
use crate::store::blob::BlobSource;
use crate::tree::{Content, FileTree};

/// Bytes of memory that an entry takes in indexes, merged tree and drafts of layers, where an image is cut anew.
/// (Measured: 1.2 kB each for 400,000 empty files, 1.1 kB for a system's 53,000.)
pub const ENTRY_MEMORY: u64 = 1258;

/// Where the bytes of layers are held.
#[derive(Clone, Copy, Debug)]
pub struct HoldOptions<'a> {
    /// Bytes held in memory at most.
    pub memory: u64,
    /// Entries that there is memory for beside that.
    pub entries: u64,
    /// Bytes of memory that each takes ([`ENTRY_MEMORY`], where nothing else is done with them): for each entry more than
    /// there is memory for, that much less is held.
    pub entry: u64,
    /// Where a file for what is beyond goes; on a file system that is no memory itself.
    pub spill: &'a Dir,
    /// What `spill` is called, for errors.
    pub name: &'a Path,
}

/// An image's layers, decompressed and merged.
///
/// Law: tree, contents and violations are those of [`ImageLayers`](super::ImageLayers) over the same layers, whatever is
/// held where.
pub struct HeldLayers {
    pieces: Vec<Pieces>,
    file: Option<File>,
    index: MergedIndex,
    sizes: u64,
}

impl fmt::Debug for HeldLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldLayers").field("layers", &self.pieces.len()).finish_non_exhaustive()
    }
}

impl HeldLayers {
    /// Decompresses all layers, each given with its diff_id, and indexes those that `cache` does not know.
    pub fn open(
        blobs: &dyn BlobSource,
        layers: &[(Descriptor, Digest)],
        cache: &dyn IndexCache,
        options: ReadOptions,
        holding: HoldOptions<'_>,
    ) -> Result<Self, LayerError> {
        let hold = Hold::new(holding);
        let results = each(layers.len(), options.threads, |position| {
            let (descriptor, diff_id) = &layers[position];
            let digest = descriptor.digest;
            let outcome = hold_one(blobs, descriptor, diff_id, cache, options, &hold);
            outcome.map_err(|fault| LayerError { position, digest, fault: of_spill(fault, holding.name) })
        })?;
        let (mut pieces, mut indexes) = (Vec::with_capacity(layers.len()), Vec::with_capacity(layers.len()));
        for (held, index) in results {
            pieces.push(held);
            indexes.push(index);
        }
        for (position, held) in pieces.iter_mut().enumerate() {
            let digest = layers[position].0.digest;
            hold.settle(held).map_err(|error| {
                let fault = of_spill(LayerFault::Decode(error), holding.name);
                LayerError { position, digest, fault }
            })?;
        }
        let mut tree = FileTree::new();
        for (position, index) in indexes.iter().enumerate() {
            tree = tree.apply(&index.delta).map_err(|error| LayerError {
                position,
                digest: layers[position].0.digest,
                fault: LayerFault::Merge(error),
            })?;
        }
        let sizes = indexes.iter().map(|index| index.size).sum();
        let index = MergedIndex::new(tree, &indexes);
        Ok(Self { pieces, file: hold.finish(), index, sizes })
    }

    /// All layers merged.
    pub fn tree(&self) -> &FileTree {
        &self.index.tree
    }

    /// The rules that each layer breaks, lowest first.
    pub fn violations(&self) -> &[Violations] {
        &self.index.violations
    }

    /// Bytes of all uncompressed streams.
    pub fn uncompressed(&self) -> u64 {
        self.sizes
    }
}

/// Does `work` for each number below `count`, some at a time; the results in order, or the error of the lowest number.
fn each<T: Send>(
    count: usize,
    threads: NonZero<usize>,
    work: impl Fn(usize) -> Result<T, LayerError> + Sync,
) -> Result<Vec<T>, LayerError> {
    let done = Mutex::new(std::collections::BTreeMap::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let run = || {
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            if position >= count {
                return;
            }
            let result = work(position);
            if result.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(position, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(count) {
            scope.spawn(run);
        }
        run();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// The fault, or that of the file for what does not fit into memory, where that is behind it.
fn of_spill(fault: LayerFault, dir: &Path) -> LayerFault {
    let unspilled = |error: io::Error| match error.downcast::<Unspilled>() {
        Ok(Unspilled(source)) => Ok(LayerFault::Spill { dir: dir.to_owned(), source }),
        Err(error) => Err(error),
    };
    match fault {
        LayerFault::Decode(error) => unspilled(error).unwrap_or_else(LayerFault::Decode),
        LayerFault::Index(IndexError::Read { offset, source }) => {
            unspilled(source).unwrap_or_else(|source| LayerFault::Index(IndexError::Read { offset, source }))
        }
        other => other,
    }
}

fn hold_one(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
    diff_id: &Digest,
    cache: &dyn IndexCache,
    options: ReadOptions,
    hold: &Hold<'_>,
) -> Result<(Pieces, LayerIndex), LayerFault> {
    let encoding = descriptor.media_type.encoding();
    let encoding: Encoding =
        encoding.ok_or_else(|| LayerFault::MediaType { media_type: descriptor.media_type.clone() })?;
    let blob = blobs.open(descriptor).map_err(LayerFault::Open)?;
    let stream = decode(blob, encoding).map_err(|source| LayerFault::Index(IndexError::Read { offset: 0, source }))?;
    let other = matches!(diff_id, Digest::Sha512(_)).then(|| diff_id.hasher());
    let mut holding = Holding::new(stream, hold, other).map_err(LayerFault::Decode)?;
    let known = cache.get(diff_id, &descriptor.digest).filter(|index| index.diff_id == *diff_id);
    if let Some(index) = known.filter(|index| is_sound(&index.violations, options.gate)) {
        let (pieces, _) = holding.read_rest().and_then(|()| holding.finish()).map_err(LayerFault::Decode)?;
        return Ok((pieces, index));
    }
    let limits = IndexOptions { gate: options.gate, ..IndexOptions::default() };
    let mut found = index(&mut holding, limits).map_err(LayerFault::Index)?;
    if let Some(rule) = holding.stream().broken() {
        found.violations.record(crate::layer::Violation { rule, offset: 0, path: Vec::new() });
    }
    let (pieces, other) = holding.finish().map_err(LayerFault::Decode)?;
    let computed = other.unwrap_or(found.diff_id);
    if computed != *diff_id {
        return Err(LayerFault::DiffId { expected: *diff_id, found: computed });
    }
    found.diff_id = *diff_id;
    cache.put(&descriptor.digest, &found);
    Ok((pieces, found))
}

impl Contents for HeldLayers {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        let Content::Stored { digest, size } = content else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if *size == 0 {
            return Ok(Box::new(io::empty()));
        }
        let (layer, at) = self.index.places.get(digest).ok_or(io::ErrorKind::NotFound)?;
        let pieces = self.pieces.get(layer).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(pieces.range(self.file.as_ref(), at, *size)))
    }

    fn held<'a>(&'a self, content: &'a Content) -> Option<Vec<&'a [u8]>> {
        let Content::Stored { digest, size } = content else { return None };
        let (layer, at) = self.index.places.get(digest)?;
        self.pieces.get(layer)?.slices(at, *size)
    }

    fn has(&self, content: &Content) -> bool {
        self.index.places.has(content)
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        for content in wanted {
            each(content, &mut self.open(content)?)?;
        }
        Ok(())
    }
}
