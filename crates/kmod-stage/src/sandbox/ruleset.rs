//! Landlock rules: which files a confined program may read, run and write.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::Rung;

/// The newest rules this code knows; older kernels enforce those they know.
const KNOWN: ABI = ABI::V7;

/// Where programs of the host find their libraries: what `Rung::Landlock` runs comes from there.
const HOST_LIBRARIES: &[&str] = &["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache"];

/// The rules for a program of `rung`, not yet applied; none where the kernel has no Landlock.
///
/// `root` may be read, and run where the program is below it; `writable` may be written; a
/// `program` of the host may be run with the libraries of the host.
pub(super) fn ruleset(rung: Rung, root: &Path, writable: &[&Path], program: &Path) -> io::Result<Option<OwnedFd>> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    let write = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    let mut created = empty().map_err(io::Error::other)?;
    let host = rung == Rung::Landlock;
    created = allow(created, root, if host { read } else { run })?;
    for directory in writable {
        created = allow(created, directory, write)?;
    }
    if host {
        created = allow(created, program, run)?;
        for library in HOST_LIBRARIES.iter().map(Path::new).filter(|path| path.exists()) {
            created = allow(created, library, run)?;
        }
    }
    Ok(created.into())
}

/// Rules that forbid every file, TCP, and signals and abstract sockets to the outside.
fn empty() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()
}

/// The rules, with `access` allowed below `path`.
fn allow(created: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
    let fd = PathFd::new(path).map_err(io::Error::other)?;
    // Rights for directories on a single file would be refused.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    created.add_rule(PathBeneath::new(fd, access)).map_err(io::Error::other)
}
