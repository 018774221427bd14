//! Why a program could not be run, or was ended.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Rung;

/// A step between fork and exec; the child names the one it is at, so that a failure can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Starting the child.
    Fork,
    /// Creating the namespaces.
    Unshare,
    /// Mapping the caller to uid 0 of the new user namespace.
    IdMap,
    /// Making the root read-only and the writable directories writable.
    Mount,
    /// Making the sparse root the root directory.
    ChangeRoot,
    /// Starting the first process of the new pid namespace.
    Init,
    /// Setting resource limits.
    Limits,
    /// Giving up capabilities and privileges.
    Privileges,
    /// Landlock path rules.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// Starting the program.
    Exec,
}

impl Step {
    /// Every step, by its number.
    const ALL: [Self; 11] = [
        Self::Fork,
        Self::Unshare,
        Self::IdMap,
        Self::Mount,
        Self::ChangeRoot,
        Self::Init,
        Self::Limits,
        Self::Privileges,
        Self::Landlock,
        Self::Seccomp,
        Self::Exec,
    ];

    /// The step of a byte the child wrote; none for a byte it never writes.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fork => "fork",
            Self::Unshare => "creating namespaces",
            Self::IdMap => "mapping user ids",
            Self::Mount => "mounting the root",
            Self::ChangeRoot => "changing the root directory",
            Self::Init => "starting the pid namespace",
            Self::Limits => "setting limits",
            Self::Privileges => "giving up privileges",
            Self::Landlock => "applying landlock rules",
            Self::Seccomp => "applying the system call filter",
            Self::Exec => "starting the program",
        })
    }
}

/// Why a program could not be run, or was ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A path of the spec is not absolute, leaves the root, or holds a NUL byte.
    #[error("{} is no path for a sandbox", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The kernel or the container refused a step of the rung.
    #[error("the {rung} sandbox cannot be had: {step} failed")]
    Unavailable {
        /// The rung that was tried.
        rung: Rung,
        /// The step that failed.
        step: Step,
        /// The answer of the kernel.
        #[source]
        source: io::Error,
    },
    /// The program could not be started in a sandbox that was ready.
    #[error("{} cannot be started in the {rung} sandbox", program.display())]
    Exec {
        /// The rung.
        rung: Rung,
        /// The program.
        program: PathBuf,
        /// The answer of the kernel: its interpreter is missing, it is for another machine, or the
        /// file system is mounted noexec.
        #[source]
        source: io::Error,
    },
    /// The program ran longer than its wall time and was killed.
    #[error("the program was killed after {} s", limit.as_secs_f32())]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// What it had written to stderr.
        stderr: Vec<u8>,
    },
    /// The program used up its processor time and was killed.
    #[error("the program was killed after {limit} s of processor time")]
    CpuTime {
        /// The limit in seconds.
        limit: u64,
        /// What it had written to stderr.
        stderr: Vec<u8>,
    },
    /// The program was ended by a signal.
    #[error("the program was ended by signal {signal}")]
    Signalled {
        /// The number of the signal.
        signal: i32,
        /// What it had written to stderr.
        stderr: Vec<u8>,
    },
    /// The running program could not be watched.
    #[error("watching the program failed")]
    Watch(#[source] io::Error),
}

impl SandboxError {
    /// Whether a lower rung may still work: nothing of the program has run.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Exec { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_survives_its_byte() {
        for step in Step::ALL {
            assert_eq!(Step::from_byte(step as u8), Some(step));
        }
        assert_eq!(Step::from_byte(11), None);
    }
}
