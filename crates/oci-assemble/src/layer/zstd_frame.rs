//! One zstd frame, compressed by libzstd's threads in contexts that are used again.
//!
//! A context holds a job of input, its output and the tables of the matcher for each thread: tens of megabytes, which
//! the system clears page by page. For layers of a few dozen megabytes that is a twentieth of the work.

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

/// Size of one job: what one thread compresses at a time. 8 MiB keeps two cores busy on layers of a few dozen MB at 62 MB
/// of memory; 4 MiB costs 0.15 % in size.
pub(super) const JOB: u32 = 8 << 20;
/// log2 of how much of a window one job sees of the job before (6 = the default of levels below 19, a quarter).
pub(super) const OVERLAP: u32 = 6;

/// What a thread takes at most to say that it is free, when it gets the processor: some microseconds, and a timer's slack.
const FREE: Duration = Duration::from_micros(50);

/// Contexts that nobody uses now. All of its clones share them.
#[derive(Clone, Default)]
pub(super) struct Contexts(Arc<Mutex<Vec<CCtx<'static>>>>);

impl Contexts {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<CCtx<'static>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A context for a new frame. What it did before decides nothing.
    fn take(&self, level: i32, threads: NonZero<usize>) -> io::Result<CCtx<'static>> {
        let mut context = match self.idle().pop() {
            Some(context) => context,
            None => CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?,
        };
        context.reset(ResetDirective::SessionAndParameters).map_err(error)?;
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::NbWorkers(u32::try_from(threads.get()).unwrap_or(1)),
            CParameter::JobSize(JOB),
            CParameter::OverlapSizeLog(OVERLAP),
            CParameter::ChecksumFlag(false),
        ] {
            context.set_parameter(parameter).map_err(error)?;
        }
        Ok(context)
    }
}

fn error(code: usize) -> io::Error {
    io::Error::other(format!("zstd: {}", get_error_name(code)))
}

/// Compresses what is written to it into one zstd frame on a sink.
pub struct ZstdEncoder<W> {
    context: CCtx<'static>,
    contexts: Contexts,
    out: Vec<u8>,
    sink: W,
}

impl<W> std::fmt::Debug for ZstdEncoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZstdEncoder").finish_non_exhaustive()
    }
}

impl<W: Write> ZstdEncoder<W> {
    pub(super) fn new(sink: W, level: i32, threads: NonZero<usize>, contexts: &Contexts) -> io::Result<Self> {
        let context = contexts.take(level, threads)?;
        Ok(Self { context, contexts: contexts.clone(), out: Vec::with_capacity(CCtx::out_size()), sink })
    }

    /// Waits a little where libzstd would wait actively: the next job has its `ready` bytes, and the thread that made the
    /// job before has still to say that it is free. Asking it at once, over and over, keeps it from that, and takes two
    /// hundredths of the work of a run.
    fn settle(&self, ready: u64) {
        let progress = self.context.get_frame_progression();
        let posted = u64::from(progress.currentJobID) * u64::from(JOB);
        if posted > 0 && progress.consumed == posted && progress.ingested >= posted + ready {
            std::thread::sleep(FREE);
        }
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        loop {
            self.settle(1);
            self.out.clear();
            let left = self.context.end_stream(&mut OutBuffer::around(&mut self.out)).map_err(error)?;
            self.sink.write_all(&self.out)?;
            if left == 0 {
                break;
            }
        }
        // Only what ended well is used again.
        self.contexts.idle().push(self.context);
        Ok(self.sink)
    }
}

impl<W: Write> Write for ZstdEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            self.settle(JOB.into());
            self.out.clear();
            self.context.compress_stream(&mut OutBuffer::around(&mut self.out), &mut input).map_err(error)?;
            self.sink.write_all(&self.out)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // a flush in the middle would change the bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Bytes in which matches lie near and far, from a fixed generator: words of a small vocabulary, some of them rare.
    fn sample(size: usize, mut state: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 16);
        while bytes.len() < size {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = (state >> 33) % if state >> 63 == 0 { 50 } else { 60_000 };
            bytes.extend(format!("{word:x}.").bytes());
        }
        bytes.truncate(size);
        bytes
    }

    fn compress(bytes: &[u8], level: i32, threads: usize, contexts: &Contexts) -> Vec<u8> {
        let mut encoder = ZstdEncoder::new(Vec::new(), level, NonZero::new(threads).unwrap(), contexts).unwrap();
        for piece in bytes.chunks(300_000) {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn a_context_that_was_used_gives_the_bytes_of_a_new_one() {
        let (small, large) = (sample(700_000, 1), sample(9 << 20, 2));
        // Levels of every kind of match finder: its tables are not always cleared between frames.
        for level in [1, 3, 5, 7, 9, 12] {
            let used = Contexts::default();
            compress(&large, 3, 2, &used);
            for (bytes, threads) in [(&small, 1), (&large, 2), (&small, 2), (&large, 1), (&small, 1)] {
                let fresh = compress(bytes, level, 1, &Contexts::default());
                assert!(compress(bytes, level, threads, &used) == fresh, "level {level}, {threads} threads");
            }
            assert_eq!(used.idle().len(), 1);
        }
    }

    #[test]
    fn a_context_whose_sink_failed_is_not_used_again() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let contexts = Contexts::default();
        let mut encoder = ZstdEncoder::new(Full, 3, NonZero::<usize>::MIN, &contexts).unwrap();
        let failed = encoder.write_all(&sample(20 << 20, 3)).and_then(|()| encoder.finish().map(drop));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(contexts.idle().is_empty());
    }
}
