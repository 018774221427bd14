//! Layers: deltas as deterministic tar streams and back.

use std::io::{self, Read};

use crate::tree::Content;

/// Gives the bytes of files.
///
/// Law: equal contents give equal bytes, exactly [`Content::size`] of them, every time; a file that changed on disk
/// since it was listed is an error.
pub trait Contents: Sync {
    /// Opens one file's bytes. Costs a file open, or the inflation of a layer that holds it.
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>>;
}
