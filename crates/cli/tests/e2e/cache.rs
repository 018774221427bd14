//! `assemble cache`: what is kept between builds, and for how long.

use std::fs;
use std::num::NonZero;
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use kmod_stage::bundle::{BundleKey, BundleRecord, BundleStore, Staged};
use oci_assemble::image::Digest;
use oci_assemble::testing::memory::Memory;
use oci_assemble::tree::{Content, Inode, Meta, TreeDelta, TreePath};

use crate::scene::Scene;

/// Keeps a result of the stage `zfs` for a kernel; it was made `days` ago.
fn keep(scene: &Scene, kernel: &str, version: &str, days: u64) -> Digest {
    let place = scene.path("cache/assemble/bundles");
    fs::create_dir_all(&place).unwrap();
    let store = BundleStore::new(Dir::open_ambient_dir(&place, ambient_authority()).unwrap(), "the cache");
    let key = BundleKey::new([("kernel", kernel), ("package:zfs-dkms", version)]).unwrap();
    let mut delta = TreeDelta::new();
    let file = Inode::file(Meta::root_owned(0o644, 7), Content::of(format!("{kernel} {version}").into_bytes()));
    delta.insert(TreePath::new("usr/share/zfs").unwrap(), file);
    let record = BundleRecord {
        kind: "zfs".into(),
        stage: "zfs".into(),
        kernel: Some(kernel.into()),
        ..BundleRecord::default()
    };
    let contents = Memory::default();
    let staged = Staged { key: &key, record: &record, delta: &delta, contents: &contents, log: None };
    let manifest = store.keep(staged, NonZero::<usize>::MIN).unwrap().bundle.manifest().digest;
    aged(&place.join("blobs/sha256").join(manifest.hex()), days);
    manifest
}

fn aged(path: &std::path::Path, days: u64) {
    let time = SystemTime::now() - Duration::from_hours(24 * days);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn what_is_old_goes_and_the_newest_result_of_each_stage_stays() {
    let scene = Scene::new();
    let empty = scene.run(&["cache", "list"]);
    assert_eq!((empty.code, empty.stdout.as_str()), (0, ""), "{empty:?}");
    let bundles: Vec<Digest> = [("6.1", "2.1", 90), ("6.1", "2.2", 60), ("6.2", "2.2", 50), ("6.2", "2.3", 1)]
        .map(|(kernel, version, days)| keep(&scene, kernel, version, days))
        .into();
    scene.recipe("recipe.toml", "[[file]]\npath = \"/etc/motd\"\ncontent = \"x\"\n");
    scene.build("recipe.toml", "out");
    // What was computed is old, except the index of one layer.
    let indexes: Vec<_> =
        fs::read_dir(scene.path("cache/assemble/layer-index")).unwrap().map(|e| e.unwrap().path()).collect();
    indexes.iter().skip(1).for_each(|path| aged(path, 40));

    let (schema, listed) = scene.run(&["cache", "list", "--json"]).json();
    assert_eq!((schema.as_str(), listed["bundles"].as_array().unwrap().len()), ("assemble.cache/1", 4));
    assert_eq!(listed["computed"]["layer-index"]["entries"], indexes.len());
    let text = scene.run(&["cache", "list"]).stdout;
    assert_eq!(text.lines().filter(|line| line.starts_with("bundle       zfs          zfs ")).count(), 4, "{text}");

    let dry = scene.run(&["cache", "gc"]);
    let words = format!("2 bundles, 0 fetched blobs and {} computed entries would be removed, ", indexes.len() - 1);
    assert!(dry.stderr.starts_with(&words) && dry.stderr.ends_with("; --remove does it\n"), "{dry:?}");
    assert_eq!(scene.run(&["cache", "list", "--json"]).json().1, listed, "nothing was removed");

    let (_, gone) = scene.run(&["cache", "gc", "--remove", "--json"]).json();
    let manifests: Vec<_> =
        gone["bundles"].as_array().unwrap().iter().map(|bundle| bundle["manifest"].clone()).collect();
    assert_eq!(manifests, [bundles[0], bundles[2]].map(|digest| digest.to_string()), "{gone}");
    let (_, left) = scene.run(&["cache", "list", "--json"]).json();
    assert_eq!(
        (left["bundles"].as_array().unwrap().len(), &left["computed"]["layer-index"]["entries"]),
        (2, &1.into())
    );
    let blobs = fs::read_dir(scene.path("cache/assemble/bundles/blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 6, "manifest, configuration and layer of two bundles");
    let all = scene.run(&["cache", "gc", "--days", "0", "--remove"]);
    assert!(all.stderr.starts_with("0 bundles, "), "the newest stay: {all:?}");
    // Whatever is gone is made again.
    scene.build("recipe.toml", "out");
}
