//! One gzip member, compressed by several threads.
//!
//! The input is cut into blocks of 1 MiB. Each is deflated by a *fresh* state (a reset one remembers, and its bytes then
//! depend on the past) with the last 32 KiB of the block before as preset dictionary, ends at a byte border through a
//! sync flush, and the pieces are joined: RFC 1951 streams concatenate when no piece but the last sets the final bit.
//! The header is fixed (RFC 1952: no name, no time, unknown OS).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Part of the bytes: changing it changes every gzip digest.
const BLOCK: usize = 1 << 20;
/// The window of deflate.
const DICTIONARY: usize = 32 << 10;
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

struct Job {
    block: Arc<[u8]>,
    before: Option<Arc<[u8]>>,
    last: bool,
    reply: SyncSender<io::Result<Vec<u8>>>,
}

/// Compresses what is written to it into one gzip member on a sink.
pub struct GzipEncoder<W: Write> {
    sink: W,
    started: bool,
    filling: Vec<u8>,
    before: Option<Arc<[u8]>>,
    crc: Crc,
    jobs: Option<Sender<Job>>,
    waiting: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    /// Those that could be started. When there are none, [`GzipEncoder::submit`] does their work.
    workers: Vec<JoinHandle<()>>,
    level: Compression,
}

impl<W: Write> fmt::Debug for GzipEncoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GzipEncoder").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl<W: Write> GzipEncoder<W> {
    pub(super) fn new(sink: W, level: i32, threads: NonZero<usize>) -> Self {
        Self::with_start(sink, level, threads, |work| Builder::new().spawn(work))
    }

    /// Starts its threads with `start`, which may refuse.
    fn with_start(
        sink: W,
        level: i32,
        threads: NonZero<usize>,
        start: impl Fn(Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>,
    ) -> Self {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let level = Compression::new(u32::try_from(level).unwrap_or(3).min(9));
        // A system that has no more threads to give is no reason to fail: fewer do the same work.
        let workers = (0..threads.get()).map_while(|_| {
            let queue = Arc::clone(&queue);
            start(Box::new(move || work(&queue, level))).ok()
        });
        let workers = workers.collect();
        Self {
            sink,
            started: false,
            filling: Vec::with_capacity(BLOCK),
            before: None,
            crc: Crc::new(),
            jobs: Some(jobs),
            waiting: VecDeque::new(),
            workers,
            level,
        }
    }

    /// How many threads work for it.
    #[cfg(test)]
    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.submit(true)?;
        while let Some(reply) = self.waiting.pop_front() {
            self.emit(&reply)?;
        }
        self.jobs = None;
        for worker in self.workers.drain(..) {
            worker.join().map_err(|_| io::Error::other("a compressor thread panicked"))?;
        }
        self.sink.write_all(&self.crc.sum().to_le_bytes())?;
        self.sink.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.sink)
    }

    fn submit(&mut self, last: bool) -> io::Result<()> {
        let block: Arc<[u8]> = Arc::from(std::mem::take(&mut self.filling));
        self.filling.reserve(BLOCK);
        self.crc.update(&block);
        let (reply, answer) = sync_channel(1);
        let job = Job { block: Arc::clone(&block), before: self.before.replace(block), last, reply };
        if self.workers.is_empty() {
            job.reply.send(deflate(&job, self.level)).map_err(|_| gone())?;
        } else {
            let jobs = self.jobs.as_ref().ok_or_else(gone)?;
            jobs.send(job).map_err(|_| gone())?;
        }
        self.waiting.push_back(answer);
        if self.waiting.len() > self.workers.len() * 2
            && let Some(reply) = self.waiting.pop_front()
        {
            self.emit(&reply)?;
        }
        Ok(())
    }

    fn emit(&mut self, reply: &Receiver<io::Result<Vec<u8>>>) -> io::Result<()> {
        if !self.started {
            self.sink.write_all(&HEADER)?;
            self.started = true;
        }
        let piece = reply.recv().map_err(|_| gone())??;
        self.sink.write_all(&piece)
    }
}

impl<W: Write> Write for GzipEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full block is sent only when more follows, so that the last one is known to be the last.
        if self.filling.len() == BLOCK && !bytes.is_empty() {
            self.submit(false)?;
        }
        let taken = bytes.len().min(BLOCK - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("the compressor threads are gone")
}

fn work(queue: &Mutex<Receiver<Job>>, level: Compression) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let piece = deflate(&job, level);
        if job.reply.send(piece).is_err() {
            return; // the encoder was dropped
        }
    }
}

fn deflate(job: &Job, level: Compression) -> io::Result<Vec<u8>> {
    let mut state = Compress::new(level, false);
    if let Some(before) = &job.before {
        let dictionary = &before[before.len().saturating_sub(DICTIONARY)..];
        state.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let flush = if job.last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut piece = Vec::with_capacity(job.block.len() / 2 + 1024);
    loop {
        let input = &job.block[usize::try_from(state.total_in()).map_err(io::Error::other)?..];
        let status = state.compress_vec(input, &mut piece, flush).map_err(io::Error::other)?;
        let room = piece.capacity() > piece.len();
        let consumed = state.total_in() == job.block.len() as u64;
        // A flush is complete when the state leaves room in the output.
        if status == Status::StreamEnd || (!job.last && consumed && room) {
            return Ok(piece);
        }
        piece.reserve(64 << 10);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fewer_threads_than_wanted_give_the_same_bytes() {
        let bytes: Vec<u8> = (0..(5 << 20) + 3_u32).map(|at| ((at % 251) ^ (at >> 16)).to_le_bytes()[0]).collect();
        let packed = |granted: usize| {
            let left = std::cell::Cell::new(granted);
            let mut encoder = GzipEncoder::with_start(Vec::new(), 3, NonZero::new(4).unwrap(), |work| {
                let now = left.get().checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
                left.set(now);
                Builder::new().spawn(work)
            });
            assert_eq!(encoder.workers(), granted);
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        };
        let all = packed(4);
        let mut out = Vec::new();
        io::copy(&mut flate2::read::GzDecoder::new(&all[..]), &mut out).unwrap();
        assert!(out == bytes);
        for granted in [0, 1, 2] {
            assert!(packed(granted) == all, "{granted}");
        }
    }
}
