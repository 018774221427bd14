//! Listing a directory with all below it.
//!
//! A build that finds nothing changed does little else, so it is done with the fewest calls of the system (one to open a
//! directory, two to list it, one for each file), and by several threads, which also hides the latency of a cold disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    let mut found = Vec::new();
    let mut places = vec![(path.to_owned(), into.clone())];
    while !places.is_empty() {
        let mut below = Vec::new();
        for listed in round(root, &places, epoch) {
            let listed = listed?;
            found.extend(listed.entries);
            below.extend(listed.below);
        }
        places = below;
    }
    Ok(found)
}

/// Lists directories of one depth. What is given is in their order, so that the same error is reported every time.
fn round(root: &Dir, places: &[Place], epoch: i64) -> Vec<Result<Listed, DirError>> {
    let list = |places: &[Place]| -> Vec<_> { places.iter().map(|place| list(root, place, epoch)).collect() };
    if places.len() < FEW {
        return list(places);
    }
    std::thread::scope(|scope| {
        let parts = places.chunks(places.len().div_ceil(THREADS));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || list(part))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
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
