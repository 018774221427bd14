//! The compressors of layers, with everything that decides their bytes.
//!
//! Facts that shaped it, each measured: libzstd gives the same bytes for any number of workers from one up, but other
//! bytes for none, so there is always at least one; job size and overlap are part of the bytes and therefore fixed here;
//! clients stop at the end of the first gzip member or zstd frame, so a layer is exactly one.

use std::io::{self, Write};
use std::num::NonZero;

use super::gzip::GzipEncoder;
use super::zstd_frame::{Contexts, JOB, OVERLAP, ZstdEncoder};
use crate::image::{Encoding, MediaType};

/// The most threads one layer is compressed by. The bytes are the same for any number, but every zstd worker holds a job
/// of input, its output and a window: four stay below 150 MB, 64 took 904 MB. A machine with more processors is better
/// used by more layers at once than by more threads in one.
const WORKERS_MAX: NonZero<usize> = NonZero::<usize>::MIN.saturating_add(3);

/// Which compressor, and at which level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// One gzip member, levels 1 to 9; for clients from before zstd.
    Gzip(i32),
    /// One zstd frame, levels 1 to 22.
    Zstd(i32),
    /// A plain tar.
    None,
}

impl Compression {
    /// zstd level 3: seven to fourteen per cent smaller than gzip 6 at a quarter of its time.
    pub const DEFAULT: Self = Self::Zstd(3);
    /// gzip level 3: what others call the default in size, at half the time on zlib-rs.
    pub const GZIP_DEFAULT: Self = Self::Gzip(3);

    /// The media type of a layer compressed like this (image-spec, media-types.md).
    pub fn media_type(self) -> MediaType {
        MediaType::layer(match self {
            Self::Gzip(_) => Encoding::Gzip,
            Self::Zstd(_) => Encoding::Zstd,
            Self::None => Encoding::Plain,
        })
    }

    /// Everything that decides the compressed bytes, as text: part of every cache key and of the lock.
    pub fn identity(self) -> String {
        match self {
            Self::Gzip(level) => format!("gzip:zlib-rs-{ZLIB_RS}:level={level}:block=1MiB"),
            Self::Zstd(level) => {
                let version = zstd::zstd_safe::version_string();
                format!("zstd:{version}:level={level}:job={JOB}:overlap={OVERLAP}")
            }
            Self::None => "none".into(),
        }
    }

    /// A compressor that writes into `sink`, with up to `threads` threads, and no more than four. [`Encoder::finish`]
    /// ends it.
    pub fn encoder<W: Write>(self, sink: W, threads: NonZero<usize>) -> io::Result<Encoder<W>> {
        self.encoder_in(sink, threads, &Contexts::default())
    }

    /// As [`Compression::encoder`], in a context of `contexts`, which gets it back.
    pub(super) fn encoder_in<W: Write>(
        self,
        sink: W,
        threads: NonZero<usize>,
        contexts: &Contexts,
    ) -> io::Result<Encoder<W>> {
        let threads = threads.min(WORKERS_MAX);
        Ok(match self {
            Self::None => Encoder::None(sink),
            Self::Gzip(level) => Encoder::Gzip(GzipEncoder::new(sink, level, threads)),
            Self::Zstd(level) => Encoder::Zstd(ZstdEncoder::new(sink, level, threads, contexts)?),
        })
    }
}

/// The version of zlib-rs in the lock file: it decides gzip bytes. A test holds it against `Cargo.lock`.
const ZLIB_RS: &str = "0.6.8";

/// A running compressor.
pub enum Encoder<W: Write> {
    /// No compression.
    None(W),
    /// One gzip member.
    Gzip(GzipEncoder<W>),
    /// One zstd frame.
    Zstd(ZstdEncoder<W>),
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None(_) => "Encoder::None",
            Self::Gzip(_) => "Encoder::Gzip",
            Self::Zstd(_) => "Encoder::Zstd",
        })
    }
}

impl<W: Write> Encoder<W> {
    /// Writes what is left and gives the sink back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(sink) => Ok(sink),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(sink) => sink.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // a flush in the middle would change the bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;
    use crate::image::Digest;

    /// Compressible bytes that repeat over more than a block, from a fixed generator.
    fn sample(size: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_u32;
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let run = (state >> 24) as usize % 40 + 1;
            bytes.extend(std::iter::repeat_n((state % 29) as u8, run));
        }
        bytes.truncate(size);
        bytes
    }

    fn compress(compression: Compression, bytes: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut encoder = compression.encoder(Vec::new(), NonZero::new(threads).unwrap()).unwrap();
        for piece in bytes.chunks(piece) {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn bytes_depend_on_content_alone() {
        let bytes = sample(20 << 20);
        for compression in [Compression::Zstd(3), Compression::Gzip(3), Compression::None] {
            let once = compress(compression, &bytes, 1, 1 << 20);
            for (threads, piece) in [(2, 4096), (5, 100_000), (8, 3 << 20)] {
                let again = compress(compression, &bytes, threads, piece);
                assert_eq!(Digest::of(&once), Digest::of(&again), "{compression:?} {threads} {piece}");
            }
        }
    }

    #[test]
    fn any_number_of_threads_will_do() {
        let bytes = sample(3 << 20);
        for compression in [Compression::Zstd(3), Compression::Gzip(3), Compression::None] {
            let once = compress(compression, &bytes, 1, 1 << 20);
            for threads in [60_000, usize::MAX] {
                assert!(once == compress(compression, &bytes, threads, 1 << 20), "{compression:?} {threads}");
            }
        }
        let many = NonZero::<usize>::MAX;
        let Encoder::Gzip(encoder) = Compression::Gzip(3).encoder(Vec::new(), many).unwrap() else { panic!() };
        assert!(encoder.workers() <= WORKERS_MAX.get(), "{} threads", encoder.workers());
    }

    #[test]
    fn a_layer_is_one_member_or_frame() {
        for size in [0, 1, 1 << 20, (3 << 20) + 17] {
            let bytes = sample(size);
            let packed = compress(Compression::Gzip(6), &bytes, 3, 9999);
            let mut one = flate2::bufread::GzDecoder::new(&packed[..]);
            let mut out = Vec::new();
            one.read_to_end(&mut out).unwrap();
            assert!(out == bytes && one.into_inner().is_empty(), "gzip {size}");

            let packed = compress(Compression::Zstd(3), &bytes, 3, 9999);
            let mut one = zstd::Decoder::with_buffer(&packed[..]).unwrap().single_frame();
            let mut out = Vec::new();
            one.read_to_end(&mut out).unwrap();
            assert!(out == bytes && one.finish().is_empty(), "zstd {size}");
        }
    }

    #[test]
    fn the_identity_names_the_locked_zlib() {
        let lock = include_str!("../../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"zlib-rs\"\nversion = \"{ZLIB_RS}\"")));
    }
}
