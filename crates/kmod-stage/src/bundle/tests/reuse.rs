use super::*;

#[test]
fn a_policy_says_what_is_read_and_what_is_kept() {
    for (reuse, reads, keeps) in
        [(Reuse::Allow, true, true), (Reuse::Rebuild, false, true), (Reuse::Refuse, false, false)]
    {
        assert_eq!((reuse.reads(), reuse.keeps()), (reads, keeps));
        let temp = tempfile::tempdir().unwrap();
        keep(&temp, "6.1", None);
        let empty = tempfile::tempdir().unwrap();
        let elsewhere = store(&temp);
        for here in [store(&temp), store(&empty)] {
            let obtained = here.obtain(key("6.1").digest(), reuse, &[&elsewhere]);
            assert_eq!(obtained.bundle.is_some(), reads, "{reuse:?}");
            assert!(obtained.notes.is_empty());
        }
        let untouched = std::fs::read_dir(empty.path()).unwrap().next().is_none();
        assert_eq!(untouched, !reads);
    }
}

#[test]
fn a_bundle_is_taken_from_elsewhere_whole() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = keep(&there, "6.1", Some("log")).bundle;
    let source = store(&there);
    assert!(store(&here).fetch(&source, key("6.2").digest()).unwrap().is_none());
    let fetched = store(&here).fetch(&source, key("6.1").digest()).unwrap().unwrap();
    assert_eq!((fetched.manifest(), fetched.delta()), (kept.manifest(), kept.delta()));
    drop(there);
    let found = hit(&here, "6.1");
    assert_eq!(found.config(), kept.config());
    assert!(found.log().unwrap().is_some());
}

#[test]
fn a_damaged_source_is_a_note_and_nothing_is_listed() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = keep(&there, "6.1", None).bundle;
    let mut blobs = std::fs::read_dir(there.path().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let layer = blobs.find(|path| std::fs::read(path).unwrap().starts_with(b"\x28\xb5\x2f\xfd")).unwrap();
    std::fs::write(&layer, "short").unwrap();
    let source = store(&there);
    let obtained = store(&here).obtain(kept.config().key.digest(), Reuse::Allow, &[&source]);
    assert!(obtained.bundle.is_none());
    assert!(obtained.notes[0].starts_with("the bundle in the cache is not used: "), "{:?}", obtained.notes);
    assert!(store(&here).list().unwrap().bundles.is_empty());
}

#[test]
fn a_list_of_bundles_and_why_there_is_no_hit() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(&temp);
    assert!(store.list().unwrap().bundles.is_empty());
    assert!(store.explain(&key("6.3"), "dkms", "zfs").unwrap().is_none());
    for kernel in ["6.2", "6.1"] {
        keep(&temp, kernel, None);
    }
    let listing = store.list().unwrap();
    let kernels: Vec<_> =
        listing.bundles.iter().map(|bundle| (bundle.kernel.as_deref(), bundle.kind.as_str())).collect();
    assert_eq!(kernels, [(Some("6.1"), "dkms"), (Some("6.2"), "dkms")]);
    assert_eq!(listing.bundles[0].manifest, hit(&temp, "6.1").manifest().digest);
    let bytes = std::fs::read_dir(temp.path().join("blobs/sha256")).unwrap();
    let bytes: u64 = bytes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(listing.bundles.iter().map(|bundle| bundle.size).sum::<u64>(), bytes);
    let why = |kernel: &str, stage: &str| {
        let why = store.explain(&key(kernel), "dkms", stage).unwrap();
        why.map(|why| why.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(why("6.3", "zfs").unwrap(), ["kernel was \"6.1\" and is \"6.3\""]);
    assert_eq!(why("6.2", "zfs").unwrap(), [""; 0]);
    assert_eq!(why("6.3", "nvidia"), None);
}

#[test]
fn a_rebuild_says_what_was_there_before() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(keep(&temp, "6.1", None).before, None);
    let diff_id = hit(&temp, "6.1").config().content.diff_id;
    assert_eq!(keep(&temp, "6.1", Some("another log")).before, Some(diff_id));
    // The same key with other content.
    let (mut delta, contents) = (delta("6.1"), Memory::default());
    delta.forget(&path("etc/modules-load.d/zfs.conf"));
    let record = record("6.1", &delta, &contents);
    let staged = Staged { key: &key("6.1"), record: &record, delta: &delta, contents: &contents, log: None };
    let kept = store(&temp).keep(staged, ONE).unwrap();
    assert_eq!(kept.before, Some(diff_id));
    assert_ne!(kept.bundle.config().content.diff_id, diff_id);
    assert_eq!(hit(&temp, "6.1").delta().dump(), delta.dump());
    assert_eq!(store(&temp).list().unwrap().bundles.len(), 1);
}

#[test]
fn what_is_forgotten_is_gone_and_the_rest_stays() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(store(&temp).forget(&[Digest::of(b"x")].into()).unwrap(), 0, "nothing is there yet");
    let [gone, kept] = ["6.1", "6.2"].map(|kernel| keep(&temp, kernel, None).bundle.manifest().digest);
    assert_eq!(store(&temp).forget(&[gone, Digest::of(b"x")].into()).unwrap(), 1);
    let left: Vec<Digest> = store(&temp).list().unwrap().bundles.iter().map(|bundle| bundle.manifest).collect();
    assert_eq!(left, [kept]);
    let report = oci_assemble::store::gc(
        cap_std::fs::Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).unwrap(),
        oci_assemble::store::GcMode::Delete,
    );
    assert!(report.unwrap().unreferenced.iter().any(|(digest, _)| *digest == gone));
    hit(&temp, "6.2");
}
