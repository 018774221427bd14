//! Recipes to registries, and bases in registries.

use std::fs;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::{Digest, Epoch, History, Image, Index, Layer, MediaType, Platform};
use oci_assemble::publish::ReferrerStore;
use oci_assemble::publish::referrers::LayoutReferrers;
use oci_assemble::publish::sign::{Format, KeySigner, Subject, sign};
use oci_assemble::publish::sigstore::SigningKey;
use oci_assemble::store::Layout;
use oci_assemble::testing::registry::{Settings, TestRegistry};
use serde_json::Value;

use crate::base::{EPOCH, KERNEL};
use crate::scene::{Run, Scene};

const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

/// A scene whose recipe builds upon an image in a registry, and is published there.
fn published() -> (Scene, TestRegistry) {
    let (scene, registry) = (Scene::new(), TestRegistry::start(Settings::default()).unwrap());
    let host = registry.host().to_owned();
    scene.run(&["push", "oci:base:latest", &format!("docker://{host}/up/base:1"), "--insecure"]).digest();
    recipe(&scene, &host, &host, "");
    registry.forget();
    (scene, registry)
}

/// A recipe upon an image of `from`, published to `to`.
fn recipe(scene: &Scene, from: &str, to: &str, more: &str) {
    let head = format!(
        "schema = 1\n[image]\nname = \"e2e\"\nversion = \"7\"\n[base]\nimage = \"docker://{from}/up/base:1\"\n"
    );
    let publish = format!(
        "[publish]\nto = \"docker://{to}/ours/host\"\ntags = [\"latest\", \"{{kernel}}\", \"v{{version}}-{{date}}\"]\n{more}"
    );
    scene.file("recipe.toml", format!("{head}{MOTD}{publish}"));
}

fn publish(scene: &Scene, more: &[&str]) -> Run {
    scene.run(&[&["publish", "--recipe", "recipe.toml", "--insecure"], more].concat())
}

/// Layers of the base that were fetched.
fn fetched(scene: &Scene, registry: &TestRegistry) -> usize {
    let layers: Vec<String> = scene.image("base").layers().map(|(layer, _)| layer.digest.to_string()).collect();
    registry
        .log()
        .iter()
        .filter(|one| one.method == "GET" && layers.iter().any(|layer| one.path.ends_with(layer)))
        .count()
}

#[test]
fn a_base_in_the_same_registry_is_mounted_and_read_once() {
    let (scene, registry) = published();
    let first = publish(&scene, &["--json", "--receipt", "receipt.json"]);
    let (schema, value) = first.json();
    assert_eq!(schema, "assemble.receipt/1");
    assert!(registry.is_whole("ours/host"));
    let receipt = &value["receipts"][0];
    let base: u64 = scene.image("base").layers().map(|(layer, _)| layer.size).sum();
    assert_eq!(receipt["bytes"]["mounted"], base, "{receipt}");
    let tags: Vec<&str> = receipt["tags"].as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap()).collect();
    assert_eq!(tags, ["latest", KERNEL, "v7-20250101"]);
    let image = receipt["image"].as_str().unwrap();
    for tag in tags {
        assert_eq!(registry.manifest("ours/host", tag).unwrap().0, image);
    }
    let file: Value = serde_json::from_slice(&fs::read(scene.path("receipt.json")).unwrap()).unwrap();
    assert_eq!(file, value);

    // The indexes of the base's layers are known now: nothing of it is needed again, not even where its blobs are gone.
    fs::remove_dir_all(scene.path("cache/assemble/images")).unwrap();
    fs::write(
        scene.path("recipe.toml"),
        fs::read_to_string(scene.path("recipe.toml")).unwrap().replace("hello", "hello again"),
    )
    .unwrap();
    registry.forget();
    let second = publish(&scene, &[]);
    assert_ne!(second.digest().to_string(), image);
    assert_eq!(fetched(&scene, &registry), 0, "{second:?}");
    assert!(second.stderr.contains("base: "), "{second:?}");
    assert!(registry.is_whole("ours/host"));
    // And the same again is nothing at all.
    registry.forget();
    assert_eq!(publish(&scene, &[]).digest(), second.digest());
    assert!(registry.log().iter().all(|one| matches!(one.method.as_str(), "GET" | "HEAD")), "{:?}", registry.log());
}

