//! Reading an archive in place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use cap_std::fs::Dir;
use tar::EntryType;

use crate::image::{Descriptor, Digest, Index, MAX_MANIFEST, Mismatch};
use crate::store::blob::{BlobSource, VerifiedReader};
use crate::store::error::{Result, StoreError, io as failed};
use crate::store::file;
use crate::store::layout::{HEADER, INDEX, find, parse_header};

/// Entries read at most. An image has a hundred blobs; the memory for a million names would be felt.
const MAX_ENTRIES: usize = 100_000;

/// Why a tar file is not an archive of a layout.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveFault {
    /// Not a tar, or cut off.
    #[error("the tar cannot be read")]
    Tar(#[source] io::Error),
    /// A compressed tar, whose parts cannot be reached.
    #[error("the tar is compressed, decompress it first")]
    Compressed,
    /// A link, device or directory in the place of a file of the layout.
    #[error("{name} is not a regular file")]
    NotRegular {
        /// Name of the entry.
        name: String,
    },
    /// Two entries of one name: programs disagree which one counts.
    #[error("{name} stands in it twice")]
    Twice {
        /// Name of the entries.
        name: String,
    },
    /// The file ends before an entry does.
    #[error("{name} is cut off")]
    CutOff {
        /// Name of the entry.
        name: String,
    },
    /// A file every layout has is not there.
    #[error("{name} is missing")]
    Missing {
        /// Name of the entry.
        name: &'static str,
    },
    /// More entries than any layout has.
    #[error("it has more than {} entries", MAX_ENTRIES)]
    TooMany,
}

/// Where an entry's bytes are in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: u64,
    size: u64,
}

/// A layout in a tar file.
#[derive(Debug)]
pub struct Archive {
    file: File,
    blobs: BTreeMap<Digest, Place>,
    index: Index,
}

impl Archive {
    /// Opens the archive `name`, one component, in `dir`. Costs a read of its headers.
    pub fn open(dir: &Dir, name: &str) -> Result<Self> {
        let missing = || failed("open", name)(io::ErrorKind::NotFound.into());
        let (file, stamp) = file::open_regular(dir, name)?.ok_or_else(missing)?;
        let mut places = list(&file, stamp.size)?;
        let mut document = |name: &'static str| -> Result<Vec<u8>> {
            let place = places.remove(name).ok_or(ArchiveFault::Missing { name })?;
            let mut bytes = Vec::new();
            // One byte beyond the limit, so that the parser behind sees that it is too much.
            let reader = Window { file: &file, place };
            reader.take(MAX_MANIFEST as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", name))?;
            Ok(bytes)
        };
        parse_header(&document(HEADER)?)?;
        let index = Index::parse(&document(INDEX)?, None)?;
        let blobs = places.into_iter().filter_map(|(name, place)| Some((digest(&name)?, place))).collect();
        Ok(Self { file, blobs, index })
    }

    /// The list of images.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The image with this tag and digest, as far as they are given; without either, the only one.
    pub fn find(&self, tag: Option<&str>, digest: Option<&Digest>) -> Result<Descriptor> {
        find(&self.index, tag, digest)
    }

    /// The size of a blob; `None` when it is not there.
    pub(in crate::store) fn size(&self, digest: &Digest) -> Option<u64> {
        self.blobs.get(digest).map(|place| place.size)
    }
}

impl BlobSource for Archive {
    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.blobs.get(&descriptor.digest).is_some_and(|place| place.size == descriptor.size))
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>> {
        let Descriptor { digest, size: expected, .. } = *descriptor;
        let place = *self.blobs.get(&digest).ok_or(StoreError::Missing { digest })?;
        if place.size != expected {
            return Err(Mismatch::Size { digest, expected, found: place.size }.into());
        }
        Ok(VerifiedReader::new(descriptor, Window { file: &self.file, place }))
    }
}

/// A part of a file; several can be read at the same time.
struct Window<'a> {
    file: &'a File,
    place: Place,
}

impl Read for Window<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.place.size).unwrap_or(usize::MAX).min(out.len());
        let read = self.file.read_at(&mut out[..room], self.place.offset)?;
        self.place.offset += read as u64;
        self.place.size -= read as u64;
        Ok(read)
    }
}

/// The files of the layout, by name. Other entries are passed over: `docker save` adds some of its own.
fn list(file: &File, length: u64) -> Result<BTreeMap<String, Place>> {
    let mut magic = [0; 4];
    if file.read_at(&mut magic, 0).map_err(failed("read", "the archive"))? == 4
        && (magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd])
    {
        return Err(ArchiveFault::Compressed.into());
    }
    let mut places = BTreeMap::new();
    let mut archive = tar::Archive::new(file);
    for (count, entry) in archive.entries_with_seek().map_err(ArchiveFault::Tar)?.enumerate() {
        let entry = entry.map_err(ArchiveFault::Tar)?;
        if count >= MAX_ENTRIES {
            return Err(ArchiveFault::TooMany.into());
        }
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        if name != HEADER && name != INDEX && digest(&name).is_none() {
            continue;
        }
        if entry.header().entry_type() != EntryType::Regular {
            return Err(ArchiveFault::NotRegular { name }.into());
        }
        let place = Place { offset: entry.raw_file_position(), size: entry.size() };
        if place.offset.checked_add(place.size).is_none_or(|end| end > length) {
            return Err(ArchiveFault::CutOff { name }.into());
        }
        if places.insert(name.clone(), place).is_some() {
            return Err(ArchiveFault::Twice { name }.into());
        }
    }
    Ok(places)
}

/// The digest of the blob that has this name in a layout.
fn digest(name: &str) -> Option<Digest> {
    name.strip_prefix("blobs/")?.replacen('/', ":", 1).parse().ok()
}
