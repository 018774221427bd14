//! What is kept of the image before, and what is not.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::{fs, io};

use oci_assemble::image::{Digest, Encoding, Image, Layer, MediaType};
use oci_assemble::layer::{Compression, decode};
use oci_assemble::store::Layout;
use oci_assemble::testing::registry::{Settings, TestRegistry};

use crate::files::{blobs, bytes, leftovers};
use crate::scene::{Run, Scene};

const CUT: &[&str] = &["rechunk", "oci:base:latest", "oci:cut:latest", "--max-layers", "6"];

/// Cuts the base, with more words.
fn cut(scene: &Scene, more: &[&str]) -> Run {
    scene.run(&[CUT, more].concat())
}

/// The file of layer `number`.
fn blob(scene: &Scene, layout: &str, image: &Image, number: usize) -> std::path::PathBuf {
    let (descriptor, _) = image.layers().nth(number).unwrap();
    scene.path(layout).join("blobs/sha256").join(descriptor.digest.hex())
}

#[test]
fn a_damaged_layer_of_the_image_before_is_made_again() {
    let scene = Scene::new();
    let good = cut(&scene, &[]).digest();
    let (expected, image) = (bytes(&scene.path("cut")), scene.image("cut"));
    let file = blob(&scene, "cut", &image, 1);
    let whole = fs::read(&file).unwrap();
    let flipped: Vec<u8> = whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 20)).collect();
    for (what, left) in [("missing", None), ("short", Some(&whole[..9])), ("flipped", Some(&flipped[..]))] {
        // With a memory that knows the blob's digest, and with one that does not.
        for more in [&[][..], &["--cache", "fresh"]] {
            fs::remove_file(&file).unwrap();
            if let Some(left) = left {
                fs::write(&file, left).unwrap();
            }
            let run = cut(&scene, more);
            assert_eq!(run.digest(), good, "{what}");
            let warning =
                format!("warning: oci:cut:latest has no sound blob {}", image.layers().nth(1).unwrap().0.digest);
            assert!(run.stderr.contains(&warning) && run.stderr.contains("is made again"), "{what}: {run:?}");
            assert_eq!(bytes(&scene.path("cut")), expected, "{what}");
            assert_eq!(leftovers(&scene.path("cut")), [""; 0]);
            let _ = fs::remove_dir_all(scene.path("fresh"));
        }
        // Nor does another place take it.
        fs::remove_file(&file).unwrap();
        if let Some(left) = left {
            fs::write(&file, left).unwrap();
        }
        let words =
            ["rechunk", "oci:base:latest", "oci:next:latest", "--max-layers", "6", "--previous", "oci:cut:latest"];
        assert_eq!(scene.run(&words).digest(), good, "{what}");
        assert_eq!(bytes(&scene.path("next")), expected, "{what}");
        fs::remove_dir_all(scene.path("next")).unwrap();
        fs::write(&file, &whole).unwrap();
    }
    assert!(cut(&scene, &[]).stderr.starts_with("6 layers, 6 kept; 0 B of "));
}

#[test]
fn a_layer_that_its_registry_lost_is_made_again() {
    let (scene, registry) = (Scene::new(), TestRegistry::start(Settings::default()).unwrap());
    let good = cut(&scene, &[]).digest();
    let place = format!("docker://{}/a/b:v1", registry.host());
    scene.run(&["push", "oci:cut:latest", &place, "--insecure"]).digest();
    let lost = scene.image("cut").layers().nth(1).unwrap().0.digest.to_string();
    registry.lose("a/b", &lost);
    for more in [&[][..], &["--cache", "fresh"]] {
        let words = ["rechunk", "oci:base:latest", "oci:next:latest", "--max-layers", "6", "--insecure", "--previous"];
        let run = scene.run(&[&words[..], &[&place], more].concat());
        assert_eq!(run.digest(), good);
        assert!(run.stderr.contains(&format!("has no sound blob {lost}")), "{run:?}");
        assert_eq!(bytes(&scene.path("next")), bytes(&scene.path("cut")));
        fs::remove_dir_all(scene.path("next")).unwrap();
    }
}

