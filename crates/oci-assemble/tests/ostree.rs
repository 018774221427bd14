//! Bases in the ostree encoding: read as they are, appended to without a touch.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use oci_assemble::image::{Descriptor, Digest, History, Image, Layer};
use oci_assemble::layer::{Gate, IndexOptions, decode, index};
use oci_assemble::testing::ostree::{Visible, encapsulated};
use oci_assemble::tree::{FileTree, Kind, TreePath};

/// The blobs of `fixtures/ostree-base`, with its image.
fn genuine() -> (Image, BTreeMap<Digest, Vec<u8>>) {
    let blobs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/ostree-base/blobs/sha256"));
    let blobs: BTreeMap<Digest, Vec<u8>> = fs::read_dir(blobs)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .map(|bytes| (Digest::of(&bytes), bytes))
        .collect();
    let manifest: Digest = "sha256:561662259d38f37e7c16fc73dd49fc3beb97c1828ad858fe40b4eb0e12e9555b".parse().unwrap();
    let config: Digest = "sha256:5443ec7ff9fe38243f489a51efc46ea170af9332264338f93b544732aaa54863".parse().unwrap();
    (Image::parse(&blobs[&manifest], &blobs[&config]).unwrap(), blobs)
}

fn merged(image: &Image, blobs: &BTreeMap<Digest, Vec<u8>>) -> FileTree {
    let mut tree = FileTree::new();
    for (descriptor, diff_id) in image.layers() {
        let stream = decode(&blobs[&descriptor.digest][..], descriptor.media_type.encoding().unwrap()).unwrap();
        let index =
            index(std::io::BufReader::new(stream), IndexOptions { gate: Gate::Refuse, ..IndexOptions::default() })
                .unwrap();
        assert_eq!(index.diff_id, *diff_id);
        tree = tree.apply(&index.delta).unwrap();
    }
    tree
}

fn appended(base: &Image) -> Image {
    let descriptor = Descriptor::of(oci_assemble::layer::Compression::DEFAULT.media_type(), b"blob");
    let history = History::of("assemble: new");
    let layer = Layer { descriptor, diff_id: Digest::of(b"tar"), uncompressed_size: Some(3), history };
    base.clone().append(layer).unwrap()
}

fn assert_untouched(base: &Image, image: &Image) {
    let count = base.layers().len();
    let kept: Vec<_> = image.layers().take(count).collect();
    assert_eq!(kept, base.layers().collect::<Vec<_>>(), "descriptors with their annotations, and diff_ids");
    for (name, value) in &base.config().labels {
        assert_eq!(image.config().labels.get(name), Some(value), "label {name}");
    }
    assert_eq!(image.manifest().annotations.get("ostree.commit"), base.manifest().annotations.get("ostree.commit"));
    assert!(image.manifest().annotations.contains_key("ostree.final-diffid"));
    assert_eq!(image.layers().len(), count + 1);
}

#[test]
fn the_genuine_image_reads_and_keeps_its_layers() {
    let (image, blobs) = genuine();
    let tree = merged(&image, &blobs);
    assert!(matches!(&tree.at("bin").unwrap().kind, Kind::Symlink(to) if **to == *b"usr/bin"), "a link to a symlink");
    assert_eq!(tree.content(&TreePath::new("usr/lib/modules/6.1.0-lab/vmlinuz").unwrap()).unwrap().size(), 6);
    assert_untouched(&image, &appended(&image));
}

#[test]
fn larger_images_of_the_same_encoding_do_too() {
    let names: Vec<String> = (0..500).map(|number| format!("usr/share/data/{:02}/f{number}", number % 37)).collect();
    let texts: Vec<String> = (0..500).map(|number| format!("content {}", number / 2)).collect();
    let mut files: BTreeMap<&str, Visible<'_>> =
        names.iter().map(String::as_str).zip(texts.iter().map(|text| Visible::File(text.as_bytes()))).collect();
    files.insert("usr/bin/sh", Visible::Program(b"#!"));
    files.insert("usr/bin/empty", Visible::File(b""));
    files.insert("bin", Visible::Symlink("usr/bin"));
    let base = encapsulated(&files, 64);
    assert_eq!(base.image.layers().len(), 66);
    let (_, last) = base.image.layers().last().unwrap();
    let (genuine, _) = genuine();
    assert_eq!(Some(last), genuine.layers().last().map(|(_, diff_id)| diff_id), "the skeleton is that of real images");
    let tree = merged(&base.image, &base.blobs);
    for (name, text) in names.iter().zip(&texts) {
        let content = tree.content(&TreePath::new(name).unwrap()).unwrap();
        assert_eq!(content.digest(), Some(Digest::of(text.as_bytes())), "{name}");
    }
    assert_untouched(&base.image, &appended(&base.image));
}
