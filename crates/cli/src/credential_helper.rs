//! Programs that know passwords: docker-credential-NAME, which may ask a keyring or a cloud.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use oci_assemble::store::registry::{CredentialHelper, KeychainError, MAX_AUTH_FILE};

/// How long a helper may take. Some ask a person to unlock a keyring; none may stop a pipeline for good.
const LIMIT: Duration = Duration::from_mins(2);
/// How often a helper that has answered is asked whether it has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// The helpers in the search path.
pub(crate) struct Helpers;

impl CredentialHelper for Helpers {
    fn ask(&self, name: &str, server: &str) -> Result<Option<Vec<u8>>, KeychainError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| KeychainError::Helper { name: name.into(), source };
        let program = format!("docker-credential-{name}");
        let (status, answer) = ask(Path::new(&program), server, LIMIT).map_err(|error| failed(error.into()))?;
        if status.success() {
            return Ok(Some(answer));
        }
        // What docker-credential-helpers write when they know nothing of a server; on standard output.
        if String::from_utf8_lossy(&answer).contains("credentials not found") {
            return Ok(None);
        }
        Err(failed(format!("it ended with {status}").into()))
    }
}

/// How a helper ended, and what it printed. One that takes longer than `limit` is ended.
fn ask(program: &Path, server: &str, limit: Duration) -> io::Result<(ExitStatus, Vec<u8>)> {
    let end = Instant::now() + limit;
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (sender, receiver) = mpsc::channel();
    let server = server.to_owned();
    // By itself: what a helper started may keep the pipes open after it.
    thread::spawn(move || {
        if let Some(mut input) = input {
            // A helper that does not read has its reason, which its exit tells.
            let _ = input.write_all(server.as_bytes());
        }
        let mut answer = Vec::new();
        let read = output.map_or(Ok(0), |output| output.take(MAX_AUTH_FILE as u64).read_to_end(&mut answer));
        let _ = sender.send(read.map(|_| answer));
    });
    let answer = receiver.recv_timeout(limit);
    while answer.is_ok() && Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok((status, answer.unwrap_or_else(|_| Ok(Vec::new()))?));
        }
        thread::sleep(PAUSE);
    }
    child.kill()?;
    child.wait()?;
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("it did not answer within {} seconds", limit.as_secs())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// Runs `script` as a helper that has `limit`. By a shell, as what this process wrote others may have open.
    fn run(script: &str, limit: Duration) -> io::Result<(ExitStatus, Vec<u8>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("helper");
        fs::write(dir.path().join("script"), script).unwrap();
        let made = format!("printf '#!/bin/sh\\n. %s\\n' '{0}/script' >'{0}/helper'", dir.path().display());
        assert!(Command::new("sh").args(["-c", &made]).status().unwrap().success());
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        ask(&path, "quay.io", limit)
    }

    #[test]
    fn a_helper_answers_or_is_ended() {
        let (status, answer) = run("read -r name; echo \"$1 $name\"; exit 3", LIMIT).unwrap();
        assert_eq!((status.code(), answer.as_slice()), (Some(3), &b"get quay.io\n"[..]));
        // One that reads nothing, one that never answers, and one that answers and stays.
        assert_eq!(run("echo x", LIMIT).unwrap().1, b"x\n");
        for script in ["exec sleep 600", "echo x; exec >&-; exec sleep 600"] {
            let begun = Instant::now();
            let error = run(script, Duration::from_millis(300)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
            assert!(begun.elapsed() < LIMIT);
        }
    }
}
