//! Modules, and who signs them.

use super::*;

pub(super) const MODULES: &[Case] = &[
    ("module for another kernel", |scene| module(scene, module_for("probe", "6.8.0-other")), BUILD),
    ("module that is none", |scene| module(scene, b"garbage".to_vec()), BUILD),
    ("module that needs what is nowhere", |scene| module(scene, depending("probe", KERNEL, "a,nowhere")), BUILD),
    (
        "directory without modules",
        |scene| {
            module(scene, Vec::new());
            fs::remove_file(scene.path("modules/probe.ko")).unwrap();
            scene.file("modules/README", "");
        },
        BUILD,
    ),
    (
        "kernel that is not the base's",
        |scene| {
            module(scene, module_for("probe", KERNEL));
            let text = fs::read_to_string(scene.path("recipe.toml")).unwrap();
            scene.file("recipe.toml", format!("{text}kernel = \"6.8.0-other\"\n"));
        },
        BUILD,
    ),
    (
        "base without kernel",
        |scene| {
            other_base(scene, |tree| tree.remove(&TreePath::new("usr/lib/modules").unwrap()));
            module(scene, module_for("probe", KERNEL));
        },
        BUILD,
    ),
];

/// A recipe whose module is signed with `key` and `certificate`, and a pair called `mok`.
fn signing(scene: &Scene, key: &str, certificate: &str) {
    module(scene, module_for("probe", KERNEL));
    let text = fs::read_to_string(scene.path("recipe.toml")).unwrap();
    let sign = format!("[modules]\nsign = {{ key = \"{key}\", certificate = \"{certificate}\" }}\n");
    scene.file("recipe.toml", text + &sign);
    pair(scene, "mok", "rsa:2048");
}

pub(super) const SIGNING: &[Case] = &[
    ("certificate that is missing", |scene| signing(scene, "mok.key", "none.pem"), BUILD),
    ("key for a certificate", |scene| signing(scene, "mok.key", "mok.key"), BUILD),
    ("key that is missing", |scene| signing(scene, "none.key", "mok.pem"), BUILD),
    ("variable that is not set", |scene| signing(scene, "env:MODULE_KEY", "mok.pem"), BUILD),
    ("certificate for a key", |scene| signing(scene, "mok.pem", "mok.pem"), BUILD),
    (
        "key of another certificate",
        |scene| {
            signing(scene, "other.key", "mok.pem");
            pair(scene, "other", "rsa:2048");
        },
        BUILD,
    ),
    (
        "encrypted key",
        |scene| {
            signing(scene, "encrypted.key", "mok.pem");
            openssl(scene, "pkcs8 -topk8 -in mok.key -passout pass:secret -out encrypted.key");
        },
        BUILD,
    ),
    (
        "key that is damaged",
        |scene| {
            signing(scene, "mok.key", "mok.pem");
            let key = fs::read_to_string(scene.path("mok.key")).unwrap();
            scene.file("mok.key", key.replacen("MII", "MIJ", 1));
        },
        BUILD,
    ),
    (
        "key that is not RSA",
        |scene| {
            signing(scene, "ec.key", "ec.pem");
            pair(scene, "ec", "ec -pkeyopt ec_paramgen_curve:P-256");
        },
        BUILD,
    ),
    (
        "key that is too short",
        |scene| {
            signing(scene, "short.key", "short.pem");
            pair(scene, "short", "rsa:1024");
        },
        BUILD,
    ),
    (
        "module that is there twice",
        |scene| {
            signing(scene, "mok.key", "mok.pem");
            scene.file("modules/probe.ko.gz", module_for("probe", KERNEL));
        },
        BUILD,
    ),
    (
        "module with half a signature",
        |scene| {
            signing(scene, "mok.key", "mok.pem");
            scene.file("modules/probe.ko", b"~Module signature appended~\n");
        },
        BUILD,
    ),
];
