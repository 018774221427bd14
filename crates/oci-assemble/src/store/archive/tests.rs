#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use std::fs;
use std::num::NonZero;
use std::os::unix::fs::symlink;

use super::*;
use crate::image::{Descriptor, Digest, Mismatch};
use crate::store::scratch::{Scratch, open};
use crate::store::{BlobSource, Layout, StoreError, resolve};
use crate::testing::image::image;

fn archive(scratch: &Scratch, tags: &[&str]) -> Vec<u8> {
    let layout = open(scratch);
    let found: Vec<Descriptor> = tags.iter().map(|tag| layout.find(Some(tag), None).unwrap()).collect();
    let images: Vec<_> = tags.iter().copied().map(Some).zip(&found).collect();
    let out = Scratch::new();
    write_archive(&out.dir(), "x.tar", &layout, &images).unwrap();
    assert_eq!(fs::read_dir(out.0.path()).unwrap().count(), 1, "no unfinished file is left");
    fs::read(out.path("x.tar")).unwrap()
}

fn read(bytes: &[u8]) -> Result<Archive, StoreError> {
    let scratch = Scratch::new();
    fs::write(scratch.path("x.tar"), bytes).unwrap();
    Archive::open(&scratch.dir(), "x.tar")
}

#[test]
fn archives_are_read_back_and_become_layouts_again() {
    let scratch = Scratch::with(&[("one", &["a", "b"]), ("two", &["a", "c"])]);
    let archive = read(&archive(&scratch, &["two", "one"])).unwrap();
    let found = archive.find(Some("one"), None).unwrap();
    assert_eq!(resolve(&archive, &found, None).unwrap().image, image(&["a", "b"]));
    let copy = Scratch::new();
    let writer = Layout::write(copy.dir()).unwrap();
    let blobs = crate::store::reachable(&archive, &archive.index().manifests).unwrap();
    writer.take_all(&archive, &blobs, NonZero::new(3).unwrap()).unwrap();
    writer.commit(Some("one"), &found).unwrap();
    assert_eq!(resolve(&open(&copy), &found, None).unwrap().image, image(&["a", "b"]));
}

#[test]
fn the_same_images_give_the_same_bytes() {
    let first = Scratch::with(&[("one", &["a", "b"]), ("two", &["c"])]);
    let second = Scratch::with(&[("two", &["c"]), ("other", &["d"]), ("one", &["a", "b"])]);
    assert_eq!(archive(&first, &["one", "two"]), archive(&second, &["one", "two"]));
    assert_ne!(archive(&first, &["one"]), archive(&first, &["two"]));
}

#[test]
fn only_whole_images_are_written() {
    let scratch = Scratch::with(&[("t", &["a"])]);
    let layout = open(&scratch);
    let found = layout.find(None, None).unwrap();
    let out = Scratch::new();
    fs::write(out.path("x.tar"), "the old one").unwrap();
    fs::write(out.path(".x.tar.part"), "left by a writer that was killed, and longer than what is written now")
        .unwrap();
    fs::write(scratch.blob(&Digest::of(b"a")), "b").unwrap();
    let outcome = write_archive(&out.dir(), "x.tar", &layout, &[(Some("t"), &found)]);
    assert!(matches!(outcome, Err(StoreError::Blob(Mismatch::Digest { .. }))), "{outcome:?}");
    assert_eq!(fs::read(out.path("x.tar")).unwrap(), b"the old one");
    assert!(!out.path(".x.tar.part").exists());
    fs::write(scratch.blob(&Digest::of(b"a")), "a").unwrap();
    write_archive(&out.dir(), "x.tar", &layout, &[(Some("t"), &found)]).unwrap();
    assert!(Archive::open(&out.dir(), "x.tar").is_ok());
    assert!(matches!(
        write_archive(&out.dir(), "x.tar", &layout, &[(Some("a b"), &found)]),
        Err(StoreError::Tag { .. })
    ));
}

