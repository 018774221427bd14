//! What the program says when it does not do what was asked, and the code it ends with.
//!
//! The files in `golden` are the tables; `UPDATE_GOLDEN=1 cargo test -p assemble messages` writes them anew.

mod bases;
mod images;
mod locks;
mod modules;
mod recipes;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use oci_assemble::image::Digest;
use oci_assemble::testing::elf::module_for;
use oci_assemble::testing::memory::{add, add_file};
use oci_assemble::tree::{Inode, TreePath};

use crate::base::{self, KERNEL, depending, entry};
use crate::files::leftovers;
use crate::scene::{Run, Scene};
use crate::signed::{has_openssl, openssl, pair};

/// A case: its name, what it prepares, the arguments.
type Case = (&'static str, fn(&Scene), &'static [&'static str]);

const BUILD: &[&str] = &["--recipe", "recipe.toml", "--output", "oci:out:latest"];
const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

fn motd(scene: &Scene) {
    scene.recipe("recipe.toml", MOTD);
}

/// A recipe with everything in it but the one thing that is wrong.
fn replaced(scene: &Scene, from: &str, to: &str) {
    let text = format!("{}{MOTD}", crate::scene::HEAD);
    assert!(text.contains(from));
    scene.file("recipe.toml", text.replace(from, to));
}

fn module(scene: &Scene, bytes: Vec<u8>) {
    scene.recipe("recipe.toml", "[[stage]]\nname = \"probe\"\nkind = \"modules\"\nsource = \"modules\"\n");
    scene.file("modules/probe.ko", bytes);
}

/// The base, made anew with another tree.
fn other_base(scene: &Scene, change: impl FnOnce(&mut oci_assemble::tree::FileTree)) {
    let mut tree = base::image_tree();
    change(&mut tree);
    motd(scene);
    fs::remove_dir_all(scene.path("base")).unwrap();
    fs::create_dir(scene.path("base")).unwrap();
    base::write(&scene.path("base"), &tree, |image| image);
}

/// Changes the bytes of the base's second layer.
fn damaged(scene: &Scene, change: impl FnOnce(&mut Vec<u8>)) {
    motd(scene);
    let (layer, _) = scene.image("base").layers().nth(1).map(|(descriptor, id)| (descriptor.clone(), *id)).unwrap();
    let path = scene.path("base/blobs/sha256").join(layer.digest.hex());
    let mut bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    change(&mut bytes);
    if !bytes.is_empty() {
        fs::write(path, bytes).unwrap();
    }
}

/// Puts one more layer on the base, whose size does not depend on this machine, and changes its blob.
fn raw(scene: &Scene, change: impl FnOnce(&mut Vec<u8>)) {
    let mut tar = entry("etc/", b'5', b"");
    tar.extend(entry("etc/issue", b'0', b"Welcome\n"));
    tar.resize(tar.len() + 1024, 0);
    base::append_raw(&scene.path("base"), &tar);
    let path = scene.path("base/blobs/sha256").join(Digest::of(&tar).hex());
    change(&mut tar);
    fs::write(path, tar).unwrap();
}

/// Runs the cases and holds what they say against `golden/NAME.txt`.
fn check(golden: &str, cases: &[Case]) {
    let mut text = String::new();
    for (name, prepare, arguments) in cases {
        let scene = Scene::new();
        prepare(&scene);
        let run = scene.run(arguments);
        render(&mut text, name, arguments, &run, scene.root());
        if run.code != 0 {
            nothing_is_left(&scene, name);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/e2e/golden/{golden}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap();
    for (found, expected) in text.split("\n## ").zip(expected.split("\n## ")) {
        assert_eq!(found, expected, "{found}");
    }
    assert_eq!(text, expected);
}

#[test]
fn about_recipes() {
    check("recipes", recipes::RECIPES);
}

#[test]
fn about_outputs() {
    check("outputs", recipes::OUTPUTS);
}

#[test]
fn about_locks() {
    check("locks", locks::LOCKS);
}

#[test]
fn about_bases() {
    check("bases", bases::BASES);
}

#[test]
fn about_modules() {
    check("modules", modules::MODULES);
}

#[test]
fn about_signing() {
    if has_openssl() {
        check("signing", modules::SIGNING);
    }
}

#[test]
fn about_signatures() {
    check("signatures", locks::SIGNATURES);
}

#[test]
fn about_lints() {
    check("lints", images::LINTS);
}

#[test]
fn about_inspection() {
    check("inspection", images::INSPECTION);
}

#[test]
fn about_boots() {
    check("boots", images::BOOTS);
}

fn render(text: &mut String, name: &str, arguments: &[&str], run: &Run, root: &Path) {
    let hide = |words: &str| hide(&words.replace(root.to_str().unwrap(), "DIR"));
    writeln!(text, "## {name}\n$ assemble {}\n{}", hide(&arguments.join(" ")), hide(&run.stdout).trim_end()).unwrap();
    if !run.stderr.is_empty() {
        writeln!(text, "-- stderr\n{}", hide(&run.stderr).trim_end()).unwrap();
    }
    writeln!(text, "-- exit {}\n", run.code).unwrap();
}

/// Digests, and the size of all blobs, depend on this machine's depmod, which the base has.
fn hide(words: &str) -> String {
    let lines = words.lines().map(|line| match line.split_once(" blobs read, ") {
        Some((count, _)) => format!("{count} blobs read, …"),
        None => line.to_owned(),
    });
    let mut words = lines.collect::<Vec<_>>().join("\n");
    // Tags of signatures have digests in their names.
    for beginning in ["sha256:", "sha256-"] {
        let mut parts = words.split(beginning);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(beginning);
            text.push('…');
            text.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_hexdigit()));
        }
        words = text;
    }
    words
}

/// A build that fails leaves no output; where one was there, no trace in it.
fn nothing_is_left(scene: &Scene, name: &str) {
    assert!(!scene.path("out").exists(), "{name}: an output was made");
    for layout in ["base", "odd"].map(|layout| scene.path(layout)).iter().filter(|layout| layout.is_dir()) {
        assert_eq!(leftovers(layout), [""; 0], "{name}");
    }
}
