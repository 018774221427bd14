//! Listing images in a layout, once all they need is on disk.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::PoisonError;

use super::own::lock_index;
use super::read::{blob_dir, read_index};
use super::transaction::Transaction;
use super::{INDEX, Layout};
use crate::image::{Descriptor, Digest, Index, REF_NAME, name};
use crate::store::blob::BlobSource;
use crate::store::error::{Result, StoreError, io as failed};
use crate::store::file;
use crate::store::resolve::reachable;

/// What a commit did to the list of images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Tags that named another image before, with its digest: somebody else's work may have lost its name.
    pub moved: Vec<(String, Digest)>,
}

impl Transaction {
    /// Lists one image, under a tag if one is given.
    pub fn commit(self, tag: Option<&str>, image: &Descriptor) -> Result<Committed> {
        self.commit_all(&[(tag, image)])
    }

    /// Lists images, all of them or none. Everything they need must be in the layout. A tag that is there already is
    /// given to the new image; all other entries stay as they are.
    pub fn commit_all(self, images: &[(Option<&str>, &Descriptor)]) -> Result<Committed> {
        for (tag, image) in images {
            if let Some(tag) = tag.filter(|tag| !name::is_layout_tag(tag)) {
                return Err(StoreError::Tag { tag: tag.to_owned() });
            }
            for blob in reachable(&self.layout, &[(*image).clone()])? {
                if !self.layout.has(&blob)? {
                    return Err(StoreError::Missing { digest: blob.digest });
                }
            }
        }
        let dir = file::reopen(&self.layout.dir).map_err(failed("open", "."))?;
        rustix::fs::syncfs(&dir).map_err(|errno| failed("synchronise", "blobs")(errno.into()))?;
        self.remember();
        let _lock = lock_index(&self.own.private)?;
        let before = read_index(&self.layout.dir)?.unwrap_or_default();
        let (after, committed) = list(before.clone(), images);
        if after == before && !before.manifests.is_empty() {
            return Ok(committed);
        }
        self.write_index(&after).map_err(failed("write", INDEX))?;
        rustix::fs::fsync(&dir).map_err(|errno| failed("synchronise", ".")(errno.into()))?;
        Ok(committed)
    }

    /// Takes entries off the list, by the digests of what they name, and says how many there were. Their blobs stay until
    /// [`gc`](crate::store::gc) removes what nothing needs.
    pub fn unlist(self, gone: &BTreeSet<Digest>) -> Result<usize> {
        let _lock = lock_index(&self.own.private)?;
        let Some(mut index) = read_index(&self.layout.dir)? else { return Ok(0) };
        let before = index.manifests.len();
        index.manifests.retain(|entry| !gone.contains(&entry.digest));
        let removed = before - index.manifests.len();
        if removed > 0 {
            let dir = file::reopen(&self.layout.dir).map_err(failed("open", "."))?;
            self.write_index(&index).map_err(failed("write", INDEX))?;
            rustix::fs::fsync(&dir).map_err(|errno| failed("synchronise", ".")(errno.into()))?;
        }
        Ok(removed)
    }

    fn write_index(&self, index: &Index) -> std::io::Result<()> {
        let mut file = file::create_new(&self.own.dir, INDEX)?;
        file.write_all(&index.to_bytes())?;
        file.sync_all()?;
        self.own.dir.rename(INDEX, &self.layout.dir, INDEX)
    }

    /// The blobs are on disk now: their files need not be hashed again.
    fn remember(&self) {
        let hashed = std::mem::take(&mut *self.hashed.lock().unwrap_or_else(PoisonError::into_inner));
        for digest in hashed {
            if let Ok(Some(stamp)) = stamp(&self.layout, &digest) {
                self.layout.verified.remember(stamp, digest);
            }
        }
    }
}

impl Layout {
    /// When the file of a blob was written, seconds since 1970; `None` when there is none.
    pub fn written(&self, digest: &Digest) -> Result<Option<i64>> {
        const NANOSECONDS: i128 = 1_000_000_000;
        let seconds = |nanoseconds: i128| i64::try_from(nanoseconds.div_euclid(NANOSECONDS)).unwrap_or_default();
        Ok(stamp(self, digest)?.map(|stamp| seconds(stamp.mtime)))
    }
}

fn stamp(layout: &Layout, digest: &Digest) -> Result<Option<crate::tree::Stamp>> {
    let Some(dir) = blob_dir(&layout.dir, digest)? else { return Ok(None) };
    Ok(file::open_regular(&dir, &digest.hex())?.map(|(_, stamp)| stamp))
}

/// The index with `images` in it. An entry keeps its place, and its annotations when it stays the same image.
fn list(mut index: Index, images: &[(Option<&str>, &Descriptor)]) -> (Index, Committed) {
    let mut committed = Committed::default();
    for (tag, image) in images {
        let mut entry = (*image).clone();
        entry.annotations.remove(REF_NAME);
        if let Some(tag) = tag {
            entry.annotations.insert(REF_NAME.to_owned(), (*tag).to_owned());
        }
        let digest = entry.digest;
        // A tag is listed once, and so is an image without a tag.
        let same = |old: &Descriptor| old.ref_name() == *tag && (tag.is_some() || old.digest == digest);
        let place = index.manifests.iter().position(same).unwrap_or(index.manifests.len());
        for old in index.manifests.extract_if(.., |old| same(old)) {
            if old.digest != digest {
                committed.moved.push((tag.unwrap_or_default().to_owned(), old.digest));
                continue;
            }
            for (key, value) in old.annotations {
                entry.annotations.entry(key).or_insert(value);
            }
        }
        index.manifests.insert(place, entry);
    }
    (index, committed)
}
