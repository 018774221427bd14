//! Files that a stage made, too many for memory: one after the other in an unnamed file, which ends with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use oci_assemble::image::Digest;
use oci_assemble::layer::Contents;
use oci_assemble::tree::Content;

/// Made files, and beside them those of another source.
pub(super) struct Kept {
    file: File,
    /// Where each begins.
    offsets: BTreeMap<Digest, u64>,
    end: u64,
    rest: Option<Box<dyn Contents + Send>>,
}

impl Kept {
    /// Keeps files on the disk of `directory`.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(directory)?, offsets: BTreeMap::new(), end: 0, rest: None })
    }

    /// Takes one file.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> io::Result<Content> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        if !self.offsets.contains_key(&digest) {
            self.file.write_all(bytes)?;
            self.offsets.insert(digest, self.end);
            self.end += size;
        }
        Ok(Content::Stored { digest, size })
    }

    /// Gives all else from `rest`.
    pub(super) fn beside(self, rest: Option<Box<dyn Contents + Send>>) -> Self {
        Self { rest, ..self }
    }

    fn offset(&self, content: &Content) -> Option<u64> {
        let Content::Stored { digest, .. } = content else { return None };
        self.offsets.get(digest).copied()
    }
}

impl Contents for Kept {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        match (self.offset(content), &self.rest) {
            (Some(offset), _) => Ok(Box::new(Part { file: &self.file, offset, left: content.size() })),
            (None, Some(rest)) => rest.open(content),
            (None, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn has(&self, content: &Content) -> bool {
        self.offset(content).is_some() || self.rest.as_ref().is_some_and(|rest| rest.has(content))
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let (ours, others): (Vec<&Content>, Vec<&Content>) =
            wanted.iter().partition(|content| self.offset(content).is_some());
        ours.into_iter().try_for_each(|content| each(content, &mut self.open(content)?))?;
        match &self.rest {
            _ if others.is_empty() => Ok(()),
            Some(rest) => rest.visit(&others.into_iter().cloned().collect(), each),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// One of the files. Several can be read at the same time: none moves the file's own position.
struct Part<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let Some(out) = out.get_mut(..room) else { return Ok(0) };
        let read = self.file.read_at(out, self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
