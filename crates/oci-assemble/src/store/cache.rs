//! A directory of results that can be computed again.
//!
//! Every entry carries the digest of its content, so that a torn or damaged one is found out and dropped; that is why
//! nothing here is synchronised to disk. Entries appear by renaming: a reader sees a whole one or none.

use std::io::Write;

use cap_std::fs::{Dir, MetadataExt};

use super::error::{Result, io as failed};
use super::file;
use super::layers::IndexCache;
use crate::image::Digest;
use crate::layer::{LayerIndex, MergedIndex};

/// Content beyond this size is not read: a layer's index takes some hundred bytes for each file.
const LIMIT: usize = 1 << 30;
/// First word of every entry. Another layout of the file gets another word.
const MAGIC: &str = "assemble-cache-1";

/// What an entry holds; the name of its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CacheKind {
    /// The index of a layer.
    LayerIndex,
    /// What the layers of an image merge to.
    MergedIndex,
    /// That a file with a certain stamp has a certain digest.
    Verified,
    /// That a blob is one stream of a certain diff_id.
    Unpacked,
    /// A sealed layer, by what it was made from.
    Layer,
    /// What a stage produced, by its key.
    Stage,
    /// A whole image, by what it was made from.
    Image,
    /// A small file of a layer, by its digest.
    Content,
}

impl CacheKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::LayerIndex,
        Self::MergedIndex,
        Self::Verified,
        Self::Unpacked,
        Self::Layer,
        Self::Stage,
        Self::Image,
        Self::Content,
    ];

    /// The name of the directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::LayerIndex => "layer-index",
            Self::MergedIndex => "merged-index",
            Self::Verified => "verified",
            Self::Unpacked => "unpacked",
            Self::Layer => "layer",
            Self::Stage => "stage",
            Self::Image => "image",
            Self::Content => "content",
        }
    }
}

/// A cache directory.
///
/// Law: `get` after `put` gives the bytes that were put, or nothing.
#[derive(Debug)]
pub struct CacheDir {
    dir: Dir,
}

/// One entry, for listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheEntry {
    /// What it holds.
    pub kind: CacheKind,
    /// Its key.
    pub key: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// When it was written, seconds since 1970.
    pub written: i64,
}

impl CacheDir {
    /// The cache in `dir`, which is filled as it is used.
    pub fn new(dir: Dir) -> Self {
        Self { dir }
    }

    /// The content stored under `key`. A damaged entry is removed; whatever stands in the way of reading means that
    /// there is none.
    pub fn get(&self, kind: CacheKind, key: &Digest) -> Option<Vec<u8>> {
        self.get_dated(kind, key).map(|(content, _)| content)
    }

    /// As [`CacheDir::get`], with the time it was written in nanoseconds since 1970, by the clock of the file system.
    pub(super) fn get_dated(&self, kind: CacheKind, key: &Digest) -> Option<(Vec<u8>, i128)> {
        let dir = self.dir.open_dir(kind.name()).ok()?;
        let name = name(key);
        let (_, stamp) = file::open_regular(&dir, &name).ok()??;
        let bytes = file::read_regular(&dir, &name, LIMIT).ok()??;
        let content = unpack(bytes, key);
        if content.is_none() {
            // Nobody misses it, and if it cannot be removed it will be found damaged again.
            let _ = dir.remove_file(&name);
        }
        Some((content?, stamp.mtime))
    }

    /// Stores `content` under `key`, in the place of what is there.
    pub fn put(&self, kind: CacheKind, key: &Digest, content: &[u8]) -> Result<()> {
        let path = || format!("{}/{}", kind.name(), name(key));
        let write = || -> std::io::Result<()> {
            self.dir.create_dir_all(kind.name())?;
            let dir = self.dir.open_dir(kind.name())?;
            let (temporary, mut file) = create(&dir, key)?;
            let written = file
                .write_all(head(key, content).as_bytes())
                .and_then(|()| file.write_all(content))
                .and_then(|()| dir.rename(&temporary, &dir, name(key)));
            if written.is_err() {
                let _ = dir.remove_file(&temporary);
            }
            written
        };
        write().map_err(failed("write", path()))
    }

