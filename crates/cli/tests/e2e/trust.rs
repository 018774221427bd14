//! Signatures, attestations, verification and policies, as users meet them.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use oci_assemble::publish::sigstore::RekorVersion;
use oci_assemble::testing::registry::{AuthSettings, Settings, TestRegistry};
use oci_assemble::testing::sigstore::Sigstore;

use crate::scene::{Run, Scene};

/// A key, as `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes it, and another.
pub(crate) const KEYS: [(&str, &str); 2] = [
    (include_str!("../../../oci-assemble/src/publish/sigstore/tests/key.pem"), "host"),
    (include_str!("../../../oci-assemble/src/publish/sigstore/tests/cosign.key"), "cosign"),
];
pub(crate) const PUBLIC: [(&str, &str); 2] = [
    (include_str!("../../../oci-assemble/src/publish/sigstore/tests/key.pub"), "host"),
    (include_str!("../../../oci-assemble/src/publish/sigstore/tests/cosign.pub"), "cosign"),
];
pub(crate) const NAME: &str = "registry.example.com/images/e2e:latest";
const PROJECT: &str = "group/images";
pub(crate) const IDENTITY: &str = "https://gitlab.com/group/images//.gitlab-ci.yml@refs/heads/main";
pub(crate) const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

pub(crate) static SERVICES: LazyLock<Sigstore> = LazyLock::new(|| Sigstore::start(now).unwrap());

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A key whose password is empty.
const UNGUARDED: (&str, &str) = (
    include_str!("../../../oci-assemble/src/publish/sigstore/tests/cosign-empty.key"),
    include_str!("../../../oci-assemble/src/publish/sigstore/tests/cosign-empty.pub"),
);

/// A scene with keys, and everything that belongs to the services.
pub(crate) fn scene() -> Scene {
    let scene = Scene::new();
    for (key, name) in KEYS {
        scene.file(&format!("{name}.key"), key);
    }
    for (key, name) in PUBLIC {
        scene.file(&format!("{name}.pub"), key);
    }
    scene.file("sbom.json", "{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.6\"}");
    scene
}

pub(crate) fn with_services(scene: &Scene, services: &Sigstore) {
    scene.file("root.json", services.trusted_root());
    scene.file("v1.json", services.signing_config(RekorVersion::V1));
    scene.file("v2.json", services.signing_config(RekorVersion::V2));
    scene.file("token", services.gitlab_token(PROJECT));
}

pub(crate) fn ok(run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
}

pub(crate) fn refused(run: &Run, code: i32, words: &str) {
    assert_eq!(run.code, code, "{run:?}");
    assert!(run.stderr.contains(words), "{words}: {run:?}");
    assert_eq!(run.stdout, "", "no digest is handed out");
}

#[test]
fn what_a_key_signs_verifies_until_something_changes() {
    let scene = scene();
    let signed = scene.run(&["sign", "oci:base", "--key", "host.key", "--name", NAME]);
    let digest = signed.digest();
    let verified = scene.run(&["verify", "oci:base", "--key", "host.pub"]);
    assert_eq!(verified.digest(), digest);
    assert!(verified.stderr.contains(&format!("as {NAME}")), "{verified:?}");
    // The image is still the only one; its signatures are not taken for images.
    ok(&scene.run(&["inspect", "oci:base"]));
    ok(&scene.run(&["fsck", "base"]));
    let other = scene.run(&["verify", "oci:base", "--key", "cosign.pub"]);
    refused(&other, 1, "it is not by the key");
    refused(&scene.run(&["verify", "oci:base", "--key", "host.pub", "--log"]), 1, "no entry of a transparency log");
    // A second signer joins the first.
    let mut second = scene.command(&["sign", "oci:base", "--key", "cosign.key", "--name", NAME]);
    ok(&Run::of(second.env("COSIGN_PASSWORD", "secret")));
    for key in ["host.pub", "cosign.pub"] {
        ok(&scene.run(&["verify", "oci:base", "--key", key]));
    }
    // A password that is empty is one.
    scene.file("empty.key", UNGUARDED.0);
    scene.file("empty.pub", UNGUARDED.1);
    let unguarded = ["sign", "oci:base", "--key", "empty.key", "--name", NAME];
    refused(&scene.run(&unguarded), 2, "the password is taken from the variable COSIGN_PASSWORD");
    ok(&Run::of(scene.command(&unguarded).env("COSIGN_PASSWORD", "")));
    ok(&scene.run(&["verify", "oci:base", "--key", "empty.pub"]));
    // Nothing of the signature speaks for another image.
    scene.recipe("recipe.toml", MOTD);
    scene.build("recipe.toml", "other");
    refused(&scene.run(&["verify", "oci:other", "--key", "host.pub"]), 1, "has no signature");
}

