//! What the program says when it does not do what was asked, and the code it ends with.
//!
//! The files in `golden` are the tables; `UPDATE_GOLDEN=1 cargo test -p assemble messages` writes them anew.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use oci_assemble::image::Digest;
use oci_assemble::testing::elf::module_for;
use oci_assemble::testing::memory::{add, add_file};
use oci_assemble::tree::{Inode, TreePath};

use crate::base::{self, KERNEL, depending, entry};
use crate::files::leftovers;
use crate::scene::{Run, Scene};
use crate::signed::{has_openssl, openssl, pair};

/// A case: its name, what it prepares, the arguments.
type Case = (&'static str, fn(&Scene), &'static [&'static str]);

const BUILD: &[&str] = &["--recipe", "recipe.toml", "--output", "oci:out:latest"];
const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

fn motd(scene: &Scene) {
    scene.recipe("recipe.toml", MOTD);
}

/// A recipe with everything in it but the one thing that is wrong.
fn replaced(scene: &Scene, from: &str, to: &str) {
    let text = format!("{}{MOTD}", crate::scene::HEAD);
    assert!(text.contains(from));
    scene.file("recipe.toml", text.replace(from, to));
}

fn module(scene: &Scene, bytes: Vec<u8>) {
    scene.recipe("recipe.toml", "[[stage]]\nname = \"probe\"\nkind = \"modules\"\nsource = \"modules\"\n");
    scene.file("modules/probe.ko", bytes);
}

/// The base, made anew with another tree.
fn other_base(scene: &Scene, change: impl FnOnce(&mut oci_assemble::tree::FileTree)) {
    let mut tree = base::image_tree();
    change(&mut tree);
    motd(scene);
    fs::remove_dir_all(scene.path("base")).unwrap();
    fs::create_dir(scene.path("base")).unwrap();
    base::write(&scene.path("base"), &tree, |image| image);
}

/// Changes the bytes of the base's second layer.
fn damaged(scene: &Scene, change: impl FnOnce(&mut Vec<u8>)) {
    motd(scene);
    let (layer, _) = scene.image("base").layers().nth(1).map(|(descriptor, id)| (descriptor.clone(), *id)).unwrap();
    let path = scene.path("base/blobs/sha256").join(layer.digest.hex());
    let mut bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    change(&mut bytes);
    if !bytes.is_empty() {
        fs::write(path, bytes).unwrap();
    }
}

/// Puts one more layer on the base, whose size does not depend on this machine, and changes its blob.
fn raw(scene: &Scene, change: impl FnOnce(&mut Vec<u8>)) {
    let mut tar = entry("etc/", b'5', b"");
    tar.extend(entry("etc/issue", b'0', b"Welcome\n"));
    tar.resize(tar.len() + 1024, 0);
    base::append_raw(&scene.path("base"), &tar);
    let path = scene.path("base/blobs/sha256").join(Digest::of(&tar).hex());
    change(&mut tar);
    fs::write(path, tar).unwrap();
}

const RECIPES: &[Case] = &[
    ("no arguments", |_| {}, &[]),
    ("unknown subcommand", |_| {}, &["bild"]),
    ("unknown option", |_| {}, &["--recpie", "recipe.toml"]),
    ("recipe before a subcommand", motd, &["--recipe", "recipe.toml", "lint", "oci:base"]),
    ("quiet and verbose", motd, &["--recipe", "recipe.toml", "--quiet", "--verbose"]),
    ("missing recipe", |_| {}, BUILD),
    ("recipe is a directory", |scene| fs::create_dir(scene.path("recipe.toml")).unwrap(), BUILD),
    ("recipe outside of the root", motd, &["--recipe", "recipe.toml", "--root", "base"]),
    ("not TOML", |scene| drop(scene.file("recipe.toml", "schema = 1\n[image\n")), BUILD),
    ("unknown key", |scene| replaced(scene, "content", "contents"), BUILD),
    ("wrong type", |scene| replaced(scene, "\"e2e\"", "7"), BUILD),
    ("wrong schema", |scene| replaced(scene, "schema = 1", "schema = 2"), BUILD),
    ("path of the image", |scene| replaced(scene, "/etc/motd", "/var/motd"), BUILD),
    ("above the root", |scene| replaced(scene, "content = \"hello\\n\"", "source = \"../motd\""), BUILD),
    ("absolute source", |scene| replaced(scene, "content = \"hello\\n\"", "source = \"/etc/motd\""), BUILD),
    ("missing source", |scene| replaced(scene, "content = \"hello\\n\"", "source = \"motd\""), BUILD),
    (
        "symlink for a source",
        |scene| {
            replaced(scene, "content = \"hello\\n\"", "source = \"motd\"");
            symlink("/etc/passwd", scene.path("motd")).unwrap();
        },
        BUILD,
    ),
    (
        "symlink out of the root",
        |scene| {
            replaced(scene, "content = \"hello\\n\"", "source = \"link/passwd\"");
            symlink("/etc", scene.path("link")).unwrap();
        },
        BUILD,
    ),
    (
        "extended recipe out of the root",
        |scene| {
            scene.file("recipe.toml", "schema = 1\nextends = \"link/os-release\"\n");
            symlink("/etc", scene.path("link")).unwrap();
        },
        BUILD,
    ),
    (
        "extended recipe that is missing",
        |scene| drop(scene.file("recipe.toml", "schema = 1\nextends = \"none.toml\"\n")),
        BUILD,
    ),
    (
        "missing directory of a stage",
        |scene| scene.recipe("recipe.toml", "[[stage]]\nname = \"tree\"\nkind = \"files\"\nsource = \"tree\"\n"),
        BUILD,
    ),
    (
        "stage that needs a builder, without podman",
        |scene| scene.recipe("recipe.toml", "[[stage]]\nname = \"x\"\nkind = \"dkms\"\npackages = [\"x-dkms\"]\n"),
        BUILD,
    ),
    (
        "content where the system mounts",
        |scene| {
            scene.recipe("recipe.toml", "[[stage]]\nname = \"tree\"\nkind = \"files\"\nsource = \"tree\"\n");
            scene.file("tree/run/x", "");
        },
        BUILD,
    ),
    (
        "removing what is not there",
        |scene| scene.recipe("recipe.toml", "[[remove]]\npath = \"/usr/bin/nothing\"\n"),
        BUILD,
    ),
    (
        "unit that is not there",
        |scene| scene.recipe("recipe.toml", "[services]\nenable = [\"nothing.service\"]\n"),
        BUILD,
    ),
    ("bad platform", motd, &["--recipe", "recipe.toml", "--output", "oci:out:latest", "--platform", "amd64"]),
];

const OUTPUTS: &[Case] = &[
    ("no output", motd, &["--recipe", "recipe.toml"]),
    ("output to a registry", motd, &["--recipe", "recipe.toml", "--output", "docker://localhost/x:latest"]),
    ("output to storage", motd, &["--recipe", "recipe.toml", "--output", "containers-storage:localhost/x:latest"]),
    ("output without transport", motd, &["--recipe", "recipe.toml", "--output", "out"]),
    (
        "output by digest",
        motd,
        &[
            "--recipe",
            "recipe.toml",
            "--output",
            "oci:out@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ],
    ),
    ("output is a file", |scene| (motd(scene), scene.file("file", "")).0, &["-r", "recipe.toml", "-o", "oci:file:x"]),
    (
        "output is no layout of ours",
        |scene| (motd(scene), scene.file("odd/oci-layout", "{\"imageLayoutVersion\": \"2.0.0\"}")).0,
        &["-r", "recipe.toml", "-o", "oci:odd:x"],
    ),
    (
        "output with a damaged index",
        |scene| (motd(scene), scene.link_base("odd"), scene.file("odd/index.json", "{")).0,
        &["-r", "recipe.toml", "-o", "oci:odd:x"],
    ),
];

const BASES: &[Case] = &[
    ("no base", |scene| (motd(scene), fs::remove_dir_all(scene.path("base")).unwrap()).0, BUILD),
    ("base is no layout", |scene| (motd(scene), fs::remove_file(scene.path("base/oci-layout")).unwrap()).0, BUILD),
    ("base without index", |scene| (motd(scene), fs::remove_file(scene.path("base/index.json")).unwrap()).0, BUILD),
    ("index of the base is no index", |scene| (motd(scene), scene.file("base/index.json", "[]")).0, BUILD),
    ("no such tag", |scene| replaced(scene, "base:latest", "base:stable"), BUILD),
    ("another platform", |scene| replaced(scene, "[base]", "platforms = [\"linux/arm64\"]\n[base]"), BUILD),
    ("corrupt layer", |scene| damaged(scene, |bytes| *bytes.last_mut().unwrap() ^= 1), BUILD),
    ("corrupt beginning of a layer", |scene| damaged(scene, |bytes| bytes[0] ^= 1), BUILD),
    (
        "truncated layer",
        |scene| {
            other_base(scene, |_| {});
            raw(scene, |blob| blob.truncate(blob.len() / 2));
        },
        BUILD,
    ),
    ("missing layer", |scene| damaged(scene, Vec::clear), BUILD),
    (
        "ambiguous layer",
        |scene| {
            other_base(scene, |_| {});
            let mut tar = entry("usr/", b'5', b"");
            tar.extend(entry("usr/hidden", b'5', b"a payload that some readers take for a header"));
            tar.resize(tar.len() + 1024, 0);
            base::append_raw(&scene.path("base"), &tar);
        },
        BUILD,
    ),
    (
        "truncated tar in a layer",
        |scene| {
            other_base(scene, |_| {});
            let tar = entry("etc/motd", b'0', &[b'x'; 2000]);
            base::append_raw(&scene.path("base"), &tar[..1024]);
        },
        BUILD,
    ),
    (
        "base with a unified kernel image",
        |scene| {
            other_base(scene, |_| {});
            let names = ["boot/", "boot/EFI/", "boot/EFI/Linux/"];
            let mut tar: Vec<u8> = names.iter().flat_map(|name| entry(name, b'5', b"")).collect();
            tar.extend(entry("boot/EFI/Linux/e2e.efi", b'0', b"MZ"));
            tar.resize(tar.len() + 1024, 0);
            base::append_raw(&scene.path("base"), &tar);
        },
        BUILD,
    ),
    (
        "base with two kernels",
        |scene| other_base(scene, |tree| add_file(tree, "usr/lib/modules/1.0/vmlinuz", 0o644, "kernel")),
        BUILD,
    ),
];

const MODULES: &[Case] = &[
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

const SIGNING: &[Case] = &[
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

const LINTS: &[Case] = &[
    (
        "compiler left behind",
        |scene| scene.recipe("recipe.toml", "[[file]]\npath = \"/usr/bin/gcc\"\ncontent = \"\\n\"\nmode = 0o755\n"),
        BUILD,
    ),
    (
        "lint skipped with a reason",
        |scene| {
            scene.recipe(
                "recipe.toml",
                "[[file]]\npath = \"/usr/bin/gcc\"\ncontent = \"\\n\"\n[lint]\nskip = [{ name = \"forbidden-files\", \
                 reason = \"a wrapper\" }]\n",
            );
        },
        &["--recipe", "recipe.toml", "--output", "oci:out:latest", "--verbose"],
    ),
    (
        "unknown lint skipped",
        |scene| scene.recipe("recipe.toml", "[lint]\nskip = [{ name = \"gcc\", reason = \"wanted\" }]\n"),
        BUILD,
    ),
    ("lint of a good image", |_| {}, &["lint", "oci:base:latest"]),
    ("lint with fatal warnings", |_| {}, &["lint", "oci:base:latest", "--fatal-warnings"]),
    ("lint of a bad image", |scene| other_base(scene, spoil), &["lint", "oci:base"]),
    ("unknown lint on the command line", |_| {}, &["lint", "oci:base", "--skip", "gcc"]),
    ("lint of nothing", |_| {}, &["lint"]),
    ("lint of no image", |_| {}, &["lint", "oci:nowhere"]),
];

fn spoil(tree: &mut oci_assemble::tree::FileTree) {
    add_file(tree, "usr/bin/gcc-12", 0o755, "#!");
    add_file(tree, "usr/lib/bootc/kargs.d/x.toml", 0o644, "kargs = [\"a\"]\ncolour = \"red\"\n");
    add_file(tree, "var/log/build.log", 0o644, "text");
    add(tree, "usr/lib/libx.so", Inode::symlink("nowhere", 0));
}

const INSPECTION: &[Case] = &[
    ("layer that is not there", |_| {}, &["inspect", "oci:base", "--layer", "9"]),
    ("tree and layer", |_| {}, &["inspect", "oci:base", "--layer", "0", "--tree"]),
    (
        "one layer",
        |scene| {
            other_base(scene, |_| {});
            raw(scene, |_| {});
        },
        &["inspect", "oci:base", "--layer", "2"],
    ),
    ("image that is not there", |_| {}, &["inspect", "oci:base:none"]),
    ("reference that is none", |_| {}, &["inspect", "base"]),
    ("fsck of a sound layout", |_| {}, &["fsck", "base"]),
    ("fsck of a damaged layout", |scene| damaged(scene, |bytes| *bytes.last_mut().unwrap() ^= 1), &["fsck", "base"]),
    ("fsck of nothing", |_| {}, &["fsck", "nowhere"]),
    ("gc of a clean layout", |_| {}, &["gc", "base"]),
    ("gc of nothing", |_| {}, &["gc", "nowhere"]),
    ("unknown shell", |_| {}, &["completions", "tcsh"]),
];

const BOOTS: &[Case] = &[
    ("boot of nothing", |_| {}, &["boot"]),
    ("boot of no image", |_| {}, &["boot", "oci:nowhere"]),
    (
        "boot without kernel",
        |scene| other_base(scene, |tree| tree.remove(&TreePath::new("usr/lib/modules").unwrap())),
        &["boot", "oci:base", "--qemu", "/bin/true"],
    ),
    (
        "boot with two kernels",
        |scene| other_base(scene, |tree| add_file(tree, "usr/lib/modules/1.0/vmlinuz", 0o644, "kernel")),
        &["boot", "oci:base", "--qemu", "/bin/true"],
    ),
    ("boot without a shell", |_| {}, &["boot", "oci:base", "--qemu", "/bin/true"]),
    (
        "boot of a corrupt layout",
        |scene| damaged(scene, |bytes| *bytes.last_mut().unwrap() ^= 1),
        &["boot", "oci:base", "--qemu", "/bin/true"],
    ),
    ("boot without QEMU", |_| {}, &["boot", "oci:base", "--qemu", "no-qemu"]),
    ("boot with a bad module", |_| {}, &["boot", "oci:base", "--module", "a b", "--qemu", "/bin/true"]),
    ("boot with a bad disk", |_| {}, &["boot", "oci:base", "--disk", "1T"]),
    ("boot with a missing script", |_| {}, &["boot", "oci:base", "--script", "none.sh"]),
    ("boot with command and script", |_| {}, &["boot", "oci:base", "--script", "a", "--run", "b"]),
];

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

const LOCKS: &[Case] = &[
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

const SIGNATURES: &[Case] = &[
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

/// Runs the cases and holds what they say against `golden/NAME.txt`.
fn check(golden: &str, cases: &[Case]) {
    let mut text = String::new();
    for (name, prepare, arguments) in cases {
        let scene = Scene::new();
        prepare(&scene);
        let run = scene.run(arguments);
        render(&mut text, name, arguments, &run, scene.root());
        if run.code != 0 {
            nothing_is_left(&scene, name);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/e2e/golden/{golden}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap();
    for (found, expected) in text.split("\n## ").zip(expected.split("\n## ")) {
        assert_eq!(found, expected, "{found}");
    }
    assert_eq!(text, expected);
}

#[test]
fn about_recipes() {
    check("recipes", RECIPES);
}

#[test]
fn about_outputs() {
    check("outputs", OUTPUTS);
}

#[test]
fn about_locks() {
    check("locks", LOCKS);
}

#[test]
fn about_bases() {
    check("bases", BASES);
}

#[test]
fn about_modules() {
    check("modules", MODULES);
}

#[test]
fn about_signing() {
    if has_openssl() {
        check("signing", SIGNING);
    }
}

#[test]
fn about_signatures() {
    check("signatures", SIGNATURES);
}

#[test]
fn about_lints() {
    check("lints", LINTS);
}

#[test]
fn about_inspection() {
    check("inspection", INSPECTION);
}

#[test]
fn about_boots() {
    check("boots", BOOTS);
}

fn render(text: &mut String, name: &str, arguments: &[&str], run: &Run, root: &Path) {
    let hide = |words: &str| hide(&words.replace(root.to_str().unwrap(), "DIR"));
    writeln!(text, "## {name}\n$ assemble {}\n{}", hide(&arguments.join(" ")), hide(&run.stdout).trim_end()).unwrap();
    if !run.stderr.is_empty() {
        writeln!(text, "-- stderr\n{}", hide(&run.stderr).trim_end()).unwrap();
    }
    writeln!(text, "-- exit {}\n", run.code).unwrap();
}

/// Digests, and the size of all blobs, depend on this machine's depmod, which the base has.
fn hide(words: &str) -> String {
    let lines = words.lines().map(|line| match line.split_once(" blobs read, ") {
        Some((count, _)) => format!("{count} blobs read, …"),
        None => line.to_owned(),
    });
    let mut words = lines.collect::<Vec<_>>().join("\n");
    // Tags of signatures have digests in their names.
    for beginning in ["sha256:", "sha256-"] {
        let mut parts = words.split(beginning);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(beginning);
            text.push('…');
            text.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_hexdigit()));
        }
        words = text;
    }
    words
}

/// A build that fails leaves no output; where one was there, no trace in it.
fn nothing_is_left(scene: &Scene, name: &str) {
    assert!(!scene.path("out").exists(), "{name}: an output was made");
    for layout in ["base", "odd"].map(|layout| scene.path(layout)).iter().filter(|layout| layout.is_dir()) {
        assert_eq!(leftovers(layout), [""; 0], "{name}");
    }
}
