//! Whole files of a tree, read into memory with a limit.

use std::io::{self, Read};

use super::Contents;
use crate::tree::{FileTree, TreePath};

/// Why a file of a tree could not be read into memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WholeError {
    /// There is no regular file at the path, after following symlinks.
    #[error("{path} is not a regular file of the tree")]
    NoFile {
        /// The path asked for.
        path: TreePath,
    },
    /// The file is larger than the reader allows.
    #[error("{path} has {size} bytes, more than {limit}")]
    TooLarge {
        /// The file.
        path: TreePath,
        /// Its size, bytes.
        size: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// Its bytes could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: TreePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The bytes of the regular file that `path` leads to, symlinks followed; never more than `limit`.
pub fn whole(tree: &FileTree, contents: &dyn Contents, path: &TreePath, limit: u64) -> Result<Vec<u8>, WholeError> {
    let (size, mut stream) = stream(tree, contents, path, limit)?;
    let mut bytes = Vec::new();
    // Growing would take twice as much. Where there is no room for all, reading says so.
    let _ = bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX));
    stream.read_to_end(&mut bytes).map_err(|source| WholeError::Read { path: path.clone(), source })?;
    Ok(bytes)
}

/// As [`whole`], without reading: the size of the file, and its bytes as a stream of not more.
pub fn stream<'a>(
    tree: &'a FileTree,
    contents: &'a dyn Contents,
    path: &TreePath,
    limit: u64,
) -> Result<(u64, Box<dyn Read + 'a>), WholeError> {
    let content = tree
        .lookup(path.as_bytes())
        .and_then(|(found, _)| tree.content(&found))
        .ok_or_else(|| WholeError::NoFile { path: path.clone() })?;
    let size = content.size();
    if size > limit {
        return Err(WholeError::TooLarge { path: path.clone(), size, limit });
    }
    let opened = contents.open(content).map_err(|source| WholeError::Read { path: path.clone(), source })?;
    Ok((size, Box::new(opened.take(size))))
}

/// As [`whole`], but only the first `count` bytes, and `None` when there is no regular file.
pub fn start(
    tree: &FileTree,
    contents: &dyn Contents,
    path: &TreePath,
    count: u64,
) -> Result<Option<Vec<u8>>, WholeError> {
    let Some(content) = tree.lookup(path.as_bytes()).and_then(|(found, _)| tree.content(&found)) else {
        return Ok(None);
    };
    let failed = |source| WholeError::Read { path: path.clone(), source };
    let mut bytes = Vec::new();
    contents.open(content).map_err(failed)?.take(count).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}