/// Writes the image of the layout `from` to `to`, its layers as gzip of another level, as other tools push them.
fn recompress(scene: &Scene, from: &str, to: &str) {
    let image = scene.image(from);
    fs::create_dir(scene.path(to)).unwrap();
    let dir = cap_std::fs::Dir::open_ambient_dir(scene.path(to), cap_std::ambient_authority()).unwrap();
    let transaction = Layout::write(dir).unwrap();
    let histories: Vec<_> = image.config().layer_history().cloned().collect();
    let layers = image.layers().zip(histories).enumerate().map(|(number, ((descriptor, diff_id), history))| {
        let file = fs::File::open(blob(scene, from, &image, number)).unwrap();
        let mut encoder = Compression::Gzip(1).encoder(Vec::new(), NonZero::<usize>::MIN).unwrap();
        io::copy(&mut decode(file, descriptor.media_type.encoding().unwrap()).unwrap(), &mut encoder).unwrap();
        let mut found = transaction.put_bytes(MediaType::layer(Encoding::Gzip), &encoder.finish().unwrap()).unwrap();
        found.annotations = descriptor.annotations.clone();
        Layer { descriptor: found, diff_id: *diff_id, uncompressed_size: None, history }
    });
    let other = image.clone().without_layers().append_all(layers.collect::<Vec<_>>()).unwrap();
    let descriptor = transaction.put_image(&other).unwrap();
    transaction.commit(Some("latest"), &descriptor).unwrap();
}

#[test]
fn a_layer_is_kept_by_its_stream_whatever_its_components_are_called() {
    let scene = Scene::new();
    let map = |name: &str| format!("[[component]]\nname = \"{name}\"\npaths = [\"/usr/lib/modules/**\"]\n");
    scene.file("one.toml", map("one"));
    scene.file("uno.toml", map("uno"));
    let first = cut(&scene, &["--map", "one.toml"]).digest();
    recompress(&scene, "cut", "pushed");
    let next = |more: &[&str]| {
        let _ = fs::remove_dir_all(scene.path("next"));
        let words = ["rechunk", "oci:base:latest", "oci:next:latest", "--max-layers", "6", "--map", "uno.toml"];
        scene.run(&[&words[..], more].concat())
    };
    let digests = |layout: &str| -> BTreeSet<Digest> {
        scene.image(layout).layers().map(|(descriptor, _)| descriptor.digest).collect()
    };
    let run = next(&["--previous", "oci:pushed:latest"]);
    run.digest();
    assert_eq!(digests("next"), digests("pushed"), "{run:?}");
    let count = scene.image("next").layers().len();
    assert!(run.stderr.starts_with(&format!("{count} layers, {count} kept; 0 B of ")), "{run:?}");
    // What was sealed in vain is not left: layers, configuration and manifest are all there is.
    assert_eq!(blobs(&scene.path("next")).len(), count + 2);
    // One that is damaged is made again, and so are all where another compressor is asked for.
    let image = scene.image("pushed");
    for number in 0..count {
        fs::write(blob(&scene, "pushed", &image, number), "damaged").unwrap();
    }
    let run = next(&["--previous", "oci:pushed:latest"]);
    run.digest();
    assert!(digests("next").is_disjoint(&digests("pushed")), "{run:?}");
    let run = next(&["--previous", "oci:cut:latest", "--compression", "gzip"]);
    run.digest();
    assert!(digests("next").is_disjoint(&digests("cut")), "{run:?}");
    // The same bytes under another name are no news either.
    let run = next(&["--previous", "oci:cut:latest"]);
    assert_ne!(run.digest(), first, "its record has the other name");
    assert!(run.stderr.starts_with(&format!("{count} layers, {count} kept; 0 B of ")), "{run:?}");
}

#[test]
fn a_record_says_how_layers_are_compressed() {
    let scene = Scene::new();
    let (_, value) = cut(&scene, &["--compression", "gzip", "--json"]).json();
    scene.file("gzip.json", value.to_string());
    scene.file("bare.json", value["record"].to_string());
    let good = scene.image("cut").digest();
    let next = |more: &[&str]| {
        let words = ["rechunk", "oci:base:latest", "oci:next:latest", "--max-layers", "6", "--previous"];
        scene.run(&[&words[..], more].concat())
    };
    let plan = |more: &[&str]| next(&[more, &["--dry-run", "--json"]].concat()).json().1["expected_download"].clone();
    assert_eq!(plan(&["gzip.json"]), 0);
    let run = next(&["gzip.json"]);
    assert_eq!(run.digest(), good);
    assert!(run.stderr.starts_with("6 layers, 6 kept; 0 B of "), "{run:?}");
    // Who asks for another compressor downloads all of it.
    assert!(plan(&["gzip.json", "--compression", "zstd"]).as_u64().unwrap() > 0);
    assert!(next(&["gzip.json", "--compression", "zstd"]).stderr.starts_with("6 layers, 0 kept; "));
    // A record by itself says nothing of it.
    assert_ne!(next(&["bare.json"]).digest(), good);
}
