//! Private directories that a killed owner does not leave behind for good.
//!
//! They may hold hundreds of megabytes, and an owner that is killed cannot remove its own. So every owner holds a lock
//! on its directory, and removes those of the same user that nobody holds.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt, Permissions, PermissionsExt};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use tempfile::TempDir;

/// A private directory, removed when dropped, or by the next owner of one beside it.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    // Removes the directory.
    _directory: TempDir,
    // Dropped last: lets go of the directory.
    _lock: OwnedFd,
}

impl PrivateDir {
    /// Makes a directory in `above` whose name begins with `prefix`, and removes all others of that prefix and user
    /// there whose owner is gone. So `prefix` must be one that nobody gives to a directory of his own.
    pub fn new(above: &Path, prefix: &str) -> io::Result<Self> {
        let above = above.canonicalize()?;
        let parent = Dir::open_ambient_dir(&above, ambient_authority())?;
        // What cannot be removed now is removed by the next one.
        let _ = remove_abandoned(&parent, prefix);
        loop {
            let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(&above)?;
            let root = Dir::open_ambient_dir(directory.path(), ambient_authority())?;
            // For an umask that takes away the owner's rights.
            root.set_permissions(".", Permissions::from_mode(0o700))?;
            let lock = handle(&root, ".")?;
            // A file system that locks no directories lets nobody take this one for abandoned either.
            let _ = rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive));
            // Before it had its lock, another owner could take it for an abandoned one.
            if directory.path().exists() {
                return Ok(Self { path: directory.path().to_owned(), _directory: directory, _lock: lock });
            }
        }
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it.
    pub fn open(&self) -> io::Result<Dir> {
        Dir::open_ambient_dir(&self.path, ambient_authority())
    }
}

/// Removes directories in `parent` whose owner is gone.
fn remove_abandoned(parent: &Dir, prefix: &str) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    for entry in parent.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        // Others may put anything into a shared directory for temporary files.
        if !name.as_bytes().starts_with(prefix.as_bytes()) || !entry.file_type()?.is_dir() {
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
        let first = PrivateDir::new(above.path(), ".depmod-").unwrap();
        let second = PrivateDir::new(above.path(), ".depmod-").unwrap();
        assert!(first.path().is_dir() && second.path().is_dir(), "one owner leaves the other's alone");
        assert_eq!(names().len(), 5);
        drop((first, second));
        assert_eq!(names(), [".depmod-file", ".depmod-link", "other"]);
    }
}
