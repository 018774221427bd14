//! Builds upon bases in registries that have the indexes of their layers beside them.

use std::fs;

use oci_assemble::testing::registry::{Settings, TestRegistry};
use serde_json::Value;

use crate::scene::{Run, Scene};
use crate::trust::scene;

const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

/// A base with a layer that no build needs, in a registry; its layers' digests.
fn upstream(scene: &Scene) -> (TestRegistry, Vec<String>) {
    let registry = TestRegistry::start(Settings::default()).unwrap();
    let filler = "[[file]]\npath = \"/usr/share/filler\"\ncontent = \"nothing that matters\"\n";
    scene.recipe("filler.toml", filler);
    scene.build("filler.toml", "wide");
    let up = format!("docker://{}/up/base:10", registry.host());
    scene.run(&["push", "oci:wide:latest", &up, "--insecure"]).digest();
    let layers = scene.image("wide").layers().map(|(layer, _)| layer.digest.to_string()).collect();
    (registry, layers)
}

fn mirror(scene: &Scene, registry: &TestRegistry, more: &[&str]) -> Run {
    let host = registry.host();
    let (from, to) = (format!("docker://{host}/up/base:10"), format!("docker://{host}/tier/one:10"));
    let run = scene.run(&[&["mirror", &from, &to, "--insecure", "--cache", "mirrors"], more].concat());
    assert_eq!(run.code, 0, "{run:?}");
    run
}

fn recipe(scene: &Scene, registry: &TestRegistry, more: &str) {
    let host = registry.host();
    let head = format!("schema = 1\n[image]\nname = \"e2e\"\n[base]\nimage = \"docker://{host}/tier/one:10\"\n{more}");
    let publish = format!(
        "[publish]\nto = \"docker://{host}/tier/two\"\ntags = [\"latest\"]\n[output]\nimage = \"oci:out:latest\"\n"
    );
    scene.file("recipe.toml", format!("{head}{MOTD}{publish}"));
}

/// Builds with nothing known yet; the build, and which layers were fetched.
fn build(scene: &Scene, registry: &TestRegistry, layers: &[String]) -> (Run, Vec<bool>) {
    let _ = fs::remove_dir_all(scene.path("fresh"));
    registry.forget();
    let words = ["publish", "-r", "recipe.toml", "--insecure", "--cache", "fresh", "-v"];
    let run = scene.run(&words);
    let log = registry.log();
    let got = |layer: &String| log.iter().any(|one| one.method == "GET" && one.path.ends_with(layer.as_str()));
    (run, layers.iter().map(got).collect())
}

#[test]
fn only_layers_that_are_needed_are_fetched() {
    let scene = Scene::new();
    let (registry, layers) = upstream(&scene);
    mirror(&scene, &registry, &[]);
    recipe(&scene, &registry, "");
    let (run, all) = build(&scene, &registry, &layers);
    assert!(all.iter().all(|got| *got), "to be indexed, all are fetched: {run:?}");
    let expected = run.digest();

    let dry = mirror(&scene, &registry, &["--index", "--dry-run"]);
    assert!(dry.stdout.contains(&format!("  attach {}  indexes\n", scene.image("wide").digest())), "{dry:?}");
    let indexed = mirror(&scene, &registry, &["--index", "--json"]).json().1;
    assert_eq!(indexed["receipt"]["attached"][0]["kind"], "indexes", "{indexed}");
    let (run, some) = build(&scene, &registry, &layers);
    assert_eq!(run.digest(), expected, "the same image");
    assert_eq!(some.last(), Some(&false), "the last layer is not needed: {run:?}");
    assert!(!scene.path("fresh/layer-index").exists(), "a claim is no knowledge");
    assert!(registry.is_whole("tier/two"));
    // A plan does not fetch more.
    registry.forget();
    let plan = scene.run(&["plan", "-r", "recipe.toml", "--insecure", "--cache", "planned"]);
    assert!(plan.code == 0 && plan.stdout.contains("expected download: "), "{plan:?}");
    let last = layers.last().unwrap();
    assert!(!registry.log().iter().any(|one| one.method == "GET" && one.path.ends_with(last.as_str())), "{plan:?}");

    // Again it is there, and is not made again.
    let again = mirror(&scene, &registry, &["--index", "--json"]).json().1;
    let attached = |value: &Value| {
        (value["receipt"]["attached"][0]["digest"].clone(), value["receipt"]["attached"][0]["before"].clone())
    };
    assert_eq!(attached(&again), (attached(&indexed).0, Value::Bool(true)));
    let refused = scene.run(&["mirror", "oci:base:latest", "oci:copy:latest", "--index"]);
    assert!(refused.code == 2 && refused.stderr.contains("in registries only"), "{refused:?}");
}

#[test]
fn what_is_published_can_be_built_upon_in_the_same_way() {
    let scene = Scene::new();
    let (registry, mut layers) = upstream(&scene);
    mirror(&scene, &registry, &["--index"]);
    recipe(&scene, &registry, "");
    let words = ["publish", "-r", "recipe.toml", "--insecure", "--index", "--json", "--cache", "two"];
    registry.forget();
    let receipt = scene.run(&words).json().1["receipts"][0].clone();
    assert_eq!(receipt["attached"][0]["kind"], "indexes", "{receipt}");
    let last = layers.last().unwrap();
    let got = registry.log().iter().any(|one| one.method == "GET" && one.path.ends_with(last.as_str()));
    assert!(!got, "what is known by an index alone is passed on");
    let own = receipt["blobs"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    layers.push(own);
    let text = fs::read_to_string(scene.path("recipe.toml")).unwrap();
    scene.file(
        "recipe.toml",
        text.replace("hello", "more")
            .replace("tier/one:10", "tier/two:latest")
            .replace("tier/two\"\n", "tier/three\"\n"),
    );
    let (run, got) = build(&scene, &registry, &layers);
    run.digest();
    assert!(registry.is_whole("tier/three"));
    assert_eq!(got[got.len() - 2..], [false, false], "{run:?}");
}

#[test]
fn indexes_of_a_base_that_must_be_signed_must_be_signed_too() {
    let scene = scene();
    let (registry, layers) = upstream(&scene);
    mirror(&scene, &registry, &["--index"]);
    let signed = format!("docker://{}/tier/one:10", registry.host());
    assert_eq!(scene.run(&["sign", &signed, "--insecure", "--key", "host.key"]).code, 0);
    recipe(&scene, &registry, "verify = { key = \"host.pub\" }\n");
    let (run, all) = build(&scene, &registry, &layers);
    let expected = run.digest();
    assert!(all.iter().all(|got| *got) && run.stderr.contains("are not believed"), "{run:?}");
    mirror(&scene, &registry, &["--index", "--sign=host.key"]);
    let (run, some) = build(&scene, &registry, &layers);
    assert_eq!((run.digest(), some.last()), (expected, Some(&false)), "{run:?}");
}
