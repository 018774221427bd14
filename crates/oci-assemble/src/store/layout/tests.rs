#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::items_after_statements)]
//! The layout on a healthy disk, and what is refused of a sick one.

use std::fs;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::fs::{MetadataExt, symlink};

use ocidir::OciRead as _;

use super::*;
use crate::image::*;
use crate::store::error::StoreError;
use crate::store::scratch::{Scratch, content, fill, lacks, listing, open, write};
use crate::store::{BlobSource, BlobStore, Verified, reachable, resolve};
use crate::testing::image::{amd64, image};

mod sick;

#[test]
fn writes_the_files_of_the_specification_and_nothing_else() {
    let scratch = Scratch::with(&[("base", &["a", "bb"])]);
    let whole = image(&["a", "bb"]);
    let mut expected =
        vec![".assemble/lock".to_owned(), ".assemble/users".into(), "index.json".into(), "oci-layout".into()];
    let blobs = [Digest::of(b"a"), Digest::of(b"bb"), whole.digest(), whole.manifest().config.digest];
    expected.extend(blobs.map(|digest| format!("blobs/sha256/{}", digest.hex())));
    expected.sort();
    assert_eq!(listing(&scratch), expected);
    assert_eq!(fs::read_to_string(scratch.path("oci-layout")).unwrap(), "{\"imageLayoutVersion\":\"1.0.0\"}");
    assert_eq!(
        fs::read_to_string(scratch.path("index.json")).unwrap(),
        format!(
            concat!(
                r#"{{"manifests":[{{"annotations":{{"org.opencontainers.image.ref.name":"base"}},"digest":"{}","#,
                r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""platform":{{"architecture":"amd64","os":"linux"}},"size":{}}}],"#,
                r#""mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#
            ),
            whole.digest(),
            whole.manifest_bytes().len()
        )
    );
    for digest in blobs {
        assert_eq!(fs::metadata(scratch.blob(&digest)).unwrap().mode() & 0o777, 0o644);
    }
    let layout = open(&scratch);
    let found = resolve(&layout, &layout.find(Some("base"), None).unwrap(), Some(&amd64())).unwrap();
    assert_eq!(found.image, whole);
    assert_eq!(reachable(&layout, &layout.index().unwrap().manifests).unwrap().len(), 4);
}

#[test]
fn entries_of_others_stay_as_they_are() {
    let scratch = Scratch::with(&[("one", &["a"]), ("two", &["b"])]);
    let foreign = serde_json::json!({
        "schemaVersion": 2, "vendor": {"x": 1}, "annotations": {"note": "kept"},
        "manifests": [
            {"mediaType": "application/vnd.example+x", "digest": Digest::of(b"?").to_string(), "size": 1, "odd": true},
            {"mediaType": MediaType::ImageManifest.as_str(), "digest": image(&["a"]).digest().to_string(),
             "size": image(&["a"]).manifest_bytes().len(),
             "annotations": {"org.opencontainers.image.ref.name": "one", "vendor.note": "kept"}},
        ],
    });
    fs::write(scratch.path("index.json"), foreign.to_string()).unwrap();
    assert_eq!(write(&scratch, Some("three"), &["c"]).unwrap(), Committed::default());
    assert_eq!(write(&scratch, Some("one"), &["a"]).unwrap(), Committed::default());
    let again = fs::metadata(scratch.path("index.json")).unwrap().ino();
    assert_eq!(write(&scratch, Some("one"), &["a"]).unwrap(), Committed::default());
    assert_eq!(fs::metadata(scratch.path("index.json")).unwrap().ino(), again, "nothing new, nothing written");
    let index = open(&scratch).index().unwrap();
    assert_eq!(index.rest["vendor"], serde_json::json!({"x": 1}));
    assert_eq!(index.annotations["note"], "kept");
    assert_eq!(index.manifests[0].rest["odd"], true);
    assert_eq!(index.manifests[1].annotations["vendor.note"], "kept");
    assert_eq!(index.manifests.len(), 3);
}

