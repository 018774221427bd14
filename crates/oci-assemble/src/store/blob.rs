//! Blobs, read so that nothing unverified gets through.

use std::fmt;
use std::io::{self, Read};

use super::error::{Result, StoreError, io as failed};
use crate::image::{Descriptor, Hasher, Mismatch};

/// Gives blobs.
///
/// Law: what [`BlobSource::open`] gives is exactly the bytes of the descriptor's digest, or ends in an error, and reads
/// no more than one byte beyond the descriptor's size from wherever they come.
pub trait BlobSource: Send + Sync {
    /// Whether the blob is there with the right size. Costs no read of it; what is there may still turn out corrupt.
    fn has(&self, descriptor: &Descriptor) -> Result<bool>;

    /// Opens a blob for reading once. Costs a file, or a request.
    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>>;

    /// The layout behind this source, whose blobs can be linked instead of copied.
    fn layout(&self) -> Option<&super::layout::Layout> {
        None
    }
}

/// Gives and takes blobs.
///
/// Law: after `put(d, r)` succeeded, `has(d)` is true and `open(d)` gives the bytes; `put` of what is there already
/// changes nothing; a `put` that fails leaves nothing behind.
pub trait BlobStore: BlobSource {
    /// Stores the bytes of `reader`, which must be those of the descriptor.
    fn put(&self, descriptor: &Descriptor, reader: &mut (dyn Read + Send)) -> Result<()>;
}

/// Reads a blob and holds it against its descriptor.
///
/// The last bytes are given only after the whole blob was verified, so reading `size` bytes is enough. Errors carry a
/// [`Mismatch`] and repeat themselves.
pub struct VerifiedReader<'a> {
    inner: Box<dyn Read + Send + 'a>,
    descriptor: Descriptor,
    left: u64,
    state: State,
}

enum State {
    Reading(Hasher),
    Verified,
    Refused(Mismatch),
}

impl<'a> VerifiedReader<'a> {
    /// Reads `inner` as the blob of `descriptor`.
    pub fn new(descriptor: &Descriptor, inner: impl Read + Send + 'a) -> Self {
        let state = State::Reading(descriptor.digest.hasher());
        let descriptor = Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size);
        Self { inner: Box::new(inner), left: descriptor.size, descriptor, state }
    }

    /// What is left, as one value. The caller has checked that `size` is not too much for memory.
    pub fn read_whole(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.left).unwrap_or(0).min(1 << 22));
        self.read_to_end(&mut bytes).map_err(failed("read", self.descriptor.digest.to_string()))?;
        Ok(bytes)
    }

    fn refuse(&mut self, mismatch: Mismatch) -> io::Error {
        self.state = State::Refused(mismatch.clone());
        io::Error::new(io::ErrorKind::InvalidData, mismatch)
    }

    fn size_is(&mut self, found: u64) -> io::Error {
        let Descriptor { digest, size: expected, .. } = self.descriptor;
        self.refuse(Mismatch::Size { digest, expected, found })
    }

    /// At the last byte: there is no further one, and the digest is right.
    fn check(&mut self) -> io::Result<()> {
        if read_some(&mut self.inner, &mut [0])? > 0 {
            return Err(self.size_is(self.descriptor.size.saturating_add(1)));
        }
        if let State::Reading(hasher) = std::mem::replace(&mut self.state, State::Verified) {
            let (expected, found) = (self.descriptor.digest, hasher.finish());
            if expected != found {
                return Err(self.refuse(Mismatch::Digest { expected: Box::new(expected), found: Box::new(found) }));
            }
        }
        Ok(())
    }
}

