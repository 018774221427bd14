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
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use cap_std::fs::Dir;
use cap_std_ext::cap_tempfile::TempFile;

use super::{IndexCache, LayerError, LayerFault, ReadOptions, is_sound};
use crate::image::{Descriptor, Digest, Encoding};
use crate::layer::{Contents, IndexError, IndexOptions, LayerIndex, MergedIndex, Violations, decode, index};
use crate::store::blob::BlobSource;
use crate::tree::{Content, FileTree};

/// What is held at once: small enough that a cap is kept closely, large enough for one write.
const PIECE: usize = 1 << 20;
/// The same, as the cap is counted.
const PIECE_BYTES: i64 = 1 << 20;

/// Where the bytes of layers are held.
#[derive(Clone, Copy, Debug)]
pub struct HoldOptions<'a> {
    /// Bytes held in memory at most.
    pub memory: u64,
    /// Where a file for what is beyond goes; on a file system that is no memory itself.
    pub spill: &'a Dir,
}

/// A piece of a layer.
enum Piece {
    Memory(Box<[u8]>),
    /// At this offset of the file.
    File(u64),
}

/// What all layers share.
struct Hold<'a> {
    /// Bytes of memory left.
    left: AtomicI64,
    dir: &'a Dir,
    file: OnceLock<File>,
    making: Mutex<()>,
    /// Where the file ends.
    end: AtomicU64,
}

impl Hold<'_> {
    /// Keeps the first `used` bytes of a buffer.
    fn keep(&self, mut bytes: Vec<u8>, used: usize) -> io::Result<Piece> {
        if self.left.fetch_sub(PIECE_BYTES, Ordering::Relaxed) >= PIECE_BYTES {
            bytes.truncate(used);
            return Ok(Piece::Memory(bytes.into_boxed_slice()));
        }
        self.left.fetch_add(PIECE_BYTES, Ordering::Relaxed);
        let offset = self.end.fetch_add(used as u64, Ordering::Relaxed);
        self.file()?.write_all_at(bytes.get(..used).unwrap_or_default(), offset)?;
        Ok(Piece::File(offset))
    }

    fn file(&self) -> io::Result<&File> {
        if self.file.get().is_none() {
            let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            if self.file.get().is_none() {
                let file = TempFile::new_anonymous(self.dir)?.into_std();
                let _ = self.file.set(file);
            }
        }
        self.file.get().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Passes a stream on and keeps what passes.
struct Holding<'h, R> {
    stream: R,
    hold: &'h Hold<'h>,
    pieces: Vec<Piece>,
    filling: Vec<u8>,
}

impl<R: Read> Read for Holding<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(out)?;
        let mut rest = &out[..read];
        while !rest.is_empty() {
            let taken = (PIECE - self.filling.len()).min(rest.len());
            self.filling.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if self.filling.len() == PIECE {
                let full = std::mem::replace(&mut self.filling, Vec::with_capacity(PIECE));
                self.pieces.push(self.hold.keep(full, PIECE)?);
            }
        }
        Ok(read)
    }
}

impl<R> Holding<'_, R> {
    fn finish(mut self) -> io::Result<Vec<Piece>> {
        let used = self.filling.len();
        if used > 0 {
            let mut last = std::mem::take(&mut self.filling);
            last.shrink_to_fit();
            self.pieces.push(self.hold.keep(last, used)?);
        }
        Ok(self.pieces)
    }
}