#[test]
fn a_tag_goes_to_the_last_writer_who_is_told() {
    let scratch = Scratch::with(&[("t", &["a"]), ("u", &["b"])]);
    let moved = write(&scratch, Some("t"), &["c"]).unwrap();
    assert_eq!(moved, Committed { moved: vec![("t".into(), image(&["a"]).digest())] });
    write(&scratch, None, &["d"]).unwrap();
    write(&scratch, None, &["d"]).unwrap();
    let layout = open(&scratch);
    let tags: Vec<_> =
        layout.index().unwrap().manifests.iter().map(|entry| entry.ref_name().map(str::to_owned)).collect();
    assert_eq!(tags, [Some("t".into()), Some("u".into()), None]);
    assert_eq!(layout.find(Some("t"), None).unwrap().digest, image(&["c"]).digest());
    let digest = image(&["d"]).digest();
    assert_eq!(layout.find(None, Some(&digest)).unwrap().digest, digest);
    assert!(matches!(layout.find(None, None), Err(StoreError::SeveralImages { found: 3, .. })));
    match layout.find(Some("x"), Some(&digest)) {
        Err(StoreError::NoImage { wanted, present }) => {
            assert_eq!((wanted, present), (format!("x@{digest}"), vec!["t".into(), "u".into()]));
        }
        other => panic!("{other:?}"),
    }
    for tag in ["", "a b", "../x", "a@b"] {
        assert!(matches!(write(&scratch, Some(tag), &["a"]), Err(StoreError::Tag { .. })), "{tag}");
    }
}

#[test]
fn only_complete_images_are_listed() {
    let scratch = Scratch::new();
    let transaction = Layout::write(scratch.dir()).unwrap();
    let descriptor = transaction.put_image(&image(&["a"])).unwrap();
    match transaction.commit(Some("t"), &descriptor) {
        Err(StoreError::Missing { digest }) => assert_eq!(digest, Digest::of(b"a")),
        other => panic!("{other:?}"),
    }
    assert!(!scratch.path("index.json").exists());
}

#[test]
fn sinks_check_sizes_and_leave_nothing_behind() {
    let scratch = Scratch::new();
    let transaction = Layout::write(scratch.dir()).unwrap();
    let mut writer = transaction.blob().unwrap();
    writer.write_all(b"content").unwrap();
    assert_eq!(writer.finish().unwrap(), (Digest::of(b"content"), 7));
    let mut sink = transaction.sink().unwrap();
    sink.write_all(b"other").unwrap();
    sink.publish(&Digest::of(b"other"), 5).unwrap();
    let mut sink = transaction.sink().unwrap();
    sink.write_all(b"short").unwrap();
    assert!(matches!(sink.publish(&Digest::of(b"short"), 6), Err(StoreError::Blob(Mismatch::Size { found: 5, .. }))));
    transaction.sink().unwrap().write_all(b"dropped").unwrap();
    assert_eq!(content(&transaction.layout, "content").unwrap(), b"content");
    assert!(matches!(content(&transaction.layout, "short"), Err(StoreError::Missing { .. })));
    assert_eq!(
        listing(&scratch).iter().filter(|name| name.contains("tx-")).collect::<Vec<_>>(),
        [".assemble/tx-0/owner"]
    );
    drop(transaction);
    assert!(!listing(&scratch).iter().any(|name| name.contains("tx-")));
}

#[test]
fn put_takes_only_the_bytes_of_the_descriptor() {
    let scratch = Scratch::new();
    let transaction = Layout::write(scratch.dir()).unwrap();
    let descriptor = Descriptor::of(MediaType::Empty, b"right");
    for wrong in ["wrong", "righ", "right and more"] {
        let outcome = transaction.put(&descriptor, &mut wrong.as_bytes());
        assert!(matches!(outcome, Err(StoreError::Blob(_))), "{wrong}: {outcome:?}");
        assert!(!transaction.has(&descriptor).unwrap());
    }
    transaction.put(&descriptor, &mut &b"right"[..]).unwrap();
    transaction.put(&descriptor, &mut &b"not even read"[..]).unwrap();
    assert_eq!(transaction.open(&descriptor).unwrap().read_whole().unwrap(), b"right");
    let long = Descriptor {
        digest: {
            let mut hasher = Digest::Sha512([0; 64]).hasher();
            hasher.update(b"right");
            hasher.finish()
        },
        ..descriptor
    };
    transaction.put(&long, &mut &b"right"[..]).unwrap();
    assert!(scratch.blob(&long.digest).exists());
}

