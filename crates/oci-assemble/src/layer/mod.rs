//! Layers: deltas as deterministic tar streams and back.
//!
//! [`LayerDraft`] (a delta made lawful for its base) → [`seal`] → blob with digest and diff_id, and the other way
//! [`decode`] → [`index`] → [`LayerIndex`]. Nothing here opens a file by itself.

use std::collections::BTreeSet;
use std::io::{self, Read};

use crate::tree::Content;

mod compress;
mod decode;
mod draft;
mod gate;
mod gzip;
mod header;
mod index;
mod part;
mod pax;
mod seal;
mod whole;
mod write;
mod zstd_frame;

pub use compress::{Compression, Encoder};
pub use decode::{DecodeError, TarStream, decode};
pub use draft::{DraftError, LayerDraft};
pub use gate::{Gate, Rule, Violation, Violations};
pub use gzip::GzipEncoder;
pub use index::{IndexError, IndexOptions, LayerIndex, Limits, MergedIndex, Places, index};
pub use part::{PartError, measure};
pub use seal::{SealOptions, Sealed, Sealer, seal, seal_delta};
pub use whole::{WholeError, start, stream, whole};
pub use write::{WriteError, write_tar};
pub use zstd_frame::ZstdEncoder;

#[cfg(test)]
mod tests;

/// Gives the bytes of files.
///
/// Law: equal contents give equal bytes, exactly [`Content::size`] of them, every time; a file that changed on disk
/// since it was listed is an error.
pub trait Contents: Sync {
    /// Opens one file's bytes. Costs a file open, or the inflation of a layer up to the file.
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>>;

    /// The bytes themselves, in pieces, where they are in memory as they are: nobody needs a copy then. Cheap.
    ///
    /// Law: together they are what [`Contents::open`] gives.
    fn held<'a>(&'a self, _content: &'a Content) -> Option<Vec<&'a [u8]>> {
        None
    }

    /// Whether [`Contents::open`] would find it. Cheap.
    fn has(&self, _content: &Content) -> bool {
        true
    }

    /// Gives each wanted file's bytes to `each`, in an order that suits the source. Costs at most one pass over each
    /// layer that holds one of them.
    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        for content in wanted {
            each(content, &mut self.open(content)?)?;
        }
        Ok(())
    }
}

/// Several sources of contents, asked in order.
#[derive(Default)]
pub struct Sources<'a>(Vec<&'a dyn Contents>);

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sources").field(&self.0.len()).finish()
    }
}

impl<'a> Sources<'a> {
    /// The sources, in the order in which they are asked.
    pub fn new(sources: Vec<&'a dyn Contents>) -> Self {
        Self(sources)
    }
}

impl Contents for Sources<'_> {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        let source = self.0.iter().find(|source| source.has(content));
        source.ok_or(io::ErrorKind::NotFound)?.open(content)
    }

    fn held<'a>(&'a self, content: &'a Content) -> Option<Vec<&'a [u8]>> {
        self.0.iter().find(|source| source.has(content))?.held(content)
    }

    fn has(&self, content: &Content) -> bool {
        self.0.iter().any(|source| source.has(content))
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut left = wanted.clone();
        for source in &self.0 {
            let (mine, others) = left.into_iter().partition(|content| source.has(content));
            source.visit(&mine, each)?;
            left = others;
        }
        if left.is_empty() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}
