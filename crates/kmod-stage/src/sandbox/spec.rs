//! What to run and within which limits, as a plain value.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// A program, the directory it is confined to, and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Absolute path of the directory the program may read; its root directory where the rung
    /// changes roots.
    pub root: PathBuf,
    /// Directories the program may write, relative to `root`. They exist and are no symlinks.
    pub writable: Vec<PathBuf>,
    /// Absolute path of the program, as the program's own root shows it: below `root` where the
    /// rung changes roots, on the host where it does not.
    pub program: PathBuf,
    /// The arguments, `argv[0]` included: a program of many names decides by it what to be.
    pub argv: Vec<OsString>,
    /// What the program may use up.
    pub limits: Limits,
}

/// What a program may use up. A hard limit that the caller already has is never raised.
///
/// There is no number of processes here because the program always has one: the kernel does not
/// count processes of uid 0, so the only limit that always holds is to refuse new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of address space (`RLIMIT_AS`).
    pub address_space: u64,
    /// Seconds of processor time (`RLIMIT_CPU`).
    pub cpu_seconds: u64,
    /// Bytes of one written file (`RLIMIT_FSIZE`).
    pub file_size: u64,
    /// Open file descriptors (`RLIMIT_NOFILE`).
    pub open_files: u64,
    /// Time from start to end by the clock on the wall.
    pub wall_time: Duration,
    /// Bytes of stderr that are kept; the rest is read and dropped.
    pub stderr: usize,
}

impl Default for Limits {
    /// Room for the largest module trees seen (5000 modules of a desktop kernel take 6 s and
    /// 60 MiB), times ten and more for slow machines.
    fn default() -> Self {
        Self {
            address_space: 4 << 30,
            cpu_seconds: 300,
            file_size: 64 << 20,
            open_files: 256,
            wall_time: Duration::from_mins(10),
            stderr: 256 << 10,
        }
    }
}
