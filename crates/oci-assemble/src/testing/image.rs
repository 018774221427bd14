//! Images and JSON for tests, built by code.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use crate::image::{Config, Descriptor, Digest, Encoding, History, Image, Layer, Manifest, MediaType, Platform};

pub fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

/// The layer that stands for `name`: its tar is `name`, and so is its blob, uncompressed.
pub fn layer(name: &str) -> Layer {
    let descriptor = Descriptor::of(MediaType::layer(Encoding::Plain), name.as_bytes());
    let diff_id = descriptor.digest;
    Layer {
        descriptor,
        diff_id,
        uncompressed_size: Some(name.len() as u64),
        history: History::of(format!("add {name}")),
    }
}

/// An image of these layers, each with one history entry.
pub fn image(layers: &[&str]) -> Image {
    let all = layers.iter().map(|name| layer(name));
    Image::scratch(amd64()).append_all(all).unwrap_or_else(|_| Image::scratch(amd64()))
}

/// A manifest and a configuration as Docker writes them, with fields this crate does not know and less history than
/// layers.
pub fn docker_image(layers: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let diff_ids: Vec<String> = layers.iter().map(|name| Digest::of(name.as_bytes()).to_string()).collect();
    let config = serde_json::json!({
        "os": "linux", "architecture": "amd64", "docker_version": "1", "container_config": {"Hostname": "x"},
        "config": {"Labels": null, "Cmd": ["/sbin/init"], "Healthcheck": {"Test": ["NONE"]}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "first"}, {"created_by": "LABEL x", "empty_layer": true}],
    });
    let config = config.to_string().into_bytes();
    let mut manifest = Manifest::new(Descriptor::of(MediaType::DockerConfig, &config), Vec::new());
    manifest.media_type = MediaType::DockerManifest;
    let kind = MediaType::DockerLayer(Encoding::Plain, crate::image::Distribution::Free);
    manifest.layers = layers.iter().map(|name| Descriptor::of(kind.clone(), name.as_bytes())).collect();
    (manifest.to_bytes(), config)
}

/// JSON of every kind of value, up to four deep.
pub fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-c]{1,2}", any::<String>(), 0..3)
}

fn rest() -> impl Strategy<Value = BTreeMap<String, Value>> {
    prop::collection::btree_map("x-[a-c]", arbitrary_json().prop_filter("null is absent", |v| !v.is_null()), 0..2)
}

fn digests() -> impl Strategy<Value = Digest> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Digest::Sha256),
        any::<[u8; 32]>().prop_map(|half| {
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&half);
            Digest::Sha512(bytes)
        })
    ]
}

pub fn arbitrary_platform() -> impl Strategy<Value = Platform> {
    (prop::sample::select(vec!["linux", "plan9"]), "[a-z0-9]{1,5}", prop::option::of("v[0-9]"), rest())
        .prop_map(|(os, architecture, variant, rest)| Platform { os: os.to_owned(), architecture, variant, rest })
}

pub fn arbitrary_descriptor() -> impl Strategy<Value = Descriptor> {
    let kinds = prop::sample::select(vec![
        MediaType::layer(Encoding::Gzip),
        MediaType::ImageConfig,
        MediaType::ImageManifest,
        MediaType::Other("text/plain".into()),
    ]);
    (kinds, digests(), 0..=i64::MAX.unsigned_abs(), annotations(), prop::option::of(arbitrary_platform()), rest())
        .prop_map(|(media_type, digest, size, annotations, platform, rest)| Descriptor {
            media_type,
            digest,
            size,
            annotations,
            platform,
            rest,
        })
}

pub fn arbitrary_manifest() -> impl Strategy<Value = Manifest> {
    let layers = prop::collection::vec(arbitrary_descriptor(), 0..4);
    let subject = prop::option::of(arbitrary_descriptor());
    (arbitrary_descriptor(), layers, annotations(), subject, rest()).prop_map(
        |(config, layers, annotations, subject, rest)| Manifest {
            annotations,
            subject,
            rest,
            ..Manifest::new(config, layers)
        },
    )
}

fn histories() -> impl Strategy<Value = History> {
    let text = || prop::option::of(any::<String>());
    (text(), text(), text(), text(), any::<bool>(), rest()).prop_map(
        |(created, created_by, author, comment, empty_layer, rest)| History {
            created,
            created_by,
            author,
            comment,
            empty_layer,
            rest,
        },
    )
}

pub fn arbitrary_config() -> impl Strategy<Value = Config> {
    let platform = arbitrary_platform().prop_map(|platform| Platform { rest: BTreeMap::new(), ..platform });
    let layers = (prop::collection::vec(digests(), 0..4), prop::collection::vec(histories(), 0..5));
    (platform, prop::option::of(any::<String>()), annotations(), rest(), layers, rest()).prop_map(
        |(platform, created, labels, exec, (diff_ids, history), rest)| Config {
            platform,
            created,
            labels,
            exec,
            diff_ids,
            history,
            rest,
        },
    )
}
