//! Writing an archive.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use tar::{EntryType, Header};

use crate::image::{Descriptor, Index, REF_NAME, name};
use crate::store::blob::BlobSource;
use crate::store::error::{Result, StoreError, io as failed};
use crate::store::file;
use crate::store::layout::{HEADER, HEADER_TEXT, INDEX};
use crate::store::resolve::reachable;

/// Writes the archive `name`, one component, in `dir`, with these images under these tags. It appears whole or not at
/// all, in the place of what is there.
///
/// Law: the same images and tags in the same order give the same bytes.
pub fn write_archive(
    dir: &Dir,
    name: &str,
    source: &dyn BlobSource,
    images: &[(Option<&str>, &Descriptor)],
) -> Result<()> {
    let index = list(images)?;
    let mut blobs = reachable(source, &index.manifests)?;
    blobs.sort_by_key(path);
    let part = format!(".{name}.part");
    let file = lock_part(dir, &part).map_err(failed("create", &part))?.ok_or(StoreError::InUse)?;
    let written = fill(&file, source, &index, &blobs).and_then(|()| {
        let done = || -> io::Result<()> {
            file.sync_all()?;
            dir.rename(&part, dir, name)?;
            Ok(rustix::fs::fsync(file::reopen(dir)?)?)
        };
        done().map_err(failed("write", name))
    });
    if written.is_err() {
        let _ = dir.remove_file(&part);
    }
    written
}

fn list(images: &[(Option<&str>, &Descriptor)]) -> Result<Index> {
    let mut index = Index::default();
    for (tag, image) in images {
        let mut entry = (*image).clone();
        entry.annotations.remove(REF_NAME);
        if let Some(tag) = tag {
            if !name::is_layout_tag(tag) {
                return Err(StoreError::Tag { tag: (*tag).to_owned() });
            }
            entry.annotations.insert(REF_NAME.to_owned(), (*tag).to_owned());
        }
        index.manifests.push(entry);
    }
    Ok(index)
}

fn path(blob: &Descriptor) -> String {
    format!("blobs/{}/{}", blob.digest.algorithm(), blob.digest.hex())
}

/// The unfinished file, locked; `None` when somebody else writes it. What a killed writer left is used again.
fn lock_part(dir: &Dir, part: &str) -> io::Result<Option<File>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let file = rustix::fs::openat(dir, part, flags, Mode::from_raw_mode(0o644))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            other => other?,
        }
        // It may have been finished and renamed before we got the lock.
        let (ours, named) = (rustix::fs::fstat(&file)?, rustix::fs::statat(dir, part, AtFlags::SYMLINK_NOFOLLOW));
        if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)) {
            let mut file = File::from(file);
            file.set_len(0)?;
            file.rewind()?;
            return Ok(Some(file));
        }
    }
}

fn fill(file: &File, source: &dyn BlobSource, index: &Index, blobs: &[Descriptor]) -> Result<()> {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(256 << 10, file));
    let add = |tar: &mut tar::Builder<_>, name: &str, bytes: &[u8]| {
        tar.append_data(&mut header(EntryType::Regular, bytes.len() as u64), name, bytes).map_err(failed("write", name))
    };
    add(&mut tar, HEADER, HEADER_TEXT.as_bytes())?;
    add(&mut tar, INDEX, &index.to_bytes())?;
    let mut directories = vec!["blobs/".to_owned()];
    directories.extend(blobs.iter().map(|blob| format!("blobs/{}/", blob.digest.algorithm())));
    directories.dedup();
    for directory in directories {
        let mut header = header(EntryType::Directory, 0);
        tar.append_data(&mut header, &directory, io::empty()).map_err(failed("write", directory))?;
    }
    for blob in blobs {
        let reader = source.open(blob)?;
        tar.append_data(&mut header(EntryType::Regular, blob.size), path(blob), reader)
            .map_err(failed("write", blob.digest.to_string()))?;
    }
    let finished = tar.into_inner().and_then(|mut buffer| buffer.flush());
    finished.map_err(failed("write", "the archive"))
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
