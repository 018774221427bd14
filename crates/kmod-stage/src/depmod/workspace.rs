//! The private directory that becomes depmod's root.
//!
//! Only directories and new regular files are made in it, by path below an open directory, so that nothing of an
//! image can lead outside.
//!
//! It may hold hundreds of megabytes, and an owner that is killed cannot remove it. So every owner holds a lock on its
//! directory, and removes those of the same user that nobody holds.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use oci_assemble::tree::TreePath;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use tempfile::TempDir;

use super::DepmodError;

/// Beginning of the names of workspaces.
const PREFIX: &str = ".depmod-";

/// A private directory, removed when dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    root: Dir,
    path: PathBuf,
    // Removes the directory.
    _directory: TempDir,
    // Dropped last: lets go of the directory.
    _lock: OwnedFd,
}

impl Workspace {
    /// Makes a private directory in `above`.
    pub(super) fn new(above: &Path) -> Result<Self, DepmodError> {
        Self::open(above).map_err(|source| DepmodError::Workspace { path: above.to_owned(), source })
    }

    fn open(above: &Path) -> io::Result<Self> {
        let above = above.canonicalize()?;
        let parent = Dir::open_ambient_dir(&above, ambient_authority())?;
        // What cannot be removed now is removed by the next one.
        let _ = remove_abandoned(&parent);
        loop {
            let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&above)?;
            let root = Dir::open_ambient_dir(directory.path(), ambient_authority())?;
            // For an umask that takes away the owner's rights.
            root.set_permissions(".", Permissions::from_mode(0o700))?;
            let lock = handle(&root, ".")?;
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
            // Before it had its lock, another owner could take it for an abandoned one.
            if directory.path().exists() {
                return Ok(Self { root, path: directory.path().to_owned(), _directory: directory, _lock: lock });
            }
        }
    }

    /// Its absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    pub(super) fn root(&self) -> &Dir {
        &self.root
    }

    /// Makes a directory, and those above it.
    pub(super) fn directory(&self, path: &TreePath) -> Result<(), DepmodError> {
        for directory in path.ancestors().chain([path.clone()]).filter(|path| !path.is_root()) {
            let made = match self.root.create_dir(native(&directory)) {
                Ok(()) => self.root.set_permissions(native(&directory), Permissions::from_mode(0o755)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error),
            };
            made.map_err(failed(&directory))?;
        }
        Ok(())
    }

    /// Writes a new file into a directory that was made before.
    pub(super) fn file(&self, path: &TreePath, bytes: &[u8], mode: u32) -> Result<(), DepmodError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let write = || {
            let mut file = self.root.open_with(native(path), &options)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(bytes)
        };
        write().map_err(failed(path))
    }

    /// Gives the file at `path` a second name.
    pub(super) fn link(&self, path: &TreePath, also: &TreePath) -> Result<(), DepmodError> {
        self.root.hard_link(native(path), &self.root, native(also)).map_err(failed(also))
    }
}

/// Removes workspaces in `parent` whose owner is gone.
fn remove_abandoned(parent: &Dir) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    for entry in parent.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        // Others may put anything into a shared directory for temporary files.
        if !name.as_bytes().starts_with(PREFIX.as_bytes()) || !entry.file_type()?.is_dir() {
            continue;
        }
        if !entry.metadata().is_ok_and(|metadata| metadata.uid() == user) {
            continue;
        }
        let Ok(lock) = handle(parent, &name) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = parent.remove_dir_all(&name);
        }
    }
    Ok(())
}

/// A descriptor of a directory that can be locked; `cap-std` may hold one that only names it.
fn handle(parent: &Dir, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// A path of the tree as one of this machine.
pub(super) fn native(path: &TreePath) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

fn failed(path: &TreePath) -> impl FnOnce(io::Error) -> DepmodError {
    let path = path.clone();
    move |source| DepmodError::Write { path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;

    #[test]
    fn the_next_owner_removes_what_a_killed_one_left() {
        let above = tempfile::tempdir().unwrap();
        let names = || {
            let entries = std::fs::read_dir(above.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        std::fs::create_dir_all(above.path().join(".depmod-killed/usr/lib")).unwrap();
        std::fs::create_dir(above.path().join("other")).unwrap();
        std::fs::write(above.path().join(".depmod-file"), "").unwrap();
        std::os::unix::fs::symlink("other", above.path().join(".depmod-link")).unwrap();
        let first = Workspace::new(above.path()).unwrap();
        let second = Workspace::new(above.path()).unwrap();
        assert!(first.path().is_dir() && second.path().is_dir(), "one owner leaves the other's alone");
        assert_eq!(names().len(), 5);
        drop((first, second));
        assert_eq!(names(), [".depmod-file", ".depmod-link", "other"]);
    }
}
