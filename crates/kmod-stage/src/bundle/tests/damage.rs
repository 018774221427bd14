use std::fs;

use oci_assemble::image::{Descriptor, Manifest, MediaType, json};
use oci_assemble::store::Layout;
use serde_json::Value;

use super::*;

const LOG: &str = "a log of some length, to be damaged";

/// The blobs of a kept bundle: manifest, configuration, layer, log.
fn blobs(temp: &tempfile::TempDir, bundle: &Bundle) -> [PathBuf; 4] {
    let manifest = blob(temp, &bundle.manifest().digest);
    let parsed = Manifest::parse(&fs::read(&manifest).unwrap(), None).unwrap();
    let [layer, log] = &parsed.layers[..] else { panic!("{parsed:?}") };
    [manifest, blob(temp, &parsed.config.digest), blob(temp, &layer.digest), blob(temp, &log.digest)]
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &PathBuf, left: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..left.min(bytes.len() - 1)]).unwrap();
}

fn why(temp: &tempfile::TempDir) -> String {
    match store(temp).find(key("6.1").digest()) {
        Found::Damaged(fault) => chain(&*fault),
        other => panic!("{other:?}"),
    }
}

/// Lists other documents under the key, whose digests are all right.
fn forge(temp: &tempfile::TempDir, change: fn(&mut Value, &mut Value)) {
    let read = |digest: &str| -> Value {
        let bytes = fs::read(blob(temp, &digest.parse().unwrap())).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let transaction = Layout::write(dir(temp)).unwrap();
    let entry = Layout::open(dir(temp)).unwrap().find(Some(&key("6.1").tag()), None).unwrap();
    let mut manifest = read(&entry.digest.to_string());
    let mut config = read(manifest["config"]["digest"].as_str().unwrap());
    let before = config.clone();
    change(&mut manifest, &mut config);
    if config != before {
        let blob = transaction.put_bytes(MediaType::Other(CONFIG_TYPE.into()), &json::canonical(&config)).unwrap();
        manifest["config"] = blob.to_value();
    }
    let manifest = transaction.put_bytes(MediaType::ImageManifest, &json::canonical(&manifest)).unwrap();
    // By hand: a commit would miss blobs.
    let place = temp.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    index["manifests"][0]["digest"] = manifest.digest.to_string().into();
    index["manifests"][0]["size"] = manifest.size.into();
    fs::write(place, json::canonical(&index)).unwrap();
}

fn check(damage: impl FnOnce(&tempfile::TempDir, &[PathBuf; 4]), message: &str) {
    let temp = tempfile::tempdir().unwrap();
    let bundle = keep(&temp, "6.1", Some(LOG)).bundle;
    let blobs = blobs(&temp, &bundle);
    drop(bundle);
    damage(&temp, &blobs);
    let why = why(&temp);
    assert!(why.contains(message), "{message:?} is not in {why:?}");
    let notes = store(&temp).obtain(key("6.1").digest(), Reuse::Allow, &[]).notes;
    assert_eq!(notes, [format!("the bundle in the cache is not used: {why}")]);
    // Keeping it again mends it.
    keep(&temp, "6.1", Some(LOG));
    hit(&temp, "6.1");
}

#[test]
fn damaged_blobs_are_no_bundle() {
    let last = |path: &PathBuf| fs::read(path).unwrap().len() - 1;
    check(|_, blobs| flip(&blobs[0], 30), " has digest sha256:");
    check(|_, blobs| flip(&blobs[1], 30), " has digest sha256:");
    for at in [0, 5, 200] {
        check(|_, blobs| flip(&blobs[2], at), "its content cannot be read");
    }
    check(|_, blobs| flip(&blobs[2], last(&blobs[2])), "its content cannot be read");
    check(|_, blobs| flip(&blobs[3], 12), "its log cannot be read");
    for blob in 0..4 {
        check(|_, blobs| cut(&blobs[blob], 100), "bytes");
        check(|_, blobs| cut(&blobs[blob], 0), "bytes");
        check(|_, blobs| fs::remove_file(&blobs[blob]).unwrap(), "is missing");
        check(
            |_, blobs| {
                fs::remove_file(&blobs[blob]).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", &blobs[blob]).unwrap();
            },
            "is not a regular file",
        );
    }
}

#[test]
fn documents_that_do_not_agree_are_no_bundle() {
    type Change = fn(&mut Value, &mut Value);
    let table: [(Change, &str); 16] = [
        (|manifest, _| manifest["artifactType"] = "application/x".into(), "its artifact type is another"),
        (|manifest, _| drop(manifest.as_object_mut().unwrap().remove("artifactType")), "its artifact type is another"),
        (|manifest, _| manifest["config"]["mediaType"] = "text/plain".into(), "its configuration is of another type"),
        (|manifest, _| manifest["layers"] = Value::Array(Vec::new()), "neither one layer nor a layer and a log"),
        (
            |manifest, _| manifest["layers"].as_array_mut().unwrap().reverse(),
            "its content is no layer of type tar+zstd",
        ),
        (|manifest, _| manifest["layers"][1] = manifest["layers"][0].clone(), "its second layer is no log"),
        (|manifest, _| manifest["layers"][0]["size"] = (1_u64 << 40).into(), "larger than any layer"),
        (|manifest, _| manifest["layers"][0]["size"] = 3.into(), "bytes"),
        (|_, config| config["schema"] = 2.into(), "has schema 2, this program reads 1"),
        (|_, config| config["colour"] = "red".into(), "unknown field `colour`"),
        (|_, config| config["inputs"]["kernel"] = "6.2".into(), "its inputs make sha256:"),
        (
            |_, config| config["content"]["diff_id"] = Digest::of(b"").to_string().into(),
            "its content has diff_id sha256:",
        ),
        (|_, config| config["content"]["size"] = 1.into(), "the configuration says 1"),
        (|_, config| config["content"]["files"] = 9.into(), "its content has files 4, the configuration says 9"),
        (
            |_, config| config["record"]["modules"][0]["size"] = 1.into(),
            "differ in module /usr/lib/modules/6.1/extra/spl",
        ),
        (
            |_, config| drop(config["record"]["modules"].as_array_mut().unwrap().pop()),
            "differ in module /usr/lib/modules/6.1/extra/zzz.ko",
        ),
    ];
    for (change, message) in table {
        check(|temp, _| forge(temp, change), message);
    }
}

#[test]
fn an_index_that_names_something_else_gives_no_bundle() {
    check(
        |temp, _| {
            let other = keep(temp, "6.2", None).bundle.manifest().clone();
            Layout::write(dir(temp)).unwrap().commit(Some(&key("6.1").tag()), &other).unwrap();
            let damaged = store(temp).list().unwrap().damaged;
            assert_eq!(damaged.iter().map(|damaged| damaged.tag.clone()).collect::<Vec<_>>(), [key("6.1").tag()]);
        },
        "it is the bundle of key sha256:",
    );
    check(
        |temp, _| {
            let transaction = Layout::write(dir(temp)).unwrap();
            let index = transaction.put_bytes(MediaType::ImageIndex, br#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
            transaction.commit(Some(&key("6.1").tag()), &index).unwrap();
        },
        "what is listed is no image manifest",
    );
    check(
        |temp, _| {
            let place = temp.path().join("index.json");
            let mut index: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
            let mut twin = index["manifests"][0].clone();
            let other = Descriptor::of(MediaType::ImageManifest, b"x");
            twin["digest"] = other.digest.to_string().into();
            index["manifests"].as_array_mut().unwrap().push(twin);
            fs::write(place, json::canonical(&index)).unwrap();
        },
        "the layout has 2 images",
    );
}

#[test]
fn a_layout_that_cannot_be_read_is_an_error_for_who_wants_to_write() {
    for (file, text) in [("index.json", "{"), ("oci-layout", "{}")] {
        let temp = tempfile::tempdir().unwrap();
        keep(&temp, "6.1", None);
        fs::write(temp.path().join(file), text).unwrap();
        assert!(why(&temp).starts_with("invalid "), "{}", why(&temp));
        store(&temp).list().unwrap_err();
        let (delta, contents, key) = (delta("6.1"), Memory::default(), key("6.1"));
        let record = record("6.1", &delta, &contents);
        let staged = Staged { key: &key, record: &record, delta: &delta, contents: &contents, log: None };
        assert!(matches!(store(&temp).keep(staged, ONE), Err(BundleError::Store(_))));
    }
}
