//! A tree whose every file is named by digest, so that it can be compared with what is in layers.
//!
//! What stages bring is named by where it lies on this machine. Its bytes are read once to name it by what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use crate::image::{Digest, Hasher};
use crate::layer::Contents;
use crate::tree::{Content, FileTree, Inode, Kind};

/// Contents of a settled tree: by digest, from wherever they lie.
pub struct Settled<'a> {
    inner: &'a dyn Contents,
    places: BTreeMap<Digest, Content>,
}

impl std::fmt::Debug for Settled<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settled").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

/// Names every file of `tree` by digest. Reads each of those that are not yet, once.
///
/// Law: a tree that is settled already is given back as it is; the contents give the same bytes for the same paths.
pub fn settle<'a>(tree: &FileTree, inner: &'a dyn Contents) -> io::Result<(FileTree, Settled<'a>)> {
    let loose: BTreeSet<Content> = tree
        .iter()
        .filter_map(|(_, inode)| inode.content())
        .filter(|content| !matches!(content, Content::Stored { .. }))
        .cloned()
        .collect();
    let mut names: BTreeMap<Content, Digest> = BTreeMap::new();
    let (made, outside): (BTreeSet<Content>, BTreeSet<Content>) =
        loose.into_iter().partition(|content| content.digest().is_some());
    for content in made {
        if let Some(digest) = content.digest() {
            names.insert(content, digest);
        }
    }
    inner.visit(&outside, &mut |content, stream| {
        let mut sink = Sink { hasher: Hasher::default(), bytes: 0 };
        io::copy(stream, &mut sink)?;
        if sink.bytes != content.size() {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a file changed since it was listed"));
        }
        names.insert(content.clone(), sink.hasher.finish());
        Ok(())
    })?;
    let settle = |inode: &Inode| match inode.content().and_then(|content| Some((content, names.get(content)?))) {
        Some((content, digest)) => {
            let kind = Kind::File(Content::Stored { digest: *digest, size: content.size() });
            Inode { meta: inode.meta.clone(), kind }
        }
        None => inode.clone(),
    };
    let inodes = tree.iter().map(|(path, inode)| (path.clone(), settle(inode))).collect();
    let settled = FileTree::from_sorted(inodes).unwrap_or_else(|| tree.clone());
    let places = names.into_iter().map(|(content, digest)| (digest, content)).collect();
    Ok((settled, Settled { inner, places }))
}

struct Sink {
    hasher: Hasher,
    bytes: u64,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Settled<'_> {
    fn place<'c>(&'c self, content: &'c Content) -> &'c Content {
        match content {
            Content::Stored { digest, .. } => self.places.get(digest).unwrap_or(content),
            _ => content,
        }
    }
}

impl Contents for Settled<'_> {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        match self.place(content) {
            Content::Bytes(bytes) => Ok(Box::new(&bytes[..])),
            place => self.inner.open(place),
        }
    }

    fn held<'a>(&'a self, content: &'a Content) -> Option<Vec<&'a [u8]>> {
        match self.place(content) {
            Content::Bytes(bytes) => Some(vec![&bytes[..]]),
            place => self.inner.held(place),
        }
    }

    fn has(&self, content: &Content) -> bool {
        let place = self.place(content);
        matches!(place, Content::Bytes(_)) || self.inner.has(place)
    }
}
