//! Keeps streams while they are read: in memory up to a cap, beyond that in a file that has no name.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use cap_std::fs::Dir;
use cap_std_ext::cap_tempfile::TempFile;
use memmap2::{MmapMut, MmapOptions};

use super::held::HoldOptions;
use crate::image::{Digest, Hasher};

/// What is held at once: small enough that a cap is kept closely, large enough for one write.
const PIECE: usize = 1 << 20;
/// The same, as the cap is counted.
const PIECE_BYTES: i64 = 1 << 20;
/// Read at once: still in the processor's cache when it is hashed.
const STEP: usize = 128 << 10;

/// A piece of a layer.
enum Piece {
    Memory(MmapMut),
    /// The last of a layer, which may be far smaller than the others.
    Last(Box<[u8]>),
    /// At this offset of the file.
    File(u64),
}

impl Piece {
    fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::Last(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }
}

/// Room for one piece. Its pages are there at once: to be told of each by a fault takes half as long again.
fn room() -> io::Result<MmapMut> {
    MmapOptions::new().len(PIECE).populate().map_anon()
}

/// A layer's bytes.
pub(super) struct Pieces(Vec<Piece>);

impl Pieces {
    /// Reads `size` bytes from `at` on; `file` is what [`Hold::finish`] gave.
    pub(super) fn range<'a>(&'a self, file: Option<&'a File>, at: u64, size: u64) -> impl Read + 'a {
        Range { pieces: &self.0, file, at, left: size }
    }

    /// The same as slices, if all of it is in memory.
    pub(super) fn slices(&self, at: u64, size: u64) -> Option<Vec<&[u8]>> {
        let (mut at, mut left) = (usize::try_from(at).ok()?, usize::try_from(size).ok()?);
        let mut slices = Vec::with_capacity(left / PIECE + 2);
        while left > 0 {
            let held = self.0.get(at / PIECE)?.in_memory()?;
            let slice = held.get(at % PIECE..held.len().min(at % PIECE + left))?;
            if slice.is_empty() {
                return None;
            }
            slices.push(slice);
            at += slice.len();
            left -= slice.len();
        }
        Some(slices)
    }
}

/// Entries whose headers begin in these bytes of a tar, which begin at the start of a block: each header has the magic at
/// byte 257 (POSIX.1-1988, ustar). One that a file has within is counted as well; then less is held than could be.
fn headers(bytes: &[u8]) -> u64 {
    bytes.chunks(512).map(|block| u64::from(block.get(257..262) == Some(b"ustar"))).sum()
}

/// That the file could not be made or written, in an error of a stream, which is otherwise about what is read.
#[derive(Debug, thiserror::Error)]
#[error("cannot write what does not fit into memory")]
pub(super) struct Unspilled(#[source] pub(super) io::Error);

/// What all layers share.
pub(super) struct Hold<'a> {
    /// Bytes of memory left; below zero where entries took more than there was.
    left: AtomicI64,
    /// Entries seen beyond those that there is memory for; below zero until there are so many.
    entries: AtomicI64,
    /// Bytes of each.
    entry: i64,
    dir: &'a Dir,
    file: OnceLock<File>,
    making: Mutex<()>,
    /// Where the file ends.
    end: AtomicU64,
}