    /// Removes an entry; one that is not there is removed already.
    pub fn remove(&self, kind: CacheKind, key: &Digest) -> Result<()> {
        let path = format!("{}/{}", kind.name(), name(key));
        match self.dir.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// All entries, ordered by kind and key.
    pub fn entries(&self) -> Result<Vec<CacheEntry>> {
        let mut entries = Vec::new();
        for kind in CacheKind::ALL {
            let listed = match self.dir.read_dir(kind.name()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(failed("list", kind.name()))?,
            };
            for entry in listed {
                let entry = entry.map_err(failed("list", kind.name()))?;
                let Some(key) = entry.file_name().to_str().and_then(key) else { continue };
                // It may be gone since it was listed.
                let Ok(metadata) = entry.metadata() else { continue };
                entries.push(CacheEntry { kind, key, size: metadata.len(), written: metadata.mtime() });
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }
}

impl IndexCache for CacheDir {
    fn get(&self, diff_id: &Digest, blob: &Digest) -> Option<LayerIndex> {
        LayerIndex::from_bytes(&Self::get(self, CacheKind::LayerIndex, &index_key(diff_id, blob))?)
    }

    fn put(&self, blob: &Digest, index: &LayerIndex) {
        // A cache that cannot be written costs time later and nothing else.
        let _ = Self::put(self, CacheKind::LayerIndex, &index_key(&index.diff_id, blob), &index.to_bytes());
    }

    fn get_merged(&self, key: &Digest) -> Option<MergedIndex> {
        MergedIndex::from_bytes(&Self::get(self, CacheKind::MergedIndex, key)?)
    }

    fn put_merged(&self, key: &Digest, merged: &MergedIndex) {
        let _ = Self::put(self, CacheKind::MergedIndex, key, &merged.to_bytes());
    }
}

fn index_key(diff_id: &Digest, blob: &Digest) -> Digest {
    Digest::of(format!("{diff_id} {blob}").as_bytes())
}

fn name(key: &Digest) -> String {
    format!("{}-{}", key.algorithm(), key.hex())
}

fn key(name: &str) -> Option<Digest> {
    name.replacen('-', ":", 1).parse().ok()
}

/// A new file of a name nobody else has. Names of writers that were killed are passed over.
fn create(dir: &Dir, key: &Digest) -> std::io::Result<(String, std::fs::File)> {
    let mut number = 0_u32;
    loop {
        let temporary = format!(".{}.{}.{number}", key.short(), std::process::id());
        match file::create_new(dir, &temporary) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            other => return other.map(|file| (temporary, file)),
        }
    }
}

fn head(key: &Digest, content: &[u8]) -> String {
    format!("{MAGIC} {key} {}\n", Digest::of(content))
}

fn unpack(mut bytes: Vec<u8>, key: &Digest) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let content = bytes.split_off(end);
    (bytes == head(key, &content).as_bytes()).then_some(content)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use cap_std::ambient_authority;

    type Damage = fn(&mut Vec<u8>);

    fn cache() -> (tempfile::TempDir, CacheDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        (temp, CacheDir::new(dir))
    }

    #[test]
    fn gives_back_what_was_put() {
        let (temp, cache) = cache();
        let key = Digest::of(b"key");
        assert_eq!(cache.get(CacheKind::Layer, &key), None);
        for content in [&b""[..], b"text\nwith\nlines", &[0xff; 5000]] {
            cache.put(CacheKind::Layer, &key, content).unwrap();
            assert_eq!(cache.get(CacheKind::Layer, &key).unwrap(), content);
        }
        assert_eq!(cache.get(CacheKind::Image, &key), None);
        let other = Digest::Sha512([1; 64]);
        cache.put(CacheKind::Image, &other, b"x").unwrap();
        let listed: Vec<_> = cache.entries().unwrap().iter().map(|entry| (entry.kind, entry.key)).collect();
        assert_eq!(listed, [(CacheKind::Layer, key), (CacheKind::Image, other)]);
        cache.remove(CacheKind::Layer, &key).unwrap();
        cache.remove(CacheKind::Layer, &key).unwrap();
        assert_eq!(cache.get(CacheKind::Layer, &key), None);
        let names: Vec<_> = std::fs::read_dir(temp.path().join("layer")).unwrap().collect();
        assert!(names.is_empty(), "no temporary file is left: {names:?}");
    }

    #[test]
    fn keeps_the_index_of_a_layer() {
        let (_temp, cache) = cache();
        let cache: &dyn IndexCache = &cache;
        let index = crate::layer::index(&[0; 1024][..], crate::layer::IndexOptions::default()).unwrap();
        let blob = Digest::of(b"blob");
        assert_eq!(cache.get(&index.diff_id, &blob), None);
        cache.put(&blob, &index);
        assert_eq!(cache.get(&index.diff_id, &blob), Some(index.clone()));
        assert_eq!(cache.get(&index.diff_id, &Digest::of(b"other")), None);
    }

    #[test]
    fn damaged_entries_are_dropped() {
        let key = Digest::of(b"key");
        let damages: [Damage; 5] = [
            |bytes| bytes.truncate(bytes.len() - 1),
            |bytes| bytes.clear(),
            |bytes| *bytes.last_mut().unwrap() ^= 1,
            |bytes| bytes.push(0),
            |bytes| bytes[3] ^= 1,
        ];
        for damage in damages {
            let (temp, cache) = cache();
            cache.put(CacheKind::Stage, &key, b"content").unwrap();
            let path = temp.path().join("stage").join(name(&key));
            let mut bytes = std::fs::read(&path).unwrap();
            damage(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(cache.get(CacheKind::Stage, &key), None);
            assert!(!path.exists());
        }
        let (temp, cache) = cache();
        cache.put(CacheKind::Stage, &key, b"content").unwrap();
        let stage = temp.path().join("stage");
        std::fs::rename(stage.join(name(&key)), stage.join(name(&Digest::of(b"other")))).unwrap();
        assert_eq!(cache.get(CacheKind::Stage, &Digest::of(b"other")), None, "an entry belongs to its key");
    }

    #[test]
    fn a_pipe_in_the_place_of_an_entry_is_no_entry() {
        let (temp, cache) = cache();
        let key = Digest::of(b"key");
        std::fs::create_dir(temp.path().join("stage")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, temp.path().join("stage").join(name(&key)), 0o600.into()).unwrap();
        assert_eq!(cache.get(CacheKind::Stage, &key), None);
    }
}
