//! Locks: what is pinned stays, and what does not fit is named.

use std::fs;

use oci_assemble::image::Digest;
use serde_json::{Value, json};

use crate::base::{self, EPOCH, KERNEL};
use crate::files::leftovers;
use crate::scene::{Run, Scene};
use crate::signed;

const TABLES: &str = "\
[[stage]]\nname = \"tree\"\nkind = \"files\"\nsource = \"files\"\ninto = \"/usr/share\"\n\
[[stage]]\nname = \"probe\"\nkind = \"modules\"\nsource = \"modules\"\n\
[[file]]\npath = \"/etc/motd\"\nsource = \"motd\"\n\
[output]\nimage = \"oci:out:latest\"\n";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.recipe("recipe.toml", TABLES);
    scene.file("files/one", "one\n");
    scene.file("modules/probe.ko", oci_assemble::testing::elf::module_for("probe", KERNEL));
    scene.file("motd", "hello\n");
    scene
}

fn lock(scene: &Scene, more: &[&str]) -> (Vec<String>, String) {
    let words: Vec<&str> = ["lock", "--recipe", "recipe.toml"].iter().chain(more).copied().collect();
    let run = scene.run(&words);
    assert_eq!((run.code, run.stdout.as_str()), (0, "recipe.lock\n"), "{run:?}");
    (run.stderr.lines().map(str::to_owned).collect(), fs::read_to_string(scene.path("recipe.lock")).unwrap())
}

fn locked(scene: &Scene) -> Run {
    scene.run(&["--recipe", "recipe.toml", "--locked"])
}

/// What `--check` says does not fit, and what a locked build does.
fn drift(scene: &Scene) -> Vec<String> {
    let run = scene.run(&["lock", "--recipe", "recipe.toml", "--check", "--json"]);
    let (schema, value) = run.json();
    assert_eq!(schema, "assemble.lock/1");
    let lines: Vec<String> = serde_json::from_value(value["drift"].clone()).unwrap();
    assert_eq!((run.code, &value["fits"]), (i32::from(!lines.is_empty()), &json!(lines.is_empty())));
    let text = scene.run(&["lock", "--recipe", "recipe.toml", "--check"]);
    assert_eq!((text.code, text.stdout.lines().map(str::to_owned).collect::<Vec<_>>()), (run.code, lines.clone()));
    let build = locked(scene);
    assert_eq!(build.code == 0, lines.is_empty(), "{build:?}");
    for line in build.stderr.lines().filter_map(|line| line.strip_prefix("  | ")) {
        assert!(lines.iter().any(|known| known == line), "{line}");
    }
    lines
}

/// Lets the tag of the base name another image. What it named is still in the layout, without a name.
fn move_tag(scene: &Scene, label: &str) -> Digest {
    let tree = base::image_tree();
    base::write(&scene.path("base"), &tree, |image| image.with_label("org.example.moved", label));
    scene.image("base").digest()
}

#[test]
fn a_lock_says_what_it_pins() {
    let scene = scene();
    let (said, text) = lock(&scene, &[]);
    assert_eq!(said, ["written"]);
    let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
    let recipe = fs::read_to_string(scene.path("recipe.toml")).unwrap();
    for line in [
        format!("\"recipe.toml\" = \"{}\"", digest(&recipe)),
        format!("\"motd\" = \"{}\"", digest("hello\n")),
        "[platform.\"linux/amd64\"]".into(),
        format!("epoch = {EPOCH}"),
        "[platform.\"linux/amd64\".kernel]".into(),
        "pin = \"base\"".into(),
        format!("release = \"{KERNEL}\""),
        "direction = \"keep\"".into(),
        format!("reason = \"kernel {KERNEL} stays: it is the base's kernel\""),
        "image = \"oci:base:latest\"".into(),
        format!("digest = \"{}\"", scene.image("base").digest()),
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
    }
    assert_eq!(lock(&scene, &[]), (vec!["unchanged".to_owned()], text.clone()), "and so it stays");
    assert_eq!(drift(&scene), [""; 0]);
    let run = scene.run(&["lock", "--recipe", "recipe.toml", "--json"]);
    let (_, value) = run.json();
    assert_eq!(
        (&value["file"], &value["written"], &value["changes"]),
        (&json!("recipe.lock"), &json!(false), &json!([]))
    );
    assert_eq!(value["sources"]["motd"], digest("hello\n"));
    assert_eq!(value["platforms"]["linux/amd64"]["kernel"]["release"], KERNEL);
    assert_eq!(leftovers(scene.root()), [""; 0]);
}