#[test]
fn the_identity_of_a_pipeline_signs_and_verifies_offline() {
    let scene = scene();
    with_services(&scene, &SERVICES);
    let sign = |more: &[&str]| {
        let words = ["sign", "oci:base", "--name", NAME, "--trust-root", "root.json"];
        scene.run(&[&words, more].concat())
    };
    ok(&sign(&["--token", "token", "--signing-config", "v1.json", "--key", "host.key", "--keyless"]));
    let second = ["sign", "oci:v2", "--name", NAME, "--trust-root", "root.json", "--token", "token"];
    scene.link_base("v2");
    let second = [&second[..], &["--signing-config", "v2.json", "--log-version", "2", "--format", "bundle"]].concat();
    ok(&scene.run(&second));
    // In GitLab the token is in the environment. What is signed is not signed again.
    let words = ["sign", "oci:base", "--name", NAME, "--trust-root", "root.json", "--signing-config", "v1.json"];
    let token = fs::read_to_string(scene.path("token")).unwrap();
    let again = Run::of(scene.command(&words).env("SIGSTORE_ID_TOKEN", token));
    ok(&again);
    assert_eq!(again.stderr.lines().filter(|line| line.ends_with(", signed before")).count(), 2, "{again:?}");
    let verify = |identity: &str, issuer: &str| {
        let words = ["verify", "oci:base", "--identity", identity, "--issuer", issuer, "--trust-root", "root.json"];
        scene.run(&words)
    };
    let verified = verify(IDENTITY, "https://gitlab.com");
    ok(&verified);
    assert_eq!(verified.stderr.lines().filter(|line| line.starts_with("accepted: ")).count(), 2, "{verified:?}");
    let of_second =
        ["verify", "oci:v2", "--identity", IDENTITY, "--issuer", "https://gitlab.com", "--trust-root", "root.json"];
    ok(&scene.run(&of_second));
    refused(&verify(&format!("{IDENTITY}x"), "https://gitlab.com"), 1, "not by");
    refused(&verify(IDENTITY, "https://gitlab.example.com"), 1, "was vouched for by");
    // Without the trust root of these services, that of the public instance is believed, which does not know them.
    let strangers = scene.run(&["verify", "oci:base", "--identity", IDENTITY, "--issuer", "https://gitlab.com"]);
    refused(&strangers, 1, "its proof does not hold");
    ok(&scene.run(&["verify", "oci:base", "--key", "host.pub"]));
}

#[test]
fn services_that_do_not_help_say_what_to_do() {
    let services = Sigstore::start(now).unwrap();
    let scene = scene();
    with_services(&scene, &services);
    let words = ["sign", "oci:base", "--name", NAME, "--signing-config", "v1.json", "--trust-root", "root.json"];
    let sign = |more: &[&str]| scene.run(&[&words, more].concat());
    refused(&sign(&[]), 2, "there is no identity token");
    refused(&sign(&["--log-version", "2", "--token", "token"]), 2, "names no transparency log");
    scene.file("expired", services.token(&serde_json::json!({ "iss": "i", "sub": "s", "aud": "sigstore", "exp": 1 })));
    refused(&sign(&["--token", "expired"]), 77, "it expired");
    scene.file("audience", services.token(&serde_json::json!({ "iss": "i", "sub": "s", "aud": "other" })));
    refused(&sign(&["--token", "audience"]), 77, "its audience is not \"sigstore\"");
    services.answers(false);
    refused(&sign(&["--token", "token"]), 75, "transparency log (Rekor)");
    services.answers(true);
    // Somebody else's services: noticed before anything is stored.
    scene.file("root.json", SERVICES.trusted_root());
    refused(&sign(&["--token", "token"]), 65, "the signature that was just made does not verify");
    let nothing = scene.run(&["verify", "oci:base", "--key", "host.pub"]);
    refused(&nothing, 1, "has no signature");
}