#[test]
fn a_plan_says_what_clients_of_the_published_image_would_download() {
    let (scene, registry) = published();
    let plan = || scene.run(&["plan", "-r", "recipe.toml", "--insecure"]);
    let first = plan();
    let output = format!("output    docker://{}/ours/host:latest\n", registry.host());
    assert!(first.stdout.contains(&output) && first.stdout.contains("as there is no image before"), "{first:?}");
    publish(&scene, &[]).digest();
    let second = plan();
    let words = format!("for who has docker://{}/ours/host:latest", registry.host());
    assert!(second.stdout.contains("expected download: 0 B of ") && second.stdout.contains(&words), "{second:?}");
}

#[test]
fn layouts_of_images_with_bases_in_registries_are_whole() {
    let (scene, registry) = published();
    let digest = publish(&scene, &[]).digest();
    let built = scene.run(&["--recipe", "recipe.toml", "--output", "oci:out:latest", "--insecure"]);
    assert_eq!(built.digest(), digest);
    assert_eq!(scene.run(&["fsck", "out"]).code, 0);
    let other = format!("docker://{}/from/layout:1", registry.host());
    let pushed = scene.run(&["push", "oci:out:latest", &other, "--insecure", "--json"]).json().1;
    assert_eq!(pushed["receipts"][0]["image"], digest.to_string());
    let inspected = scene.run(&["inspect", &other, "--insecure", "--json"]);
    assert_eq!(inspected.code, 0, "{inspected:?}");
}

#[test]
fn a_base_elsewhere_goes_through_to_where_the_image_goes() {
    let (scene, registry) = published();
    let other = TestRegistry::start(Settings::default()).unwrap();
    recipe(&scene, registry.host(), other.host(), "");
    let run = publish(&scene, &["--json"]);
    let value = run.json().1;
    assert_eq!(value["receipts"][0]["bytes"]["mounted"], 0);
    assert!(other.is_whole("ours/host"));
}

/// A recipe that cuts the whole image says nothing of the image before: it is the one that is published.
#[test]
fn an_image_that_is_cut_anew_keeps_the_layers_of_the_one_in_the_registry() {
    let (scene, registry) = published();
    let host = registry.host().to_owned();
    let published = |layers: &str, text: &str, cache: &str| {
        recipe(&scene, &host, &host, &format!("[layers]\nmode = \"full\"\nmax = 6\n{layers}"));
        let whole = fs::read_to_string(scene.path("recipe.toml")).unwrap().replace("hello", text);
        fs::write(scene.path("recipe.toml"), whole).unwrap();
        let run = publish(&scene, &["--cache", cache]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(registry.is_whole("ours/host"));
        let (_, manifest) = registry.manifest("ours/host", "latest").unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let digests = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].to_string());
        (run, digests.collect::<Vec<_>>())
    };
    let named = format!("previous = \"docker://{host}/ours/host:latest\"\n");
    let (run, first) = published(&named, "hello", "one");
    assert!(run.stderr.contains("is not there yet: all layers are new"), "{run:?}");
    // On the same machine, and on one that has nothing yet.
    for (layers, text, cache) in [("", "second", "one"), ("", "third", "two"), (&named, "fourth", "one")] {
        let (run, next) = published(layers, text, cache);
        let new = next.iter().filter(|digest| !first.contains(digest)).count();
        assert_eq!((new, next.len()), (1, first.len()), "{text}: {run:?}");
    }
}