#[test]
fn a_tag_that_moved_does_not_move_a_locked_build() {
    let scene = scene();
    let (_, text) = lock(&scene, &[]);
    let image = locked(&scene).digest();
    let old = scene.image("base").digest();
    let new = move_tag(&scene, "once");
    assert_ne!(old, new);
    assert_eq!(locked(&scene).digest(), image);
    assert_eq!(scene.run(&["--recipe", "recipe.toml", "--no-cache"]).digest(), image, "without --locked as well");
    assert_eq!(drift(&scene), [""; 0], "no registry is asked");
    assert_eq!(lock(&scene, &[]), (vec!["unchanged".to_owned()], text.clone()), "pins stay until they are renewed");
    assert_eq!(lock(&scene, &["--update", "packages"]).1, text);
    let (said, _) = lock(&scene, &["--update", "base"]);
    assert_eq!(said, [format!("linux/amd64: base {old} -> {new}"), "written".into()]);
    let moved = locked(&scene).digest();
    assert_ne!(moved, image);
    assert_eq!(scene.image("out").manifest().annotations["org.opencontainers.image.base.digest"], new.to_string());
    move_tag(&scene, "twice");
    assert_ne!(lock(&scene, &["--update"]).0, ["unchanged"], "all of it");
    // Without the lock, the tag counts again.
    fs::write(scene.path("recipe.lock"), &text).unwrap();
    assert_eq!(locked(&scene).digest(), image, "an old lock gives the old image");
    fs::remove_file(scene.path("recipe.lock")).unwrap();
    assert_ne!(scene.run(&["--recipe", "recipe.toml"]).digest(), image);
}

#[test]
fn the_same_lock_gives_the_same_image_elsewhere() {
    let scene = scene();
    lock(&scene, &[]);
    let image = locked(&scene).digest();
    let other = self::scene();
    fs::copy(scene.path("recipe.lock"), other.path("recipe.lock")).unwrap();
    fs::create_dir(other.path("deeper")).unwrap();
    assert_eq!(locked(&other).digest(), image);
    // From another directory the recipe root is another one; the lock is the same.
    let mut check = other.command(&["lock", "--recipe", "../recipe.toml", "--check"]);
    assert_eq!(Run::of(check.current_dir(other.path("deeper"))).code, 0);
    let absolute = other.path("recipe.toml");
    let mut check = other.command(&["lock", "--recipe", absolute.to_str().unwrap(), "--check"]);
    assert_eq!(Run::of(check.current_dir("/")).code, 0);
}

#[test]
fn drift_is_named_and_refused() {
    let scene = scene();
    lock(&scene, &[]);
    scene.file("motd", "HELLO\n");
    scene.file("files/two", "two\n");
    assert_eq!(drift(&scene), ["source files has changed", "source motd has changed"]);
    let run = locked(&scene);
    assert_eq!((run.code, scene.path("out").join("index.json").exists()), (2, false), "{run:?}");
    let warned = scene.run(&["--recipe", "recipe.toml"]);
    let words = "warning: recipe.lock does not fit, and what fits of it is used: source files has changed; source motd";
    assert!(warned.code == 0 && warned.stderr.contains(words), "{warned:?}");
    let again = scene.run(&["--recipe", "recipe.toml"]);
    assert!(again.stderr.contains("warning: "), "what does not fit is not remembered as done: {again:?}");
    lock(&scene, &[]);
    assert_eq!(drift(&scene), [""; 0]);
    scene.file("modules/README", "no module\n");
    assert_eq!(drift(&scene), [""; 0], "what does not go into the image");
    scene.recipe(
        "recipe.toml",
        &format!("{}[layers]\ncompression = \"gzip\"\n", TABLES.replace("motd\"\n[", "motd2\"\n[")),
    );
    fs::rename(scene.path("motd"), scene.path("motd2")).unwrap();
    let lines = drift(&scene);
    assert_eq!(lines[0], "recipe recipe.toml has changed");
    assert!(lines[1].starts_with("compressor zstd:") && lines[1].contains(" is locked, gzip:"), "{lines:?}");
    assert_eq!(lines[2..], ["source motd is locked and no longer used", "source motd2 is not locked"]);
}

