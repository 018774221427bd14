//! Which blobs are known to unpack to which streams.
//!
//! What a configuration says of its layers was said by whoever wrote it, and clients believe it: a blob that unpacks to
//! something else, or that only some readers unpack to its end, must not be taken over from another image. Finding out
//! costs reading the blob, once.

use std::io::{self, ErrorKind};

use super::blob::BlobSource;
use super::cache::{CacheDir, CacheKind};
use super::error::{Result, StoreError, io as failed};
use crate::image::{Descriptor, Digest};
use crate::layer::decode;

/// Remembers which blobs are one stream with a certain diff_id: beyond the process if there is a cache.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpacked<'a>(Option<&'a CacheDir>);

impl<'a> Unpacked<'a> {
    /// What `cache` knows.
    pub fn new(cache: Option<&'a CacheDir>) -> Self {
        Self(cache)
    }

    /// Whether it is known that [`Unpacked::holds`].
    pub fn knows(self, blob: &Descriptor, diff_id: &Digest) -> bool {
        self.0.is_some_and(|cache| cache.get(CacheKind::Unpacked, &key(blob, diff_id)).is_some())
    }

    /// Remembers that the blob is one stream with this diff_id. A cache that cannot be written costs time later.
    pub fn remember(self, blob: &Descriptor, diff_id: &Digest) {
        if let Some(cache) = self.0 {
            let _ = cache.put(CacheKind::Unpacked, &key(blob, diff_id), b"");
        }
    }

    /// Whether the blob is one gzip member or zstd frame, as its media type says, whose stream has this diff_id. Costs
    /// reading it from `source`, unless that is known. A blob that is missing or damaged is not.
    ///
    /// # Errors
    /// When the system or the network fails.
    pub fn holds(self, source: &dyn BlobSource, blob: &Descriptor, diff_id: &Digest) -> Result<bool> {
        if self.knows(blob, diff_id) {
            return Ok(true);
        }
        let Some(encoding) = blob.media_type.encoding() else { return Ok(false) };
        let opened = match source.open(blob) {
            Err(error) if error.is_of_blob() => return Ok(false),
            other => other?,
        };
        let mut hasher = diff_id.hasher();
        let read = decode(opened, encoding).and_then(|mut stream| {
            io::copy(&mut stream, &mut hasher)?;
            Ok(stream.broken().is_none())
        });
        let whole = match read.map_err(failed("read", blob.digest.to_string())) {
            Err(error) if error.is_of_blob() => false,
            // What decoders say of bytes that are none of theirs; libzstd's words have no kind.
            Err(StoreError::Io { source, .. }) if is_of_decoder(&source) => false,
            other => other?,
        };
        let holds = whole && hasher.finish() == *diff_id;
        if holds {
            self.remember(blob, diff_id);
        }
        Ok(holds)
    }
}

fn is_of_decoder(error: &io::Error) -> bool {
    let kinds = [ErrorKind::InvalidData, ErrorKind::InvalidInput, ErrorKind::UnexpectedEof, ErrorKind::Other];
    error.raw_os_error().is_none() && kinds.contains(&error.kind())
}

/// The same bytes as another media type are another stream.
fn key(blob: &Descriptor, diff_id: &Digest) -> Digest {
    let encoding = blob.media_type.encoding();
    Digest::of(format!("{} {diff_id} {encoding:?}", blob.digest).as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cap_std::ambient_authority;
    use cap_std::fs::Dir;

    use super::super::blob::VerifiedReader;
    use super::*;
    use crate::image::{Encoding, MediaType};

    /// Blobs in memory, and how often one was opened.
    #[derive(Default)]
    struct Blobs(BTreeMap<Digest, Vec<u8>>, AtomicUsize);

    impl BlobSource for Blobs {
        fn has(&self, descriptor: &Descriptor) -> Result<bool> {
            Ok(self.0.contains_key(&descriptor.digest))
        }

        fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let bytes = self.0.get(&descriptor.digest).ok_or(StoreError::Missing { digest: descriptor.digest })?;
            Ok(VerifiedReader::new(descriptor, bytes.as_slice()))
        }
    }

    #[test]
    fn only_a_single_stream_of_the_diff_id_holds_and_is_read_once() {
        let frame = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let (stream, whole) = (b"some stream".as_slice(), frame(b"some stream"));
        let two = [frame(b"some "), frame(b"stream")].concat();
        let temp = tempfile::tempdir().unwrap();
        let cache = CacheDir::new(Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap());
        let mut blobs = Blobs::default();
        let mut put = |bytes: &[u8], encoding| {
            let descriptor = Descriptor::of(MediaType::layer(encoding), bytes);
            blobs.0.insert(descriptor.digest, bytes.to_vec());
            descriptor
        };
        let good = put(&whole, Encoding::Zstd);
        let cases = [
            (good.clone(), Digest::of(b"another stream")),
            (put(&two, Encoding::Zstd), Digest::of(stream)),
            (put(&whole, Encoding::Gzip), Digest::of(stream)),
            (put(&whole[..whole.len() - 1], Encoding::Zstd), Digest::of(stream)),
            (put(&[&whole[..], b"x"].concat(), Encoding::Zstd), Digest::of(stream)),
            (Descriptor::of(MediaType::layer(Encoding::Zstd), b"absent"), Digest::of(stream)),
        ];
        let known = Unpacked::new(Some(&cache));
        for (blob, diff_id) in &cases {
            assert!(!known.holds(&blobs, blob, diff_id).unwrap(), "{blob:?}");
            assert!(!known.knows(blob, diff_id));
        }
        let opened = blobs.1.load(Ordering::Relaxed);
        for _ in 0..3 {
            assert!(known.holds(&blobs, &good, &Digest::of(stream)).unwrap());
        }
        assert_eq!(blobs.1.load(Ordering::Relaxed), opened + 1);
        assert!(Unpacked::default().holds(&blobs, &good, &Digest::of(stream)).unwrap());
    }
}
