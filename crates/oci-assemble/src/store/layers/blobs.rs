//! The bytes of files that lie in layers, found by digest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use crate::image::{Descriptor, Digest, Encoding, Hasher};
use crate::layer::{Places, decode};
use crate::store::blob::BlobSource;
use crate::tree::Content;

/// The blobs of an image's layers, lowest first.
pub(super) struct LayerBlobs<'a> {
    pub(super) blobs: &'a dyn BlobSource,
    pub(super) layers: Vec<(Descriptor, Encoding)>,
}

impl LayerBlobs<'_> {
    fn stream(&self, layer: usize) -> io::Result<Box<dyn Read + '_>> {
        let (descriptor, encoding) = self.layers.get(layer).ok_or(io::ErrorKind::NotFound)?;
        let blob = self.blobs.open(descriptor)?;
        Ok(Box::new(decode(blob, *encoding)?))
    }

    /// Opens one file.
    pub(super) fn open(&self, places: &Places, content: &Content) -> io::Result<Box<dyn Read + '_>> {
        let Content::Stored { digest, size } = content else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if *size == 0 {
            return Ok(Box::new(io::empty()));
        }
        let (layer, offset) = places.get(digest).ok_or(io::ErrorKind::NotFound)?;
        let mut stream = self.stream(layer)?;
        skip(&mut stream, offset)?;
        Ok(Box::new(Verified::new(stream, *digest, *size)))
    }

    /// Opens several files, each layer once.
    pub(super) fn visit(
        &self,
        places: &Places,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut by_layer: BTreeMap<usize, BTreeMap<u64, &Content>> = BTreeMap::new();
        for content in wanted {
            let place = content.digest().and_then(|digest| places.get(&digest));
            match place {
                Some((layer, offset)) => {
                    if by_layer.entry(layer).or_default().insert(offset, content).is_some() {
                        return Err(overlapping(layer));
                    }
                }
                None if places.has(content) => each(content, &mut io::empty())?,
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        }
        for (layer, contents) in by_layer {
            let mut stream = self.stream(layer)?;
            let mut at = 0;
            for (offset, content) in contents {
                // An index that somebody else made may say anything.
                let gap = offset.checked_sub(at).ok_or_else(|| overlapping(layer))?;
                skip(&mut stream, gap)?;
                let digest = content.digest().ok_or(io::ErrorKind::NotFound)?;
                let mut bytes = Verified::new(&mut stream, digest, content.size());
                each(content, &mut bytes)?;
                io::copy(&mut bytes, &mut io::sink())?;
                at = offset.saturating_add(content.size());
            }
        }
        Ok(())
    }
}

fn overlapping(layer: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the index of layer {layer} has two files in one place"))
}

fn skip(stream: &mut impl Read, amount: u64) -> io::Result<()> {
    if io::copy(&mut stream.take(amount), &mut io::sink())? < amount {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A file's bytes out of a layer, held against its digest: a part of a blob cannot be held against the blob's.
struct Verified<R> {
    stream: R,
    left: u64,
    hasher: Option<Hasher>,
    expected: Digest,
}

impl<R> Verified<R> {
    fn new(stream: R, expected: Digest, size: u64) -> Self {
        Self { stream, left: size, hasher: Some(expected.hasher()), expected }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let read = self.stream.read(&mut out[..room])?;
        if read == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..read]);
        }
        self.left -= read as u64;
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
        {
            let found = hasher.finish();
            if found != self.expected {
                let text = format!("a file of the layer has digest {found}, its index says {}", self.expected);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(read)
    }
}
