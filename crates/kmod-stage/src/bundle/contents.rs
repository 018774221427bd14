//! The bytes of a bundle's files, read out of its layer when they are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use oci_assemble::image::{Descriptor, Digest, Encoding, Hasher};
use oci_assemble::layer::{Contents, TarStream, decode};
use oci_assemble::store::{Layout, VerifiedReader};
use oci_assemble::tree::Content;

/// Inflating streams that are kept between files. Files are asked for in the order of the layer, so one would do; a
/// file with the bytes of an earlier one takes a second, and the first goes on where it stood.
const STREAMS: usize = 2;

/// Gives the files of one bundle. Each is held against its digest. Files in the order of the layer cost one inflation
/// together; going back costs another.
pub struct BundleContents {
    layout: Arc<Layout>,
    layer: Descriptor,
    offsets: BTreeMap<Digest, u64>,
    parked: Mutex<Vec<Stream>>,
}

/// The layer's tar, read up to byte `at`.
struct Stream {
    tar: TarStream<VerifiedReader<'static>>,
    at: u64,
}

impl std::fmt::Debug for BundleContents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BundleContents").field("layer", &self.layer.digest).finish_non_exhaustive()
    }
}

impl BundleContents {
    /// The files of `layer` of the layout, at `offsets` of its uncompressed stream.
    pub(super) fn new(layout: Arc<Layout>, layer: Descriptor, offsets: BTreeMap<Digest, u64>) -> Self {
        Self { layout, layer, offsets, parked: Mutex::default() }
    }

    /// A stream that stands at `offset`.
    fn stream(&self, offset: u64) -> io::Result<Stream> {
        let mut stream = self.parked_before(offset).map_or_else(|| self.fresh(), Ok)?;
        let missing = offset - stream.at;
        if io::copy(&mut (&mut stream.tar).take(missing), &mut io::sink())? < missing {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.at = offset;
        Ok(stream)
    }

    /// The parked stream that has the least to skip.
    fn parked_before(&self, offset: u64) -> Option<Stream> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = parked.iter().enumerate().filter(|(_, stream)| stream.at <= offset);
        let (nearest, _) = before.max_by_key(|(_, stream)| stream.at)?;
        Some(parked.swap_remove(nearest))
    }

    fn fresh(&self) -> io::Result<Stream> {
        let encoding = self.layer.media_type.encoding().unwrap_or(Encoding::Zstd);
        Ok(Stream { tar: decode(self.layout.reader(&self.layer)?, encoding)?, at: 0 })
    }

    fn park(&self, stream: Stream) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.len() == STREAMS
            && let Some((earliest, _)) = parked.iter().enumerate().min_by_key(|(_, stream)| stream.at)
        {
            parked.swap_remove(earliest);
        }
        parked.push(stream);
    }
}

impl Contents for BundleContents {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        let Content::Stored { digest, size } = content else { return Err(io::ErrorKind::NotFound.into()) };
        if *size == 0 {
            return Ok(Box::new(io::empty()));
        }
        let offset = *self.offsets.get(digest).ok_or(io::ErrorKind::NotFound)?;
        let stream = Some(self.stream(offset)?);
        Ok(Box::new(File { of: self, stream, left: *size, hasher: Some(digest.hasher()), digest: *digest }))
    }

    fn has(&self, content: &Content) -> bool {
        matches!(content, Content::Stored { digest, size } if *size == 0 || self.offsets.contains_key(digest))
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let place = |content: &Content| content.digest().and_then(|digest| self.offsets.get(&digest).copied());
        let mut ordered: Vec<&Content> = wanted.iter().collect();
        ordered.sort_by_key(|content| place(content));
        ordered.into_iter().try_for_each(|content| each(content, &mut self.open(content)?))
    }
}

/// One file of the layer; a part of a blob cannot be held against the blob's digest, but against its own.
struct File<'a> {
    of: &'a BundleContents,
    /// Gone after an error.
    stream: Option<Stream>,
    left: u64,
    hasher: Option<Hasher>,
    digest: Digest,
}

impl File<'_> {
    fn fill(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let Some(out) = out.get_mut(..room).filter(|out| !out.is_empty()) else { return Ok(0) };
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::InvalidData)?;
        let read = stream.tar.read(out)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.at += read as u64;
        self.left -= read as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..read]);
        }
        if self.left == 0
            && let Some(found) = self.hasher.take().map(Hasher::finish)
            && found != self.digest
        {
            let text = format!("a file of the bundle has digest {found}, it had {}", self.digest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(read)
    }
}

impl Read for File<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill(out);
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.stream = None;
        }
        read
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.of.park(stream);
        }
    }
}
