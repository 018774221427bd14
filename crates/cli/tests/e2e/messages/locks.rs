//! Locks and signatures.

use super::*;

const LOCKED: &[&str] = &["--recipe", "recipe.toml", "--output", "oci:out:latest", "--locked"];
const LOCK_CHECK: &[&str] = &["lock", "--recipe", "recipe.toml", "--check"];

/// A recipe with a source, and its lock.
fn locked(scene: &Scene) {
    scene.recipe("recipe.toml", "[[file]]\npath = \"/etc/motd\"\nsource = \"motd\"\n");
    scene.file("motd", "hello\n");
    assert_eq!(scene.run(&["lock", "--recipe", "recipe.toml"]).code, 0);
}

fn in_lock(scene: &Scene, from: &str, to: &str) {
    locked(scene);
    let text = fs::read_to_string(scene.path("recipe.lock")).unwrap();
    assert!(text.contains(from));
    scene.file("recipe.lock", text.replace(from, to));
}

pub(super) const LOCKS: &[Case] = &[
    ("check without a lock", motd, LOCK_CHECK),
    ("check of a lock that fits", locked, LOCK_CHECK),
    ("check after a source has changed", |scene| (locked(scene), scene.file("motd", "HELLO\n")).0, LOCK_CHECK),
    ("check after a recipe has changed", |scene| (locked(scene), motd(scene)).0, LOCK_CHECK),
    ("check and update", motd, &["lock", "-r", "recipe.toml", "--check", "--update"]),
    ("update of what there is not", motd, &["lock", "-r", "recipe.toml", "--update", "zfs"]),
    ("locked without a lock", motd, LOCKED),
    ("locked after a source has changed", |scene| (locked(scene), scene.file("motd", "HELLO\n")).0, LOCKED),
    ("locked after everything has changed", |scene| (locked(scene), replaced(scene, "base:latest", "other")).0, LOCKED),
    (
        "locked for another platform",
        locked,
        &["-r", "recipe.toml", "-o", "oci:out", "--locked", "--platform", "linux/arm64"],
    ),
    ("lock with another compressor", |scene| in_lock(scene, "zstd:1", "zstd:0"), LOCK_CHECK),
    ("lock with a merge conflict", |scene| in_lock(scene, "[sources]", "<<<<<<< ours\n[sources]"), BUILD),
    ("lock of another schema", |scene| in_lock(scene, "schema = 1", "schema = 2"), BUILD),
    ("lock with an unknown key", |scene| in_lock(scene, "epoch = ", "more = 1\nepoch = "), BUILD),
    ("lock that is a symlink", |scene| (motd(scene), symlink("base", scene.path("recipe.lock")).unwrap()).0, BUILD),
    (
        "base that is gone",
        |scene| {
            locked(scene);
            let base = scene.image("base").digest().hex();
            fs::remove_file(scene.path("base/blobs/sha256").join(base)).unwrap();
        },
        BUILD,
    ),
];

const NAME: &str = "registry.example.com/images/e2e:latest";

/// Keys, and the base signed by one of them.
fn signed(scene: &Scene) {
    keys(scene);
    assert_eq!(scene.run(&["sign", "oci:base", "--key", "host.key", "--name", NAME]).code, 0);
}

fn keys(scene: &Scene) {
    for (key, name) in crate::trust::KEYS {
        scene.file(&format!("{name}.key"), key);
    }
    for (key, name) in crate::trust::PUBLIC {
        scene.file(&format!("{name}.pub"), key);
    }
}

pub(super) const SIGNATURES: &[Case] = &[
    ("sign without a key or token", keys, &["sign", "oci:base", "--name", NAME]),
    ("sign without a name", keys, &["sign", "oci:base", "--key", "host.key"]),
    ("sign a digest as a name", keys, &["sign", "oci:base", "--key", "host.key", "--name", "quay.io/a@sha256:0"]),
    ("sign with a key that is not there", keys, &["sign", "oci:base", "--key", "none.key", "--name", NAME]),
    ("sign with a variable that is not set", keys, &["sign", "oci:base", "--key", "env:NONE", "--name", NAME]),
    ("sign with a public key", keys, &["sign", "oci:base", "--key", "host.pub", "--name", NAME]),
    ("sign without the password", keys, &["sign", "oci:base", "--key", "cosign.key", "--name", NAME]),
    ("sign an archive", keys, &["sign", "oci-archive:a.tar", "--key", "host.key", "--name", NAME]),
    ("sign nothing", keys, &["sign", "oci:nowhere", "--key", "host.key", "--name", NAME]),
    ("sign", keys, &["sign", "oci:base", "--key", "host.key", "--name", NAME]),
    ("attest nothing", keys, &["attest", "oci:base", "--key", "host.key", "--name", NAME]),
    (
        "attest a predicate without type",
        keys,
        &["attest", "oci:base", "--key", "host.key", "--name", NAME, "--predicate", "host.pub"],
    ),
    ("verify without saying by whom", signed, &["verify", "oci:base"]),
    ("verify an identity without issuer", signed, &["verify", "oci:base", "--identity", "me@example.com"]),
    ("verify with a private key", signed, &["verify", "oci:base", "--key", "host.key"]),
    ("verify what is signed", signed, &["verify", "oci:base", "--key", "host.pub"]),
    ("verify what another key signed", signed, &["verify", "oci:base", "--key", "cosign.pub"]),
    ("verify what is not signed", keys, &["verify", "oci:base", "--key", "host.pub"]),
    (
        "verify with a trust root that is none",
        signed,
        &["verify", "oci:base", "--identity", "a", "--issuer", "b", "--trust-root", "host.pub"],
    ),
    ("policy of nothing", keys, &["policy"]),
    ("policy without a key", keys, &["policy", "--trust", "quay.io"]),
    ("policy with a private key", keys, &["policy", "--trust", "quay.io=host.key"]),
    ("policy that lets everything in", keys, &["policy", "--trust", "quay.io=host.pub", "--accept-others"]),
    ("policy of a recipe without one", motd, &["policy", "--recipe", "recipe.toml"]),
];
