//! Starting QEMU, watching it, and ending it.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use rustix::process::{Pid, Signal, kill_process_group};

use super::BootError;
use super::machine::names;
use super::report::End;

/// How often the end, the time and the size of the report are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of the console that are passed on. A boot with systemd's words has 100 KiB.
const CONSOLE_MAX: usize = 16 << 20;
/// Bytes at the end of the console that are kept.
const TAIL_MAX: usize = 16 << 10;
/// Bytes of the report: a guest that writes more is ended.
pub(super) const REPORT_MAX: u64 = 4 << 20;
/// Bytes of QEMU's own words that are kept.
const STDERR_MAX: usize = 8 << 10;
/// How long a guest may take to say its first word before its accelerator counts as unusable.
const FIRST_WORD: Duration = Duration::from_secs(30);

/// What a run left.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) end: End,
    /// The end of the console.
    pub(super) tail: Vec<u8>,
    /// Whether the guest said anything.
    pub(super) spoke: bool,
}

/// What the readers pass on.
enum Chunk {
    Console(Vec<u8>),
    Stderr(Vec<u8>),
}

/// Kills the process with all that it started, and waits for its end, whatever happens to the watcher.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Not when it was waited for: the number may be another's by now.
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ended = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        }
        let _reaped = self.0.wait();
    }
}

/// Runs `program` in the directory `work` until the guest ends or must be ended. `trial` ends it when it says nothing.
pub(super) fn run(
    program: &Path,
    arguments: &[String],
    (work, dir): (&Path, &Dir),
    timeout: Duration,
    trial: bool,
    console: &mut dyn Write,
) -> Result<Ran, BootError> {
    let mut child = start(program, arguments, work)?;
    let (sender, chunks) = sync_channel(16);
    let streams = (child.0.stdout.take(), child.0.stderr.take());
    std::thread::scope(|scope| {
        let other = sender.clone();
        scope.spawn(move || pump(streams.0, &sender, Chunk::Console));
        scope.spawn(move || pump(streams.1, &other, Chunk::Stderr));
        // Moved, so that both are gone before the readers are waited for.
        let (chunks, mut child) = (chunks, child);
        let mut seen = Seen { console, passed: 0, tail: Vec::new(), stderr: Vec::new() };
        let begin = Instant::now();
        let end = loop {
            match chunks.recv_timeout(TICK) {
                Ok(chunk) => seen.take(chunk).map_err(BootError::Log)?,
                // Both streams are closed: it ends now.
                Err(RecvTimeoutError::Disconnected) => match child.0.try_wait().map_err(BootError::Watch)? {
                    Some(status) => break Ok(status),
                    None => std::thread::sleep(TICK),
                },
                Err(RecvTimeoutError::Timeout) => {}
            }
            let told = dir.metadata(names::REPORT).map_or(0, |metadata| metadata.len());
            if told > REPORT_MAX {
                break Err(End::Flooded(REPORT_MAX));
            }
            let elapsed = begin.elapsed();
            if elapsed > timeout || (trial && seen.passed == 0 && elapsed > FIRST_WORD) {
                break Err(End::TimedOut(timeout));
            }
        };
        drop(child);
        while let Ok(chunk) = chunks.recv() {
            seen.take(chunk).map_err(BootError::Log)?;
        }
        if let Ok(status) = end
            && !status.success()
        {
            let stderr = String::from_utf8_lossy(&seen.stderr).trim().to_owned();
            return Err(BootError::Qemu { status: status.to_string(), stderr });
        }
        Ok(Ran { end: end.err().unwrap_or(End::Off), tail: seen.tail, spoke: seen.passed > 0 })
    })
}

#[expect(clippy::disallowed_methods, reason = "the one place of the boot check that starts a process")]
fn start(program: &Path, arguments: &[String], work: &Path) -> Result<Owned, BootError> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(work).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that a wrapper around QEMU can be ended with what it started.
    command.process_group(0);
    crate::sandbox::end_with_parent(&mut command);
    let failed = |source| BootError::Start { program: program.to_owned(), source };
    command.spawn().map(Owned).map_err(failed)
}

/// Passes on what a stream gives, to its end.
fn pump(stream: Option<impl Read>, to: &SyncSender<Chunk>, chunk: impl Fn(Vec<u8>) -> Chunk) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 8192];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            // Nobody listens any more: what is left is read and dropped, so that the writer is not held up.
            Ok(read) => drop(to.send(chunk(buffer[..read].to_vec()))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

struct Seen<'a> {
    console: &'a mut dyn Write,
    passed: usize,
    tail: Vec<u8>,
    stderr: Vec<u8>,
}

impl Seen<'_> {
    fn take(&mut self, chunk: Chunk) -> io::Result<()> {
        match chunk {
            Chunk::Console(bytes) => {
                let room = CONSOLE_MAX.saturating_sub(self.passed);
                self.console.write_all(&bytes[..bytes.len().min(room)])?;
                self.passed = self.passed.saturating_add(bytes.len());
                self.tail.extend(bytes);
                let excess = self.tail.len().saturating_sub(TAIL_MAX);
                self.tail.drain(..excess);
            }
            Chunk::Stderr(bytes) => {
                let room = STDERR_MAX.saturating_sub(self.stderr.len());
                self.stderr.extend(&bytes[..bytes.len().min(room)]);
            }
        }
        Ok(())
    }
}
