//! What is refused of manifests, indexes, configurations.

use serde_json::{Value, json};

use crate::image::*;
use crate::testing::image::{amd64, docker_image};

fn digest() -> String {
    Digest::of(b"").to_string()
}

fn manifest() -> Value {
    let descriptor = |kind: &MediaType| json!({"mediaType": kind.as_str(), "digest": digest(), "size": 0});
    json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageManifest.as_str(),
        "config": descriptor(&MediaType::ImageConfig), "layers": [descriptor(&MediaType::layer(Encoding::Gzip))],
    })
}

fn index() -> Value {
    json!({"schemaVersion": 2, "manifests": [
        {"mediaType": MediaType::ImageManifest.as_str(), "digest": digest(), "size": 0,
         "platform": {"os": "linux", "architecture": "amd64"}}
    ]})
}

fn config() -> Value {
    json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest()]}})
}

/// `document` with the value at `pointer` replaced, or removed.
fn with(mut document: Value, pointer: &str, value: Option<Value>) -> Vec<u8> {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match (document.pointer_mut(parent).unwrap(), value) {
        (Value::Object(map), Some(value)) => drop(map.insert(key.into(), value)),
        (Value::Object(map), None) => drop(map.remove(key)),
        (Value::Array(array), Some(value)) => array[key.parse::<usize>().unwrap()] = value,
        (other, _) => panic!("{pointer} in {other}"),
    }
    document.to_string().into_bytes()
}

fn whole(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", whole(source)))
}

#[test]
fn bad_manifests_are_refused() {
    assert!(Manifest::parse(manifest().to_string().as_bytes(), None).is_ok());
    let oci = MediaType::ImageManifest.to_string();
    let docker = MediaType::DockerManifest.to_string();
    let table: Vec<(&str, Option<Value>, String)> = vec![
        ("/schemaVersion", Some(json!(1)), "schemaVersion is 1, not 2".into()),
        ("/schemaVersion", Some(json!("2")), "schemaVersion is \"2\", not 2".into()),
        ("/schemaVersion", Some(json!(2.0)), "schemaVersion is 2.0, not 2".into()),
        ("/schemaVersion", None, "/schemaVersion is missing".into()),
        ("/mediaType", Some(json!(docker)), format!("media type is {docker:?}, not {oci:?}")),
        ("/mediaType", Some(json!(7)), "/mediaType is not a string".into()),
        ("/manifests", Some(json!([])), "layers and manifests stand in one document".into()),
        ("/config", None, "/config is missing".into()),
        ("/config", Some(json!([])), "/config is not an object".into()),
        ("/layers", None, "/layers is missing".into()),
        ("/layers", Some(json!({})), "/layers is not an array".into()),
        ("/layers/0/mediaType", None, "/layers/0/mediaType is missing".into()),
        ("/layers/0/size", None, "/layers/0/size is missing".into()),
        ("/layers/0/size", Some(json!(-1)), "/layers/0/size is not a number of bytes".into()),
        ("/layers/0/size", Some(json!(1e3)), "/layers/0/size is not a number of bytes".into()),
        ("/layers/0/size", Some(json!("3")), "/layers/0/size is not a number of bytes".into()),
        ("/layers/0/size", Some(json!(u64::MAX)), "/layers/0/size is not a number of bytes".into()),
        ("/layers/0/annotations", Some(json!({"a": 1})), "/layers/0/annotations is not a map of strings".into()),
        ("/annotations", Some(json!(["a"])), "/annotations is not an object".into()),
        ("/Layers", Some(json!([])), "/Layers is spelt differently from \"layers\" in case only".into()),
        ("/layer\u{17f}", Some(json!([])), "/layer\u{17f} is spelt differently from \"layers\" in case only".into()),
        ("/config/Digest", Some(json!("")), "/config/Digest is spelt differently from \"digest\" in case only".into()),
        ("/layers", Some(json!(vec![json!({}); 1001])), "/layers has 1001 descriptors, more than 1000".into()),
    ];
    for (pointer, value, fault) in table {
        let bytes = with(manifest(), pointer, value);
        let error = Manifest::parse(&bytes, Some(&MediaType::ImageManifest)).unwrap_err();
        assert_eq!(whole(&error), format!("invalid image manifest: {fault}"), "{pointer}");
    }
}

