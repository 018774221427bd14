//! Removes blobs that no listed image needs.

use std::collections::BTreeSet;

use cap_std::fs::{Dir, MetadataExt};
use rustix::fs::FlockOperation;

use super::error::{Result, StoreError, io as failed};
use super::file::Lock;
use super::layout::{INDEX, Layout, PRIVATE, USERS_LOCK, abandoned, lock_index};
use super::resolve::reachable;
use crate::image::Digest;

/// Whether to delete or only to say what would be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GcMode {
    /// Say it.
    #[default]
    DryRun,
    /// Do it.
    Delete,
}

/// What was deleted, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blobs that nothing refers to, with their sizes in bytes, ordered by digest.
    pub unreferenced: Vec<(Digest, u64)>,
    /// Private directories of writers that are gone.
    pub abandoned: Vec<String>,
    /// Blobs that stay.
    pub kept: usize,
}

impl GcReport {
    /// Bytes of the unreferenced blobs.
    pub fn bytes(&self) -> u64 {
        self.unreferenced.iter().map(|(_, size)| size).sum()
    }
}

/// What of a layout stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// What its index needs.
    Listed,
    /// Blobs written at this time or later, seconds since 1970: nothing is listed in a layout that only caches.
    WrittenSince(i64),
}

/// Removes from a layout that lists nothing and only caches blobs, as [`Fetch`](super::Fetch) makes it, those that were
/// written before `since`, seconds since 1970. Needs it for itself as [`gc`] does. A layout with an index is refused as
/// [`StoreError::Listed`]: whatever its images need stays.
pub fn expire(dir: Dir, mode: GcMode, since: i64) -> Result<GcReport> {
    if dir.symlink_metadata(INDEX).is_ok() {
        return Err(StoreError::Listed);
    }
    sweep(dir, mode, Scope::WrittenSince(since))
}

/// Removes from the layout in `dir` what no entry of its index needs. Deleting needs the layout for itself: a reader or
/// writer of this program makes it [`StoreError::InUse`]. If anything listed cannot be read, nothing is deleted, because
/// what it needs is not known. Files whose name is no digest stay.
pub fn gc(dir: Dir, mode: GcMode) -> Result<GcReport> {
    sweep(dir, mode, Scope::Listed)
}

fn sweep(dir: Dir, mode: GcMode, scope: Scope) -> Result<GcReport> {
    let private = match mode {
        GcMode::DryRun => dir.open_dir(PRIVATE).ok(),
        GcMode::Delete => {
            dir.create_dir_all(PRIVATE).map_err(failed("create", PRIVATE))?;
            Some(dir.open_dir(PRIVATE).map_err(failed("open", PRIVATE))?)
        }
    };
    let locks = match (&private, mode) {
        (Some(private), GcMode::Delete) => {
            // The file is made by whoever comes first.
            drop(Lock::wait(private, USERS_LOCK, FlockOperation::LockShared).map_err(failed("lock", USERS_LOCK))?);
            let users = Lock::attempt(private, USERS_LOCK).map_err(failed("lock", USERS_LOCK))?;
            Some((users.ok_or(StoreError::InUse)?, lock_index(private)?))
        }
        _ => None,
    };
    let layout = Layout::unlocked(dir)?;
    let needed: BTreeSet<Digest> = match scope {
        Scope::Listed => reachable(&layout, &layout.index()?.manifests)?.into_iter().map(|blob| blob.digest).collect(),
        Scope::WrittenSince(_) => BTreeSet::new(),
    };
    let fresh = |file: &BlobFile| matches!(scope, Scope::WrittenSince(since) if file.written >= since);
    let mut report = GcReport::default();
    for file in blob_files(layout.dir())? {
        match file.digest {
            Some(digest) if needed.contains(&digest) || fresh(&file) => report.kept += 1,
            Some(digest) => {
                if mode == GcMode::Delete {
                    layout.dir().remove_file(&file.path).map_err(failed("remove", file.path))?;
                }
                report.unreferenced.push((digest, file.size));
            }
            None => {}
        }
    }
    if let Some(private) = private {
        for name in abandoned(&private)? {
            if mode == GcMode::Delete {
                private.remove_dir_all(&name).map_err(failed("remove", format!("{PRIVATE}/{name}")))?;
            }
            report.abandoned.push(format!("{PRIVATE}/{name}"));
        }
    }
    drop(locks);
    Ok(report)
}

/// A file in the place of blobs.
pub(super) struct BlobFile {
    /// Relative to the layout.
    pub(super) path: String,
    /// The digest its name says.
    pub(super) digest: Option<Digest>,
    /// Size in bytes.
    pub(super) size: u64,
    /// When it was written, seconds since 1970.
    pub(super) written: i64,
}

/// The files below `blobs`, ordered by path.
pub(super) fn blob_files(dir: &Dir) -> Result<Vec<BlobFile>> {
    let mut files = Vec::new();
    for algorithm in names(dir, "blobs")? {
        let path = format!("blobs/{algorithm}");
        if !dir.symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            files.push(BlobFile { path, digest: None, size: 0, written: 0 });
            continue;
        }
        for name in names(dir, &path)? {
            let path = format!("{path}/{name}");
            let Ok(metadata) = dir.symlink_metadata(&path) else { continue };
            let digest = format!("{algorithm}:{name}").parse().ok().filter(|_| !metadata.is_dir());
            files.push(BlobFile { path, digest, size: metadata.size(), written: metadata.mtime() });
        }
    }
    Ok(files)
}

fn names(dir: &Dir, path: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.read_dir(path).map_err(failed("list", path))? {
        let name = entry.map_err(failed("list", path))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests;
