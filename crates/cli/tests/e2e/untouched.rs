//! The base stays what it is: in its own layout, and inside the image.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci_assemble::image::Image;

use crate::files::{blobs, bytes, copy, states};
use crate::scene::{Scene, image};

/// Everything of `base` is in `image` as it was, below what was added.
fn assert_kept(base: &Image, image: &Image) {
    let count = base.layers().len();
    assert!(image.layers().len() > count);
    let kept: Vec<_> = image.layers().take(count).collect();
    assert_eq!(kept, base.layers().collect::<Vec<_>>(), "descriptors with annotations, and diff_ids");
    let history: Vec<_> = image.config().layer_history().collect();
    assert_eq!(history.len(), image.layers().len(), "one entry for each layer");
    assert_eq!(image.config().history[..base.config().history.len()], base.config().history);
    let added: BTreeMap<_, _> =
        image.config().labels.iter().filter(|(key, _)| !base.config().labels.contains_key(*key)).collect();
    for (key, value) in &base.config().labels {
        assert_eq!(image.config().labels.get(key), Some(value), "label {key}; added {added:?}");
    }
    for (key, value) in &base.manifest().annotations {
        if key != "org.opencontainers.image.created" {
            assert_eq!(image.manifest().annotations.get(key), Some(value), "annotation {key}");
        }
    }
    assert_eq!(image.config().exec, base.config().exec);
    assert_eq!(image.config().platform, base.config().platform);
    assert_eq!(
        image.manifest().annotations.get("org.opencontainers.image.base.digest"),
        Some(&base.digest().to_string())
    );
}

/// The blobs of `image` that are the base's: as hard links where both are on one file system.
fn assert_linked(base: &Path, out: &Path, base_image: &Image) {
    for (descriptor, _) in base_image.layers() {
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        let (theirs, ours) = (fs::metadata(base.join(&name)).unwrap(), fs::metadata(out.join(&name)).unwrap());
        assert_eq!((theirs.dev(), theirs.ino()), (ours.dev(), ours.ino()), "{name} is a hard link");
    }
}

#[test]
fn a_plain_base() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n");
    let base = scene.path("base");
    let (before, names) = (states(&base), bytes(&base));
    scene.build("recipe.toml", "out");
    assert_eq!((states(&base), bytes(&base)), (before, names));
    assert!(!base.join(".assemble").exists(), "not even a lock is left in a layout that is only read");
    assert_kept(&image(&base), &scene.image("out"));
    assert_linked(&base, &scene.path("out"), &image(&base));
    // A read-only base is as good, and one that cannot be linked is copied.
    let other = Scene::new();
    other.recipe("recipe.toml", "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n");
    let shm = Path::new("/dev/shm");
    let elsewhere = tempfile::tempdir_in(if shm.is_dir() { shm } else { Path::new("/tmp") }).unwrap();
    fs::remove_dir_all(other.path("base")).unwrap();
    copy(&base, elsewhere.path());
    std::os::unix::fs::symlink(elsewhere.path(), other.path("base")).unwrap();
    other.build("recipe.toml", "out");
    assert_eq!(bytes(&other.path("out")), bytes(&scene.path("out")));
}

#[test]
fn base_and_image_in_one_layout() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n");
    let alone = scene.build("recipe.toml", "out");
    let before = blobs(&scene.path("base"));
    assert_eq!(scene.run(&["-r", "recipe.toml", "-o", "oci:base:new"]).digest(), alone);
    let layout = crate::scene::layout(&scene.path("base"));
    assert_eq!(layout.index().unwrap().manifests.len(), 2);
    assert!(blobs(&scene.path("base")).len() == before.len() + 3, "a layer, a configuration, a manifest");
    assert_eq!(scene.run(&["-r", "recipe.toml", "-o", "oci:again:x"]).digest(), alone, "base:latest is the base still");
}

/// What lints hold against the 17 kB of `fixtures/ostree-base`, which has a kernel in name only.
const SKIP: &str = "[lint]\nskip = [{ name = \"depmod-complete\", reason = \"the fixture has no modules\" }]\n";

#[test]
fn an_ostree_base() {
    let scene = Scene::new();
    let fixture = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/ostree-base"));
    fs::remove_dir_all(scene.path("base")).unwrap();
    copy(fixture, &scene.path("base"));
    let tag = image_tag(&scene.path("base"));
    let head = crate::scene::HEAD.replace("oci:base:latest", &format!("oci:base{tag}"));
    scene.file("recipe.toml", format!("{head}[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n{SKIP}"));
    let run = scene.run(&["-r", "recipe.toml", "-o", "oci:out:latest"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(bytes(&scene.path("base")), bytes(fixture));
    let base = image(fixture);
    assert_kept(&base, &scene.image("out"));
    assert_linked(&scene.path("base"), &scene.path("out"), &base);
    assert!(base.config().labels.contains_key("ostree.final-diffid"));
}

/// `:TAG` of a layout's only image, or nothing.
fn image_tag(layout: &Path) -> String {
    let index = crate::scene::layout(layout).index().unwrap();
    index.manifests[0].ref_name().map(|tag| format!(":{tag}")).unwrap_or_default()
}
