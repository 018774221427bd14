//! Builds upon bases in registries that have the indexes of their layers beside them.

use std::fs;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::{Descriptor, ImageReference, Index, Manifest, MediaType};
use oci_assemble::layer::{IndexOptions, LayerIndex, index};
use oci_assemble::publish::ReferrerStore;
use oci_assemble::publish::indexes::artifact;
use oci_assemble::publish::referrers::{Artifact, RegistryReferrers};
use oci_assemble::store::Layout;
use oci_assemble::store::registry::{Access, Anonymous, Client, ClientOptions, Repository};
use oci_assemble::testing::registry::{Settings, TestRegistry};
use serde_json::Value;

use crate::scene::{Run, Scene};
use crate::trust::scene;

const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";
const VERIFY: &str = "verify = { key = \"host.pub\" }\n";

/// A base with a layer that no build needs, in a registry; its layers' digests.
fn upstream(scene: &Scene) -> (TestRegistry, Vec<String>) {
    let registry = TestRegistry::start(Settings { referrers: true, ..Settings::default() }).unwrap();
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
    let publish = format!("[publish]\nto = \"docker://{host}/tier/two\"\ntags = [\"latest\"]\n");
    scene.file("recipe.toml", format!("{head}{MOTD}{publish}[output]\nimage = \"oci:out:latest\"\n"));
}

/// Which of the layers were fetched since the registry forgot.
fn got(registry: &TestRegistry, layers: &[String]) -> Vec<bool> {
    let log = registry.log();
    let got = |layer: &String| log.iter().any(|one| one.method == "GET" && one.path.ends_with(layer.as_str()));
    layers.iter().map(got).collect()
}

/// Builds with nothing known yet; the build, and which layers were fetched.
fn build(scene: &Scene, registry: &TestRegistry, layers: &[String]) -> (Run, Vec<bool>) {
    let _ = fs::remove_dir_all(scene.path("fresh"));
    registry.forget();
    let run = scene.run(&["publish", "-r", "recipe.toml", "--insecure", "--cache", "fresh", "-v"]);
    let got = got(registry, layers);
    (run, got)
}

fn attached(run: &Run) -> Value {
    let value = run.json().1;
    let all = value["receipt"]["attached"].as_array().unwrap();
    let indexes: Vec<&Value> = all.iter().filter(|one| one["kind"] == "indexes").collect();
    assert_eq!(indexes.len(), 1, "{value}");
    indexes[0].clone()
}

#[test]
fn only_layers_that_are_needed_are_fetched() {
    let scene = scene();
    let (registry, layers) = upstream(&scene);
    mirror(&scene, &registry, &["--sign=host.key"]);
    recipe(&scene, &registry, VERIFY);
    let (run, all) = build(&scene, &registry, &layers);
    assert!(all.iter().all(|got| *got), "to be indexed, all are fetched: {run:?}");
    let expected = run.digest();

    let wide = scene.image("wide").digest();
    let dry = mirror(&scene, &registry, &["--index", "--dry-run"]);
    assert!(dry.stdout.contains(&format!("  attach {wide}  indexes\n")), "{dry:?}");
    let dry = mirror(&scene, &registry, &["--index", "--sign=host.key", "--dry-run"]);
    assert!(dry.stdout.contains(&format!("  attach {wide}  indexes, signed by the key host.key\n")), "{dry:?}");
    let first = attached(&mirror(&scene, &registry, &["--index", "--sign=host.key", "--json"]));
    assert_eq!(first.get("before"), None);
    let (run, some) = build(&scene, &registry, &layers);
    assert_eq!(run.digest(), expected, "the same image");
    assert_eq!(some.last(), Some(&false), "the last layer is not needed: {run:?}");
    assert!(!scene.path("fresh/layer-index").exists(), "a claim is no knowledge");
    assert!(registry.is_whole("tier/two"));
    // A plan does not fetch more.
    registry.forget();
    let plan = scene.run(&["plan", "-r", "recipe.toml", "--insecure", "--cache", "planned"]);
    assert!(plan.code == 0 && plan.stdout.contains("expected download: "), "{plan:?}");
    assert_eq!(got(&registry, &layers).last(), Some(&false), "{plan:?}");

    // Again it is there, signed by the same, and no layer is read for it, whatever is known here.
    fs::remove_dir_all(scene.path("mirrors")).unwrap();
    registry.forget();
    let again = attached(&mirror(&scene, &registry, &["--index", "--sign=host.key", "--json"]));
    assert_eq!((&again["digest"], &again["before"]), (&first["digest"], &Value::Bool(true)));
    assert!(got(&registry, &layers).iter().all(|got| !*got), "{:?}", registry.log());
    let refused = scene.run(&["mirror", "oci:base:latest", "oci:copy:latest", "--index"]);
    assert!(refused.code == 2 && refused.stderr.contains("in registries only"), "{refused:?}");
}

