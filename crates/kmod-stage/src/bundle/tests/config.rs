use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::image::{MAX_CONFIG, json};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn example() -> BundleConfig {
    let delta = delta("6.1");
    let content = ContentRecord { diff_id: Digest::of(b"tar"), size: 10240, files: 4 };
    BundleConfig { key: key("6.1"), record: record("6.1", &delta, &Memory::default()), content }
}

fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut value = json::parse(&example().to_bytes().unwrap(), MAX_CONFIG).unwrap();
    change(&mut value);
    chain(&BundleConfig::parse(&json::canonical(&value)).unwrap_err())
}

#[test]
fn a_configuration_as_it_is_written() {
    let text = String::from_utf8(example().to_bytes().unwrap()).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let pretty = format!("{value:#}\n");
    assert_eq!(pretty, include_str!("config.json"));
}

#[test]
fn what_is_not_ours_is_refused() {
    for (message, found) in [
        (
            "the configuration has schema 2, this program reads 1",
            changed(|value| {
                value["schema"] = 2.into();
                value["record"]["novelty"] = 1.into();
            }),
        ),
        ("the configuration has no schema", changed(|value| drop(value.as_object_mut().unwrap().remove("schema")))),
        ("unknown field `colour`, expected one of `schema`", changed(|value| value["colour"] = 1.into())),
        (
            "the configuration has a wrong field: unknown field `colour`, expected one of `path`, `name`",
            changed(|value| value["record"]["modules"][0]["colour"] = 1.into()),
        ),
        ("missing field `notes`", changed(|value| drop(value["record"].as_object_mut().unwrap().remove("notes")))),
        ("is no path of an image", changed(|value| value["record"]["modules"][0]["path"] = "/a/../b".into())),
        ("its inputs make sha256:", changed(|value| value["inputs"]["kernel"] = "6.2".into())),
        ("its inputs make sha256:", changed(|value| value["key"] = json!(Digest::of(b"")))),
        ("cannot be the name of an input", changed(|value| value["inputs"][" "] = "".into())),
        ("is not canonical JSON", changed(|value| value["record"]["kernel"] = Value::Null)),
        ("is not canonical JSON", changed(|value| value["record"]["modules"].as_array_mut().unwrap().reverse())),
        ("line 1 column", changed(|value| value["content"]["files"] = "4".into())),
    ] {
        assert!(found.contains(message), "{message:?} is not in {found:?}");
    }
    let text = String::from_utf8(example().to_bytes().unwrap()).unwrap();
    for text in [text.clone() + "\n", text.replace("{\"content\"", "{\"schema\":1,\"content\""), "[]".into()] {
        BundleConfig::parse(text.as_bytes()).unwrap_err();
    }
    let mut large = example();
    large.record.notes = vec!["x".repeat(1 << 20); 4];
    assert!(matches!(large.to_bytes(), Err(ConfigError::TooLarge { .. })));
    assert!(matches!(BundleConfig::parse(&vec![b' '; MAX_CONFIG + 1]), Err(ConfigError::Json(_))));
}

fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::Sha256)
}

fn packages() -> impl Strategy<Value = BTreeSet<PackageRecord>> {
    let package = (any::<String>(), any::<String>(), option::of("[a-z]"), option::of(digests()), option::of("[a-z]"));
    let package = package.prop_map(|(name, version, arch, checksum, source)| PackageRecord {
        name,
        version,
        arch,
        checksum,
        source,
    });
    btree_set(package, 0..4)
}

fn modules() -> impl Strategy<Value = BTreeSet<ModuleRecord>> {
    let place = vec(1..=255_u8, 1..9).prop_filter_map("no path", |bytes| TreePath::new(bytes).ok());
    let words = (any::<String>(), any::<String>(), option::of(any::<String>()), vec("[a-z]", 0..3));
    let module = (place, words, digests(), any::<u64>());
    let module = module.prop_map(|(path, (name, vermagic, srcversion, depends), digest, size)| ModuleRecord {
        path,
        name,
        vermagic,
        srcversion,
        depends,
        digest,
        size,
    });
    btree_set(module, 0..4)
}

fn records() -> impl Strategy<Value = BundleRecord> {
    let origin = (any::<String>(), any::<String>(), option::of("[0-9.]{3}"), option::of(digests()));
    let counts = (btree_map("[a-z]", digests(), 0..3), btree_map("[a-z]", any::<u64>(), 0..3));
    let lists = (btree_set("[a-z]{1,3}", 0..3), vec(any::<String>(), 0..3), vec(any::<String>(), 0..3));
    (origin, packages(), modules(), counts, lists).prop_map(|(origin, packages, modules, counts, lists)| BundleRecord {
        kind: origin.0,
        stage: origin.1,
        kernel: origin.2,
        builder: origin.3,
        sources: counts.0,
        packages,
        modules,
        exclusions: counts.1,
        services: lists.0,
        presets: lists.1,
        notes: lists.2,
    })
}

proptest! {
    #[test]
    fn a_configuration_is_read_back(
        record in records(),
        inputs in btree_map("[a-z:.]{1,4}", any::<String>(), 0..4),
        (diff_id, size, files) in (digests(), any::<u64>(), any::<u64>()),
    ) {
        let inputs: BTreeMap<String, String> = inputs;
        let content = ContentRecord { diff_id, size, files };
        let config = BundleConfig { key: BundleKey::new(inputs).unwrap(), record, content };
        let bytes = config.to_bytes().unwrap();
        prop_assert_eq!(BundleConfig::parse(&bytes).unwrap(), config);
    }

    #[test]
    fn no_text_is_a_panic(bytes in vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let _ = BundleConfig::parse(&bytes);
        let mut text = example().to_bytes().unwrap();
        let at = at.index(text.len());
        let same = text[at] == byte;
        text[at] = byte;
        if let Ok(config) = BundleConfig::parse(&text) {
            prop_assert_eq!(config == example(), same);
        }
    }
}
