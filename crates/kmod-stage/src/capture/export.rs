//! The file system of a container, as `podman export` gives it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use oci_assemble::image::{Digest, Hasher};
use oci_assemble::layer::{Contents, IndexError, IndexOptions, LayerIndex, index};
use oci_assemble::tree::{Content, FileTree, MergeError, TreePath};

/// Bytes read at once while the stream is indexed.
const READ: usize = 256 << 10;

/// An exported file system: its tree, and the bytes of its files.
#[derive(Debug)]
pub struct Export {
    /// The tree. Contents are named by digest. The root has no entry; devices, pipes and the mount points that podman
    /// makes (`/dev`, `/proc`, `/run`, `/sys`, empty `/etc/hosts`) are in it, sockets are not.
    pub tree: FileTree,
    /// The bytes.
    pub contents: CapturedContents,
}

/// Why a stream is no export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It cannot be read as a tar stream, or readers would disagree about it.
    #[error("cannot read the exported file system")]
    Index(#[from] IndexError),
    /// It names a file in a way that stands for a removal in layers, so it cannot become one.
    #[error("{path} has a file with a name that starts with .wh., which layers cannot carry")]
    WhiteoutName {
        /// The directory of the file.
        path: TreePath,
    },
    /// A hardlink leads nowhere, or a file has files below it.
    #[error("the exported file system contradicts itself")]
    Merge(#[from] MergeError),
}

impl Export {
    /// Reads the plain tar stream in `file` from its beginning. Costs one pass over it; memory is bounded by the limits
    /// of `options`, and the bytes of files are not kept.
    pub fn read(file: File, options: IndexOptions) -> Result<Self, ExportError> {
        let index = index(BufReader::with_capacity(READ, Range { file: &file, offset: 0 }), options)?;
        Self::of(index, file)
    }

    /// As [`Export::read`], for a stream that is written into the empty `file` while it is read. An error of its last
    /// read (the program that writes it failed) is an error here.
    pub fn save(stream: impl Read, file: File, options: IndexOptions) -> Result<Self, ExportError> {
        let index = index(BufReader::with_capacity(READ, Tee { stream, file: &file }), options)?;
        Self::of(index, file)
    }

    fn of(index: LayerIndex, file: File) -> Result<Self, ExportError> {
        let LayerIndex { delta, offsets, .. } = index;
        let removals = delta.whiteouts().iter().filter_map(TreePath::parent);
        if let Some(path) = removals.chain(delta.opaques().iter().cloned()).next() {
            return Err(ExportError::WhiteoutName { path });
        }
        let tree = FileTree::new().apply(&delta)?;
        Ok(Self { tree, contents: CapturedContents { file, offsets } })
    }
}

/// The bytes of files in a tar stream that is kept in a file.
///
/// Each is verified against its digest while it is read: a stream that changed since gives an error, not other bytes.
#[derive(Debug)]
pub struct CapturedContents {
    file: File,
    offsets: BTreeMap<Digest, u64>,
}

impl Contents for CapturedContents {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        match content {
            Content::Bytes(bytes) => Ok(Box::new(&bytes[..])),
            Content::Stored { size: 0, .. } => Ok(Box::new(io::empty())),
            Content::Stored { digest, size } => {
                let offset = *self.offsets.get(digest).ok_or(io::ErrorKind::NotFound)?;
                let range = Range { file: &self.file, offset };
                Ok(Box::new(Verified { range, left: *size, hasher: Some(digest.hasher()), expected: *digest }))
            }
            Content::OnDisk(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn has(&self, content: &Content) -> bool {
        match content {
            Content::Bytes(_) | Content::Stored { size: 0, .. } => true,
            Content::Stored { digest, .. } => self.offsets.contains_key(digest),
            Content::OnDisk(_) => false,
        }
    }
}

/// A stream that is kept in a file.
struct Tee<'a, R> {
    stream: R,
    file: &'a File,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(out)?;
        self.file.write_all(&out[..read])?;
        Ok(read)
    }
}

/// Reads a file from an offset on, without moving its position: several may read at the same time.
struct Range<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// The bytes of one file, held against their digest when the last one is read.
struct Verified<'a> {
    range: Range<'a>,
    left: u64,
    hasher: Option<Hasher>,
    expected: Digest,
}

impl Read for Verified<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let read = self.range.read(&mut out[..room])?;
        if read == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..read]);
        }
        self.left -= read as u64;
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != self.expected
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the exported file system changed since it was read",
            ));
        }
        Ok(read)
    }
}
