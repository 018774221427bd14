//! Images in the encoding of ostree-encapsulated bases, of any size.
//!
//! The encoding is that of `fixtures/ostree-base`, which was exported by the real code: every layer starts with the
//! skeleton of an ostree repository; the first has the commit and the directories, chunks have objects with hardlinks
//! from the visible paths to them, the last is the bare skeleton.
#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZero;

use tar::{Builder, EntryType, Header};

use super::image::amd64;
use crate::image::{Descriptor, Digest, History, Image, Layer};
use crate::layer::Compression;

/// An image and its blobs.
#[derive(Debug)]
pub struct Encapsulated {
    pub image: Image,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
}

/// What stands at a visible path.
#[derive(Clone, Copy, Debug)]
pub enum Visible<'a> {
    File(&'a [u8]),
    Program(&'a [u8]),
    Symlink(&'a str),
}

/// Encapsulates `files` (path → what stands there; parents are made) in `chunks` chunks.
pub fn encapsulated(files: &BTreeMap<&str, Visible<'_>>, chunks: usize) -> Encapsulated {
    let mut blobs = BTreeMap::new();
    let mut layers = vec![(commit_layer(files), "ostree export of commit".to_owned(), None)];
    for chunk in 0..chunks {
        let mut tar = skeleton();
        for (path, visible) in files.iter().skip(chunk).step_by(chunks) {
            object(&mut tar, path, *visible);
        }
        let name = format!("component-{chunk}");
        layers.push((tar.into_inner().unwrap(), name.clone(), Some(name)));
    }
    layers.push((skeleton().into_inner().unwrap(), "Reserved for new packages".into(), Some(String::new())));
    let mut image = Image::scratch(amd64());
    let mut last = None;
    for (tar, created_by, components) in layers {
        let mut encoder = Compression::Gzip(6).encoder(Vec::new(), NonZero::<usize>::MIN).unwrap();
        encoder.write_all(&tar).unwrap();
        let blob = encoder.finish().unwrap();
        let mut descriptor = Descriptor::of(Compression::Gzip(6).media_type(), &blob);
        descriptor.annotations.extend(components.map(|components| ("ostree.components".into(), components)));
        let diff_id = Digest::of(&tar);
        last = Some(diff_id);
        blobs.insert(descriptor.digest, blob);
        let (size, history) = (Some(tar.len() as u64), History::of(created_by));
        image = image.append(Layer { descriptor, diff_id, uncompressed_size: size, history }).unwrap();
    }
    for (label, value) in [
        ("containers.bootc", "1".to_owned()),
        ("ostree.bootable", "true".into()),
        ("ostree.commit", Digest::of(b"commit").hex()),
        ("ostree.final-diffid", last.unwrap().to_string()),
        ("org.opencontainers.image.version", "10.test".into()),
    ] {
        image = image.with_label(label, value.clone()).with_annotation(label, value);
    }
    let image = image.with_created(crate::image::Epoch::new(1_767_225_600).unwrap());
    blobs.insert(image.digest(), image.manifest_bytes().to_vec());
    blobs.insert(Digest::of(image.config_bytes()), image.config_bytes().to_vec());
    Encapsulated { image, blobs }
}

type Tar = Builder<Vec<u8>>;

fn entry(tar: &mut Tar, path: &str, kind: EntryType, mode: u32, link: Option<&str>, data: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(data.len() as u64);
    match link {
        Some(link) => tar.append_link(&mut header, path, link).unwrap(),
        None => tar.append_data(&mut header, path, data).unwrap(),
    }
}

fn directory(tar: &mut Tar, path: &str) {
    entry(tar, path, EntryType::Directory, 0o755, None, b"");
}

const REPO: &str = "sysroot/ostree/repo";

fn skeleton() -> Tar {
    let mut tar = Builder::new(Vec::new());
    for path in ["sysroot", "sysroot/ostree", REPO, "sysroot/ostree/repo/objects"] {
        directory(&mut tar, path);
    }
    for number in 0..=255 {
        directory(&mut tar, &format!("{REPO}/objects/{number:02x}"));
    }
    for path in ["extensions", "refs", "refs/heads", "refs/mirrors", "refs/remotes", "state", "tmp", "tmp/cache"] {
        directory(&mut tar, &format!("{REPO}/{path}"));
    }
    let config = b"[core]\nrepo_version=1\nmode=bare-split-xattrs\n";
    entry(&mut tar, &format!("{REPO}/config"), EntryType::Regular, 0o644, None, config);
    tar
}

fn object_path(digest: &Digest, suffix: &str) -> String {
    let hex = digest.hex();
    format!("{REPO}/objects/{}/{}.{suffix}", &hex[..2], &hex[2..])
}

fn commit_layer(files: &BTreeMap<&str, Visible<'_>>) -> Vec<u8> {
    let mut tar = skeleton();
    let commit = object_path(&Digest::of(b"commit"), "commit");
    entry(&mut tar, &commit, EntryType::Regular, 0o644, None, b"commit");
    let mut directories: std::collections::BTreeSet<&str> =
        ["boot", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"].into();
    for path in files.keys() {
        directories.extend(path.match_indices('/').map(|(end, _)| &path[..end]));
    }
    for path in directories {
        directory(&mut tar, path);
    }
    entry(&mut tar, "ostree", EntryType::Symlink, 0o777, Some("sysroot/ostree"), b"");
    tar.into_inner().unwrap()
}

fn object(tar: &mut Tar, path: &str, visible: Visible<'_>) {
    let (kind, mode, link, data) = match visible {
        Visible::File(data) => (EntryType::Regular, 0o644, None, data),
        Visible::Program(data) => (EntryType::Regular, 0o755, None, data),
        Visible::Symlink(target) => (EntryType::Symlink, 0o777, Some(target), &b""[..]),
    };
    // Empty files stand for themselves, as in the real encoding.
    if data.is_empty() && link.is_none() {
        return entry(tar, path, kind, mode, None, data);
    }
    let name = Digest::of(&[path.as_bytes(), data].concat());
    entry(tar, &object_path(&name, "file-xattrs-link"), EntryType::Regular, 0o644, None, b"");
    let file = object_path(&name, "file");
    entry(tar, &file, kind, mode, link, data);
    entry(tar, path, EntryType::Link, mode, Some(&file), b"");
}