#[test]
fn documents_are_attested() {
    let scene = scene();
    ok(&scene.run(&["attest", "oci:base", "--key", "host.key", "--name", NAME, "--document", "sbom.json"]));
    let bom = "https://cyclonedx.org/bom";
    let verified = scene.run(&["verify", "oci:base", "--key", "host.pub", "--attestation", bom, "--json"]);
    let (schema, value) = verified.json();
    assert_eq!(schema, "assemble.verify/1");
    assert_eq!(value["accepted"][0]["statement"]["predicate"]["bomFormat"], "CycloneDX");
    // An attestation is no signature.
    refused(&scene.run(&["verify", "oci:base", "--key", "host.pub"]), 1, "only statements of type");
    scene.file("own.json", "{\"answer\":42}");
    let own = ["--predicate", "own.json", "--type", "https://example.com/answer"];
    ok(&scene.run(&[&["attest", "oci:base", "--key", "host.key", "--name", NAME], &own[..]].concat()));
    let words = ["verify", "oci:base", "--key", "host.pub", "--attestation", "https://example.com/answer"];
    ok(&scene.run(&words));
    scene.file("none.json", "{}");
    let none = scene.run(&["attest", "oci:base", "--key", "host.key", "--name", NAME, "--document", "none.json"]);
    refused(&none, 65, "it is neither CycloneDX");
}

