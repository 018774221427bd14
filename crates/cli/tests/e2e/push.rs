//! Images into registries and out of them, with an in-process registry.

use std::fs;
use std::sync::Arc;

use oci_assemble::testing::registry::{Act, Asked, AuthSettings, Settings, TestRegistry};
use serde_json::Value;

use crate::scene::{Run, Scene};

fn open() -> TestRegistry {
    TestRegistry::start(Settings::default()).unwrap()
}

fn secured() -> TestRegistry {
    let auth = AuthSettings::Bearer { name: "me".into(), password: "secret".into(), uses: 5, realm: None };
    TestRegistry::start(Settings { auth, ..Settings::default() }).unwrap()
}

/// `me:secret` as a file of credentials has it.
fn auth_json(host: &str) -> String {
    format!(r#"{{"auths":{{"{host}/team":{{"auth":"bWU6c2VjcmV0"}}}}}}"#)
}

fn push(scene: &Scene, registry: &TestRegistry, rest: &str, more: &[&str]) -> Run {
    let to = format!("docker://{}/{rest}", registry.host());
    scene.run(&[&["push", "oci:base:latest", &to, "--insecure"], more].concat())
}

#[test]
fn a_push_is_whole_and_the_second_sends_nothing() {
    let (scene, registry) = (Scene::new(), open());
    let image = scene.image("base").digest();
    let planned = push(&scene, &registry, "a/b:v1", &["--dry-run", "--json"]);
    let (schema, plan) = planned.json();
    assert_eq!(schema, "assemble.push-plan/1");
    assert_eq!((&plan["plans"][0]["blobs"][0]["action"], registry.blobs("a/b").len()), (&Value::from("upload"), 0));
    let words = push(&scene, &registry, "a/b:v1", &["--dry-run"]);
    assert!(words.stdout.contains("  send   sha256:") && words.stdout.contains("tag    v1"), "{words:?}");

    let first = push(&scene, &registry, "a/b:v1", &["--receipt", "r.json"]);
    assert_eq!(first.digest(), image);
    assert!(registry.is_whole("a/b"));
    assert_eq!(registry.manifest("a/b", "v1").unwrap().0, image.to_string());
    let receipt: Value = serde_json::from_slice(&fs::read(scene.path("r.json")).unwrap()).unwrap();
    let again = push(&scene, &registry, "a/b:v1", &["--json"]).json();
    assert_eq!((again.0.as_str(), &receipt["schema"]), ("assemble.receipt/1", &"assemble.receipt/1".into()));
    let (before, now) = (&receipt["receipts"][0], &again.1["receipts"][0]);
    assert_eq!(before["bytes"]["uploaded"], now["bytes"]["present"]);
    assert_eq!((&now["bytes"]["uploaded"], &now["tags"][0]["from"]), (&0.into(), &image.to_string().into()));
    assert!(!scene.path("r.json.part").exists());
    let done = push(&scene, &registry, "a/b:v1", &["--dry-run"]);
    assert!(!done.stdout.contains("send"), "{done:?}");
}

#[test]
fn passwords_come_from_where_podman_and_docker_have_them() {
    let (scene, registry) = (Scene::new(), secured());
    let to = format!("docker://{}/team/x:v1", registry.host());
    let words = ["push", "oci:base:latest", &to, "--insecure"];
    let refused = scene.run(&words);
    assert_eq!(refused.code, 77, "{refused:?}");
    assert!(refused.stderr.contains("wants credentials") && refused.stderr.contains("podman login"), "{refused:?}");

    scene.file("auth.json", auth_json(registry.host()));
    let plain = scene.file("home/.docker/config.json", auth_json(registry.host()));
    let xdg = scene.file("config/containers/auth.json", auth_json(registry.host()));
    scene.file("docker/config.json", format!(r#"{{"credHelpers":{{"{}":"test"}}}}"#, registry.host()));
    let answer = "#!/bin/sh\ncat >&2\necho '{\"Username\":\"me\",\"Secret\":\"secret\"}'\n";
    scene.program("bin/docker-credential-test", answer);
    let path = format!("{}:{}", scene.path("bin").display(), std::env::var("PATH").unwrap());
    let text = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    for variables in [
        vec![("REGISTRY_AUTH_FILE", text("auth.json"))],
        vec![("HOME", text("home"))],
        vec![("XDG_CONFIG_HOME", text("config"))],
        vec![("DOCKER_CONFIG", text("docker")), ("PATH", path)],
        vec![
            ("GITLAB_CI", "true".into()),
            ("CI_REGISTRY", registry.host().into()),
            ("CI_REGISTRY_USER", "me".into()),
            ("CI_REGISTRY_PASSWORD", "secret".into()),
        ],
    ] {
        let run = Run::of(scene.command(&words).envs(variables.clone()));
        assert_eq!(run.code, 0, "{variables:?}: {run:?}");
        assert!(!run.stderr.contains("secret"), "{run:?}");
    }
    assert!(plain.exists() && xdg.exists());
    // The entry is for repositories below team/.
    let other = format!("docker://{}/others/x:v1", registry.host());
    let run = scene.run(&["push", "oci:base:latest", &other, "--insecure", "--authfile", "auth.json"]);
    assert_eq!(run.code, 77, "{run:?}");
}

#[test]
fn a_mirror_is_the_same_image_wherever_it_goes() {
    let (scene, registry, other) = (Scene::new(), open(), open());
    let image = push(&scene, &registry, "up/stream:1", &[]).digest();
    let at = |registry: &TestRegistry, rest: &str| format!("docker://{}/{rest}", registry.host());
    let from = at(&registry, "up/stream:1");
    // Within one registry no byte goes through us, to another all do.
    for (registry, mounted) in [(&registry, true), (&other, false)] {
        let run = scene.run(&["mirror", &from, &at(registry, "ours/it:2"), "--insecure", "--json"]);
        let (schema, value) = run.json();
        assert_eq!((schema.as_str(), &value["image"]), ("assemble.mirror/1", &image.to_string().into()));
        assert_eq!(value["receipt"]["bytes"]["uploaded"] == 0, mounted, "{value}");
        assert!(registry.is_whole("ours/it"));
        assert_eq!(registry.manifest("ours/it", "2").unwrap().0, image.to_string());
    }
    for to in ["oci:copy:3", "oci-archive:copy.tar:3"] {
        assert_eq!(scene.run(&["mirror", &at(&other, "ours/it:2"), to, "--insecure"]).digest(), image);
    }
    assert_eq!(scene.run(&["fsck", "copy"]).code, 0);
    assert_eq!(scene.run(&["mirror", "oci-archive:copy.tar:3", &at(&other, "back:4"), "--insecure"]).digest(), image);
    assert!(other.is_whole("back"));
    let pinned = format!("docker://{}/ours/it@{image}", other.host());
    assert_eq!(scene.run(&["mirror", &pinned, "oci:pinned:x", "--insecure"]).digest(), image);
}

#[test]
fn what_cannot_be_pushed_is_said_before_anything_is_sent() {
    let (scene, registry) = (Scene::new(), open());
    let host = registry.host();
    let digest = scene.image("base").digest();
    for (words, code, text) in [
        (vec!["push", "oci:base:latest", "oci:elsewhere:x"], 2, "images cannot be pushed to oci:elsewhere:x"),
        (vec!["push", "oci:base:latest", &format!("docker://{host}/a")], 2, "has no tag"),
        (vec!["push", "oci:base:latest", &format!("docker://{host}/a@{digest}")], 2, "names a digest"),
        (vec!["push", "oci:nowhere:latest", &format!("docker://{host}/a:b")], 2, "opening oci:nowhere:latest"),
        (vec!["push", &format!("docker://{host}/a:b"), &format!("docker://{host}/a:c")], 2, "assemble mirror"),
        (vec!["push", "oci:base:latest"], 2, "REF"),
        (vec!["mirror", &format!("docker://{host}/no:x"), "oci:copy:x", "--insecure"], 2, "there is no "),
        (vec!["mirror", "oci:base:latest", "oci:copy:x", "--dry-run"], 2, "for copies into registries"),
        (
            vec!["push", "oci:base:latest", &format!("docker://{host}/a:b"), "--insecure", "--receipt", "no/r.json"],
            74,
            "creating no/r.json",
        ),
    ] {
        let run = scene.run(&words);
        assert!(run.code == code && run.stderr.contains(text), "{words:?}: {run:?}");
    }
    assert!(registry.blobs("a").is_empty());
}

#[test]
fn a_registry_that_is_busy_gets_the_image_all_the_same() {
    let script = |asked: &oci_assemble::testing::registry::Asked| match (asked.method.as_str(), asked.before) {
        ("POST", 0) => Act::Answer(503, Vec::new(), Vec::new()),
        _ => Act::Serve,
    };
    let registry = TestRegistry::start(Settings { script: Some(Arc::new(script)), ..Settings::default() }).unwrap();
    let scene = Scene::new();
    let run = push(&scene, &registry, "a:v1", &[]);
    assert_eq!(run.digest(), scene.image("base").digest());
    assert!(run.stderr.contains("was answered with 503; trying again in"), "{run:?}");
}

#[test]
fn results_of_builders_are_taken_from_a_registry() {
    let Some(bed) = crate::bed::bed() else { return };
    let (scene, registry) = (bed.scene(), open());
    let repository = format!("docker://{}/team/bundles", registry.host());
    let packages = "[packages]\ninstall = [\"tree\"]\nrepositories = [\"extras.repo\"]\n";
    crate::rpm::recipe(&scene, "base", &format!("{packages}[builder]\nbundles = \"{repository}\"\n"));
    let locked = bed.run(&scene, &["lock", "--recipe", "recipe.toml", "--insecure"]);
    assert_eq!(locked.code, 0, "{locked:?}");
    let pushed = bed.run(&scene, &["stage", "--recipe", "recipe.toml", "--insecure", "--push"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let host = registry.host();
    assert!(pushed.stderr.contains(&format!(" to {host}/team/bundles\n")), "{pushed:?}");
    assert!(registry.is_whole("team/bundles"));
    let made = bed.run(&scene, &["-r", "recipe.toml", "-o", "oci:out:latest", "--insecure", "--locked"]).digest();

    // Another machine: the lock knows the key, the registry has the result.
    fs::rename(scene.path("cache"), scene.path("elsewhere")).unwrap();
    let (_, taken) = bed.run(&scene, &["stage", "--recipe", "recipe.toml", "--insecure", "--json"]).json();
    assert_eq!(taken["stages"]["packages"]["reused"], true, "{taken}");
    let build = ["-r", "recipe.toml", "-o", "oci:taken:latest", "--insecure", "--locked"];
    assert_eq!(bed.run(&scene, &build).digest(), made);
    // Another recipe may not say where to.
    crate::rpm::recipe(&scene, "base", packages);
    let run = bed.run(&scene, &["stage", "--recipe", "recipe.toml", "--push"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("hint: set bundles = \"docker://HOST/NAME\" in its [builder] table"), "{run:?}");
}

#[test]
fn what_was_signed_in_a_layout_is_signed_in_the_registry_before_a_tag_names_it() {
    let (scene, registry) = (Scene::new(), open());
    scene.file("host.key", crate::trust::KEYS[0].0);
    scene.file("host.pub", crate::trust::PUBLIC[0].0);
    let name = format!("{}/a/b:v1", registry.host());
    assert_eq!(scene.run(&["sign", "oci:base:latest", "--key", "host.key", "--name", &name]).code, 0);
    let (_, value) = push(&scene, &registry, "a/b:v1", &["--json"]).json();
    let attached = value["receipts"][0]["attached"].as_array().unwrap();
    let kinds: Vec<_> =
        attached.iter().map(|one| (one["kind"].as_str().unwrap(), one["format"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("signature", "legacy"), ("signature", "bundle")], "{value}");
    let log = registry.log();
    let put = |path: &str| log.iter().position(|one| one.method == "PUT" && one.path.ends_with(path)).unwrap();
    let tag = put("/manifests/v1");
    for one in attached {
        let place = one["tag"].as_str().or(one["digest"].as_str()).unwrap();
        assert!(put(&format!("/manifests/{place}")) < tag, "{place}");
    }
    let verify = |image: &str| scene.run(&["verify", &format!("docker://{image}"), "--key", "host.pub", "--insecure"]);
    assert_eq!(verify(&name).digest(), scene.image("base").digest());
    let again = push(&scene, &registry, "a/b:v1", &["--json"]).json().1;
    assert!(again["receipts"][0]["attached"].as_array().unwrap().iter().all(|one| one["before"] == true), "{again}");
    // A mirror brings them along, too.
    let other = format!("{}/c/d:v1", registry.host());
    let mirrored = scene.run(&["mirror", "oci:base:latest", &format!("docker://{other}"), "--insecure"]);
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    assert_eq!(verify(&other).digest(), scene.image("base").digest());
    // So does one from a registry to another.
    let far = open();
    let there = format!("{}/e/f:v1", far.host());
    let (from, to) = (format!("docker://{name}"), format!("docker://{there}"));
    let mirrored = scene.run(&["mirror", &from, &to, "--insecure"]);
    assert!(mirrored.code == 0 && mirrored.stderr.contains("signature (bundle) goes along"), "{mirrored:?}");
    assert_eq!(verify(&there).digest(), scene.image("base").digest());
}

/// What is somebody else's may be out of order; the image is what was asked for.
#[test]
fn attachments_that_cannot_be_read_do_not_hold_the_image_back() {
    let script = |asked: &Asked| {
        let refused = asked.path.contains("/referrers/");
        if refused { Act::Answer(403, Vec::new(), Vec::new()) } else { Act::Serve }
    };
    let registry = TestRegistry::start(Settings { script: Some(Arc::new(script)), ..Settings::default() }).unwrap();
    let (scene, far) = (Scene::new(), open());
    push(&scene, &registry, "a/b:v1", &[]).digest();
    let digest = scene.image("base").digest();
    let (from, to) = (format!("docker://{}/a/b:v1", registry.host()), format!("docker://{}/e/f:v1", far.host()));
    let mirrored = scene.run(&["mirror", &from, &to, "--insecure"]);
    assert!(mirrored.stderr.contains("stays behind"), "{mirrored:?}");
    assert_eq!(mirrored.digest(), digest);
    assert!(far.is_whole("e/f"));
}

#[test]
fn a_push_that_fails_half_way_leaves_the_receipt_of_the_other_half() {
    let (scene, registry, other) = (Scene::new(), open(), secured());
    let to = |registry: &TestRegistry| format!("docker://{}/a/b:v1", registry.host());
    let words = ["push", "oci:base:latest", &to(&registry), &to(&other), "--insecure", "--receipt", "r.json"];
    let run = scene.run(&words);
    assert_eq!((run.code, run.stdout.as_str()), (77, ""), "{run:?}");
    let receipt: Value = serde_json::from_slice(&fs::read(scene.path("r.json")).unwrap()).unwrap();
    assert_eq!(receipt["receipts"].as_array().unwrap().len(), 1);
    assert_eq!(receipt["receipts"][0]["tags"][0]["tag"], "v1");
}

#[test]
fn one_registry_without_tls_says_nothing_of_another() {
    let (scene, from, to) = (Scene::new(), open(), open());
    assert_eq!(push(&scene, &from, "a/b:v1", &[]).code, 0);
    from.forget();
    let image = |registry: &TestRegistry| format!("docker://{}/a/b:v1", registry.host());
    let named = format!("--insecure={}", to.host());
    let run = scene.run(&["mirror", &image(&from), &image(&to), &named]);
    assert!(run.code != 0 && run.stderr.contains("tls handshake"), "{run:?}");
    assert!(from.log().is_empty() && to.log().is_empty());
    let both = format!("--insecure={}", from.host());
    assert_eq!(scene.run(&["mirror", &image(&from), &image(&to), &named, &both]).code, 0);
}