#[test]
fn a_dry_run_builds_and_sends_nothing() {
    let (scene, registry) = published();
    let run = publish(&scene, &["--dry-run"]);
    assert!(run.stdout.contains("mount  sha256:") && run.stdout.contains("tag    latest"), "{run:?}");
    assert!(registry.log().iter().all(|one| matches!(one.method.as_str(), "GET" | "HEAD")));
    assert_eq!(registry.manifest("ours/host", "latest"), None);
}

#[test]
fn what_cannot_be_published_is_said_first() {
    let (scene, registry) = published();
    let host = registry.host();
    scene.file("host.key", crate::trust::KEYS[0].0);
    let by_key = "sign = [{ key = \"host.key\" }]\n";
    for (publish_table, code, text) in [
        (format!("to = \"docker://{host}/x\"\nsign = [{{ keyless = true }}]\n"), 2, "there is no identity token"),
        (format!("to = \"docker://{host}/x\"\nsign = [{{ key = \"env:KEY\" }}]\n"), 2, "the variable KEY, which has"),
        (format!("to = \"docker://{host}/x\"\nsign = [{{ key = \"no.key\" }}]\n"), 2, "reading the private key no.key"),
        (format!("to = \"docker://{host}/x\"\nattest = [\"sbom\"]\n"), 2, "needs somebody who vouches for it"),
        (
            format!("to = \"docker://{host}/x\"\n{by_key}attest = [\"sbom\"]\n"),
            2,
            "give the bill of materials with --sbom",
        ),
        (format!("to = \"docker://{host}/x\"\n{by_key}attest = [\"provenance\"]\n"), 2, "there is no lock"),
        (String::new(), 2, "does not say where the image is published"),
    ] {
        let head = "schema = 1\n[image]\nname = \"e2e\"\n[base]\nimage = \"oci:base:latest\"\n";
        scene.file("recipe.toml", format!("{head}{MOTD}[publish]\n{publish_table}"));
        let run = publish(&scene, &[]);
        assert!(run.code == code && run.stderr.contains(text), "{run:?}");
    }
    assert!(registry.log().is_empty());
}

#[test]
fn an_image_is_signed_and_attested_before_a_tag_names_it() {
    let (scene, registry) = published();
    let host = registry.host().to_owned();
    scene.file("host.key", crate::trust::KEYS[0].0);
    scene.file("host.pub", crate::trust::PUBLIC[0].0);
    scene.file("sbom.json", "{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.6\"}");
    let table = "sign = [{ key = \"host.key\" }]\nattest = [\"sbom\", \"provenance\"]\n";
    recipe(&scene, &host, &host, table);
    assert_eq!(scene.run(&["lock", "--recipe", "recipe.toml", "--insecure"]).code, 0);
    let planned = publish(&scene, &["--dry-run"]);
    assert_eq!(planned.code, 0, "what would happen can be told without documents");
    for line in ["  sign   sha256:", "  provenance by the key host.key\n", "  sbom by the key host.key\n"] {
        assert!(planned.stdout.contains(line), "{line}: {planned:?}");
    }
    let run = publish(&scene, &["--sbom", "sbom.json", "--json"]);
    let (_, value) = run.json();
    let receipt = &value["receipts"][0];
    let attached: Vec<(&str, &str)> = receipt["attached"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["kind"].as_str().unwrap(), one["format"].as_str().unwrap()))
        .collect();
    let both = |kind| [(kind, "legacy"), (kind, "bundle")];
    assert_eq!(attached, [both("signature"), both("provenance"), both("sbom")].concat(), "{receipt}");
    // Every attachment was stored before the first tag of the image was.
    let log = registry.log();
    let put = |path: &str| log.iter().position(|one| one.method == "PUT" && one.path.ends_with(path));
    let signed = put(&format!("/manifests/{}", receipt["attached"][0]["tag"].as_str().unwrap())).unwrap();
    assert!(signed < put("/manifests/latest").unwrap());

    let image = format!("docker://{host}/ours/host:latest");
    let verify = |more: &[&str]| scene.run(&[&["verify", &image, "--key", "host.pub", "--insecure"], more].concat());
    assert_eq!(verify(&[]).digest().to_string(), receipt["image"].as_str().unwrap());
    for predicate in ["https://slsa.dev/provenance/v1", "https://cyclonedx.org/bom"] {
        assert_eq!(verify(&["--attestation", predicate]).code, 0, "{predicate}");
    }
}