#[test]
fn bad_digests_are_refused() {
    let hex = "0".repeat(64);
    for (text, reason) in [
        (format!("md5:{}", "0".repeat(32)), "only sha256 and sha512 are accepted"),
        (format!("sha256:{}", "A".repeat(64)), "only the digits 0-9 and a-f are accepted"),
        ("sha256:00".into(), "expected 64 hexadecimal digits, found 2"),
        ("sha256:../../../../etc/passwd".into(), "expected 64 hexadecimal digits, found 22"),
        (format!("sha1024:{hex}"), "only sha256 and sha512 are accepted"),
    ] {
        let error = Manifest::parse(&with(manifest(), "/config/digest", Some(json!(text))), None).unwrap_err();
        let expected =
            format!("invalid image manifest: /config/digest is no digest: invalid digest {text:?}: {reason}");
        assert_eq!(whole(&error), expected);
    }
    let long = Digest::Sha512([7; 64]).to_string();
    assert!(Manifest::parse(&with(manifest(), "/config/digest", Some(json!(long))), None).is_ok());
}

#[test]
fn documents_have_a_size_limit() {
    let padding = vec![b' '; MAX_MANIFEST];
    let huge = [padding, manifest().to_string().into_bytes()].concat();
    let error = Manifest::parse(&huge, None).unwrap_err();
    assert!(matches!(error.fault, DocumentFault::Json(json::JsonError::TooLarge { .. })));
    assert!(matches!(Config::parse(&huge).unwrap_err().fault, DocumentFault::Json(json::JsonError::TooLarge { .. })));
    let html = Manifest::parse(b"<html>", None).unwrap_err();
    assert!(whole(&html).starts_with("invalid image manifest: not strict JSON: expected value"));
    let twice = br#"{"schemaVersion":2,"schemaVersion":2}"#;
    assert!(whole(&Manifest::parse(twice, None).unwrap_err()).contains("stands twice in one object"));
}

#[test]
fn media_types_inside_and_outside_agree() {
    let bare = with(manifest(), "/mediaType", None);
    for expected in [None, Some(&MediaType::ImageManifest), Some(&MediaType::DockerManifest)] {
        let read = Manifest::parse(&bare, expected).unwrap();
        assert_eq!(&read.media_type, expected.unwrap_or(&MediaType::ImageManifest));
    }
    for wrong in [MediaType::ImageIndex, MediaType::DockerManifest, MediaType::Other("text/html".into())] {
        let error = Manifest::parse(manifest().to_string().as_bytes(), Some(&wrong)).unwrap_err();
        assert!(matches!(error.fault, DocumentFault::MediaType { .. }), "{wrong}");
    }
    assert!(matches!(
        Manifest::parse(&bare, Some(&MediaType::ImageIndex)).unwrap_err().fault,
        DocumentFault::MediaType { .. }
    ));
}

#[test]
fn bad_indexes_are_refused() {
    assert!(Index::parse(index().to_string().as_bytes(), None).is_ok());
    for (pointer, value, fault) in [
        ("/layers", Some(json!([])), "manifests and layers stand in one document"),
        ("/config", Some(json!({})), "manifests and config stand in one document"),
        ("/manifests", None, "/manifests is missing"),
        ("/manifests", Some(json!(vec![json!({}); 1001])), "/manifests has 1001 descriptors, more than 1000"),
        ("/manifests/0/platform", Some(json!("linux")), "/manifests/0/platform is not an object"),
        ("/manifests/0/platform/os", None, "/manifests/0/platform/os is missing"),
    ] {
        let error = Index::parse(&with(index(), pointer, value), None).unwrap_err();
        assert_eq!(whole(&error), format!("invalid image index: {fault}"), "{pointer}");
    }
}