#[test]
fn a_recipe_and_its_lock_say_how_an_image_was_made() {
    let scene = scene();
    scene.recipe("recipe.toml", MOTD);
    let attest = || {
        let words =
            ["attest", "oci:out", "--key", "host.key", "--name", NAME, "--provenance", "recipe.toml", "--quiet"];
        let mut command = scene.command(&words);
        command.env("GITLAB_CI", "true").env("CI_PROJECT_URL", "https://gitlab.com/group/images");
        Run::of(command.env("CI_JOB_URL", "https://gitlab.com/group/images/-/jobs/9").env("CI_COMMIT_SHA", "0123abcd"))
    };
    scene.build("recipe.toml", "out");
    refused(&attest(), 2, "there is no lock");
    ok(&scene.run(&["lock", "--recipe", "recipe.toml"]));
    ok(&attest());
    let kind = "https://slsa.dev/provenance/v1";
    let (_, value) = scene.run(&["verify", "oci:out", "--key", "host.pub", "--attestation", kind, "--json"]).json();
    let predicate = &value["accepted"][0]["statement"]["predicate"];
    assert_eq!(predicate["buildDefinition"]["externalParameters"]["recipe"], "recipe.toml");
    let dependencies = predicate["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let of = |name: &str| dependencies.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(of("source")["digest"]["gitCommit"], "0123abcd");
    let base = scene.image("base").digest().hex();
    assert_eq!(of("base")["digest"]["sha256"], base.as_str());
    assert_eq!(predicate["runDetails"]["metadata"]["invocationId"], "https://gitlab.com/group/images/-/jobs/9");
}

#[test]
fn a_policy_is_written_for_hosts_and_into_images() {
    let scene = scene();
    let words = [
        "policy",
        "--trust",
        "registry.example.com/images=host.pub",
        "--accept",
        "quay.io/centos-bootc",
        "--output",
        "host",
    ];
    let run = scene.run(&words);
    let listed = "/etc/containers/policy.json\n/etc/containers/registries.d/50-assemble-policy.yaml\n\
                  /etc/pki/containers/host.pub\n";
    assert_eq!((run.code, run.stdout.as_str()), (0, listed), "{run:?}");
    let loud = "warning: the policy accepts everything below quay.io/centos-bootc without a signature";
    assert!(run.stderr.contains(loud), "{run:?}");
    let quiet = scene.run(&[&words[..], &["--quiet"]].concat());
    assert!(quiet.stderr.contains(loud), "a warning is no talk: {quiet:?}");
    let policy: serde_json::Value =
        serde_json::from_slice(&fs::read(scene.path("host/etc/containers/policy.json")).unwrap()).unwrap();
    assert_eq!(policy["default"][0]["type"], "reject");
    let twice = scene.run(&[&words[..], &["--trust", "registry.example.com/images=cosign.pub"]].concat());
    refused(&twice, 2, "the scope registry.example.com/images is named twice");
    scene.recipe(
        "recipe.toml",
        "[policy]\naccept = [\"quay.io/centos-bootc\"]\n\
         trust = [{ scope = \"registry.example.com/images\", key = \"host.pub\" }]\n",
    );
    let built = scene.run(&["--recipe", "recipe.toml", "--output", "oci:out:latest"]);
    ok(&built);
    assert!(built.stderr.contains(loud), "{built:?}");
    let tree = scene.run(&["inspect", "oci:out:latest", "--tree"]).stdout;
    for path in [
        "etc/containers/policy.json",
        "etc/containers/registries.d/50-assemble-e2e.yaml",
        "etc/pki/containers/host.pub",
    ] {
        assert!(tree.contains(path), "{path}");
    }
    let of_recipe = scene.run(&["policy", "--recipe", "recipe.toml"]);
    let printed: serde_json::Value = serde_json::from_str(&of_recipe.stdout).unwrap();
    assert_eq!(printed["transports"]["docker"]["registry.example.com/images"][0]["type"], "sigstoreSigned");
}

/// What the unit of hosts runs: this program verifies, and a stand-in for bootc says what it was told.
#[test]
fn a_host_switches_to_what_was_verified_and_to_nothing_else() {
    let auth = AuthSettings::Basic("me".into(), "secret".into());
    let scene = scene();
    let registry = TestRegistry::start(Settings { auth, ..Settings::default() }).unwrap();
    with_services(&scene, &SERVICES);
    let credentials = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#, registry.host());
    scene.file("auth.json", &credentials);
    let name = format!("{}/images/host", registry.host());
    let image = format!("docker://{name}:latest");
    let upgrade = format!(
        "{{ image = {image:?}, identity = {IDENTITY:?}, issuer = \"https://gitlab.com\", root = \"root.json\" }}"
    );
    scene.recipe(
        "recipe.toml",
        &format!("[policy]\ntrust = [{{ scope = {name:?}, key = \"host.pub\" }}]\nupgrade = {upgrade}\n"),
    );
    ok(&scene.run(&["policy", "--recipe", "recipe.toml", "--output", "host"]));
    // Where a host has its programs this machine has others, and the registry here has no certificate.
    let script = fs::read_to_string(scene.path("host/usr/libexec/assemble-verify")).unwrap();
    let script = script.replace("/usr/bin/assemble --quiet verify", "\"$1\" --quiet verify --insecure");
    // bootc's pull secret is the only credential that a host has.
    let script = script.replace("/etc/ostree", &scene.path("ostree").display().to_string());
    let script = script.replace("/usr/share/assemble", &scene.path("host/usr/share/assemble").display().to_string());
    scene.file("verify.sh", script);
    // Written by another process: what this one has open for writing nobody can run.
    scene.file("bootc", "#!/bin/sh\necho \"$@\" >switched\n");
    let (from, to) = (scene.path("bootc"), scene.path("bin/bootc"));
    assert!(Command::new("install").args(["-D", "-m", "755"]).args([from, to]).status().unwrap().success());
    let path = format!("{}:{}", scene.path("bin").display(), std::env::var("PATH").unwrap());
    let host = || {
        let _ = fs::remove_file(scene.path("switched"));
        let mut command = scene.wrapped(&["sh", "verify.sh"], &[] as &[&str]);
        let run = Run::of(command.env("PATH", &path));
        (run.code, fs::read_to_string(scene.path("switched")).ok())
    };
    let push = |layout: &str| scene.run(&["push", layout, &image, "--insecure", "--authfile", "auth.json"]).digest();
    let digest = push("oci:base:latest");
    assert_eq!(host(), (77, None), "there is no pull secret");
    scene.file("ostree/auth.json", &credentials);
    assert_eq!(host(), (1, None), "nobody signed it");
    let sign = |more: &[&str]| scene.run(&[&["sign", &image, "--insecure", "--authfile", "auth.json"], more].concat());
    ok(&sign(&["--key", "host.key"]));
    assert_eq!(host(), (1, None), "a key is not the pipeline");
    ok(&sign(&["--token", "token", "--signing-config", "v1.json", "--trust-root", "root.json"]));
    assert_eq!(host(), (0, Some(format!("switch {name}@{digest}\n"))));
    // Somebody moves the tag to an image that the pipeline did not make.
    scene.file("other.toml", format!("{}{MOTD}", crate::scene::HEAD));
    scene.build("other.toml", "other");
    push("oci:other:latest");
    assert_eq!(host(), (1, None), "the tag names something else now");
}
