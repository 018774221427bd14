//! What is kept of the image before, and what is not.

use std::fs;

use oci_assemble::image::Image;

use crate::files::{bytes, leftovers};
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
