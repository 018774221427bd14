//! Metadata files as they are fetched: plain, gzip, xz or zstd, told by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use super::error::{Place, RepositoryError, RepositoryFault};

/// Most bytes of a plain file; Fedora's primary.xml has some 250 MB.
pub const PLAIN_MAX: u64 = 1 << 30;
/// Memory that decompressing xz may take: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;
/// Largest window that decompressing zstd may take, as a power of two: `zstd --ultra -22` needs 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A reader of the plain bytes of `file`, whose end is an error after [`PLAIN_MAX`] bytes.
pub fn decompress<'a>(bytes: &'a [u8], file: &str) -> Result<Box<dyn BufRead + 'a>, RepositoryError> {
    bounded(bytes, file, PLAIN_MAX)
}

pub(super) fn bounded<'a>(bytes: &'a [u8], file: &str, max: u64) -> Result<Box<dyn BufRead + 'a>, RepositoryError> {
    let plain = open(bytes).map_err(|error| RepositoryError::new(file, Place::File, RepositoryFault::Bytes(error)))?;
    Ok(Box::new(BufReader::with_capacity(64 << 10, Bounded { plain, max, left: max })))
}

fn open<'a>(bytes: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(if bytes.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(bytes))
    } else if bytes.starts_with(b"\xfd7zXZ\0") {
        let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
        Box::new(liblzma::bufread::XzDecoder::new_stream(bytes, stream))
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(bytes)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        Box::new(decoder)
    } else {
        Box::new(bytes)
    })
}

struct Bounded<R> {
    plain: R,
    max: u64,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        self.left = self
            .left
            .checked_sub(u64::try_from(count).unwrap_or(u64::MAX))
            .ok_or_else(|| io::Error::other(format!("more than {} bytes when decompressed", self.max)))?;
        Ok(count)
    }
}