#[test]
fn a_blob_that_is_there_is_not_trusted_by_its_size() {
    let scratch = Scratch::with(&[("t", &["good"])]);
    let other = Scratch::with(&[("t", &["good"])]);
    let source = open(&other);
    let blob = Descriptor::of(MediaType::layer(Encoding::Plain), b"good");
    let path = scratch.blob(&blob.digest);
    type Damage<'a> = &'a dyn Fn();
    let damages: [Damage<'_>; 5] = [
        &|| fs::write(&path, "evil").unwrap(),
        &|| fs::write(&path, "").unwrap(),
        &|| fs::write(&path, "good and more").unwrap(),
        &|| {
            fs::remove_file(&path).unwrap();
            symlink(other.blob(&blob.digest), &path).unwrap();
        },
        &|| {
            fs::remove_file(&path).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o644.into()).unwrap();
        },
    ];
    for damage in damages {
        damage();
        let transaction = Layout::write(scratch.dir()).unwrap();
        transaction.put(&blob, &mut &b"good"[..]).unwrap();
        assert_eq!(content(&transaction.layout, "good").unwrap(), b"good");
        damage();
        assert_eq!(transaction.take(&source, &blob).unwrap(), Taken::Linked);
        assert_eq!(transaction.take(&source, &blob).unwrap(), Taken::Present);
        assert_eq!(content(&transaction.layout, "good").unwrap(), b"good");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "good").unwrap();
    }
}

#[test]
fn blobs_of_a_layout_are_linked_or_copied_after_they_were_hashed() {
    let base = Scratch::with(&[("t", &["a", "b"])]);
    let source = open(&base);
    let blobs: Vec<Descriptor> = image(&["a", "b"]).blobs().cloned().collect();
    let near = Scratch::new();
    let transaction = Layout::write(near.dir()).unwrap();
    transaction.take_all(&source, &blobs, NonZero::new(3).unwrap()).unwrap();
    for blob in &blobs {
        let inode = |scratch: &Scratch| fs::metadata(scratch.blob(&blob.digest)).unwrap().ino();
        assert_eq!(inode(&near), inode(&base));
        let (_, stamp) = source.file(blob).unwrap().unwrap();
        assert!(source.verified.knows(&stamp, &blob.digest), "the link's own change is accounted for");
    }
    // Another file system, if there is one.
    let memory = tempfile::tempdir_in("/dev/shm").map_or_else(|_| Scratch::new(), Scratch);
    let expected = if memory.0.path().metadata().unwrap().dev() == base.0.path().metadata().unwrap().dev() {
        Taken::Linked
    } else {
        Taken::Copied
    };
    let far = Layout::write(memory.dir()).unwrap();
    assert_eq!(far.take(&source, &blobs[1]).unwrap(), expected);
    assert_eq!(content(&far.layout, "a").unwrap(), b"a");
    // A damaged base is found out, however it is taken.
    fs::write(base.blob(&Digest::of(b"b")), "x").unwrap();
    for (target, scratch) in [(&far, &memory), (&Layout::write(Scratch::new().dir()).unwrap(), &near)] {
        let outcome = target.take(&source, &blobs[2]);
        assert!(matches!(outcome, Err(StoreError::Blob(Mismatch::Digest { .. }))), "{outcome:?} in {:?}", scratch.0);
    }
    let all = far.take_all(&source, &blobs, NonZero::new(4).unwrap());
    assert!(matches!(all, Err(StoreError::Blob(Mismatch::Digest { .. }))));
}

#[test]
fn a_commit_remembers_what_was_hashed() {
    let scratch = Scratch::new();
    let verified = Verified::default();
    let transaction = Layout::write_with(scratch.dir(), verified.clone()).unwrap();
    let descriptor = fill(&transaction, &["a"]).unwrap();
    let blob = Descriptor::of(MediaType::layer(Encoding::Plain), b"a");
    let stamp = || open(&scratch).file(&blob).unwrap().unwrap().1;
    assert!(!verified.knows(&stamp(), &blob.digest), "not on disk yet");
    transaction.commit(None, &descriptor).unwrap();
    assert!(verified.knows(&stamp(), &blob.digest));
    fs::write(scratch.blob(&blob.digest), "b").unwrap();
    assert!(!verified.knows(&stamp(), &blob.digest));
}

#[test]
fn abandoned_directories_are_removed_and_living_ones_are_not() {
    let scratch = Scratch::with(&[("t", &["a"])]);
    fs::create_dir(scratch.path(".assemble/tx-0")).unwrap();
    fs::write(scratch.path(".assemble/tx-0/3"), "left by a writer that was killed").unwrap();
    fs::write(scratch.path(".assemble/tx-0/owner"), "").unwrap();
    fs::create_dir(scratch.path(".assemble/mine")).unwrap();
    let first = Layout::write(scratch.dir()).unwrap();
    assert!(!scratch.path(".assemble/tx-0/3").exists());
    let mut sink = first.sink().unwrap();
    sink.write_all(b"x").unwrap();
    let second = Layout::write(scratch.dir()).unwrap();
    drop(second);
    sink.publish(&Digest::of(b"x"), 1).unwrap();
    assert!(scratch.path(".assemble/mine").exists(), "only what writers make is removed");
}

