#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::items_after_statements, clippy::type_complexity)]
use std::fs;
use std::io::Write;
use std::path::Path;

use super::*;
use crate::image::{History, Image, Index, Layer};
use crate::store::Transaction;
use crate::store::scratch::{Scratch, open};
use crate::testing::image::{amd64, image};

const TWO: NonZero<usize> = NonZero::new(2).unwrap();

/// What `fsck` says, each finding with its causes.
fn judge(scratch: &Scratch) -> (Vec<String>, bool) {
    let report = fsck(&open(scratch), TWO).unwrap();
    let text = |finding: &Finding| {
        let mut text = finding.to_string();
        let mut cause = std::error::Error::source(finding);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    };
    (report.findings.iter().map(text).collect(), report.is_sound())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// An image whose only layer is `blob`, said to be the encoded `tar`.
fn with_layer(scratch: &Scratch, encoding: Encoding, blob: &[u8], tar: &[u8]) {
    let writer = Layout::write(scratch.dir()).unwrap();
    let descriptor = writer.put_bytes(MediaType::layer(encoding), blob).unwrap();
    let layer = Layer { descriptor, diff_id: Digest::of(tar), uncompressed_size: None, history: History::default() };
    commit(writer, &Image::scratch(amd64()).append(layer).unwrap());
}

fn commit(writer: Transaction, image: &Image) {
    let descriptor = writer.put_image(image).unwrap();
    writer.commit(Some("t"), &descriptor).unwrap();
}

use crate::image::MediaType;

#[test]
fn sound_layouts_are_sound() {
    let scratch = Scratch::with(&[("one", &["a", "b"]), ("two", &["a", "c"])]);
    let report = fsck(&open(&scratch), TWO).unwrap();
    assert!(report.is_sound() && report.findings.is_empty());
    assert_eq!(report.blobs, 7);
    let sizes = |image: &Image| image.blobs().map(|blob| blob.size).sum::<u64>() + image.manifest_bytes().len() as u64;
    assert_eq!(report.bytes, sizes(&image(&["a", "b"])) + sizes(&image(&["a", "c"])) - 1);
    let zstd = zstd::encode_all(&b"tar"[..], 3).unwrap();
    for (encoding, blob) in [(Encoding::Plain, b"tar".to_vec()), (Encoding::Gzip, gzip(b"tar")), (Encoding::Zstd, zstd)]
    {
        let scratch = Scratch::new();
        with_layer(&scratch, encoding, &blob, b"tar");
        assert_eq!(judge(&scratch), (vec![], true), "{encoding:?}");
    }
}

#[test]
fn every_kind_of_blob_is_hashed() {
    let whole = image(&["layer"]);
    for digest in [whole.digest(), whole.manifest().config.digest, Digest::of(b"layer")] {
        let scratch = Scratch::with(&[("t", &["layer"])]);
        let path = scratch.blob(&digest);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (findings, sound) = judge(&scratch);
        assert!(findings[0].contains(&digest.to_string()) && findings[0].contains("has digest"), "{findings:?}");
        assert!(!sound);
    }
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 4] = [
        (|path| fs::remove_file(path).unwrap(), "is missing"),
        (|path| fs::write(path, "").unwrap(), "has 0 bytes, not 5"),
        (
            |path| {
                fs::remove_file(path).unwrap();
                rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o644.into()).unwrap();
            },
            "is not a regular file",
        ),
        (
            |path| {
                fs::rename(path, path.with_file_name("x")).unwrap();
                std::os::unix::fs::symlink("x", path).unwrap();
            },
            "is not a regular file",
        ),
    ];
    for (damage, message) in damages {
        let scratch = Scratch::with(&[("t", &["layer"])]);
        damage(&scratch.blob(&Digest::of(b"layer")));
        let (findings, sound) = judge(&scratch);
        assert!(findings[0].ends_with(message) && !sound, "{findings:?}");
    }
}