/// Makes the base of a scene an index: of the image that it is, and of the same for another architecture, which names its
/// variant, as nobody who asks for it does.
fn for_two_platforms(scene: &Scene) {
    let amd64 = scene.image("base");
    let layers = amd64.layers().map(|(descriptor, diff_id)| Layer {
        descriptor: descriptor.clone(),
        diff_id: *diff_id,
        uncompressed_size: None,
        history: History::of("base"),
    });
    let arm64 = Image::scratch("linux/arm64/v8".parse::<Platform>().unwrap()).append_all(layers).unwrap();
    let arm64 = arm64.with_created(Epoch::new(EPOCH).unwrap()).with_label("containers.bootc", "1");
    let dir = Dir::open_ambient_dir(scene.path("base"), ambient_authority()).unwrap();
    let transaction = Layout::write(dir).unwrap();
    let manifests = [amd64, arm64].map(|image| {
        transaction.put_image(&image).unwrap();
        image.descriptor()
    });
    let index = Index { manifests: manifests.to_vec(), ..Index::default() }.to_bytes();
    let index = transaction.put_bytes(MediaType::ImageIndex, &index).unwrap();
    transaction.commit(Some("latest"), &index).unwrap();
}

#[test]
fn an_image_for_several_platforms_is_one_index_with_each_of_them_signed() {
    let (scene, registry) = (Scene::new(), TestRegistry::start(Settings::default()).unwrap());
    for_two_platforms(&scene);
    let host = registry.host().to_owned();
    let base = format!("docker://{host}/up/base:1");
    assert_eq!(scene.run(&["push", "oci:base:latest", &base, "--insecure"]).code, 0);
    scene.file("host.key", crate::trust::KEYS[0].0);
    scene.file("host.pub", crate::trust::PUBLIC[0].0);
    recipe(&scene, &host, &host, "sign = [{ key = \"host.key\" }]\nattest = [\"provenance\"]\n");
    let text = fs::read_to_string(scene.path("recipe.toml")).unwrap();
    scene.file("recipe.toml", text.replace("[base]", "platforms = [\"linux/amd64\", \"linux/arm64\"]\n[base]"));
    assert_eq!(scene.run(&["lock", "--recipe", "recipe.toml", "--insecure"]).code, 0);
    let (_, value) = publish(&scene, &["--json"]).json();
    let receipt = &value["receipts"][0];
    let top = receipt["image"].as_str().unwrap();
    assert!(registry.is_whole("ours/host"));
    let (digest, bytes) = registry.manifest("ours/host", "latest").unwrap();
    assert_eq!(digest, top);
    let index = Index::parse(&bytes, None).unwrap();
    let platforms: Vec<String> =
        index.manifests.iter().map(|entry| entry.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64/v8"]);
    let subjects = |kind: &str| -> Vec<String> {
        let mut found: Vec<String> = receipt["attached"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["kind"] == kind && one["format"] == "bundle")
            .map(|one| one["subject"].as_str().unwrap().to_owned())
            .collect();
        found.sort();
        found
    };
    let mut instances: Vec<String> = index.manifests.iter().map(|entry| entry.digest.to_string()).collect();
    instances.sort();
    assert_eq!(subjects("provenance"), instances);
    let mut all = [instances.clone(), vec![top.to_owned()]].concat();
    all.sort();
    assert_eq!(subjects("signature"), all);
    for digest in all {
        let image = format!("docker://{host}/ours/host@{digest}");
        let verified = scene.run(&["verify", &image, "--key", "host.pub", "--insecure"]);
        assert_eq!(verified.digest(), digest.parse::<Digest>().unwrap());
    }
    // The same again changes nothing, and for one platform it is that image without an index.
    registry.forget();
    let (_, again) = publish(&scene, &["--json"]).json();
    assert_eq!(again["receipts"][0]["image"], top);
    let before = again["receipts"][0]["attached"].as_array().unwrap();
    assert_eq!(before.len(), receipt["attached"].as_array().unwrap().len(), "{again}");
    assert!(before.iter().all(|one| one["before"] == true), "{again}");
    assert!(registry.log().iter().all(|one| matches!(one.method.as_str(), "GET" | "HEAD")), "{:?}", registry.log());
    let one = publish(&scene, &["--platform", "linux/arm64"]);
    assert_eq!(one.digest(), index.manifests[1].digest, "{one:?}");
}

#[test]
fn a_base_of_which_only_the_index_is_signed_is_verified_through_locks_and_mirrors() {
    let scene = Scene::new();
    for_two_platforms(&scene);
    scene.file("host.key", crate::trust::KEYS[0].0);
    scene.file("host.pub", crate::trust::PUBLIC[0].0);
    let registry = TestRegistry::start(Settings::default()).unwrap();
    let image = |name: &str| format!("docker://{}/{name}:1", registry.host());
    let push = |name: &str| assert_eq!(scene.run(&["push", "oci:base:latest", &image(name), "--insecure"]).code, 0);
    push("ours/base");
    // Signed as cosign does it: the index, and none of its instances.
    let dir = || Dir::open_ambient_dir(scene.path("base"), ambient_authority()).unwrap();
    let descriptor = Layout::open(dir()).unwrap().find(Some("latest"), None).unwrap();
    let subject = Subject { descriptor, name: "registry.example.com/up/base:1".into() };
    let signer = KeySigner::new(SigningKey::parse(crate::trust::KEYS[0].0.as_bytes(), None).unwrap());
    let attached = LayoutReferrers::open(dir()).unwrap();
    let made = sign(&subject, &[&signer], Format::Both, &attached, Epoch::new(EPOCH).unwrap()).unwrap();
    attached.store(&made.artifacts).unwrap();
    push("up/base");
    let recipe = |mirror: &str| {
        let base = format!("image = {:?}\n{mirror}verify = {{ key = \"host.pub\" }}\n", image("up/base"));
        scene.file("recipe.toml", format!("schema = 1\n[image]\nname = \"e2e\"\n[base]\n{base}{MOTD}"));
    };
    let build = || scene.run(&["-r", "recipe.toml", "-o", "oci:out:latest", "--insecure", "--platform", "linux/amd64"]);
    recipe("");
    build().digest();
    let lock = || scene.run(&["lock", "-r", "recipe.toml", "--insecure", "--platform", "linux/amd64"]);
    assert_eq!(lock().code, 0);
    let text = fs::read_to_string(scene.path("recipe.lock")).unwrap();
    let index = registry.manifest("up/base", "1").unwrap().0;
    assert!(text.contains(&format!("index = \"{index}\"\n")), "{text}");
    build().digest();
    assert_eq!(lock().code, 0);
    assert_eq!(fs::read_to_string(scene.path("recipe.lock")).unwrap(), text);
    // A lock of before, which has no index, says what it always said.
    scene.file("recipe.lock", text.replace(&format!("index = \"{index}\"\n"), ""));
    let old = build();
    assert!(old.code == 1 && old.stderr.contains("has no signature"), "{old:?}");
    // The same through a mirror, with a lock and without.
    recipe(&format!("mirror = {:?}\n", image("ours/base")));
    let unsigned =
        scene.run(&["lock", "-r", "recipe.toml", "--insecure", "--platform", "linux/amd64", "--update", "base"]);
    assert!(unsigned.code == 1 && unsigned.stderr.contains("has no signature"), "{unsigned:?}");
    push("ours/base");
    fs::remove_file(scene.path("recipe.lock")).unwrap();
    build().digest();
    assert_eq!(lock().code, 0);
    assert!(fs::read_to_string(scene.path("recipe.lock")).unwrap().contains(&index));
    build().digest();
}
