//! A build that is killed changes nothing that is visible, and the next one leaves nothing of it.

use std::process::Stdio;
use std::time::Instant;

use oci_assemble::image::{Digest, Hasher};
use oci_assemble::store::{BlobSource, Layout, reachable};
use oci_assemble::testing::elf::module_for;

use crate::base::KERNEL;
use crate::files::{blobs, bytes, leftovers};
use crate::scene::{Run, Scene, layout};

/// How often a build is killed: at as many moments, evenly spread over the time that it takes.
const KILLS: u32 = 24;

const OLD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"old\\n\"\n";
const NEW: &str = "[[stage]]\nname = \"data\"\nkind = \"files\"\nsource = \"data\"\ninto = \"/usr/share/e2e\"\n\
                   [[stage]]\nname = \"probe\"\nkind = \"modules\"\nsource = \"modules\"\n";

/// The image `tag` is whole: every blob it needs has the bytes that its digest says.
fn assert_whole(layout: &Layout, tag: &str) -> Digest {
    let image = layout.find(Some(tag), None).unwrap();
    for blob in reachable(layout, std::slice::from_ref(&image)).unwrap() {
        std::io::copy(&mut layout.open(&blob).unwrap(), &mut Hasher::default()).unwrap();
    }
    image.digest
}

#[test]
fn at_any_moment() {
    let scene = Scene::new();
    scene.recipe("old.toml", OLD);
    scene.recipe("new.toml", NEW);
    // Random bytes, so that compressing and writing them takes its time.
    let mut noise = Vec::new();
    let mut state = 1_u64;
    for _ in 0..400_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&state.to_be_bytes()[..4]);
    }
    scene.file("data/noise", noise);
    scene.file("modules/probe.ko", module_for("probe", KERNEL));
    let old = scene.run(&["-r", "old.toml", "-o", "oci:out:old"]).digest();
    // A layout in which nothing was ever killed, and the time that takes; both runs find a cold cache.
    scene.run(&["-r", "old.toml", "-o", "oci:calm:old"]).digest();
    let began = Instant::now();
    let new = scene.run(&["-r", "new.toml", "-o", "oci:calm:new", "--cache", "calm-cache"]).digest();
    let whole = began.elapsed();

    let temporary = scene.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut cut = 0;
    for number in 0..KILLS {
        let cache = format!("cache-{number}");
        let mut command = scene.command(&["-r", "new.toml", "-o", "oci:out:new", "--no-cache", "--cache", &cache]);
        command.env("TMPDIR", &temporary);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * number / KILLS);
        child.kill().unwrap();
        cut += u32::from(!child.wait().unwrap().success());
        let out = layout(&scene.path("out"));
        assert_eq!(assert_whole(&out, "old"), old, "kill {number}");
        if out.find(Some("new"), None).is_ok() {
            assert_eq!(assert_whole(&out, "new"), new, "kill {number}");
        }
    }
    assert!(cut >= KILLS / 4, "only {cut} of {KILLS} builds were cut short");

    let mut last = scene.command(&["-r", "new.toml", "-o", "oci:out:new"]);
    assert_eq!(Run::of(last.env("TMPDIR", &temporary)).digest(), new);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "depmod's directories are gone");
    assert_eq!(leftovers(&scene.path("out")), [""; 0]);
    assert_eq!(blobs(&scene.path("out")), blobs(&scene.path("calm")));
    assert_eq!(bytes(&scene.path("out")), bytes(&scene.path("calm")));
}

#[test]
fn the_next_archive_removes_what_a_killed_one_left() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", OLD);
    for name in ["killed", "running"] {
        scene.file(&format!("images/.assemble-archive-{name}/blobs/x"), vec![0; 9]);
    }
    scene.file("images/.assemble-mine/x", vec![0; 9]);
    let running = std::fs::File::open(scene.path("images/.assemble-archive-running")).unwrap();
    running.lock().unwrap();
    let names = || {
        let entries = std::fs::read_dir(scene.path("images")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    scene.run(&["-r", "recipe.toml", "-o", "oci-archive:images/one.oci:one"]).digest();
    assert_eq!(names(), [".assemble-archive-running", ".assemble-mine", "one.oci"]);
    drop(running);
    scene.run(&["-r", "recipe.toml", "-o", "oci-archive:images/one.oci:one"]).digest();
    assert_eq!(names(), [".assemble-mine", "one.oci"]);
}
