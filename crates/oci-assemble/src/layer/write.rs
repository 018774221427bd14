//! Writes a draft as a canonical tar stream.
//!
//! Order: directories from the root down, then whiteouts and opaque marks, then everything else, each in path order;
//! so parents come before children, and every client applies the whiteouts before the entries they might hide.
//! Names longer than a header's field use GNU long names (older clients misplace PAX `path` below `/etc`); PAX carries
//! extended attributes only. Owner names are left out; sparse files, devices and pipes do not exist here.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::Contents;
use super::draft::LayerDraft;
use crate::tree::{Content, Inode, Kind, Meta, TreeDelta, TreePath};

const BLOCK: usize = 512;
/// Bytes read from a file at once: few system calls, and the buffer stays in the cache.
const READ: usize = 256 << 10;

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A file's bytes could not be read.
    #[error("cannot read the content of {path}")]
    Read {
        /// Path in the image.
        path: TreePath,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// A file gave more or fewer bytes than it was listed with.
    #[error("{path} has {found} bytes, but was listed with {expected}")]
    Size {
        /// Path in the image.
        path: TreePath,
        /// Bytes when it was listed.
        expected: u64,
        /// Bytes read; one more than expected when there were more.
        found: u64,
    },
    /// A kind of inode that layers do not carry.
    #[error("{path} is a {kind}, which a layer cannot carry")]
    Kind {
        /// Path in the image.
        path: TreePath,
        /// Its kind.
        kind: &'static str,
    },
    /// The sink failed.
    #[error("cannot write the layer")]
    Sink(#[source] io::Error),
}

/// A sink that files are read straight into, without a copy in between.
pub(super) trait Fill: Write {
    /// Room for the next bytes, never empty.
    fn room(&mut self) -> io::Result<&mut [u8]>;

    /// Says that the first `count` bytes of the room are filled.
    fn filled(&mut self, count: usize) -> io::Result<()>;

    /// Takes bytes that stay where they are during the call, without a copy where that pays; as if they were written.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
}

/// Any sink, with a buffer of its own.
struct Buffered<'a, W> {
    sink: &'a mut W,
    buffer: Vec<u8>,
}

impl<W: Write> Write for Buffered<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl<W: Write> Fill for Buffered<'_, W> {
    fn room(&mut self) -> io::Result<&mut [u8]> {
        Ok(&mut self.buffer)
    }

    fn filled(&mut self, count: usize) -> io::Result<()> {
        self.sink.write_all(&self.buffer[..count])
    }
}

/// Writes the draft's tar stream, with its two closing blocks, into `sink`.
pub fn write_tar(draft: &LayerDraft, contents: &dyn Contents, sink: &mut impl Write) -> Result<(), WriteError> {
    fill_tar(draft.delta(), contents, &mut Buffered { sink, buffer: vec![0; READ] })
}

/// As [`write_tar`], for any delta, and a sink that gives room.
pub(super) fn fill_tar(delta: &TreeDelta, contents: &dyn Contents, sink: &mut impl Fill) -> Result<(), WriteError> {
    let entries = delta.entries();
    for (path, inode) in entries.iter().filter(|(_, inode)| inode.is_directory()) {
        write_header(sink, path, inode, 0)?;
    }
    for path in delta.whiteouts() {
        let name = [b".wh.".as_slice(), path.name()].concat();
        write_mark(sink, &path.parent().unwrap_or_default(), &name)?;
    }
    for path in delta.opaques() {
        write_mark(sink, path, b".wh..wh..opq")?;
    }
    for (path, inode) in entries.iter().filter(|(_, inode)| !inode.is_directory()) {
        match inode.content() {
            Some(content) => {
                write_header(sink, path, inode, content.size())?;
                write_content(sink, path, content, contents)?;
            }
            None => write_header(sink, path, inode, 0)?,
        }
    }
    sink.write_all(&[0; 2 * BLOCK]).map_err(WriteError::Sink)
}

/// A whiteout or opaque mark. Its time is 0: nobody sees it, and with any other the layer would be another on another day.
fn write_mark(sink: &mut impl Write, directory: &TreePath, name: &[u8]) -> Result<(), WriteError> {
    let mark = Inode::file(Meta::root_owned(0o644, 0), Content::of([]));
    let path = directory.join(name).map_err(|error| WriteError::Sink(io::Error::other(error)))?;
    write_header(sink, &path, &mark, 0)
}

