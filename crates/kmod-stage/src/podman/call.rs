//! One call of podman: started in a process group of its own, watched, and ended with all its children.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Cancel, Restriction, RuntimeError};

/// How often a running call is asked whether it has ended.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// How long podman may take to clean up before it is killed.
const POLITE: Duration = Duration::from_secs(5);
/// How long a call without a limit of its own may take. podman waits for locks that other podmans hold.
const LIMIT: Duration = Duration::from_mins(10);
/// How much of an answer is read; answers are IDs and messages.
const ANSWER: u64 = 64 << 10;

/// One call of podman.
#[derive(Debug)]
pub(super) struct Call<'a> {
    program: &'a Path,
    words: Vec<String>,
    directory: Option<PathBuf>,
    cancel: Option<Cancel>,
    limit: Option<Duration>,
}

/// A podman that runs; ended with all its children when dropped.
#[derive(Debug)]
pub(super) struct Running<'a> {
    call: Call<'a>,
    child: Child,
    stderr: File,
}

impl<'a> Call<'a> {
    /// A call that answers soon.
    pub(super) fn new(program: &'a Path, words: Vec<String>) -> Self {
        Self { program, words, directory: None, cancel: None, limit: Some(LIMIT) }
    }

    /// Lets it take any time until it is cancelled.
    pub(super) fn until(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self.limit = None;
        self
    }

    /// Gives it no more than `limit`.
    pub(super) fn within_time(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Starts it in `directory`.
    pub(super) fn within(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// The subcommand, for messages.
    pub(super) fn name(&self) -> String {
        self.words.iter().find(|word| !word.starts_with('-')).cloned().unwrap_or_default()
    }

    /// What it writes to stdout.
    pub(super) fn output(&self) -> Result<String, RuntimeError> {
        let (status, stdout, stderr) = self.end()?;
        if status.success() { Ok(stdout) } else { Err(self.failed(&stderr)) }
    }

    /// Whether it ends with 0; with 1, podman says no.
    pub(super) fn succeeds(&self) -> Result<bool, RuntimeError> {
        let (status, _, stderr) = self.end()?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(self.failed(&stderr)),
        }
    }

    /// Runs it to its end: status, stdout, stderr.
    fn end(&self) -> Result<(ExitStatus, String, String), RuntimeError> {
        let mut stdout = self.memory()?;
        let output = stdout.try_clone().map_err(|source| self.broken(source))?;
        let mut running = self.copied().start(output.into())?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = running.ended()? {
                break status;
            }
            if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
                return Err(RuntimeError::Cancelled);
            }
            if let Some(limit) = self.limit.filter(|limit| begin.elapsed() > *limit) {
                return Err(RuntimeError::NoAnswer { call: self.name(), limit });
            }
            std::thread::sleep(TICK);
        };
        let text = text(&mut stdout).map_err(|source| self.broken(source))?;
        Ok((status, text, running.stderr()?))
    }

    /// Starts it, with stderr kept in memory.
    pub(super) fn start(self, stdout: Stdio) -> Result<Running<'a>, RuntimeError> {
        let stderr = self.memory()?;
        let errors = stderr.try_clone().map_err(|source| self.broken(source))?;
        self.spawn(stdout, errors.into(), stderr)
    }

    /// Starts it, with stdout and stderr to the same pipe.
    pub(super) fn start_joined(self, output: rustix::fd::OwnedFd) -> Result<Running<'a>, RuntimeError> {
        let stderr = self.memory()?;
        let second = output.try_clone().map_err(|source| self.broken(source))?;
        self.spawn(output.into(), second.into(), stderr)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that starts podman")]
    fn spawn(self, stdout: Stdio, errors: Stdio, stderr: File) -> Result<Running<'a>, RuntimeError> {
        let mut command = Command::new(self.program);
        // Ctrl-c in a terminal goes to the group of this program only, which then ends podman in order.
        command.args(&self.words).stdin(Stdio::null()).stdout(stdout).stderr(errors).process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        match command.spawn() {
            Ok(child) => Ok(Running { call: self, child, stderr }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(RuntimeError::Missing { program: self.program.to_owned() })
            }
            Err(source) => Err(self.broken(source)),
        }
    }

    /// Reads the answer as one word.
    pub(super) fn parse<T: FromStr>(&self, answer: &str) -> Result<T, RuntimeError> {
        answer.trim().parse().map_err(|_| self.misunderstood(answer))
    }

    pub(super) fn misunderstood(&self, answer: &str) -> RuntimeError {
        RuntimeError::Answer { call: self.name(), text: answer.chars().take(160).collect() }
    }

    /// The error for what podman said.
    pub(super) fn failed(&self, stderr: &str) -> RuntimeError {
        let call = self.name();
        let message = message(stderr);
        match Restriction::of(&message) {
            Some(restriction) => RuntimeError::Restricted { call, restriction, message },
            None => RuntimeError::Failed { call, message },
        }
    }

    pub(super) fn broken(&self, source: io::Error) -> RuntimeError {
        RuntimeError::Start { program: self.program.to_owned(), source }
    }

    /// A file in memory: a pipe that nobody reads would stop podman.
    fn memory(&self) -> Result<File, RuntimeError> {
        let memory = memfd_create("podman", MemfdFlags::CLOEXEC).map_err(|errno| self.broken(errno.into()))?;
        Ok(memory.into())
    }

    fn copied(&self) -> Self {
        Self {
            program: self.program,
            words: self.words.clone(),
            directory: self.directory.clone(),
            cancel: self.cancel.clone(),
            limit: self.limit,
        }
    }
}

