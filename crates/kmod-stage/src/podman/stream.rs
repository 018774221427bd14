//! A tar that podman writes.

use std::fs::File;
use std::io::{self, Read};
use std::process::Stdio;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::call::{Call, Running, TICK};
use super::{Cancel, RuntimeError};

/// What podman writes to stdout. Its end is reported only when podman ended well, so a stream that was cut short is
/// never taken for a whole one.
#[derive(Debug)]
pub(super) struct TarStream<'a> {
    running: Running<'a>,
    pipe: File,
    cancel: Cancel,
    ended: bool,
}

impl<'a> TarStream<'a> {
    pub(super) fn start(call: Call<'a>, cancel: &Cancel) -> Result<Self, RuntimeError> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| call.broken(errno.into()))?;
        let running = call.start(Stdio::from(theirs))?;
        Ok(Self { running, pipe: ours.into(), cancel: cancel.clone(), ended: false })
    }

    /// Waits until there is something to read.
    fn ready(&self) -> io::Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other(RuntimeError::Cancelled));
            }
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn finish(&mut self) -> Result<(), RuntimeError> {
        if self.running.wait()?.success() {
            return Ok(());
        }
        let said = self.running.stderr()?;
        Err(self.running.call().failed(&said))
    }
}

impl Read for TarStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.ended {
            return Ok(0);
        }
        self.ready()?;
        let read = self.pipe.read(out)?;
        if read == 0 {
            self.finish().map_err(io::Error::other)?;
            self.ended = true;
        }
        Ok(read)
    }
}