#[test]
fn bad_configurations_are_refused() {
    assert!(Config::parse(config().to_string().as_bytes()).is_ok());
    for (pointer, value, fault) in [
        ("/os", None, "/os is missing"),
        ("/architecture", Some(json!("")), ""),
        ("/architecture", Some(json!(64)), "/architecture is not a string"),
        ("/rootfs", None, "/rootfs is missing"),
        ("/rootfs/type", Some(json!("zfs")), "/rootfs/type is not \"layers\""),
        ("/rootfs/diff_ids", Some(json!([1])), "/rootfs/diff_ids is not an array of strings"),
        ("/config", Some(json!({"Labels": {"a": 1}})), "/config/Labels is not a map of strings"),
        ("/config", Some(json!({"labels": {}})), "/config/labels is spelt differently from \"Labels\" in case only"),
        ("/history", Some(json!([[]])), "/history/0 is not an object"),
        ("/history", Some(json!([{"empty_layer": 1}])), "/history/0/empty_layer is not a boolean"),
    ] {
        let outcome = Config::parse(&with(config(), pointer, value));
        if fault.is_empty() {
            assert!(outcome.is_ok(), "{pointer}");
        } else {
            assert_eq!(whole(&outcome.unwrap_err()), format!("invalid image configuration: {fault}"), "{pointer}");
        }
    }
    let short = with(config(), "/rootfs/diff_ids/0", Some(json!("sha256:0")));
    assert!(whole(&Config::parse(&short).unwrap_err()).contains("/rootfs/diff_ids/0 is no digest"));
}

#[test]
fn manifest_and_configuration_belong_together() {
    let (manifest, config) = docker_image(&["a", "b"]);
    let (_, other) = docker_image(&["a", "c"]);
    assert!(matches!(Image::parse(&manifest, &other), Err(ImageError::Config(Mismatch::Digest { .. }))));
    let longer = [config.as_slice(), b" "].concat();
    assert!(matches!(Image::parse(&manifest, &longer), Err(ImageError::Config(_))));
    let count = |layers: usize| {
        let mut manifest = Manifest::parse(&manifest, None).unwrap();
        let layer = manifest.layers[0].clone();
        manifest.layers.resize(layers, layer);
        Image::parse(&manifest.to_bytes(), &config)
    };
    assert!(matches!(count(1), Err(ImageError::LayerCount { layers: 1, diff_ids: 2 })));
    assert!(matches!(count(3), Err(ImageError::LayerCount { layers: 3, diff_ids: 2 })));
    let retyped = |config_type: &MediaType, layer_type: &MediaType| {
        let mut manifest = Manifest::parse(&manifest, None).unwrap();
        manifest.config.media_type = config_type.clone();
        manifest.layers[1].media_type = layer_type.clone();
        match Image::parse(&manifest.to_bytes(), &config) {
            Err(ImageError::NotAnImage { place, .. }) => place,
            other => panic!("{other:?}"),
        }
    };
    let layer = MediaType::layer(Encoding::Plain);
    assert_eq!(retyped(&MediaType::Empty, &layer), "config");
    assert_eq!(retyped(&MediaType::ImageConfig, &MediaType::Other("application/vnd.in-toto+json".into())), "layer 1");
}

#[test]
fn an_index_offers_one_image_for_a_platform() {
    let entry = |platform: Option<&str>, content: &str| Descriptor {
        platform: platform.map(|text| text.parse().unwrap()),
        ..Descriptor::of(MediaType::ImageManifest, content.as_bytes())
    };
    let list = Index {
        manifests: vec![
            entry(Some("linux/amd64"), "amd"),
            entry(Some("linux/amd64/v3"), "amd v3"),
            entry(Some("linux/arm64/v8"), "arm"),
            entry(Some("linux/s390x"), "z"),
            entry(Some("linux/s390x"), "z again"),
            entry(Some("unknown/unknown"), "attestation"),
            entry(None, "nothing said"),
        ],
        ..Index::default()
    };
    for (wanted, content) in
        [("linux/amd64", "amd"), ("linux/amd64/v3", "amd v3"), ("linux/amd64/v1", "amd"), ("linux/arm64", "arm")]
    {
        let found = list.select(&wanted.parse().unwrap()).unwrap();
        assert_eq!(found.digest, Digest::of(content.as_bytes()), "{wanted}");
    }
    let ambiguous = list.select(&"linux/s390x".parse().unwrap()).unwrap_err();
    assert_eq!(ambiguous, SelectError::Ambiguous { wanted: "linux/s390x".into(), found: 2 });
    match list.select(&"linux/riscv64".parse().unwrap()).unwrap_err() {
        SelectError::NoPlatform { offered, .. } => assert_eq!(offered.len(), 7),
        other => panic!("{other}"),
    }
    assert_eq!(amd64().to_string(), "linux/amd64");
}