impl Running<'_> {
    /// Its status, once it has ended.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, RuntimeError> {
        self.child.try_wait().map_err(|source| self.call.broken(source))
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self) -> Result<ExitStatus, RuntimeError> {
        self.child.wait().map_err(|source| self.call.broken(source))
    }

    /// What it has written to stderr.
    pub(super) fn stderr(&mut self) -> Result<String, RuntimeError> {
        text(&mut self.stderr).map_err(|source| self.call.broken(source))
    }

    pub(super) fn call(&self) -> &Call<'_> {
        &self.call
    }

    /// Waits up to `time` for its end.
    fn ends_within(&mut self, time: Duration) -> bool {
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if begin.elapsed() < time => std::thread::sleep(TICK),
                Ok(None) => return false,
                // What cannot be asked cannot be ended either.
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.ends_within(Duration::ZERO) {
            return;
        }
        let group = Pid::from_child(&self.child);
        // podman removes half-written layers when it is asked to end.
        let _ = kill_process_group(group, Signal::TERM);
        if !self.ends_within(POLITE) {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(ANSWER).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What podman's error lines say: without warnings before them, as one line.
fn message(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = lines.iter().position(|line| line.starts_with("Error: "));
    let said = first.map_or(&lines[..], |first| &lines[first..]).join("; ");
    let said = said.strip_prefix("Error: ").unwrap_or(&said);
    if said.is_empty() { "it said nothing".into() } else { said.chars().take(2000).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_not_the_message() {
        let stderr = "time=\"x\" level=warning msg=\"no subuid ranges\"\nError: a: b\n\n  more\n";
        assert_eq!(message(stderr), "a: b; more");
        assert_eq!(message("runc: not found\n"), "runc: not found");
        assert_eq!(message(""), "it said nothing");
    }

    #[test]
    fn a_program_that_is_not_there_is_missing() {
        let program = Path::new("/nonexistent/podman");
        let error = Call::new(program, vec!["ps".into()]).output();
        assert!(matches!(error, Err(RuntimeError::Missing { program: missing }) if missing == program));
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let cancel = Cancel::new();
        let call = Call::new(Path::new("sleep"), vec!["60".into()]).until(&cancel);
        let begin = Instant::now();
        cancel.cancel();
        assert!(matches!(call.output(), Err(RuntimeError::Cancelled)));
        let call = Call { limit: Some(TICK), cancel: None, ..call };
        assert!(matches!(call.output(), Err(RuntimeError::NoAnswer { .. })));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