impl<'a> Hold<'a> {
    pub(super) fn new(options: HoldOptions<'a>) -> Self {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            left: AtomicI64::new(signed(options.memory)),
            entries: AtomicI64::new(-signed(options.entries)),
            entry: signed(options.entry),
            dir: options.spill,
            file: OnceLock::new(),
            making: Mutex::new(()),
            end: AtomicU64::new(0),
        }
    }

    /// Takes the memory of the entries that begin in `bytes`, which is needed whatever is left.
    fn make_room(&self, bytes: &[u8]) {
        let new = i64::try_from(headers(bytes)).unwrap_or(0);
        let before = self.entries.fetch_add(new, Ordering::Relaxed);
        let beyond = (before + new).max(0) - before.max(0);
        self.left.fetch_sub(beyond.saturating_mul(self.entry), Ordering::Relaxed);
    }

    /// Moves pieces of a layer to the file while more is in memory than was to be: what came last may have had the most
    /// entries.
    pub(super) fn settle(&self, layer: &mut Pieces) -> io::Result<()> {
        for piece in &mut layer.0 {
            if self.left.load(Ordering::Relaxed) >= 0 {
                return Ok(());
            }
            if let Some(bytes) = piece.in_memory() {
                let moved = self.spill(bytes)?;
                *piece = moved;
                self.left.fetch_add(PIECE_BYTES, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The file, if there is one.
    pub(super) fn finish(self) -> Option<File> {
        self.file.into_inner()
    }

    /// Takes memory for a piece, if some is left.
    fn has_room(&self) -> bool {
        let had = self.left.fetch_sub(PIECE_BYTES, Ordering::Relaxed) >= PIECE_BYTES;
        if !had {
            self.left.fetch_add(PIECE_BYTES, Ordering::Relaxed);
        }
        had
    }

    fn spill(&self, bytes: &[u8]) -> io::Result<Piece> {
        let offset = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let written = self.file().and_then(|file| file.write_all_at(bytes, offset));
        written.map(|()| Piece::File(offset)).map_err(|error| io::Error::new(error.kind(), Unspilled(error)))
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

/// A stream that is kept as it is read: what is at hand is the piece that is being filled.
pub(super) struct Holding<'h, R> {
    stream: R,
    hold: &'h Hold<'h>,
    pieces: Vec<Piece>,
    filling: MmapMut,
    /// Bytes of it that were read from the stream.
    used: usize,
    /// Bytes of those that were taken.
    taken: usize,
    /// A digest of all that was read, beside the one of the index, which is SHA-256.
    other: Option<Hasher>,
}

impl<R: Read> Read for Holding<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let read = bytes.len().min(out.len());
        out[..read].copy_from_slice(&bytes[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Holding<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.used {
            if self.used == PIECE {
                self.turn()?;
            }
            let end = PIECE.min(self.used + STEP);
            let read = self.stream.read(&mut self.filling[self.used..end])?;
            if let Some(other) = &mut self.other {
                other.update(&self.filling[self.used..self.used + read]);
            }
            self.used += read;
        }
        Ok(&self.filling[self.taken..self.used])
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
    }
}

impl<'h, R: Read> Holding<'h, R> {
    pub(super) fn new(stream: R, hold: &'h Hold<'h>, other: Option<Hasher>) -> io::Result<Self> {
        Ok(Self { stream, hold, pieces: Vec::new(), filling: room()?, used: 0, taken: 0, other })
    }

    pub(super) fn stream(&self) -> &R {
        &self.stream
    }

    /// Reads to the end of the stream.
    pub(super) fn read_rest(&mut self) -> io::Result<()> {
        loop {
            match self.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(_) => self.taken = self.used,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps a full piece and takes room for the next one: the same, when its bytes went to the file.
    fn turn(&mut self) -> io::Result<()> {
        self.hold.make_room(&self.filling);
        let piece = if self.hold.has_room() {
            Piece::Memory(std::mem::replace(&mut self.filling, room()?))
        } else {
            self.hold.spill(&self.filling)?
        };
        self.pieces.push(piece);
        (self.used, self.taken) = (0, 0);
        Ok(())
    }

    /// All that was read, and its other digest.
    pub(super) fn finish(mut self) -> io::Result<(Pieces, Option<Digest>)> {
        let last = &self.filling[..self.used];
        if !last.is_empty() {
            self.hold.make_room(last);
            let piece = if self.hold.has_room() { Piece::Last(last.into()) } else { self.hold.spill(last)? };
            self.pieces.push(piece);
        }
        Ok((Pieces(self.pieces), self.other.map(Hasher::finish)))
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
        let held = self.pieces.get(number).and_then(Piece::in_memory).unwrap_or_default();
        if let Some(Piece::File(offset)) = self.pieces.get(number) {
            self.file.ok_or(io::ErrorKind::NotFound)?.read_exact_at(out, offset + within)?;
        } else {
            let within = usize::try_from(within).unwrap_or(PIECE);
            out.copy_from_slice(held.get(within..within + room).ok_or(io::ErrorKind::UnexpectedEof)?);
        }
        self.at += room as u64;
        self.left -= room as u64;
        Ok(room)
    }
}
