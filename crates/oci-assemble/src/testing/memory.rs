//! Trees whose files are in memory.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::image::Digest;
use crate::layer::Contents;
use crate::tree::{Content, FileTree, Inode, Meta, TreePath};

/// Contents by digest.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<Digest, Vec<u8>>);

impl Memory {
    /// Keeps `bytes` and says how a tree names them.
    pub fn put(&mut self, bytes: impl Into<Vec<u8>>) -> Content {
        let bytes = bytes.into();
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.0.insert(digest, bytes);
        Content::Stored { digest, size }
    }
}

impl Contents for Memory {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        if let Content::Bytes(bytes) = content {
            return Ok(Box::new(&bytes[..]));
        }
        let bytes = content.digest().and_then(|digest| self.0.get(&digest)).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(bytes.as_slice()))
    }
}

/// Puts a file into `tree`, with directories above it where nothing is yet. Paths that are not valid are left out.
pub fn add_file(tree: &mut FileTree, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
    add(tree, path, Inode::file(Meta::root_owned(mode, 0), Content::of(bytes)));
}

/// Puts an inode into `tree`, with directories above it where nothing is yet.
pub fn add(tree: &mut FileTree, path: &str, inode: Inode) {
    let Ok(path) = TreePath::new(path) else { return };
    for above in path.ancestors() {
        if tree.get(&above).is_none() {
            tree.insert(above, Inode::directory(Meta::root_owned(0o755, 0)));
        }
    }
    tree.insert(path, inode);
}
