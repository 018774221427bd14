//! Seals a draft: tar, digest of the tar, compression and digest of the blob in one pass.
//!
//! One thread reads files and lays out the tar in buffers of 1 MiB; each buffer goes to a thread that computes the
//! diff_id (one SHA-256 stream cannot be split) and to the compressor, whose output is hashed on its way to the sink.
//! Channels are bounded, so memory does not depend on the size of the layer.

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::Contents;
use super::compress::Compression;
use super::draft::LayerDraft;
use super::write::{Fill, WriteError, fill_tar};
use crate::image::{Digest, Hasher};
use crate::tree::TreeDelta;

/// Size of one buffer: large enough that hand-over costs nothing, small enough to stay in cache.
const BUFFER: usize = 1 << 20;
/// Buffers in flight to each consumer; deeper queues gained nothing and cost memory.
const DEPTH: usize = 8;

/// What decides a layer's bytes beside its draft, and how many threads may work on it (which decides nothing).
#[derive(Clone, Copy, Debug)]
pub struct SealOptions {
    /// The compressor.
    pub compression: Compression,
    /// Compressor threads.
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

/// Writes the draft's layer into `sink`.
///
/// Law: the same draft and compression give the same [`Sealed`], whatever the sink and the number of threads.
pub fn seal<W: Write + Send>(
    draft: &LayerDraft,
    contents: &dyn Contents,
    sink: W,
    options: SealOptions,
) -> Result<(Sealed, W), WriteError> {
    seal_dated(draft.delta(), draft.epoch(), contents, sink, options)
}

/// Writes a delta as it stands into `sink`: no parents are added, no rule for images is applied, whiteouts are dated
/// 1970. That is for a delta that is kept to become a draft later. A tar stream cannot say every delta (an attribute
/// with `=` in its name, a file whose name begins with `.wh.`), so a caller that needs it back exactly compares it with
/// what [`index`](super::index()) reads.
///
/// Law: the same delta, contents and compression give the same [`Sealed`].
pub fn seal_delta<W: Write + Send>(
    delta: &TreeDelta,
    contents: &dyn Contents,
    sink: W,
    options: SealOptions,
) -> Result<(Sealed, W), WriteError> {
    seal_dated(delta, 0, contents, sink, options)
}

fn seal_dated<W: Write + Send>(
    delta: &TreeDelta,
    epoch: i64,
    contents: &dyn Contents,
    sink: W,
    options: SealOptions,
) -> Result<(Sealed, W), WriteError> {
    let (to_hash, hashed) = sync_channel(DEPTH);
    let (to_compress, compressed) = sync_channel(DEPTH);
    std::thread::scope(|scope| {
        let hash = scope.spawn(move || hash_buffers(&hashed));
        let compress = scope.spawn(move || compress_buffers(&compressed, sink, options));
        let mut tee = Tee::new([to_hash, to_compress]);
        let written = fill_tar(delta, epoch, contents, &mut tee).and_then(|()| tee.send().map_err(WriteError::Sink));
        drop(tee);
        let tar = hash.join();
        let blob = compress.join();
        // The consumers' error explains a broken channel; the reader's own error comes first otherwise.
        let blob = blob.unwrap_or_else(|_| Err(io::Error::other("the compressor thread panicked")));
        let (diff_id, uncompressed) =
            tar.map_err(|_| WriteError::Sink(io::Error::other("the digest thread panicked")))?;
        match (written, blob) {
            (Ok(()), Ok((digest, size, sink))) => Ok((Sealed { digest, size, diff_id, uncompressed }, sink)),
            (Err(WriteError::Sink(_)) | Ok(()), Err(error)) => Err(WriteError::Sink(error)),
            (Err(error), _) => Err(error),
        }
    })
}

/// Buffers that nobody uses now. A buffer that is given back to the system comes back as pages to be cleared.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// A full buffer, which goes back to its pool when the last consumer is done with it.
struct Full {
    bytes: Vec<u8>,
    used: usize,
    pool: Pool,
}

impl std::ops::Deref for Full {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(std::mem::take(&mut self.bytes));
    }
}

/// The buffer being filled, and where full ones go.
struct Tee {
    filling: Vec<u8>,
    used: usize,
    pool: Pool,
    outputs: [SyncSender<Arc<Full>>; 2],
}

impl Tee {
    fn new(outputs: [SyncSender<Arc<Full>>; 2]) -> Self {
        Self { filling: vec![0; BUFFER], used: 0, pool: Pool::default(), outputs }
    }

    fn send(&mut self) -> io::Result<()> {
        if self.used == 0 {
            return Ok(());
        }
        let empty = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = std::mem::replace(&mut self.filling, empty.unwrap_or_else(|| vec![0; BUFFER]));
        let full = Arc::new(Full { bytes, used: std::mem::take(&mut self.used), pool: Arc::clone(&self.pool) });
        for output in &self.outputs {
            let sent = output.send(Arc::clone(&full));
            sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "a consumer of the tar stopped"))?;
        }
        Ok(())
    }
}

impl Fill for Tee {
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
}

impl Write for Tee {
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

fn hash_buffers(buffers: &Receiver<Arc<Full>>) -> (Digest, u64) {
    let mut hasher = Hasher::default();
    let mut size = 0;
    for buffer in buffers {
        hasher.update(&buffer);
        size += buffer.len() as u64;
    }
    (hasher.finish(), size)
}

fn compress_buffers<W: Write>(
    buffers: &Receiver<Arc<Full>>,
    sink: W,
    options: SealOptions,
) -> io::Result<(Digest, u64, W)> {
    let hashing = Hashing { sink: io::BufWriter::with_capacity(256 << 10, sink), hasher: Hasher::default(), size: 0 };
    let mut encoder = options.compression.encoder(hashing, options.threads)?;
    for buffer in buffers {
        encoder.write_all(&buffer)?;
    }
    let Hashing { sink, hasher, size } = encoder.finish()?;
    let sink = sink.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok((hasher.finish(), size, sink))
}

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