fn write_header(sink: &mut impl Write, path: &TreePath, inode: &Inode, size: u64) -> Result<(), WriteError> {
    let mut name = path.as_bytes().to_vec();
    let mut link: &[u8] = b"";
    let kind = match &inode.kind {
        Kind::Directory => {
            name.push(b'/');
            EntryType::Directory
        }
        Kind::File(_) => EntryType::Regular,
        Kind::Symlink(target) => {
            link = target;
            EntryType::Symlink
        }
        Kind::Hardlink(target) => {
            link = target.as_bytes();
            EntryType::Link
        }
        other => return Err(WriteError::Kind { path: path.clone(), kind: other.name() }),
    };
    if path.is_root() {
        name = b"./".to_vec();
    }
    // A hardlink repeats what its target says; attributes once are enough, and readers take the last.
    if !inode.meta.xattrs.is_empty() && kind != EntryType::Link {
        write_pax(sink, &inode.meta)?;
    }
    for (bytes, long) in [(&name[..], b'L'), (link, b'K')] {
        if bytes.len() > 100 {
            write_long(sink, bytes, long)?;
        }
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(inode.meta.mode & 0o7777);
    header.set_uid(inode.meta.uid);
    header.set_gid(inode.meta.gid);
    header.set_mtime(u64::try_from(inode.meta.mtime).unwrap_or(0));
    header.set_size(size);
    let raw = header.as_old_mut();
    if inode.meta.mtime < 0 {
        raw.mtime = before_1970(inode.meta.mtime);
    }
    fill(&mut raw.name, &name);
    fill(&mut raw.linkname, link);
    finish_header(sink, header)
}

/// GNU's base-256 number (tar manual, "Extensions"): two's complement, the first byte 0xff. Directories of a base may be
/// so old; octal digits have no sign.
fn before_1970(mtime: i64) -> [u8; 12] {
    let mut field = [0xff; 12];
    field[4..].copy_from_slice(&mtime.to_be_bytes());
    field
}

/// GNU's long name (`L`) or long link (`K`): a pseudo entry that holds the name with a closing NUL.
fn write_long(sink: &mut impl Write, bytes: &[u8], kind: u8) -> Result<(), WriteError> {
    let mut header = Header::new_gnu();
    fill(&mut header.as_old_mut().name, b"././@LongLink");
    header.set_entry_type(EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64 + 1);
    finish_header(sink, header)?;
    sink.write_all(bytes).map_err(WriteError::Sink)?;
    pad(sink, bytes.len() as u64, 1)
}

/// A PAX extended header (POSIX.1-2001 pax) with the extended attributes, by name.
fn write_pax(sink: &mut impl Write, meta: &Meta) -> Result<(), WriteError> {
    let mut records = Vec::new();
    for (name, value) in &meta.xattrs {
        let body = [b" SCHILY.xattr.".as_slice(), name, b"=", value, b"\n"].concat();
        // The length counts its own digits.
        let mut length = body.len() + 1;
        while length != body.len() + length.to_string().len() {
            length = body.len() + length.to_string().len();
        }
        records.extend_from_slice(length.to_string().as_bytes());
        records.extend_from_slice(&body);
    }
    let mut header = Header::new_ustar();
    fill(&mut header.as_old_mut().name, b"././@PaxHeader");
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    finish_header(sink, header)?;
    sink.write_all(&records).map_err(WriteError::Sink)?;
    pad(sink, records.len() as u64, 0)
}

fn finish_header(sink: &mut impl Write, mut header: Header) -> Result<(), WriteError> {
    header.set_cksum();
    sink.write_all(header.as_bytes()).map_err(WriteError::Sink)
}

fn fill(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

fn write_content(
    sink: &mut impl Fill,
    path: &TreePath,
    content: &Content,
    contents: &dyn Contents,
) -> Result<(), WriteError> {
    let expected = content.size();
    if let Content::Bytes(bytes) = content {
        sink.write_all(bytes).map_err(WriteError::Sink)?;
        return pad(sink, expected, 0);
    }
    if let Some(pieces) = contents.held(content) {
        let found = pieces.iter().map(|piece| piece.len() as u64).sum();
        if found != expected {
            return Err(WriteError::Size { path: path.clone(), expected, found });
        }
        pieces.into_iter().try_for_each(|piece| sink.take(piece)).map_err(WriteError::Sink)?;
        return pad(sink, expected, 0);
    }
    let failed = |source| WriteError::Read { path: path.clone(), source };
    let mut reader = contents.open(content).map_err(failed)?;
    let mut found = 0;
    while found < expected {
        let room = sink.room().map_err(WriteError::Sink)?;
        let wanted = usize::try_from(expected - found).unwrap_or(usize::MAX).min(room.len());
        let read = reader.read(&mut room[..wanted]).map_err(failed)?;
        if read == 0 {
            return Err(WriteError::Size { path: path.clone(), expected, found });
        }
        sink.filled(read).map_err(WriteError::Sink)?;
        found += read as u64;
    }
    if reader.read(&mut [0]).map_err(failed)? > 0 {
        return Err(WriteError::Size { path: path.clone(), expected, found: found + 1 });
    }
    pad(sink, expected, 0)
}

/// Fills the last block of `size` bytes, of which `extra` zero bytes belong to the content.
fn pad(sink: &mut impl Write, size: u64, extra: u64) -> Result<(), WriteError> {
    let block = BLOCK as u64;
    let missing = (block - (size + extra) % block) % block + extra;
    let zeros = [0; BLOCK + 1];
    sink.write_all(&zeros[..usize::try_from(missing).unwrap_or(0)]).map_err(WriteError::Sink)
}
