//! Everything the child needs, computed before the fork: afterwards it may not allocate.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::mount::MountFlags;
use rustix::process::{Pid, Resource, Rlimit, getegid, geteuid, getpid, getrlimit};
use seccompiler::BpfProgram;

use super::{Limits, Rung, SandboxError, SandboxSpec, Step, ruleset, syscalls};

/// What the child applies, in the form the kernel takes it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) rung: Rung,
    /// The process that must stay alive for the child to run.
    pub(super) parent: Pid,
    pub(super) root: CString,
    pub(super) writable: Vec<CString>,
    /// Flags of the file system below the root that a user namespace may not take away.
    pub(super) inherited: MountFlags,
    pub(super) uid_map: String,
    pub(super) gid_map: String,
    pub(super) rlimits: Vec<(Resource, Rlimit)>,
    pub(super) cpu_seconds: u64,
    pub(super) landlock: Option<OwnedFd>,
    pub(super) filter: BpfProgram,
    /// Where the child writes the number of each step it begins.
    pub(super) trail: OwnedFd,
}

impl Prepared {
    /// Prepares `spec` for `rung`.
    pub(super) fn new(spec: &SandboxSpec, rung: Rung, trail: OwnedFd) -> Result<Self, SandboxError> {
        let unavailable = |step| move |source| SandboxError::Unavailable { rung, step, source };
        let writable = spec.writable.iter().map(|below| inside(&spec.root, below)).collect::<Result<Vec<_>, _>>()?;
        let paths: Vec<&Path> = writable.iter().map(PathBuf::as_path).collect();
        let landlock =
            ruleset::ruleset(rung, &spec.root, &paths, &spec.program).map_err(unavailable(Step::Landlock))?;
        if landlock.is_none() && rung == Rung::Landlock {
            let missing = io::Error::from(io::ErrorKind::Unsupported);
            return Err(unavailable(Step::Landlock)(missing));
        }
        Ok(Self {
            rung,
            parent: getpid(),
            root: absolute(&spec.root)?,
            inherited: inherited(&spec.root).map_err(unavailable(Step::Mount))?,
            writable: writable.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
            uid_map: format!("0 {} 1", geteuid().as_raw()),
            gid_map: format!("0 {} 1", getegid().as_raw()),
            rlimits: rlimits(&spec.limits),
            cpu_seconds: spec.limits.cpu_seconds,
            landlock,
            filter: syscalls::filter().map_err(|error| unavailable(Step::Seccomp)(io::Error::other(error)))?,
            trail,
        })
    }
}

/// `below` as an absolute path, when it is a plain relative path.
fn inside(root: &Path, below: &Path) -> Result<PathBuf, SandboxError> {
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !below.as_os_str().is_empty() {
        Ok(root.join(below))
    } else {
        Err(SandboxError::Path { path: below.to_owned() })
    }
}

/// `path` for the kernel, when it is absolute.
pub(super) fn absolute(path: &Path) -> Result<CString, SandboxError> {
    let refused = || SandboxError::Path { path: path.to_owned() };
    if !path.is_absolute() {
        return Err(refused());
    }
    CString::new(path.as_os_str().as_bytes()).map_err(|_| refused())
}

/// The mount flags a read-only remount of `root` must repeat: in a user namespace, leaving out a
/// flag of the original mount is refused.
fn inherited(root: &Path) -> io::Result<MountFlags> {
    let flags = rustix::fs::statvfs(root)?.f_flag;
    Ok(if flags.contains(StatVfsMountFlags::NOEXEC) { MountFlags::NOEXEC } else { MountFlags::empty() })
}

/// The limits, none above what the caller has itself.
fn rlimits(limits: &Limits) -> Vec<(Resource, Rlimit)> {
    let wanted = [
        (Resource::As, limits.address_space, limits.address_space),
        // One second from the signal that can be caught to the one that cannot.
        (Resource::Cpu, limits.cpu_seconds, limits.cpu_seconds.saturating_add(1)),
        (Resource::Fsize, limits.file_size, limits.file_size),
        (Resource::Nofile, limits.open_files, limits.open_files),
        (Resource::Core, 0, 0),
        (Resource::Memlock, 0, 0),
    ];
    wanted
        .into_iter()
        .map(|(resource, soft, hard)| {
            let ceiling = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let (soft, hard) = (soft.min(ceiling), hard.min(ceiling));
            (resource, Rlimit { current: Some(soft), maximum: Some(hard) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_below_the_root_are_writable() {
        let root = Path::new("/r");
        assert_eq!(inside(root, Path::new("a/b")).ok(), Some(PathBuf::from("/r/a/b")));
        for bad in ["", "/a", "../a", "a/../b", "."] {
            assert!(matches!(inside(root, Path::new(bad)), Err(SandboxError::Path { .. })), "{bad}");
        }
    }

    #[test]
    fn kernel_paths_are_absolute_and_hold_no_nul() {
        assert_eq!(absolute(Path::new("/r")).ok(), CString::new("/r").ok());
        for bad in ["r", "/r\0/s", ""] {
            assert!(matches!(absolute(Path::new(bad)), Err(SandboxError::Path { .. })), "{bad}");
        }
    }
}