#[test]
fn images_are_found_through_indexes() {
    let scratch = Scratch::new();
    let transaction = Layout::write(scratch.dir()).unwrap();
    let entries = ["linux/amd64", "linux/arm64"].map(|text| {
        let platform: Platform = text.parse().unwrap();
        let mut entry = transaction.put_image(&Image::scratch(platform.clone())).unwrap();
        entry.platform = Some(platform);
        entry
    });
    let mut list = Index { manifests: entries.to_vec(), ..Index::default() };
    let mut top = transaction.put_bytes(MediaType::ImageIndex, &list.to_bytes()).unwrap();
    let find = |top: &Descriptor, wanted: Option<&str>| {
        resolve(&transaction, top, wanted.map(|text| text.parse().unwrap()).as_ref())
    };
    assert_eq!(find(&top, Some("linux/arm64")).unwrap().manifest, entries[1]);
    assert!(matches!(find(&top, None), Err(StoreError::SeveralImages { found: 2, .. })));
    assert!(matches!(find(&top, Some("linux/s390x")), Err(StoreError::Select(_))));
    assert!(matches!(find(&entries[0], Some("linux/arm64")), Err(StoreError::Platform { .. })));
    let config = image(&[]).manifest().config.clone();
    assert!(matches!(find(&config, None), Err(StoreError::Kind { .. })));
    // An index that lies about the platform of a manifest.
    list.manifests[0].platform = Some("linux/riscv64".parse().unwrap());
    let lie = transaction.put_bytes(MediaType::ImageIndex, &list.to_bytes()).unwrap();
    assert!(matches!(find(&lie, Some("linux/riscv64")), Err(StoreError::Platform { .. })));
    for _ in 0..5 {
        top.platform = Some(amd64());
        let deeper = Index { manifests: vec![top], ..Index::default() };
        top = transaction.put_bytes(MediaType::ImageIndex, &deeper.to_bytes()).unwrap();
    }
    assert!(matches!(find(&top, Some("linux/amd64")), Err(StoreError::Nesting { limit: 3 })));
    assert!(matches!(reachable(&transaction, &[top]), Err(StoreError::Nesting { limit: 3 })));
    let huge = Descriptor { size: 5 << 20, ..lie };
    assert!(matches!(find(&huge, None), Err(StoreError::TooLarge { .. })));
}

#[test]
fn another_implementation_reads_it() {
    let scratch = Scratch::with(&[("one", &["a", "b"]), ("two", &["a", "c"])]);
    let judge = ocidir::OciDir::open(scratch.dir()).unwrap();
    assert_eq!(judge.fsck().unwrap(), 2 + 2 + 3, "manifests, configurations, layers");
    let manifest = judge.find_manifest_with_tag("two").unwrap().unwrap();
    let theirs: Vec<String> = manifest.layers().iter().map(|layer| layer.digest().to_string()).collect();
    assert_eq!(theirs, [Digest::of(b"a").to_string(), Digest::of(b"c").to_string()]);
    let mut bytes = Vec::new();
    judge.read_blob(&manifest.layers()[1]).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"c");
}

#[test]
fn programs_of_others_work_in_the_same_layout() {
    if lacks(&["skopeo", "umoci"]) {
        return;
    }
    let run = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let scratch = Scratch::with(&[("one", &["a", "b"]), ("two", &["a", "c"])]);
    let path = scratch.0.path().to_str().unwrap();
    let one = format!("oci:{path}:one");
    let raw = run("skopeo", &["inspect", "--raw", &one]);
    assert_eq!(raw.as_bytes(), image(&["a", "b"]).manifest_bytes());
    run("skopeo", &["copy", "--preserve-digests", &one, &format!("oci:{path}:three")]);
    let mut tags: Vec<_> = run("umoci", &["ls", "--layout", path]).lines().map(str::to_owned).collect();
    tags.sort();
    assert_eq!(tags, ["one", "three", "two"]);
    run("umoci", &["rm", "--image", &format!("{path}:two")]);
    run("umoci", &["gc", "--layout", path]);
    assert!(!scratch.blob(&Digest::of(b"c")).exists());
    assert_eq!(write(&scratch, Some("four"), &["a", "d"]).unwrap(), Committed::default());
    let report = crate::store::fsck(&open(&scratch), NonZero::new(2).unwrap()).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(open(&scratch).index().unwrap().manifests.len(), 3);
}
