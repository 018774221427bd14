//! Small files of layers, kept beside the indexes.
//!
//! Lints and stages read the same few hundred small files of a base on every build (units, package lists, module
//! indexes), which lie scattered over most of its layers. Kept by digest, they cost no inflation after the first time.

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::cache::{CacheDir, CacheKind};
use crate::image::Digest;
use crate::layer::Contents;
use crate::tree::Content;

/// Files above this are not kept, in bytes: what lints read as text is smaller.
const FILE_MAX: u64 = 2 << 20;
/// When more files are wanted at once than this, they are not kept: somebody copies a whole directory of modules.
const FILES_MAX: usize = 2000;

/// Contents whose small files are kept in a cache.
///
/// Law: it gives what the contents behind it give; a kept file is held against its digest when it is used.
pub struct KeptContents<'a> {
    inner: &'a dyn Contents,
    cache: Option<&'a CacheDir>,
}

impl std::fmt::Debug for KeptContents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptContents").field("cached", &self.cache.is_some()).finish_non_exhaustive()
    }
}

impl<'a> KeptContents<'a> {
    /// `inner`, with its small files kept in `cache` if there is one.
    pub fn new(inner: &'a dyn Contents, cache: Option<&'a CacheDir>) -> Self {
        Self { inner, cache }
    }

    fn kept(&self, content: &Content) -> Option<Vec<u8>> {
        let (cache, digest) = (self.cache?, small(content)?);
        let bytes = cache.get(CacheKind::Content, digest)?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    fn keep(&self, content: &Content, bytes: &[u8]) {
        if let (Some(cache), Some(digest)) = (self.cache, small(content)) {
            // A cache that cannot be written costs time later and nothing else.
            let _ = cache.put(CacheKind::Content, digest, bytes);
        }
    }
}

/// The digest of a file that is worth keeping.
fn small(content: &Content) -> Option<&Digest> {
    match content {
        Content::Stored { digest: digest @ Digest::Sha256(_), size } if (1..=FILE_MAX).contains(size) => Some(digest),
        _ => None,
    }
}

impl Contents for KeptContents<'_> {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        if let Some(bytes) = self.kept(content) {
            return Ok(Box::new(io::Cursor::new(bytes)));
        }
        if self.cache.is_none() || small(content).is_none() {
            return self.inner.open(content);
        }
        let mut bytes = Vec::new();
        self.inner.open(content)?.read_to_end(&mut bytes)?;
        self.keep(content, &bytes);
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn has(&self, content: &Content) -> bool {
        self.inner.has(content)
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.cache.is_none() || wanted.iter().filter(|content| small(content).is_some()).count() > FILES_MAX {
            return self.inner.visit(wanted, each);
        }
        let mut missing = BTreeSet::new();
        for content in wanted {
            match self.kept(content) {
                Some(bytes) => each(content, &mut &bytes[..])?,
                None => drop(missing.insert(content.clone())),
            }
        }
        self.inner.visit(&missing, &mut |content, stream| {
            if small(content).is_none() {
                return each(content, stream);
            }
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            self.keep(content, &bytes);
            each(content, &mut &bytes[..])
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cap_std::ambient_authority;
    use cap_std::fs::Dir;

    use super::*;

    /// One text, counted each time it is opened.
    struct Counting<'a>(&'a [u8], AtomicUsize);

    impl Contents for Counting<'_> {
        fn open<'a>(&'a self, _: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(self.0))
        }
    }

    fn read(contents: &dyn Contents, wanted: &Content) -> Vec<Vec<u8>> {
        let (mut opened, mut visited) = (Vec::new(), Vec::new());
        contents.open(wanted).unwrap().read_to_end(&mut opened).unwrap();
        let mut each = |_: &Content, stream: &mut dyn Read| stream.read_to_end(&mut visited).map(drop);
        contents.visit(&BTreeSet::from([wanted.clone()]), &mut each).unwrap();
        vec![opened, visited]
    }

    #[test]
    fn a_small_file_is_read_once_and_a_damaged_one_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let cache = CacheDir::new(dir);
        let text = b"text".as_slice();
        let inner = Counting(text, AtomicUsize::new(0));
        let kept = KeptContents::new(&inner, Some(&cache));
        let wanted = Content::Stored { digest: Digest::of(text), size: 4 };
        assert_eq!(read(&kept, &wanted), [text, text]);
        assert_eq!(inner.1.load(Ordering::Relaxed), 1);
        // Whatever stands in the cache under that digest, other bytes never come out.
        cache.put(CacheKind::Content, &Digest::of(text), b"evil").unwrap();
        assert_eq!(read(&kept, &wanted), [text, text]);
        assert_eq!(inner.1.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn large_files_and_unnamed_ones_pass_through() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let cache = CacheDir::new(dir);
        let inner = Counting(b"x", AtomicUsize::new(0));
        let kept = KeptContents::new(&inner, Some(&cache));
        for wanted in [Content::Stored { digest: Digest::of(b"x"), size: FILE_MAX + 1 }, Content::of("x")] {
            assert_eq!(read(&kept, &wanted), [b"x", b"x"]);
        }
        assert_eq!((inner.1.load(Ordering::Relaxed), cache.entries().unwrap().len()), (4, 0));
    }
}
