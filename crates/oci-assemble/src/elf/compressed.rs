//! Compressed kernel modules: `.ko.gz`, `.ko.xz`, `.ko.zst`.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use super::ElfError;

/// The largest module accepted, in bytes after decompression: several times the largest known one with debug data.
pub const MODULE_MAX: u64 = 512 << 20;
/// Memory that xz may take: its largest preset needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;
/// The largest zstd window, as a power of two: what `zstd` itself accepts without being asked.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How a module file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// `.ko.gz`
    Gzip,
    /// `.ko.xz`
    Xz,
    /// `.ko.zst`
    Zstd,
}

impl Compression {
    /// The compression that the first bytes of a file show, as libkmod tells it.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        [(&[0x1f, 0x8b][..], Self::Gzip), (b"\xfd7zXZ\0", Self::Xz), (&[0x28, 0xb5, 0x2f, 0xfd], Self::Zstd)]
            .into_iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, compression)| compression)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// The module's ELF bytes: `bytes` themselves when they are not compressed. At most [`MODULE_MAX`] bytes come out.
pub fn decompress(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ElfError> {
    decompress_within(bytes, MODULE_MAX)
}

/// Like [`decompress`], for other files that are compressed as modules are: at most `limit` bytes come out.
pub fn decompress_within(bytes: &[u8], limit: u64) -> Result<Cow<'_, [u8]>, ElfError> {
    let Some(compression) = Compression::of(bytes) else {
        return if bytes.len() as u64 > limit { Err(ElfError::TooLarge { limit }) } else { Ok(Cow::Borrowed(bytes)) };
    };
    let failed = |source| ElfError::Compressed { compression, source };
    let plain = match compression {
        Compression::Gzip => drain(flate2::bufread::MultiGzDecoder::new(bytes), limit),
        Compression::Xz => liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
            .map_err(std::io::Error::from)
            .and_then(|stream| drain(liblzma::bufread::XzDecoder::new_stream(bytes, stream), limit)),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            drain(decoder, limit)
        }),
    };
    plain.map_err(failed)?.map(Cow::Owned).ok_or(ElfError::TooLarge { limit })
}

/// Everything of `reader`; `None` when there is more than `limit`.
fn drain(reader: impl Read, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut plain = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut plain)?;
    Ok((plain.len() as u64 <= limit).then_some(plain))
}