#[test]
fn two_writers_do_not_write_one_file() {
    let scratch = Scratch::with(&[("t", &["a"])]);
    let layout = open(&scratch);
    let found = layout.find(None, None).unwrap();
    let held = fs::File::create(scratch.path(".x.tar.part")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let write = || write_archive(&scratch.dir(), "x.tar", &layout, &[(Some("t"), &found)]);
    assert!(matches!(write(), Err(StoreError::InUse)));
    drop(held);
    write().unwrap();
}

/// A tar of these entries: name, type, content.
fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if kind.is_symlink() || kind.is_hard_link() {
            builder.append_link(&mut header, name, "target").unwrap();
        } else {
            builder.append_data(&mut header, name, *content).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

#[test]
fn sick_archives_are_refused() {
    use tar::EntryType as Kind;
    let header = ("oci-layout", Kind::Regular, &br#"{"imageLayoutVersion":"1.0.0"}"#[..]);
    let index = ("index.json", Kind::Regular, &br#"{"schemaVersion":2,"manifests":[]}"#[..]);
    let blob = format!("blobs/sha256/{}", Digest::of(b"x").hex());
    let sound = tar_of(&[header, index, (&blob, Kind::Regular, b"x")]);
    assert!(read(&sound).is_ok());
    let mut cut = tar_of(&[header, index, (&blob, Kind::Regular, &[7; 4000])]);
    cut.truncate(cut.len() - 3000);
    let gzip = [&[0x1f, 0x8b, 8, 0][..], &sound].concat();
    let table: Vec<(Vec<u8>, &str)> = vec![
        (tar_of(&[index]), "oci-layout is missing"),
        (tar_of(&[header]), "index.json is missing"),
        (tar_of(&[header, index, index]), "index.json stands in it twice"),
        (tar_of(&[header, index, ("./index.json", Kind::Regular, b"{}")]), "index.json stands in it twice"),
        (tar_of(&[header, ("index.json", Kind::Symlink, b"")]), "index.json is not a regular file"),
        (tar_of(&[header, index, (&blob, Kind::Link, b"")]), "is not a regular file"),
        (tar_of(&[header, index, (&blob, Kind::Fifo, b"")]), "is not a regular file"),
        (
            tar_of(&[("oci-layout", Kind::Regular, br#"{"imageLayoutVersion":"9"}"#), index]),
            "layout version \"9\" is not 1.x",
        ),
        (cut, "is cut off"),
        (gzip, "the tar is compressed"),
        (b"not a tar at all, though long enough to hold a header".repeat(20), "the tar cannot be read"),
    ];
    for (bytes, message) in table {
        let error = read(&bytes).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(format!("{error}: {cause}").contains(message), "{message}: {error}: {cause}");
    }
    let scratch = Scratch::new();
    symlink("/dev/zero", scratch.path("x.tar")).unwrap();
    assert!(matches!(Archive::open(&scratch.dir(), "x.tar"), Err(StoreError::NotRegular { .. })));
}

#[test]
fn blobs_of_an_archive_are_verified() {
    let scratch = Scratch::with(&[("t", &["content"])]);
    let mut bytes = archive(&scratch, &["t"]);
    let at = 512 * bytes.chunks(512).position(|block| block.starts_with(b"content\0")).unwrap();
    bytes[at] = b'C';
    let archive = read(&bytes).unwrap();
    let blob = image(&["content"]).manifest().layers[0].clone();
    assert!(archive.has(&blob).unwrap());
    assert!(matches!(archive.open(&blob).unwrap().read_whole(), Err(StoreError::Blob(Mismatch::Digest { .. }))));
    let wrong = Descriptor { size: 8, ..blob };
    assert!(!archive.has(&wrong).unwrap());
    assert!(matches!(archive.open(&wrong), Err(StoreError::Blob(Mismatch::Size { .. }))));
    let other = Descriptor { digest: Digest::of(b"?"), ..wrong };
    assert!(matches!(archive.open(&other), Err(StoreError::Missing { .. })));
}

#[test]
fn another_implementation_reads_it() {
    use ocidir::OciRead as _;
    let scratch = Scratch::with(&[("t", &["a", "b"])]);
    let out = Scratch::new();
    fs::write(out.path("x.tar"), archive(&scratch, &["t"])).unwrap();
    let judge = ocidir::OciArchive::open(out.path("x.tar")).unwrap();
    let manifest = judge.find_manifest_with_tag("t").unwrap().unwrap();
    assert_eq!(manifest.layers().len(), 2);
}
