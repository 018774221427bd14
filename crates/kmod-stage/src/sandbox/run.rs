//! Starting the program, watching it, and saying how it ended.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};

use super::prepare::{Prepared, absolute};
use super::{Rung, SandboxError, SandboxSpec, Step, child};

/// How often a program that closed its stderr is asked whether it has ended.
const TICK: Duration = Duration::from_millis(20);

/// How long a program may be open for writing before that counts as a failure. Who wrote it has closed it, but a process
/// that another thread was just starting had it too until its exec: milliseconds, on a busy machine more.
const BUSY: Duration = Duration::from_secs(2);

/// A program that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to stderr, up to the limit.
    pub stderr: Vec<u8>,
    /// Whether it wrote more than that.
    pub stderr_truncated: bool,
    /// What held it.
    pub confinement: Confinement,
}

/// What held a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// The rung.
    pub rung: Rung,
    /// Version of the Landlock rules in force; none where the kernel has no Landlock.
    pub landlock: Option<u32>,
}

/// Runs the program of `spec` on `rung` and waits for its end.
///
/// Its stdin and stdout are `/dev/null`, its environment is empty. Whatever it returns, no process
/// of the program is left.
pub fn run(spec: &SandboxSpec, rung: Rung) -> Result<Outcome, SandboxError> {
    absolute(&spec.program)?;
    let (mut running, stderr) = start_unless_busy(spec, rung)?;
    let mut stderr = Capture::new(stderr, spec.limits.stderr).map_err(SandboxError::Watch)?;
    let ended = watch(&mut running, &mut stderr, spec.limits.wall_time);
    let status = match ended {
        Ok(Some(status)) => status,
        Ok(None) => {
            end(&mut running, rung).map_err(SandboxError::Watch)?;
            let limit = spec.limits.wall_time;
            return Err(SandboxError::TimedOut { limit, stderr: stderr.kept });
        }
        Err(error) => {
            end(&mut running, rung).map_err(SandboxError::Watch)?;
            return Err(SandboxError::Watch(error));
        }
    };
    let Capture { kept, truncated, .. } = stderr;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(Outcome {
            code,
            stderr: kept,
            stderr_truncated: truncated,
            confinement: Confinement { rung, landlock: child::landlock_version() },
        }),
        (None, Some(libc::SIGXCPU)) => Err(SandboxError::CpuTime { limit: spec.limits.cpu_seconds, stderr: kept }),
        (None, signal) => Err(SandboxError::Signalled { signal: signal.unwrap_or(0), stderr: kept }),
    }
}

/// Starts the confined program, as soon as nobody has it open for writing.
fn start_unless_busy(spec: &SandboxSpec, rung: Rung) -> Result<(Child, ChildStderr), SandboxError> {
    let begin = Instant::now();
    loop {
        match start(spec, rung) {
            Err(SandboxError::Exec { source, .. })
                if source.kind() == io::ErrorKind::ExecutableFileBusy && begin.elapsed() < BUSY =>
            {
                std::thread::sleep(TICK);
            }
            started => return started,
        }
    }
}

/// Starts the confined program.
#[expect(clippy::disallowed_methods, reason = "the one place of the sandbox that starts a process")]
fn start(spec: &SandboxSpec, rung: Rung) -> Result<(Child, ChildStderr), SandboxError> {
    let (trail, trail_end) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| SandboxError::Watch(error.into()))?;
    let prepared = Prepared::new(spec, rung, trail_end)?;
    let mut command = Command::new(&spec.program);
    if let Some((name, arguments)) = spec.argv.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    child::confine(&mut command, prepared);
    let spawned = command.spawn();
    // Closes our end of the trail, so that reading it ends.
    drop(command);
    let mut child = spawned.map_err(|source| match last_step(trail) {
        Step::Exec => SandboxError::Exec { rung, program: spec.program.clone(), source },
        step => SandboxError::Unavailable { rung, step, source },
    })?;
    match child.stderr.take() {
        Some(stderr) => Ok((child, stderr)),
        None => Err(SandboxError::Watch(io::ErrorKind::BrokenPipe.into())),
    }
}

/// The last step the child began.
fn last_step(trail: std::os::fd::OwnedFd) -> Step {
    let mut steps = Vec::new();
    // What was read before an error still names a step.
    let _read = std::fs::File::from(trail).read_to_end(&mut steps);
    steps.last().copied().and_then(Step::from_byte).unwrap_or(Step::Fork)
}

/// Waits for the end of the program; none when the time is over.
fn watch(running: &mut Child, stderr: &mut Capture, wall_time: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = running.try_wait()? {
            stderr.drain()?;
            return Ok(Some(status));
        }
        let left = wall_time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        stderr.wait(left.min(TICK))?;
    }
}

/// Kills the program and waits until nothing of it is left.
fn end(running: &mut Child, rung: Rung) -> io::Result<()> {
    match rung {
        // The supervisor kills the namespace and ends after it.
        Rung::Namespaces => kill_process(Pid::from_child(running), Signal::TERM)?,
        Rung::Landlock | Rung::Chroot => running.kill()?,
    }
    running.wait().map(drop)
}

/// The kept beginning of a stream that is read to its end.
#[derive(Debug)]
struct Capture {
    stream: Option<ChildStderr>,
    kept: Vec<u8>,
    limit: usize,
    truncated: bool,
}

impl Capture {
    fn new(stream: ChildStderr, limit: usize) -> io::Result<Self> {
        fcntl_setfl(&stream, fcntl_getfl(&stream)? | OFlags::NONBLOCK)?;
        Ok(Self { stream: Some(stream), kept: Vec::new(), limit, truncated: false })
    }

    /// Waits up to `time` for more, and takes it.
    fn wait(&mut self, time: Duration) -> io::Result<()> {
        let Some(stream) = &self.stream else {
            std::thread::sleep(time);
            return Ok(());
        };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
        match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => self.drain(),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what is there, without waiting.
    fn drain(&mut self) -> io::Result<()> {
        /// One pipe buffer; a program that never stops writing must not hold us here.
        const ROUNDS: usize = 16;
        let mut buffer = [0; 4096];
        for _ in 0..ROUNDS {
            let Some(stream) = &mut self.stream else {
                return Ok(());
            };
            match stream.read(&mut buffer) {
                Ok(0) => self.stream = None,
                Ok(read) => {
                    let room = self.limit.saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(&buffer[..read.min(room)]);
                    self.truncated |= read > room;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