impl Read for VerifiedReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &self.state {
            State::Refused(mismatch) => return Err(io::Error::new(io::ErrorKind::InvalidData, mismatch.clone())),
            State::Verified => return Ok(0),
            State::Reading(_) if out.is_empty() => return Ok(0),
            State::Reading(_) => {}
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let taken = if room > 0 { read_some(&mut self.inner, &mut out[..room])? } else { 0 };
        if taken == 0 && self.left > 0 {
            return Err(self.size_is(self.descriptor.size - self.left));
        }
        if let State::Reading(hasher) = &mut self.state {
            hasher.update(&out[..taken]);
        }
        self.left -= taken as u64;
        if self.left == 0 {
            self.check()?;
        }
        Ok(taken)
    }
}

impl fmt::Debug for VerifiedReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedReader")
            .field("digest", &self.descriptor.digest)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

fn read_some(reader: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(out) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Reads a JSON document, at most `limit` bytes of it.
pub fn read_document(source: &dyn BlobSource, descriptor: &Descriptor, limit: usize) -> Result<Vec<u8>> {
    if descriptor.size > limit as u64 {
        return Err(StoreError::TooLarge { digest: descriptor.digest, size: descriptor.size });
    }
    source.open(descriptor)?.read_whole()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::image::{Digest, MediaType};
    use proptest::prelude::*;

    /// Gives bytes in small pieces and counts what was taken.
    struct Dripping<'a> {
        bytes: &'a [u8],
        piece: usize,
        taken: &'a mut u64,
    }

    impl Read for Dripping<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let amount = self.piece.min(out.len());
            let read = (&self.bytes[..amount.min(self.bytes.len())]).read(out)?;
            self.bytes = &self.bytes[read..];
            *self.taken += read as u64;
            Ok(read)
        }
    }

    proptest! {
        #[test]
        fn exactly_the_bytes_of_the_descriptor_come_through(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            other in prop::collection::vec(any::<u8>(), 0..64),
            piece in 1..9_usize,
        ) {
            for digest in [Digest::of(&bytes), {
                let mut hasher = Digest::Sha512([0; 64]).hasher();
                hasher.update(&bytes);
                hasher.finish()
            }] {
                let descriptor = Descriptor::new(MediaType::Empty, digest, bytes.len() as u64);
                for stream in [&bytes, &other] {
                    let mut taken = 0;
                    let mut reader = VerifiedReader::new(&descriptor, Dripping { bytes: stream, piece, taken: &mut taken });
                    let mut seen = Vec::new();
                    let outcome = reader.read_to_end(&mut seen);
                    prop_assert_eq!(outcome.is_ok(), *stream == bytes);
                    prop_assert!(outcome.is_err() || seen == bytes);
                    if let Err(error) = outcome {
                        prop_assert!(super::super::error::mismatch(&error).is_some());
                        prop_assert!(reader.read(&mut [0]).is_err(), "an error repeats itself");
                    }
                    drop(reader);
                    prop_assert!(taken <= descriptor.size + 1);
                }
            }
        }
    }

    #[test]
    fn the_last_bytes_are_held_back_until_they_are_verified() {
        let descriptor = Descriptor::of(MediaType::Empty, b"good");
        for (stream, found) in [
            (
                &b"evil"[..],
                Mismatch::Digest { expected: Box::new(Digest::of(b"good")), found: Box::new(Digest::of(b"evil")) },
            ),
            (b"good and more", Mismatch::Size { digest: Digest::of(b"good"), expected: 4, found: 5 }),
            (b"goo", Mismatch::Size { digest: Digest::of(b"good"), expected: 4, found: 3 }),
        ] {
            let mut reader = VerifiedReader::new(&descriptor, stream);
            let error = reader.read_exact(&mut [0; 4]).unwrap_err();
            assert_eq!(super::super::error::mismatch(&error), Some(found));
        }
        let empty = Descriptor::of(MediaType::Empty, b"");
        assert!(VerifiedReader::new(&empty, &b""[..]).read_whole().unwrap().is_empty());
        assert!(VerifiedReader::new(&empty, &b"x"[..]).read(&mut [0; 9]).is_err());
    }
}