/// An image's layers, decompressed and merged.
///
/// Law: tree, contents and violations are those of [`ImageLayers`](super::ImageLayers) over the same layers, whatever is
/// held where.
pub struct HeldLayers {
    pieces: Vec<Vec<Piece>>,
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
        hold: HoldOptions<'_>,
    ) -> Result<Self, LayerError> {
        let hold = Hold {
            left: AtomicI64::new(i64::try_from(hold.memory).unwrap_or(i64::MAX)),
            dir: hold.spill,
            file: OnceLock::new(),
            making: Mutex::new(()),
            end: AtomicU64::new(0),
        };
        let results = each(layers.len(), options.threads, |position| {
            let (descriptor, diff_id) = &layers[position];
            let digest = descriptor.digest;
            hold_one(blobs, descriptor, diff_id, cache, options, &hold).map_err(|fault| LayerError {
                position,
                digest,
                fault,
            })
        })?;
        let (mut pieces, mut indexes) = (Vec::with_capacity(layers.len()), Vec::with_capacity(layers.len()));
        for (held, index) in results {
            pieces.push(held);
            indexes.push(index);
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
        Ok(Self { pieces, file: hold.file.into_inner(), index: MergedIndex::new(tree, &indexes), sizes })
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

fn hold_one(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
    diff_id: &Digest,
    cache: &dyn IndexCache,
    options: ReadOptions,
    hold: &Hold<'_>,
) -> Result<(Vec<Piece>, LayerIndex), LayerFault> {
    let encoding = descriptor.media_type.encoding();
    let encoding: Encoding =
        encoding.ok_or_else(|| LayerFault::MediaType { media_type: descriptor.media_type.clone() })?;
    let blob = blobs.open(descriptor).map_err(LayerFault::Open)?;
    let stream = decode(blob, encoding).map_err(|source| LayerFault::Index(IndexError::Read { offset: 0, source }))?;
    let mut holding = Holding { stream, hold, pieces: Vec::new(), filling: Vec::with_capacity(PIECE) };
    let known = cache.get(diff_id, &descriptor.digest).filter(|index| index.diff_id == *diff_id);
    if let Some(index) = known.filter(|index| is_sound(&index.violations, options.gate)) {
        io::copy(&mut holding, &mut io::sink()).map_err(LayerFault::Decode)?;
        return Ok((holding.finish().map_err(LayerFault::Decode)?, index));
    }
    // The index is by SHA-256; the other digest is computed beside it.
    let mut other = matches!(diff_id, Digest::Sha512(_)).then(|| diff_id.hasher());
    let tee = Tee { stream: &mut holding, hasher: other.as_mut() };
    let limits = IndexOptions { gate: options.gate, ..IndexOptions::default() };
    let mut found = index(tee, limits).map_err(LayerFault::Index)?;
    if let Some(rule) = holding.stream.broken() {
        found.violations.record(crate::layer::Violation { rule, offset: 0, path: Vec::new() });
    }
    let computed = other.map_or(found.diff_id, crate::image::Hasher::finish);
    if computed != *diff_id {
        return Err(LayerFault::DiffId { expected: *diff_id, found: computed });
    }
    found.diff_id = *diff_id;
    cache.put(&descriptor.digest, &found);
    Ok((holding.finish().map_err(LayerFault::Decode)?, found))
}

/// Hashes a stream a second time, where that is wanted.
struct Tee<'a, R> {
    stream: &'a mut R,
    hasher: Option<&'a mut crate::image::Hasher>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(out)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..read]);
        }
        Ok(read)
    }
}

/// Reads a range of a held layer. Its bytes were held against the digest of the whole layer when it was decompressed.
struct Range<'a> {
    pieces: &'a [Piece],
    file: Option<&'a File>,
    at: u64,
    left: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (number, within) = (self.at / PIECE as u64, self.at % PIECE as u64);
        let number = usize::try_from(number).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let room = usize::try_from(self.left.min(PIECE as u64 - within)).unwrap_or(PIECE).min(out.len());
        if room == 0 {
            return Ok(0);
        }
        let out = &mut out[..room];
        match self.pieces.get(number) {
            Some(Piece::Memory(bytes)) => {
                let within = usize::try_from(within).unwrap_or(PIECE);
                let bytes = bytes.get(within..within + room).ok_or(io::ErrorKind::UnexpectedEof)?;
                out.copy_from_slice(bytes);
            }
            Some(Piece::File(offset)) => {
                let file = self.file.ok_or(io::ErrorKind::NotFound)?;
                file.read_exact_at(out, offset + within)?;
            }
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.at += room as u64;
        self.left -= room as u64;
        Ok(room)
    }
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
        Ok(Box::new(Range { pieces, file: self.file.as_ref(), at, left: *size }))
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
