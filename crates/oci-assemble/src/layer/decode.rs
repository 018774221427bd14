//! Opens a compressed layer as its tar stream, to the end of the blob.
//!
//! Several gzip members or zstd frames are read on, and counted: clients that read only the first see other files.
//! Anything else behind the stream is refused, as is a window above 128 MiB (the limit other readers set).

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use super::gate::Rule;
use crate::image::Encoding;

/// log2 of the largest zstd window: 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
/// Bytes read from a blob at once.
const BUFFER: usize = 256 << 10;

/// The encoding that the first bytes of a blob show.
fn of_magic(magic: &[u8]) -> Encoding {
    match magic {
        [0x1f, 0x8b, ..] => Encoding::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Encoding::Zstd,
        _ => Encoding::Plain,
    }
}

/// Why a blob is not the stream that its media type promises. Travels inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first bytes are of another encoding.
    #[error("the media type says {expected:?}, but the bytes are {found:?}")]
    MediaType {
        /// What the media type says.
        expected: Encoding,
        /// What the bytes are.
        found: Encoding,
    },
    /// Bytes behind the compressed stream.
    #[error("something follows the compressed stream at byte {at} of the blob")]
    Trailing {
        /// Compressed bytes before it.
        at: u64,
    },
}

/// The tar stream of a blob, and how many members or frames it took.
pub struct TarStream<R: Read> {
    state: State<R>,
    encoding: Encoding,
    parts: u64,
}

enum State<R: Read> {
    Plain(Source<R>),
    Gzip(Box<flate2::bufread::GzDecoder<Source<R>>>),
    Zstd(zstd::Decoder<'static, Source<R>>),
    /// Between two members; always left before a call returns, but for an error.
    Moved,
}

/// A buffered source that counts what was taken from it.
struct Source<R> {
    inner: BufReader<R>,
    taken: u64,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.taken += read as u64;
        Ok(read)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount as u64;
        self.inner.consume(amount);
    }
}

impl<R: Read> fmt::Debug for TarStream<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarStream")
            .field("encoding", &self.encoding)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

/// Opens `blob`, which must be encoded as said.
pub fn decode<R: Read>(blob: R, encoding: Encoding) -> io::Result<TarStream<R>> {
    let mut source = Source { inner: BufReader::with_capacity(BUFFER, blob), taken: 0 };
    let found = of_magic(source.fill_buf()?);
    if found != encoding {
        return Err(invalid(DecodeError::MediaType { expected: encoding, found }));
    }
    let state = match encoding {
        Encoding::Plain => State::Plain(source),
        Encoding::Gzip => State::Gzip(Box::new(flate2::bufread::GzDecoder::new(source))),
        Encoding::Zstd => State::Zstd(frame(source)?),
    };
    Ok(TarStream { state, encoding, parts: 1 })
}

fn frame<R: Read>(source: Source<R>) -> io::Result<zstd::Decoder<'static, Source<R>>> {
    let mut decoder = zstd::Decoder::with_buffer(source)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: Read> TarStream<R> {
    /// The rule that the blob breaks by having more than one member or frame, once it was read to its end.
    pub fn broken(&self) -> Option<Rule> {
        match self.encoding {
            Encoding::Gzip if self.parts > 1 => Some(Rule::GzipMembers),
            Encoding::Zstd if self.parts > 1 => Some(Rule::ZstdFrames),
            _ => None,
        }
    }

    /// Goes on to the next member; `false` at the end of the blob.
    fn next_part(&mut self) -> io::Result<bool> {
        let mut source = match std::mem::replace(&mut self.state, State::Moved) {
            State::Gzip(decoder) => decoder.into_inner(),
            State::Zstd(decoder) => decoder.finish(),
            State::Plain(source) => source,
            State::Moved => return Ok(false),
        };
        let rest = source.fill_buf()?;
        if rest.is_empty() {
            self.state = State::Plain(source);
            return Ok(false);
        }
        if of_magic(rest) != self.encoding {
            return Err(invalid(DecodeError::Trailing { at: source.taken }));
        }
        self.parts += 1;
        self.state = match self.encoding {
            Encoding::Zstd => State::Zstd(frame(source)?),
            _ => State::Gzip(Box::new(flate2::bufread::GzDecoder::new(source))),
        };
        Ok(true)
    }
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.state {
                State::Plain(source) => return source.read(out),
                State::Gzip(decoder) => decoder.read(out)?,
                State::Zstd(decoder) => decoder.read(out)?,
                State::Moved => return Ok(0),
            };
            if read > 0 || !self.next_part()? {
                return Ok(read);
            }
        }
    }
}