#[test]
fn layers_are_held_against_their_diff_ids() {
    let members = [gzip(b"one"), gzip(b"two")].concat();
    let junk = [gzip(b"tar").as_slice(), b"junk"].concat();
    let cut = gzip(&[7; 4000]);
    let table: [(Encoding, &[u8], &[u8], &str, bool); 6] = [
        (Encoding::Plain, b"x", b"y", "has diff_id", false),
        (Encoding::Gzip, &gzip(b"x"), b"y", "has diff_id", false),
        (Encoding::Gzip, &members, b"onetwo", "breaks the rule", true),
        (Encoding::Gzip, &junk, b"tar", "something follows the compressed stream", false),
        (Encoding::Gzip, &cut[..cut.len() - 6], &[7; 4000], "cannot be read", false),
        (Encoding::Zstd, &gzip(b"tar"), b"tar", "the media type says Zstd, but the bytes are Gzip", false),
    ];
    for (encoding, blob, tar, message, expected) in table {
        let scratch = Scratch::new();
        with_layer(&scratch, encoding, blob, tar);
        let (findings, sound) = judge(&scratch);
        assert!(findings.len() == 1 && findings[0].contains(message), "{message}: {findings:?}");
        assert_eq!(sound, expected, "{message}");
    }
}

#[test]
fn images_that_do_not_fit_together_are_found() {
    let scratch = Scratch::new();
    let writer = Layout::write(scratch.dir()).unwrap();
    let good = image(&["a"]);
    writer.put_bytes(MediaType::layer(Encoding::Plain), b"a").unwrap();
    writer.put_image(&good).unwrap();
    let mut manifest = good.manifest().clone();
    manifest.layers.push(manifest.layers[0].clone());
    let twice = writer.put_bytes(MediaType::ImageManifest, &manifest.to_bytes()).unwrap();
    writer.commit(Some("t"), &twice).unwrap();
    let (findings, sound) = judge(&scratch);
    assert!(findings[0].ends_with("has 2 layers but 1 diff_ids") && !sound, "{findings:?}");
    // The same layer under two diff_ids: one of the two images is wrong.
    let writer = Layout::write(scratch.dir()).unwrap();
    let mut layer = crate::testing::image::layer("a");
    layer.diff_id = Digest::of(b"something else");
    let other = Image::scratch(amd64()).append(layer).unwrap();
    let first = writer.put_image(&good).unwrap();
    let second = writer.put_image(&other).unwrap();
    writer.commit_all(&[(Some("t"), &first), (Some("u"), &second)]).unwrap();
    let (findings, _) = judge(&scratch);
    assert!(findings.iter().any(|finding| finding.contains("has diff_id")), "{findings:?}");
}

#[test]
fn tags_listed_twice_and_leftovers_are_found() {
    let scratch = Scratch::with(&[("t", &["a"])]);
    let mut index = open(&scratch).index().unwrap();
    index.manifests.push(index.manifests[0].clone());
    fs::write(scratch.path("index.json"), index.to_bytes()).unwrap();
    fs::write(scratch.path("blobs/sha256/notes"), "").unwrap();
    fs::write(scratch.blob(&Digest::of(b"spare")), "spare").unwrap();
    fs::create_dir(scratch.path(".assemble/tx-0")).unwrap();
    let (mut findings, sound) = judge(&scratch);
    findings.sort();
    assert_eq!(
        findings,
        [
            ".assemble/tx-0 was left by a writer that is gone".to_owned(),
            format!("blob {} of 5 bytes is not referred to", Digest::of(b"spare")),
            "blobs/sha256/notes is not a blob".into(),
            "tag \"t\" is listed 2 times".into(),
        ]
    );
    assert!(!sound, "a tag listed twice is an error");
}

#[test]
fn indexes_in_indexes_are_followed_to_a_limit() {
    let scratch = Scratch::with(&[("t", &["a"])]);
    let writer = Layout::write(scratch.dir()).unwrap();
    let mut entry = open(&scratch).find(Some("t"), None).unwrap();
    for _ in 0..3 {
        entry = writer
            .put_bytes(MediaType::ImageIndex, &Index { manifests: vec![entry], ..Index::default() }.to_bytes())
            .unwrap();
    }
    let deepest = entry.clone();
    writer.commit(Some("t"), &deepest).unwrap();
    assert_eq!(judge(&scratch), (vec![], true));
    let writer = Layout::write(scratch.dir()).unwrap();
    for _ in 0..2 {
        entry = writer
            .put_bytes(MediaType::ImageIndex, &Index { manifests: vec![entry], ..Index::default() }.to_bytes())
            .unwrap();
    }
    drop(writer);
    fs::write(scratch.path("index.json"), Index { manifests: vec![entry], ..Index::default() }.to_bytes()).unwrap();
    let (findings, sound) = judge(&scratch);
    assert!(
        findings.iter().any(|finding| finding.ends_with("indexes are nested deeper than 3")) && !sound,
        "{findings:?}"
    );
}
