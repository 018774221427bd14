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
const NAME: &str = "registry.example.com/images/e2e:latest";
const PROJECT: &str = "group/images";
const IDENTITY: &str = "https://gitlab.com/group/images//.gitlab-ci.yml@refs/heads/main";
const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

static SERVICES: LazyLock<Sigstore> = LazyLock::new(|| Sigstore::start(now).unwrap());

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

fn with_services(scene: &Scene, services: &Sigstore) {
    scene.file("root.json", services.trusted_root());
    scene.file("v1.json", services.signing_config(RekorVersion::V1));
    scene.file("v2.json", services.signing_config(RekorVersion::V2));
    scene.file("token", services.gitlab_token(PROJECT));
}

fn ok(run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
}

fn refused(run: &Run, code: i32, words: &str) {
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
fn a_mirror_takes_the_place_of_the_base_where_it_has_the_same_image() {
    let scene = scene();
    scene.link_base("mirror");
    ok(&scene.run(&["sign", "oci:mirror", "--key", "host.key", "--name", NAME]));
    let recipe = |mirror: &str| {
        let base = format!("image = \"oci:base:latest\"\n{mirror}verify = {{ key = \"host.pub\" }}\n");
        scene.file("recipe.toml", format!("schema = 1\n[image]\nname = \"e2e\"\n[base]\n{base}{MOTD}"));
        scene.run(&["-r", "recipe.toml", "-o", "oci:out:latest"])
    };
    refused(&recipe(""), 1, "has no signature");
    let built = recipe("mirror = \"oci:mirror:latest\"\n");
    built.digest();
    // The mirror is behind: what it has is signed, and is not the base.
    scene.file("other.toml", format!("{}{MOTD}", crate::scene::HEAD));
    scene.build("other.toml", "behind");
    ok(&scene.run(&["sign", "oci:behind", "--key", "host.key", "--name", NAME]));
    let run = recipe("mirror = \"oci:behind:latest\"\n");
    refused(&run, 1, "note: the base does not come from oci:behind:latest: ");
    assert!(run.stderr.contains("has no signature"), "{run:?}");
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
fn a_base_that_has_to_be_signed_is_verified_before_it_is_used() {
    let scene = scene();
    let recipe = |verify: &str| {
        let head = crate::scene::HEAD.replace("latest\"\n", &format!("latest\"\nverify = {verify}\n"));
        scene.file("recipe.toml", format!("{head}{MOTD}"));
    };
    let build = || scene.run(&["--recipe", "recipe.toml", "--output", "oci:out:latest"]);
    recipe("{ key = \"host.pub\" }");
    let unsigned = build();
    refused(&unsigned, 1, "has no signature");
    assert!(!scene.path("out").exists(), "nothing was built");
    refused(&scene.run(&["lock", "--recipe", "recipe.toml"]), 1, "has no signature");
    ok(&scene.run(&["sign", "oci:base:latest", "--key", "host.key", "--name", NAME]));
    ok(&build());
    with_services(&scene, &SERVICES);
    let identity = format!("{{ identity = {IDENTITY:?}, issuer = \"https://gitlab.com\", root = \"root.json\" }}");
    recipe(&identity);
    refused(&build(), 1, "not by an identity with a certificate");
    let words = ["sign", "oci:base:latest", "--name", NAME, "--trust-root", "root.json", "--signing-config", "v1.json"];
    ok(&scene.run(&[&words[..], &["--token", "token"]].concat()));
    ok(&build());
}

#[test]
fn mirrors_copy_what_was_verified() {
    let scene = scene();
    let mirror = || scene.run(&["mirror", "oci:base:latest", "oci:copy:latest", "--key", "host.pub"]);
    refused(&mirror(), 1, "has no signature");
    assert!(!scene.path("copy").exists());
    let digest = scene.run(&["sign", "oci:base:latest", "--key", "host.key", "--name", NAME]).digest();
    assert_eq!(mirror().digest(), digest);
}

#[test]
fn mirrors_are_signed_before_a_tag_names_them() {
    let (scene, registry) = (scene(), TestRegistry::start(Settings::default()).unwrap());
    with_services(&scene, &SERVICES);
    let ours = format!("docker://{}/tier/one:10", registry.host());
    let mirror = |more: &[&str]| scene.run(&[&["mirror", "oci:base:latest", &ours, "--insecure"], more].concat());
    // Nothing is sent that could not be signed.
    for (words, code, text) in [
        (vec!["--sign"], 2, "there is no identity token"),
        (vec!["--sign=no.key"], 2, "no.key"),
        (vec!["--sign=env:NO"], 2, "the variable NO"),
        (vec!["--format", "legacy"], 2, "--sign"),
        (vec!["--sign", "--token", "token", "--signing-config", "no.json"], 2, "no.json"),
        (
            vec!["--sign", "--token", "token", "--signing-config", "v1.json", "--sign-trust-root", "no.json"],
            2,
            "no.json",
        ),
        (
            vec!["--sign", "--token", "token", "--signing-config", "v1.json", "--sign-trust-root", "v1.json"],
            2,
            "it is no trusted root (trusted_root.json), it says that it is application/vnd.dev.sigstore.signingconfig",
        ),
        (
            vec!["--sign=host.key", "--sign-log", "--signing-config", "root.json"],
            2,
            "reading the signing configuration",
        ),
        (
            vec!["--sign", "--token", "token", "--signing-config", "v2.json", "--log-version", "2"],
            2,
            "the legacy form needs the promise",
        ),
    ] {
        refused(&mirror(&words), code, text);
    }
    assert!(registry.log().is_empty());
    let local = scene.run(&["mirror", "oci:base:latest", "oci:copy:10", "--sign=host.key"]);
    refused(&local, 2, "copies are signed in registries only");
    assert!(!scene.path("copy").exists());
    let planned = mirror(&["--sign=host.key", "--dry-run"]);
    assert!(
        planned.stdout.contains("\n  sign   sha256:") && planned.stdout.contains("by the key host.key\n"),
        "{planned:?}"
    );
    let (_, planned) = mirror(&["--sign", "--dry-run", "--json"]).json();
    assert_eq!(planned["plans"][0]["attach"][0]["by"], "the identity of the pipeline", "{planned}");
    assert_eq!(registry.manifest("tier/one", "10"), None);

    let services = ["--token", "token", "--signing-config", "v1.json", "--sign-trust-root", "root.json"];
    let run = mirror(&[&["--sign", "--sign=host.key", "--json"], &services[..]].concat());
    let (_, value) = run.json();
    let attached = value["receipt"]["attached"].as_array().unwrap();
    assert_eq!(attached.len(), 4, "two signers, two forms: {value}");
    let digests: Vec<&str> = attached.iter().map(|one| one["digest"].as_str().unwrap()).collect();
    // One artifact has both legacy signatures, each bundle is its own, and the receipt names each.
    assert_eq!(digests[0], digests[1]);
    assert!(digests[2] != digests[3] && digests[2] != digests[0] && digests[3] != digests[0], "{value}");
    for digest in digests {
        assert!(registry.manifest("tier/one", digest).is_some(), "{digest}");
    }
    let log = registry.log();
    let put = |path: &str| log.iter().position(|one| one.method == "PUT" && one.path.ends_with(path));
    let signature = attached.iter().find_map(|one| one["tag"].as_str()).unwrap();
    assert!(put(&format!("/manifests/{signature}")).unwrap() < put("/manifests/10").unwrap());
    let verify = |who: &[&str]| scene.run(&[&["verify", &ours, "--insecure"], who].concat());
    ok(&verify(&["--key", "host.pub"]));
    let by_key = verify(&["--key", "host.pub"]);
    assert!(by_key.stderr.contains(ours.strip_prefix("docker://").unwrap()), "it speaks for our name: {by_key:?}");
    ok(&verify(&["--identity", IDENTITY, "--issuer", "https://gitlab.com", "--trust-root", "root.json"]));
    refused(&verify(&["--key", "cosign.pub"]), 1, "it is not by the key");
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
