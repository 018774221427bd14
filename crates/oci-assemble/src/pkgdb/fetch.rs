//! Reading a database whose files lie scattered over layers.
//!
//! A reader opens one file after the other, which would decompress a layer anew for each. So they are fetched in one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use super::{Packages, PkgDbError, detect, files, read};
use crate::layer::Contents;
use crate::tree::{Content, FileTree};

/// The most bytes fetched: larger files are opened where they are, one by one.
const FETCH_MAX: u64 = 512 << 20;

/// As [`read`], with the files fetched in one pass over the layers.
pub fn read_at_once(tree: &FileTree, contents: &dyn Contents) -> Result<Option<Packages>, PkgDbError> {
    let wanted = detect(tree).map(|location| files(tree, &location)).unwrap_or_default();
    // One file is opened once anyway, and may be large: rpm's.
    if wanted.len() == 1 {
        return read(tree, contents);
    }
    let wanted: BTreeSet<Content> = wanted.iter().filter_map(|path| tree.content(path)).cloned().collect();
    let mut fetched = Fetched { whole: BTreeMap::new(), rest: contents };
    if wanted.iter().map(Content::size).fold(0, u64::saturating_add) <= FETCH_MAX {
        let keep = &mut |content: &Content, stream: &mut dyn Read| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            fetched.whole.insert(content.clone(), bytes);
            Ok(())
        };
        contents.visit(&wanted, keep).map_err(PkgDbError::Fetch)?;
    }
    read(tree, &fetched)
}

/// Contents of which some are in memory.
struct Fetched<'a> {
    whole: BTreeMap<Content, Vec<u8>>,
    rest: &'a dyn Contents,
}

impl Contents for Fetched<'_> {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        match self.whole.get(content) {
            Some(bytes) => Ok(Box::new(bytes.as_slice())),
            None => self.rest.open(content),
        }
    }

    fn has(&self, content: &Content) -> bool {
        self.whole.contains_key(content) || self.rest.has(content)
    }
}
