#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use std::fs;

use super::*;
use crate::image::{Descriptor, Index, MediaType};
use crate::store::scratch::{Scratch, content, fill, open, write};
use crate::store::{BlobSource, Layout};
use crate::testing::image::image;

#[test]
fn keeps_what_is_needed_and_deletes_only_when_told() {
    let scratch = Scratch::with(&[("old", &["a", "gone"]), ("new", &["a", "b"])]);
    let old = image(&["a", "gone"]);
    fs::write(scratch.path("blobs/sha256/notes"), "not ours").unwrap();
    fs::create_dir(scratch.path("blobs/sha512")).unwrap();
    fs::create_dir(scratch.path(".assemble/tx-7")).unwrap();
    let mut index = open(&scratch).index().unwrap();
    index.manifests.remove(0);
    fs::write(scratch.path("index.json"), index.to_bytes()).unwrap();
    let mut unreferenced = vec![
        (Digest::of(b"gone"), 4),
        (old.digest(), old.manifest_bytes().len() as u64),
        (old.manifest().config.digest, old.config_bytes().len() as u64),
    ];
    unreferenced.sort();
    let expected = GcReport { unreferenced, abandoned: vec![".assemble/tx-7".into()], kept: 4 };
    assert_eq!(gc(scratch.dir(), GcMode::default()).unwrap(), expected);
    assert_eq!(content(&open(&scratch), "gone").unwrap(), b"gone");
    assert_eq!(gc(scratch.dir(), GcMode::Delete).unwrap(), expected);
    assert_eq!(gc(scratch.dir(), GcMode::Delete).unwrap(), GcReport { kept: 4, ..GcReport::default() });
    assert_eq!(fs::read_dir(scratch.path("blobs/sha256")).unwrap().count(), 5);
    assert_eq!(content(&open(&scratch), "b").unwrap(), b"b");
    assert!(!scratch.path(".assemble/tx-7").exists());
}

#[test]
fn whoever_uses_the_layout_keeps_it() {
    let scratch = Scratch::with(&[("t", &["a"])]);
    let reader = open(&scratch);
    assert!(matches!(gc(scratch.dir(), GcMode::Delete), Err(StoreError::InUse)));
    assert!(gc(scratch.dir(), GcMode::DryRun).is_ok());
    drop(reader);
    let writer = Layout::write(scratch.dir()).unwrap();
    let descriptor = fill(&writer, &["b"]).unwrap();
    assert!(matches!(gc(scratch.dir(), GcMode::Delete), Err(StoreError::InUse)));
    writer.commit(None, &descriptor).unwrap();
    assert_eq!(gc(scratch.dir(), GcMode::Delete).unwrap().unreferenced, []);
}

#[test]
fn what_cannot_be_understood_is_kept_with_all_it_may_need() {
    let scratch = Scratch::with(&[("t", &["a"])]);
    let writer = Layout::write(scratch.dir()).unwrap();
    let inner = writer.put_bytes(MediaType::Other("application/octet-stream".into()), b"payload").unwrap();
    let artifact = serde_json::json!({"blobs": [inner.to_value()], "subject": {"digest": "?"}}).to_string();
    let kind = MediaType::Other("application/vnd.example.artifact.v1+json".into());
    let artifact = writer.put_bytes(kind, artifact.as_bytes()).unwrap();
    let list = Index { manifests: vec![artifact], ..Index::default() };
    let nested = writer.put_bytes(MediaType::ImageIndex, &list.to_bytes()).unwrap();
    writer.commit(Some("artifacts"), &nested).unwrap();
    assert_eq!(gc(scratch.dir(), GcMode::Delete).unwrap(), GcReport { kept: 6, ..GcReport::default() });
    assert!(open(&scratch).has(&inner).unwrap());
}

#[test]
fn nothing_is_deleted_when_something_listed_cannot_be_read() {
    let scratch = Scratch::with(&[("t", &["a"])]);
    write(&scratch, Some("t"), &["b"]).unwrap();
    fs::write(scratch.blob(&image(&["b"]).digest()), "{}").unwrap();
    assert!(gc(scratch.dir(), GcMode::Delete).is_err());
    let lost = Descriptor::of(MediaType::ImageManifest, b"never written");
    let index = Index { manifests: vec![lost], ..Index::default() };
    fs::write(scratch.path("index.json"), index.to_bytes()).unwrap();
    assert!(matches!(gc(scratch.dir(), GcMode::Delete), Err(StoreError::Missing { .. })));
    assert_eq!(content(&open(&scratch), "a").unwrap(), b"a");
}

#[test]
fn a_layout_that_only_caches_forgets_what_is_old() {
    let temp = tempfile::tempdir().unwrap();
    let dir = || Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).unwrap();
    let writer = Layout::write(dir()).unwrap();
    let [old, new] = ["old", "new"].map(|text| writer.put_bytes(MediaType::ImageManifest, text.as_bytes()).unwrap());
    assert!(matches!(expire(dir(), GcMode::Delete, 0), Err(StoreError::InUse)));
    drop(writer);
    let path = temp.path().join("blobs/sha256").join(old.digest.hex());
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let expected = |unreferenced, kept| GcReport { unreferenced, abandoned: Vec::new(), kept };
    assert_eq!(expire(dir(), GcMode::Delete, 1000).unwrap(), expected(vec![], 2), "as old as that is not older");
    assert_eq!(expire(dir(), GcMode::DryRun, 1001).unwrap(), expected(vec![(old.digest, 3)], 1));
    assert!(path.exists());
    assert_eq!(expire(dir(), GcMode::Delete, 1001).unwrap(), expected(vec![(old.digest, 3)], 1));
    assert!(!path.exists() && temp.path().join("blobs/sha256").join(new.digest.hex()).exists());
    let listing = Scratch::with(&[("t", &["a"])]);
    assert!(matches!(expire(listing.dir(), GcMode::Delete, i64::MAX), Err(StoreError::Listed)));
}
