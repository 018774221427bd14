//! Listing a directory with all below it.
//!
//! A build that finds nothing changed does little else, so it is done with the fewest calls of the system (one to open a
//! directory, two to list it, one for each file), and by several threads, which also hides the latency of a cold disk.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{AtFlags, FileType, OFlags, Stat};

use super::DirError;
use crate::tree::{Content, HostFile, Inode, Meta, Stamp, TreePath};

/// Threads that list at the same time. More gain nothing on a warm cache of two processors, eight little on a cold disk.
const THREADS: usize = 4;

/// Directories for which starting threads pays: a thread costs as much as listing two small ones.
const FEW: usize = 16;

/// A directory to list: its path below the root, and the path of the image it becomes.
type Place = (PathBuf, TreePath);

/// What one directory holds.
#[derive(Default)]
struct Listed {
    entries: Vec<(TreePath, Inode)>,
    below: Vec<Place>,
}

/// The entries below the directory `path` of `root`, dated `epoch`, in no particular order.
pub(super) fn walk(root: &Dir, path: &Path, into: &TreePath, epoch: i64) -> Result<Vec<(TreePath, Inode)>, DirError> {
    let mut found = Found::default();
    let mut places = VecDeque::from([(path.to_owned(), into.clone())]);
    while places.len() < FEW {
        let Some(place) = places.pop_front() else { return found.finish() };
        places.extend(found.add(list(root, &place, epoch), &place.0));
    }
    let queue = Queue { state: Mutex::new(Waiting { places: places.into(), busy: 0 }), change: Condvar::new() };
    let work = || {
        let mut found = Found::default();
        while let Some(mut taken) = queue.take() {
            let listed = list(root, &taken.place, epoch);
            taken.below = found.add(listed, &taken.place.0);
        }
        found
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..THREADS).map(|_| scope.spawn(work)).collect();
        found.join(work());
        for thread in threads {
            found.join(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    found.finish()
}

/// What a thread has found.
#[derive(Default)]
struct Found {
    entries: Vec<(TreePath, Inode)>,
    /// The error at the lowest path, so that the same one is reported every time.
    error: Option<(PathBuf, DirError)>,
}

impl Found {
    /// Adds what the directory `path` holds; gives the directories in it.
    fn add(&mut self, listed: Result<Listed, DirError>, path: &Path) -> Vec<Place> {
        match listed {
            Ok(listed) => {
                self.entries.extend(listed.entries);
                listed.below
            }
            Err(error) => {
                self.fail((path.to_owned(), error));
                Vec::new()
            }
        }
    }

    fn fail(&mut self, error: (PathBuf, DirError)) {
        if self.error.as_ref().is_none_or(|(path, _)| error.0 < *path) {
            self.error = Some(error);
        }
    }

    fn join(&mut self, other: Self) {
        self.entries.extend(other.entries);
        other.error.into_iter().for_each(|error| self.fail(error));
    }

    fn finish(self) -> Result<Vec<(TreePath, Inode)>, DirError> {
        self.error.map_or(Ok(self.entries), |(_, error)| Err(error))
    }
}

/// Directories that are to be listed.
struct Queue {
    state: Mutex<Waiting>,
    change: Condvar,
}

struct Waiting {
    places: Vec<Place>,
    /// Directories that are being listed, below which more may be found.
    busy: usize,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next directory; nothing when all are listed.
    fn take(&self) -> Option<Taken<'_>> {
        let open = |state: &mut Waiting| state.places.is_empty() && state.busy > 0;
        let mut state = self.change.wait_while(self.state(), open).unwrap_or_else(PoisonError::into_inner);
        let place = state.places.pop()?;
        state.busy += 1;
        Some(Taken { queue: self, place, below: Vec::new() })
    }
}

/// A directory that is being listed. Dropped, it is done, and what was found below it waits.
struct Taken<'a> {
    queue: &'a Queue,
    place: Place,
    below: Vec<Place>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.places.append(&mut self.below);
        state.busy -= 1;
        if state.busy == 0 || state.places.len() > 1 {
            self.queue.change.notify_all();
        }
    }
}

fn list(root: &Dir, (path, into): &Place, epoch: i64) -> Result<Listed, DirError> {
    let read = |path: &Path, errno: rustix::io::Errno| DirError::read(path, errno.into());
    // `Dir::open_dir` gives a handle that cannot be listed without being opened again.
    let options = OpenOptions::new().read(true).custom_flags(OFlags::DIRECTORY.bits().cast_signed()).clone();
    let dir = root.open_with(path, &options).map_err(|source| DirError::read(path, source))?;
    let mut dir = rustix::fs::Dir::new(dir.into_std()).map_err(|errno| read(path, errno))?;
    let mut listed = Listed::default();
    while let Some(entry) = dir.read() {
        let entry = entry.map_err(|errno| read(path, errno))?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let path = path.join(OsStr::from_bytes(name));
        let place = into.join(name).map_err(|source| DirError::Name { path: path.clone(), source })?;
        let fd = dir.fd().map_err(|errno| read(&path, errno))?;
        let state = || {
            let state = rustix::fs::statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            state.map_err(|errno| read(&path, errno))
        };
        let kind = match entry.file_type() {
            // Not every file system says it in its lists.
            FileType::Unknown => FileType::from_raw_mode(state()?.st_mode),
            known => known,
        };
        let inode = match kind {
            FileType::Directory => {
                listed.below.push((path, place.clone()));
                Inode::directory(Meta::root_owned(0o755, epoch))
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(fd, entry.file_name(), Vec::new());
                Inode::symlink(target.map_err(|errno| read(&path, errno))?.to_bytes(), epoch)
            }
            FileType::RegularFile => {
                let state = state()?;
                let mode = if state.st_mode & 0o111 == 0 { 0o644 } else { 0o755 };
                let stamp = stamp(&state);
                let file = HostFile { path, offset: 0, size: stamp.size, stamp };
                Inode::file(Meta::root_owned(mode, epoch), Content::OnDisk(file))
            }
            _ => return Err(DirError::Kind { path }),
        };
        listed.entries.push((place, inode));
    }
    Ok(listed)
}

fn stamp(state: &Stat) -> Stamp {
    let time = |seconds: i64, nanoseconds| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Stamp {
        dev: state.st_dev,
        ino: state.st_ino,
        size: state.st_size.cast_unsigned(),
        mtime: time(state.st_mtime, state.st_mtime_nsec),
        ctime: time(state.st_ctime, state.st_ctime_nsec),
    }
}
