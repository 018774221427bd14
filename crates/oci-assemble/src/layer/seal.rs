//! Seals a draft: tar, digest of the tar, compression and digest of the blob in one pass.
//!
//! Files are read straight into a buffer, which goes to the diff_id (one SHA-256 stream cannot be split) and to the
//! compressor's threads; their output is hashed on its way to the sink. Reading and hashing are five times as fast as a
//! compressor's thread, so they share one. Memory does not depend on the size of the layer.

use std::io::{self, Write};
use std::num::NonZero;

use super::Contents;
use super::compress::{Compression, Encoder};
use super::draft::LayerDraft;
use super::write::{Fill, WriteError, fill_tar};
use super::zstd_frame::Contexts;
use crate::image::{Digest, Hasher};
use crate::tree::{Content, TreeDelta};

/// Size of the buffer: what is hashed and compressed is still in the processor's cache then.
const BUFFER: usize = 256 << 10;

/// Bytes in memory that are compressed from where they are; to collect fewer in the buffer costs less than the calls.
const DIRECT: usize = 32 << 10;

/// Bytes of files that one thread of zstd is used for. Two threads take an eighth more CPU than one for the same bytes, and a
/// layer of this size gains a tenth of a second from them.
const THREAD_BYTES: u64 = 64 << 20;

/// What decides a layer's bytes beside its draft, and how many threads may work on it (which decides nothing).
#[derive(Clone, Copy, Debug)]
pub struct SealOptions {
    /// The compressor.
    pub compression: Compression,
    /// Compressor threads, at most: a small layer takes fewer.
    pub threads: NonZero<usize>,
}

/// The numbers of a sealed layer. The blob itself is in the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Digest of the blob as it was written.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Size of the uncompressed tar in bytes.
    pub uncompressed: u64,
}

/// Seals one draft after another, or several at once. The compressor's memory is used again, which saves a twentieth of the
/// work where many layers are sealed; it is given back with the value.
pub struct Sealer {
    options: SealOptions,
    contexts: Contexts,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer by these options.
    pub fn new(options: SealOptions) -> Self {
        Self { options, contexts: Contexts::default() }
    }

    /// The compressor.
    pub fn compression(&self) -> Compression {
        self.options.compression
    }

    /// Writes the draft's layer into `sink`.
    ///
    /// Law: the same draft and compression give the same [`Sealed`], whatever the sink, the number of threads, and what was
    /// sealed before.
    pub fn seal<W: Write>(
        &self,
        draft: &LayerDraft,
        contents: &dyn Contents,
        sink: W,
    ) -> Result<(Sealed, W), WriteError> {
        self.seal_entries(draft.delta(), contents, sink)
    }

    fn seal_entries<W: Write>(
        &self,
        delta: &TreeDelta,
        contents: &dyn Contents,
        sink: W,
    ) -> Result<(Sealed, W), WriteError> {
        let hashing = Hashing { sink, hasher: Hasher::default(), size: 0 };
        let threads = self.threads(delta);
        let encoder = self.options.compression.encoder_in(hashing, threads, &self.contexts);
        let encoder = encoder.map_err(WriteError::Sink)?;
        let mut tar = Tar { filling: vec![0; BUFFER], used: 0, hasher: Hasher::default(), size: 0, encoder };
        fill_tar(delta, contents, &mut tar)?;
        tar.send().map_err(WriteError::Sink)?;
        let blob = tar.encoder.finish().map_err(WriteError::Sink)?;
        let sealed = Sealed {
            digest: blob.hasher.finish(),
            size: blob.size,
            diff_id: tar.hasher.finish(),
            uncompressed: tar.size,
        };
        Ok((sealed, blob.sink))
    }

    /// As many threads as are worth their while.
    fn threads(&self, delta: &TreeDelta) -> NonZero<usize> {
        let threads = self.options.threads;
        if !matches!(self.options.compression, Compression::Zstd(_)) {
            return threads;
        }
        let bytes: u64 = delta.entries().values().filter_map(|inode| inode.content()).map(Content::size).sum();
        let worth = usize::try_from(bytes.div_ceil(THREAD_BYTES)).unwrap_or(usize::MAX);
        threads.min(NonZero::new(worth).unwrap_or(NonZero::<usize>::MIN))
    }
}

/// Writes one draft's layer into `sink`, as [`Sealer::seal`] does.
pub fn seal<W: Write>(
    draft: &LayerDraft,
    contents: &dyn Contents,
    sink: W,
    options: SealOptions,
) -> Result<(Sealed, W), WriteError> {
    Sealer::new(options).seal(draft, contents, sink)
}

/// Writes a delta as it stands into `sink`: no parents are added, no rule for images is applied. That is for a delta that
/// is kept to become a draft later. A tar stream cannot say every delta (an attribute with `=` in its name, a file whose
/// name begins with `.wh.`), so a caller that needs it back exactly compares it with what [`index`](super::index()) reads.
///
/// Law: the same delta, contents and compression give the same [`Sealed`].
pub fn seal_delta<W: Write>(
    delta: &TreeDelta,
    contents: &dyn Contents,
    sink: W,
    options: SealOptions,
) -> Result<(Sealed, W), WriteError> {
    Sealer::new(options).seal_entries(delta, contents, sink)
}

/// The tar on its way to its digest and to the compressor.
struct Tar<W: Write> {
    filling: Vec<u8>,
    used: usize,
    hasher: Hasher,
    size: u64,
    encoder: Encoder<Hashing<W>>,
}

impl<W: Write> Tar<W> {
    fn send(&mut self) -> io::Result<()> {
        let full = &self.filling[..std::mem::take(&mut self.used)];
        pass(full, &mut self.hasher, &mut self.size, &mut self.encoder)
    }
}

/// Brings bytes of the tar to its digest and to the compressor.
fn pass(bytes: &[u8], hasher: &mut Hasher, size: &mut u64, encoder: &mut impl Write) -> io::Result<()> {
    hasher.update(bytes);
    *size += bytes.len() as u64;
    encoder.write_all(bytes)
}

impl<W: Write> Fill for Tar<W> {
    fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.used == self.filling.len() {
            self.send()?;
        }
        Ok(&mut self.filling[self.used..])
    }

    fn filled(&mut self, count: usize) -> io::Result<()> {
        self.used += count;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() < DIRECT {
            return self.write_all(bytes);
        }
        self.send()?;
        bytes.chunks(BUFFER).try_for_each(|piece| pass(piece, &mut self.hasher, &mut self.size, &mut self.encoder))
    }
}

impl<W: Write> Write for Tar<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room()?;
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.used += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that hashes what passes.
struct Hashing<W> {
    sink: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
