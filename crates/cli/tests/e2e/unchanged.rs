//! What was built already is not built again, and what is not the same any more always is.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use oci_assemble::image::Digest;

use crate::files::{bytes, leftovers, states};
use crate::scene::{Run, Scene};

const INLINE: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";
const SOURCE: &str = "[[file]]\npath = \"/etc/motd\"\nsource = \"motd\"\n";

/// Puts other bytes in the place of a file: a new inode, as the old one may be linked to the base.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Builds, and says whether it was known from before.
fn build(scene: &Scene, more: &[&str]) -> (Digest, bool) {
    let mut words = vec!["--recipe", "recipe.toml", "--output", "oci:out:latest", "--json"];
    words.extend(more);
    let run = scene.run(&words);
    assert_eq!(run.code, 0, "{run:?}");
    let (_, value) = run.json();
    (value["image"].as_str().unwrap().parse().unwrap(), value["cached"].as_bool().unwrap())
}

#[test]
fn a_second_run_writes_nothing() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", INLINE);
    let first = build(&scene, &[]);
    let before = states(&scene.path("out"));
    let cache = states(&scene.path("cache"));
    let second = build(&scene, &[]);
    assert_eq!((first.1, second), (false, (first.0, true)));
    assert_eq!(states(&scene.path("out")), before);
    assert_eq!(states(&scene.path("cache")), cache);
    assert_eq!(scene.build("recipe.toml", "out"), first.0, "without --json as well");
}

#[test]
fn files_that_have_settled_are_known() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", SOURCE);
    scene.file("motd", "hello\n");
    let began = Instant::now();
    let (image, _) = build(&scene, &[]);
    // The program trusts the state of a file from two seconds after its last change on.
    std::thread::sleep(Duration::from_millis(2_200).saturating_sub(began.elapsed()));
    assert_eq!(build(&scene, &[]), (image, false), "too young when it was first built");
    let before = states(&scene.path("out"));
    assert_eq!(build(&scene, &[]), (image, true));
    assert_eq!(states(&scene.path("out")), before);
    scene.file("motd", "HELLO\n");
    let (other, cached) = build(&scene, &[]);
    assert!(other != image && !cached);
}

#[test]
fn a_change_within_the_clocks_grain_is_not_missed() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", SOURCE);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let mut seen = Vec::new();
    for round in 0..6 {
        // The same inode, size and modification time; the change time may be that of the round before.
        let path = scene.file("motd", format!("round {round}\n"));
        fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        let (image, cached) = build(&scene, &[]);
        assert!(!cached && !seen.contains(&image), "round {round}");
        seen.push(image);
    }
}

#[test]
fn without_the_memory_the_same_bytes_come_out() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", INLINE);
    let (image, _) = build(&scene, &[]);
    let expected = bytes(&scene.path("out"));
    assert_eq!(build(&scene, &["--no-cache"]), (image, false));
    assert_eq!(bytes(&scene.path("out")), expected);
    fs::remove_dir_all(scene.path("cache")).unwrap();
    assert_eq!(build(&scene, &[]), (image, false));
    assert_eq!(bytes(&scene.path("out")), expected);
    // Rubbish in the cache costs time and nothing else.
    for name in states(&scene.path("cache")).into_keys() {
        fs::write(scene.path("cache").join(name), "rubbish").unwrap();
    }
    assert_eq!(build(&scene, &[]), (image, false));
    assert_eq!(bytes(&scene.path("out")), expected);
}

#[test]
fn every_input_matters() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", INLINE);
    let (image, _) = build(&scene, &[]);
    for tables in [
        INLINE.replace("hello", "hellO"),
        format!("{INLINE}mode = 0o600\n"),
        format!("{INLINE}[layers]\ncompression = \"gzip\"\n"),
        format!("{INLINE}[layers]\nlevel = \"small\"\n"),
        format!("{INLINE}[kargs]\nappend = [\"quiet\"]\n"),
    ] {
        scene.recipe("recipe.toml", &tables);
        let (other, cached) = build(&scene, &[]);
        assert!(other != image && !cached, "{tables}");
        scene.recipe("recipe.toml", INLINE);
        assert_eq!(build(&scene, &[]).0, image, "and back");
    }
    let dated = Run::of(scene.command(&["-r", "recipe.toml", "-o", "oci:out:latest"]).env("SOURCE_DATE_EPOCH", "1"));
    assert_ne!(dated.digest(), image);
    // A moved tag of the base.
    fs::remove_dir_all(scene.path("base")).unwrap();
    fs::create_dir(scene.path("base")).unwrap();
    crate::base::write(&scene.path("base"), &crate::base::image_tree(), |image| image.with_label("more", "1"));
    let (other, cached) = build(&scene, &[]);
    assert!(other != image && !cached);
}

#[test]
fn what_is_missing_in_the_output_is_made_again() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", INLINE);
    let (image, _) = build(&scene, &[]);
    let out = scene.path("out");
    let expected = bytes(&out);
    for name in expected.keys() {
        fs::remove_file(out.join(name)).unwrap();
        assert_eq!(build(&scene, &[]), (image, false), "{} deleted", name.display());
        assert_eq!(bytes(&out), expected, "{} deleted", name.display());
    }
    for name in expected.keys().filter(|name| name.starts_with("blobs")) {
        let whole = fs::read(out.join(name)).unwrap();
        replace(&out.join(name), &whole[..whole.len() / 2]);
        assert_eq!(build(&scene, &[]), (image, false), "{} cut short", name.display());
        assert_eq!(bytes(&out), expected, "{} cut short", name.display());
    }
    // Of the right size, so that only reading tells: a run without the memory does.
    for name in expected.keys().filter(|name| name.starts_with("blobs")) {
        let mut whole = fs::read(out.join(name)).unwrap();
        let middle = whole.len() / 2;
        whole[middle] ^= 1;
        replace(&out.join(name), &whole);
        assert_eq!(build(&scene, &["--no-cache"]), (image, false), "{} changed", name.display());
        assert_eq!(bytes(&out), expected, "{} changed", name.display());
    }
    fs::remove_dir_all(&out).unwrap();
    assert_eq!(build(&scene, &[]), (image, false));
    assert_eq!(bytes(&out), expected);
    assert_eq!(leftovers(&out), [""; 0]);
}

#[test]
fn tags_of_one_layout_do_not_disturb_each_other() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", INLINE);
    scene.recipe("other.toml", &INLINE.replace("hello", "other"));
    let one = scene.run(&["-r", "recipe.toml", "-o", "oci:out:one"]).digest();
    let two = scene.run(&["-r", "other.toml", "-o", "oci:out:two"]).digest();
    let before = states(&scene.path("out"));
    assert_eq!(scene.run(&["-r", "recipe.toml", "-o", "oci:out:one"]).digest(), one);
    assert_eq!(scene.run(&["-r", "other.toml", "-o", "oci:out:two"]).digest(), two);
    assert_eq!(states(&scene.path("out")), before);
    let layout = crate::scene::layout(&scene.path("out"));
    for (tag, digest) in [("one", one), ("two", two)] {
        assert_eq!(layout.find(Some(tag), None).unwrap().digest, digest);
    }
    // The tag moves, and the other one stays.
    assert_eq!(scene.run(&["-r", "other.toml", "-o", "oci:out:one"]).digest(), two);
    assert_eq!(layout.find(Some("one"), None).unwrap().digest, two);
    assert_eq!(layout.index().unwrap().manifests.len(), 2);
}
