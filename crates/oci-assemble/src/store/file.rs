//! Files opened without following, blocking or trusting.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};

use super::error::{Result, StoreError, io as failed};
use crate::tree::Stamp;

/// Opens the regular file `name`, one component, in `dir`; `None` when there is nothing of that name. A symlink is not
/// followed, and a pipe or device is refused without being opened.
pub(super) fn open_regular(dir: &Dir, name: &str) -> Result<Option<(File, Stamp)>> {
    let refused = || StoreError::NotRegular { path: name.to_owned() };
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed("look at", name)(errno.into())),
        Ok(stat) if !is_regular(&stat) => return Err(refused()),
        Ok(_) => {}
    }
    // It may have been exchanged since: not blocking and looking again make that harmless.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(refused()),
        other => other.map_err(|errno| failed("open", name)(errno.into()))?,
    };
    let stat = rustix::fs::fstat(&file).map_err(|errno| failed("look at", name)(errno.into()))?;
    if !is_regular(&stat) {
        return Err(refused());
    }
    Ok(Some((file.into(), stamp(&stat))))
}

/// Reads the regular file `name`, at most `limit` bytes of it; `None` when there is nothing of that name.
pub(super) fn read_regular(dir: &Dir, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
    let Some((file, _)) = open_regular(dir, name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    // One byte beyond the limit, so that the parser behind sees that it is too much.
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", name))?;
    Ok(Some(bytes))
}

/// Creates the file `name`, which must not exist, in `dir`; readable by all whom the umask lets.
pub(super) fn create_new(dir: impl AsFd, name: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?.into())
}

/// The state of an open file.
pub(super) fn stamp_of(file: &File) -> io::Result<Stamp> {
    Ok(stamp(&rustix::fs::fstat(file)?))
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn stamp(stat: &Stat) -> Stamp {
    let time = |seconds: i64, nanoseconds: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Stamp {
        dev: stat.st_dev,
        ino: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// A descriptor of `dir` that can be synchronised; `cap-std` may hold one that only names it.
pub(super) fn reopen(dir: &Dir) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, ".", flags, Mode::empty())?)
}

/// A lock on a file, let go of when dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "closing it is what unlocks")] File);

impl Lock {
    /// Waits for the lock on the file `name`, which is created when it is not there.
    pub(super) fn wait(dir: &Dir, name: &str, operation: FlockOperation) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
        loop {
            match rustix::fs::flock(&file, operation) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other.map(|()| Self(file.into()))?),
            }
        }
    }

    /// Takes a shared lock on a file that exists; `None` when it does not, or may not be opened.
    pub(super) fn share_existing(dir: &Dir, name: &str) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?;
        rustix::fs::flock(&file, FlockOperation::LockShared).ok()?;
        Some(Self(file.into()))
    }

    /// Takes the lock on a file that exists, if nobody has it.
    pub(super) fn attempt(dir: &Dir, name: &str) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            other => Ok(other.map(|()| Some(Self(file.into())))?),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use cap_std::ambient_authority;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        dir.write("file", "12345").unwrap();
        dir.create_dir("dir").unwrap();
        symlink("file", temp.path().join("link")).unwrap();
        symlink("/dev/zero", temp.path().join("out")).unwrap();
        rustix::fs::mkfifoat(&dir, "pipe", 0o600.into()).unwrap();
        std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        for name in ["dir", "link", "out", "pipe", "socket"] {
            match open_regular(&dir, name) {
                Err(StoreError::NotRegular { path }) => assert_eq!(path, name),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(open_regular(&dir, "nothing").unwrap().is_none());
        assert_eq!(read_regular(&dir, "file", 5).unwrap().unwrap(), b"12345");
        assert_eq!(read_regular(&dir, "file", 2).unwrap().unwrap(), b"123", "one more, to show that it is too much");
        assert_eq!(open_regular(&dir, "file").unwrap().unwrap().1.size, 5);
    }

    #[test]
    fn locks_exclude() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        assert!(Lock::share_existing(&dir, "lock").is_none());
        let held = Lock::wait(&dir, "lock", FlockOperation::LockShared).unwrap();
        assert!(Lock::share_existing(&dir, "lock").is_some());
        assert!(Lock::attempt(&dir, "lock").unwrap().is_none());
        drop(held);
        assert!(Lock::attempt(&dir, "lock").unwrap().is_some());
    }
}
