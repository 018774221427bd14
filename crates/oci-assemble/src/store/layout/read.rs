//! Reading a layout.

use std::fs::File;

use cap_std::fs::Dir;

use super::{HEADER, INDEX, PRIVATE, USERS_LOCK};
use crate::image::{Descriptor, Digest, Document, DocumentError, DocumentFault, Index, MAX_MANIFEST, Mismatch, json};
use crate::store::blob::{BlobSource, VerifiedReader};
use crate::store::error::{Result, StoreError, io as failed};
use crate::store::file::{self, Lock};
use crate::store::verified::Verified;
use crate::tree::Stamp;

/// Bytes of the file `oci-layout` that are read at most; it has thirty.
const MAX_HEADER: usize = 64 << 10;

/// A layout that is read. As long as it lives, `gc` by this program deletes nothing from it.
#[derive(Debug)]
pub struct Layout {
    pub(super) dir: Dir,
    pub(super) verified: Verified,
    users: Option<Lock>,
}

impl Layout {
    /// Opens the layout in `dir`. It is not changed by that, and may be read-only.
    pub fn open(dir: Dir) -> Result<Self> {
        Self::open_with(dir, Verified::default())
    }

    /// As [`Layout::open`], with a memory of files that were verified before.
    pub fn open_with(dir: Dir, verified: Verified) -> Result<Self> {
        let mut layout = Self::unlocked(dir)?;
        layout.verified = verified;
        layout.users = layout.dir.open_dir(PRIVATE).ok().and_then(|private| Lock::share_existing(&private, USERS_LOCK));
        Ok(layout)
    }

    /// A layout whose users this reader does not belong to: for one that has it for itself.
    pub(in crate::store) fn unlocked(dir: Dir) -> Result<Self> {
        check_header(&dir)?.ok_or_else(|| StoreError::Io {
            action: "open",
            path: HEADER.into(),
            source: no_layout(),
        })?;
        Ok(Self { dir, verified: Verified::default(), users: None })
    }

    /// The list of images as it stands now.
    pub fn index(&self) -> Result<Index> {
        read_index(&self.dir)?.ok_or_else(|| StoreError::Io { action: "open", path: INDEX.into(), source: no_layout() })
    }

    /// The image with this tag and digest, as far as they are given; without either, the only one.
    pub fn find(&self, tag: Option<&str>, digest: Option<&Digest>) -> Result<Descriptor> {
        find(&self.index()?, tag, digest)
    }

    /// The directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// As [`BlobSource::open`], for a reader that outlives the borrow of the layout: it holds the blob's file itself.
    pub fn reader(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'static>> {
        let (file, _) = self.file(descriptor)?.ok_or(StoreError::Missing { digest: descriptor.digest })?;
        Ok(VerifiedReader::new(descriptor, file))
    }

    /// The size of a blob's file; `None` when it is not there.
    pub(in crate::store) fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(dir) = blob_dir(&self.dir, digest)? else { return Ok(None) };
        Ok(file::open_regular(&dir, &digest.hex())?.map(|(_, stamp)| stamp.size))
    }

    /// Opens a blob's file; `None` when it is not there. Its size is right, its content is not verified.
    pub(in crate::store) fn file(&self, descriptor: &Descriptor) -> Result<Option<(File, Stamp)>> {
        let Some(dir) = blob_dir(&self.dir, &descriptor.digest)? else { return Ok(None) };
        let Some((file, stamp)) = file::open_regular(&dir, &descriptor.digest.hex())? else { return Ok(None) };
        if stamp.size == descriptor.size {
            return Ok(Some((file, stamp)));
        }
        let Descriptor { digest, size: expected, .. } = *descriptor;
        Err(Mismatch::Size { digest, expected, found: stamp.size }.into())
    }
}

impl BlobSource for Layout {
    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        match self.file(descriptor) {
            Ok(found) => Ok(found.is_some()),
            Err(StoreError::Blob(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>> {
        self.reader(descriptor)
    }

    fn layout(&self) -> Option<&Layout> {
        Some(self)
    }
}

/// The absence of a file that every layout has.
fn no_layout() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file, so this is no OCI layout")
}

/// Whether an entry is a signature or another attachment of an image instead of an image: a manifest with an artifact type, or
/// one under a tag made of a digest (cosign, and distribution-spec, "Referrers Tag Schema").
pub fn is_attached(entry: &Descriptor) -> bool {
    let by_tag = entry.ref_name().is_some_and(|tag| {
        let tag = tag.strip_suffix(".sig").or_else(|| tag.strip_suffix(".att")).unwrap_or(tag);
        tag.split_once('-').is_some_and(|(algorithm, hex)| format!("{algorithm}:{hex}").parse::<Digest>().is_ok())
    });
    by_tag || matches!(entry.rest.get("artifactType"), Some(serde_json::Value::String(kind)) if !kind.is_empty())
}

/// The directory of a digest's algorithm.
pub(in crate::store) fn blob_dir(dir: &Dir, digest: &Digest) -> Result<Option<Dir>> {
    let path = format!("blobs/{}", digest.algorithm());
    match dir.open_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(failed("open", path)),
    }
}

/// Reads the file `oci-layout`; `None` when there is none.
pub(in crate::store) fn check_header(dir: &Dir) -> Result<Option<()>> {
    file::read_regular(dir, HEADER, MAX_HEADER)?.map(|bytes| parse_header(&bytes)).transpose()
}

/// Checks the content of the file `oci-layout`: version 1.x.
pub(in crate::store) fn parse_header(bytes: &[u8]) -> Result<()> {
    let fault = |fault| DocumentError { document: Document::LayoutHeader, fault };
    let value = json::parse(bytes, MAX_HEADER).map_err(|error| fault(DocumentFault::Json(error)))?;
    let found = value.get("imageLayoutVersion").and_then(serde_json::Value::as_str);
    let found = found.ok_or_else(|| fault(DocumentFault::Missing { at: "/imageLayoutVersion".into() }))?;
    if !found.starts_with("1.") {
        return Err(fault(DocumentFault::LayoutVersion { found: found.to_owned() }).into());
    }
    Ok(())
}

/// Reads the list of images; `None` when there is none.
pub(in crate::store) fn read_index(dir: &Dir) -> Result<Option<Index>> {
    let Some(bytes) = file::read_regular(dir, INDEX, MAX_MANIFEST)? else { return Ok(None) };
    Ok(Some(Index::parse(&bytes, None)?))
}

/// The entry of `index` with this tag and digest, as far as they are given; without either, the only one.
pub(in crate::store) fn find(index: &Index, tag: Option<&str>, digest: Option<&Digest>) -> Result<Descriptor> {
    let fits = |entry: &&Descriptor| {
        tag.is_none_or(|tag| entry.ref_name() == Some(tag)) && digest.is_none_or(|digest| entry.digest == *digest)
    };
    let mut found: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
    if tag.is_none() && digest.is_none() && found.iter().any(|entry| !is_attached(entry)) {
        found.retain(|entry| !is_attached(entry));
    }
    // The same image under several tags is one image.
    found.dedup_by_key(|entry| entry.digest);
    let present = || index.manifests.iter().filter_map(|entry| entry.ref_name().map(str::to_owned)).collect();
    match found[..] {
        [one] => Ok(one.clone()),
        [] => {
            let digest = digest.map(Digest::to_string);
            let wanted = [tag.map(str::to_owned), digest].into_iter().flatten().collect::<Vec<_>>().join("@");
            Err(StoreError::NoImage { wanted, present: present() })
        }
        _ => Err(StoreError::SeveralImages { found: found.len(), present: present() }),
    }
}