#[test]
fn a_replaced_certificate_of_modules_is_drift() {
    if !signed::has_openssl() {
        return;
    }
    let scene = scene();
    signed::pair(&scene, "mok", "rsa:2048");
    scene.recipe("recipe.toml", &format!("{TABLES}{}", signed::SIGN));
    lock(&scene, &[]);
    assert_eq!(drift(&scene), [""; 0]);
    signed::pair(&scene, "mok", "rsa:2048");
    assert_eq!(drift(&scene), ["source mok.pem has changed"]);
}

#[test]
fn the_date_is_locked() {
    let scene = scene();
    let dated = |words: &[&str], epoch: &str| Run::of(scene.command(words).env("SOURCE_DATE_EPOCH", epoch));
    assert_eq!(dated(&["lock", "--recipe", "recipe.toml"], "86400").code, 0);
    let image = locked(&scene).digest();
    let build = ["--recipe", "recipe.toml", "--locked"];
    assert_eq!(dated(&build, "86400").digest(), image);
    let refused = dated(&build, "0");
    let words = "  | date of linux/amd64: 1970-01-02T00:00:00Z is locked, SOURCE_DATE_EPOCH is 1970-01-01T00:00:00Z\n";
    assert!(refused.code == 2 && refused.stderr.contains(words), "{refused:?}");
    assert_ne!(dated(&["--recipe", "recipe.toml"], "0").digest(), image, "whoever asks for a date gets it");
}

#[test]
fn a_plan_says_what_is_locked() {
    let scene = scene();
    let states = |plan: &Value| -> Vec<String> {
        let layers = plan["layers"].as_array().unwrap().iter();
        let stages = layers.flat_map(|layer| layer["stages"].as_array().unwrap());
        stages.map(|stage| format!("{} {}", stage["name"].as_str().unwrap(), stage["lock"].as_str().unwrap())).collect()
    };
    let plan = || scene.run(&["plan", "--recipe", "recipe.toml", "--json"]).json().1;
    let open = plan();
    assert_eq!(open["lock"], json!({ "file": "recipe.lock", "state": "open", "drift": [] }));
    assert_eq!(states(&open), ["tree open", "probe open", "depmod open", "configuration open"]);
    lock(&scene, &[]);
    let fits = plan();
    assert_eq!(fits["lock"]["state"], "locked");
    assert_eq!(states(&fits), ["tree locked", "probe locked", "depmod locked", "configuration locked"]);
    scene.file("files/one", "ONE\n");
    let stale = plan();
    assert_eq!(stale["lock"]["drift"], json!(["source files has changed"]));
    assert_eq!(states(&stale), ["tree stale", "probe locked", "depmod locked", "configuration locked"]);
    let text = scene.run(&["plan", "--recipe", "recipe.toml"]).stdout;
    assert!(text.contains("\nlock      recipe.lock, stale\n          source files has changed\n"), "{text}");
    assert!(text.contains("files tree (stale):"), "{text}");
}

#[test]
fn platforms_are_locked_by_themselves() {
    let scene = scene();
    let text = fs::read_to_string(scene.path("recipe.toml")).unwrap();
    scene.file("recipe.toml", text.replace("[base]", "platforms = [\"linux/amd64\", \"linux/arm64\"]\n[base]"));
    let run = scene.run(&["lock", "--recipe", "recipe.toml"]);
    assert!(run.code == 2 && !scene.path("recipe.lock").exists(), "the base is for one of them: {run:?}");
    let (_, text) = lock(&scene, &["--platform", "linux/amd64"]);
    assert!(!text.contains("arm64"), "{text}");
    let check = |more: &[&str]| {
        let words: Vec<&str> = ["lock", "-r", "recipe.toml", "--check"].iter().chain(more).copied().collect();
        scene.run(&words)
    };
    assert_eq!(check(&["--platform", "linux/amd64"]).code, 0);
    assert_eq!((check(&[]).code, check(&[]).stdout.as_str()), (1, "platform linux/arm64 is not locked\n"));
}
