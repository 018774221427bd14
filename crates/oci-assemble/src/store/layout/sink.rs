//! Writing one blob.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::transaction::Transaction;
use crate::image::{Digest, Hasher, Mismatch};
use crate::store::error::{Result, io as failed};
use crate::store::file;

/// Bytes gathered before the file system is asked: larger writes gain nothing.
const BUFFER: usize = 256 << 10;

/// Takes the bytes of a blob whose digest the writer of the bytes computes itself. What is not published is removed.
pub struct BlobSink<'t> {
    transaction: &'t Transaction,
    name: String,
    file: BufWriter<File>,
    written: u64,
}

impl<'t> BlobSink<'t> {
    pub(super) fn new(transaction: &'t Transaction) -> Result<Self> {
        let name = transaction.next_name();
        let file = file::create_new(&transaction.own.dir, &name).map_err(failed("create", &name))?;
        Ok(Self { transaction, name, file: BufWriter::with_capacity(BUFFER, file), written: 0 })
    }

    /// Copies a file from where it stands to its end, in the kernel.
    pub(super) fn copy_from(&mut self, file: &mut File) -> Result<()> {
        let copied = self.file.flush().and_then(|()| io::copy(file, self.file.get_mut()));
        self.written += copied.map_err(failed("copy to", &self.name))?;
        Ok(())
    }

    /// Gives the blob its name. The caller has computed `digest` of exactly the bytes it wrote, `size` of them.
    pub fn publish(mut self, digest: &Digest, size: u64) -> Result<()> {
        self.file.flush().map_err(failed("write", &self.name))?;
        let on_disk = file::stamp_of(self.file.get_ref()).map_err(failed("look at", &self.name))?.size;
        for found in [self.written, on_disk] {
            if found != size {
                return Err(Mismatch::Size { digest: *digest, expected: size, found }.into());
            }
        }
        self.transaction.publish(&self.name, digest)
    }
}

impl Write for BlobSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobSink<'_> {
    fn drop(&mut self) {
        // A published blob has another name by now.
        let _ = self.transaction.own.dir.remove_file(&self.name);
    }
}

impl fmt::Debug for BlobSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobSink").field("written", &self.written).finish_non_exhaustive()
    }
}

/// Takes the bytes of a blob and computes the digest on the way.
#[derive(Debug)]
pub struct BlobWriter<'t> {
    sink: BlobSink<'t>,
    hasher: Hasher,
}

impl<'t> BlobWriter<'t> {
    pub(super) fn new(sink: BlobSink<'t>) -> Self {
        Self { sink, hasher: Hasher::default() }
    }

    /// Gives the blob its name, and says what it is.
    pub fn finish(self) -> Result<(Digest, u64)> {
        let (digest, size) = (self.hasher.finish(), self.sink.written);
        self.sink.publish(&digest, size)?;
        Ok((digest, size))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
