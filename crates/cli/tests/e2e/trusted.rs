//! Bases and mirrors that must be signed, and mirrors that are.

use oci_assemble::testing::registry::{Settings, TestRegistry};

use crate::trust::{IDENTITY, MOTD, NAME, SERVICES, ok, refused, scene, with_services};

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