#[test]
fn what_is_published_can_be_built_upon_in_the_same_way() {
    let scene = scene();
    let (registry, mut layers) = upstream(&scene);
    mirror(&scene, &registry, &["--index", "--sign=host.key"]);
    recipe(&scene, &registry, VERIFY);
    let text = fs::read_to_string(scene.path("recipe.toml")).unwrap();
    scene.file("recipe.toml", text.replace("tags = ", "sign = [{ key = \"host.key\" }]\nformat = \"both\"\ntags = "));
    let words = ["publish", "-r", "recipe.toml", "--insecure", "--index", "--json", "--cache", "two"];
    registry.forget();
    let receipt = scene.run(&words).json().1["receipts"][0].clone();
    assert_eq!(receipt["attached"][0]["kind"], "indexes", "{receipt}");
    assert_eq!(got(&registry, &layers).last(), Some(&false), "what was verified is passed on");
    layers.push(receipt["blobs"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned());
    let text = text.replace("hello", "more").replace("tier/one:10", "tier/two:latest");
    scene.file("recipe.toml", text.replace("tier/two\"\n", "tier/three\"\n"));
    let (run, got) = build(&scene, &registry, &layers);
    run.digest();
    assert!(registry.is_whole("tier/three"));
    assert_eq!(got[got.len() - 2..], [false, false], "{run:?}");
}

/// Builders of others list their attestations beside images, as manifests whose layers are no layers.
#[test]
fn what_is_no_image_has_no_indexes() {
    let scene = Scene::new();
    let (registry, _) = upstream(&scene);
    let dir = Dir::open_ambient_dir(scene.path("wide"), ambient_authority()).unwrap();
    let layout = Layout::write(dir).unwrap();
    let statement = layout.put_bytes("application/vnd.in-toto+json".into(), b"{\"_type\": \"x\"}").unwrap();
    let config = br#"{"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": []}}"#;
    let config = layout.put_bytes("application/vnd.oci.image.config.v1+json".into(), config).unwrap();
    let attestation = Manifest::new(config, vec![statement]).to_bytes();
    let mut attestation = layout.put_bytes(MediaType::ImageManifest, &attestation).unwrap();
    attestation.platform = Some("unknown/unknown".parse().unwrap());
    let index = Index { manifests: vec![scene.image("wide").descriptor(), attestation], ..Index::default() };
    let index = layout.put_bytes(MediaType::ImageIndex, &index.to_bytes()).unwrap();
    layout.commit(Some("latest"), &index).unwrap();
    let up = format!("docker://{}/up/base:10", registry.host());
    let pushed = scene.run(&["push", "oci:wide:latest", &up, "--insecure"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let dry = mirror(&scene, &registry, &["--index", "--dry-run"]);
    assert_eq!(dry.stdout.matches("  indexes\n").count(), 1, "{dry:?}");
    let made = attached(&mirror(&scene, &registry, &["--index", "--json"]));
    let subject = made["subject"].as_str().unwrap();
    assert_ne!(subject, index.digest.to_string());
    assert!(registry.is_whole("tier/one"));
}

/// An image must not depend on what somebody without a key says.
#[test]
fn indexes_are_believed_when_who_must_have_signed_the_base_has_signed_them() {
    let scene = scene();
    let (registry, layers) = upstream(&scene);
    let unsigned = mirror(&scene, &registry, &["--index"]);
    assert!(unsigned.stderr.contains("nobody signs these"), "{unsigned:?}");
    recipe(&scene, &registry, "");
    let (run, all) = build(&scene, &registry, &layers);
    assert!(all.iter().all(|got| *got), "nobody must have signed it, so nobody is believed: {run:?}");
    let signed = format!("docker://{}/tier/one:10", registry.host());
    assert_eq!(scene.run(&["sign", &signed, "--insecure", "--key", "host.key"]).code, 0);
    recipe(&scene, &registry, VERIFY);
    let (run, all) = build(&scene, &registry, &layers);
    let expected = run.digest();
    assert!(all.iter().all(|got| *got) && run.stderr.contains("are not believed"), "{run:?}");

    // Somebody says that all layers are empty: that is neither believed, nor signed with what is there.
    let wide = scene.image("wide");
    let nothing = index(&[0; 1024][..], IndexOptions::default()).unwrap();
    let claimed: Vec<_> = wide
        .layers()
        .map(|(blob, diff_id)| (blob.clone(), LayerIndex { diff_id: *diff_id, ..nothing.clone() }))
        .collect();
    let subject = Descriptor::of(wide.descriptor().media_type, wide.manifest_bytes());
    let forged = artifact(&subject, claimed.iter().map(|(blob, index)| (blob, index))).unwrap();
    attach(&registry, &forged);
    let made = attached(&mirror(&scene, &registry, &["--index", "--sign=host.key", "--json"]));
    assert_ne!(made["digest"], forged.manifest.digest.to_string());
    let forgery = format!("docker://{}/tier/one@{}", registry.host(), forged.manifest.digest);
    let verified = scene.run(&["verify", &forgery, "--key", "host.pub", "--insecure"]);
    assert_eq!(verified.code, 1, "{verified:?}");
    let (run, some) = build(&scene, &registry, &layers);
    assert_eq!((run.digest(), some.last()), (expected, Some(&false)), "{run:?}");
}

/// Stores an artifact as anybody can who may push.
fn attach(registry: &TestRegistry, made: &Artifact) {
    let client = Client::new(ClientOptions { plain_http: true, ..ClientOptions::default() }, Anonymous);
    let place: ImageReference = format!("docker://{}/tier/one", registry.host()).parse().unwrap();
    let ImageReference::Registry(place) = place else { panic!("{place}") };
    let repository = Repository::new(&client, &place, Access::Push).unwrap();
    RegistryReferrers::new(repository).store(std::slice::from_ref(made)).unwrap();
}
