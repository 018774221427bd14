//! Which files are known to have the digest their name says.
//!
//! Hashing a base image takes a second for each gigabyte. A file whose device, inode, size, modification time and
//! change time are what they were when it was hashed has not changed since, provided that it was not written so recently
//! that another write could have got the same time. The change time alone may be recent: a hard link moves it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::{CacheDir, CacheKind};
use crate::image::Digest;
use crate::tree::Stamp;

/// A write within this time before it was remembered may have been followed by another one with the same time.
/// Two seconds are the coarsest clock among file systems (FAT).
const RACY: i128 = 2_000_000_000;

/// Remembers verified files: in memory, and in a cache directory if it is given one.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    known: Arc<Mutex<BTreeMap<Stamp, Digest>>>,
    cache: Option<Arc<CacheDir>>,
}

impl Verified {
    /// A memory that outlives the process in `cache`.
    pub fn in_cache(cache: Arc<CacheDir>) -> Self {
        Self { cache: Some(cache), ..Self::default() }
    }

    /// Whether the file with this stamp has been found to have this digest.
    pub fn knows(&self, stamp: &Stamp, digest: &Digest) -> bool {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).get(stamp) == Some(digest) {
            return true;
        }
        let dated = self.cache.as_ref().and_then(|cache| cache.get_dated(CacheKind::Verified, &key(stamp, digest)));
        dated.is_some_and(|(_, written)| stamp.mtime + RACY <= written)
    }

    /// Remembers that the file with this stamp has this digest. A cache that cannot be written costs time later.
    pub fn remember(&self, stamp: Stamp, digest: Digest) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(stamp, digest);
        if let Some(cache) = &self.cache {
            let _ = cache.put(CacheKind::Verified, &key(&stamp, &digest), b"");
        }
    }
}

fn key(stamp: &Stamp, digest: &Digest) -> Digest {
    let Stamp { dev, ino, size, mtime, ctime } = stamp;
    Digest::of(format!("{dev} {ino} {size} {mtime} {ctime} {digest}").as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use cap_std::ambient_authority;
    use cap_std::fs::Dir;

    #[test]
    fn remembers_old_files_beyond_the_process_and_new_ones_within() {
        let temp = tempfile::tempdir().unwrap();
        let open = || {
            let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
            Verified::in_cache(Arc::new(CacheDir::new(dir)))
        };
        let digest = Digest::of(b"x");
        let old = Stamp { dev: 1, ino: 2, size: 3, mtime: 4, ctime: 5 };
        // The file system's clock says now; a change a moment ago is too recent.
        let probe = tempfile::tempfile_in(temp.path()).unwrap();
        let now = super::super::file::stamp_of(&probe).unwrap().mtime;
        let racy = Stamp { mtime: now, ctime: now, ..old };
        let linked = Stamp { ctime: now, ..old };
        let first = open();
        for stamp in [old, racy, linked] {
            assert!(!first.knows(&stamp, &digest));
            first.remember(stamp, digest);
            assert!(first.knows(&stamp, &digest));
        }
        let second = open();
        assert!(second.knows(&old, &digest) && second.knows(&linked, &digest) && !second.knows(&racy, &digest));
        for changed in [
            Stamp { dev: 9, ..old },
            Stamp { ino: 9, ..old },
            Stamp { size: 9, ..old },
            Stamp { mtime: 9, ..old },
            Stamp { ctime: 9, ..old },
        ] {
            assert!(!second.knows(&changed, &digest));
        }
        assert!(!second.knows(&old, &Digest::of(b"y")));
    }
}
