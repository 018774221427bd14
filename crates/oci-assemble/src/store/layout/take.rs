//! Taking blobs from elsewhere, linked where that is possible.

use std::io::Seek;
use std::num::NonZero;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Layout;
use super::read::blob_dir;
use super::transaction::{Transaction, hash};
use crate::image::{Descriptor, Digest};
use crate::store::blob::BlobSource;
use crate::store::error::{Result, StoreError, io as failed};
use crate::store::file;
use crate::store::parallel::for_each;
use crate::tree::Stamp;

/// How a blob came into the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was there and is intact.
    Present,
    /// As a hard link.
    Linked,
    /// As a copy.
    Copied,
}

impl Transaction {
    /// Takes blobs from `source`, `threads` at a time. The first error ends it.
    pub fn take_all(&self, source: &dyn BlobSource, blobs: &[Descriptor], threads: NonZero<usize>) -> Result<()> {
        for_each(blobs, threads, |blob| self.take(source, blob).map(drop))
    }

    /// Takes one blob from `source`: as a hard link when that is a layout on the same file system, else as a copy, which
    /// the kernel makes without moving bytes where it can. Either way the blob is hashed, unless it is known to be what
    /// it was when that was done.
    pub fn take(&self, source: &dyn BlobSource, descriptor: &Descriptor) -> Result<Taken> {
        if self.is_intact(descriptor)? {
            return Ok(Taken::Present);
        }
        let Some(theirs) = source.layout() else {
            self.copy(descriptor, source.open(descriptor)?)?;
            return Ok(Taken::Copied);
        };
        let digest = descriptor.digest;
        let (mut file, stamp) = theirs.file(descriptor)?.ok_or(StoreError::Missing { digest })?;
        if !theirs.verified.knows(&stamp, &digest) {
            hash(descriptor, &file)?;
            theirs.verified.remember(stamp, digest);
            file.rewind().map_err(failed("read", digest.to_string()))?;
        }
        if self.link(theirs, &digest, &stamp)? {
            return Ok(Taken::Linked);
        }
        let mut sink = self.sink()?;
        sink.copy_from(&mut file)?;
        // What was copied is what was hashed, if the file is still in the same state.
        if file::stamp_of(&file).map_err(failed("look at", digest.to_string()))? == stamp {
            sink.publish(&digest, descriptor.size)?;
        } else {
            self.copy(descriptor, theirs.open(descriptor)?)?;
        }
        Ok(Taken::Copied)
    }

    /// Links the blob of another layout; `false` when the file system does not let us.
    fn link(&self, theirs: &Layout, digest: &Digest, stamp: &Stamp) -> Result<bool> {
        let Some(from) = blob_dir(&theirs.dir, digest)? else { return Ok(false) };
        let name = self.next_name();
        match rustix::fs::linkat(&from, digest.hex(), &self.own.dir, &name, AtFlags::empty()) {
            Ok(()) => {}
            // Another file system, too many links, links forbidden by the kernel or by the file system.
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => return Ok(false),
            Err(errno) => return Err(failed("link", digest.to_string())(errno.into())),
        }
        let linked = file::open_regular(&self.own.dir, &name)?.map(|(_, stamp)| stamp);
        // A link changes the time of the inode's last change, and nothing else of what was verified.
        if linked.is_none_or(|linked| Stamp { ctime: stamp.ctime, ..linked } != *stamp) {
            let _ = self.own.dir.remove_file(&name);
            return Ok(false);
        }
        self.publish(&name, digest)?;
        if let Some((_, stamp)) = file::open_regular(&from, &digest.hex())? {
            theirs.verified.remember(stamp, *digest);
        }
        Ok(true)
    }
}
