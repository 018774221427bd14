//! `[modules.sign]`: modules with a signature that machines verify who enrolled the certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kmod_stage::module::unsigned;
use oci_assemble::testing::elf::module_for;

use crate::base::KERNEL;
use crate::files::bytes;
use crate::modules::{assert_indexed, read, work};
use crate::scene::{HEAD, Run, Scene};

const STAGE: &str = "[[stage]]\nname = \"probe\"\nkind = \"modules\"\nsource = \"modules\"\n";
pub(crate) const SIGN: &str = "[modules]\nsign = { key = \"mok.key\", certificate = \"mok.pem\" }\n";
const CERTIFICATE: &str = "usr/share/assemble/mok/mok.der";

/// Compresses a file in its place, as distributions compress modules.
fn xz(path: &Path) {
    assert!(Command::new("xz").arg("--check=crc32").arg(path).status().unwrap().success());
}

/// Whether there is openssl, which makes keys; continuous integration must have it.
pub(crate) fn has_openssl() -> bool {
    let there = Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok();
    if !there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "openssl is not installed");
        eprintln!("skipped: openssl is not installed");
    }
    there
}

/// Makes `NAME.key` and `NAME.pem` with a key of the kind `new`.
pub(crate) fn pair(scene: &Scene, name: &str, new: &str) {
    let words =
        format!("req -x509 -noenc -days 36500 -subj /CN={name} -keyout {name}.key -out {name}.pem -newkey {new}");
    openssl(scene, &words);
}

/// Runs openssl in the scene; its words are separated by spaces.
pub(crate) fn openssl(scene: &Scene, words: &str) -> Vec<u8> {
    let run = Command::new("openssl").args(words.split(' ')).current_dir(scene.root()).output().unwrap();
    assert!(run.status.success(), "{words}: {}", String::from_utf8_lossy(&run.stderr));
    run.stdout
}

/// What modinfo says in a field.
fn modinfo(module: &[u8], field: &str) -> String {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("module.ko");
    fs::write(&path, module).unwrap();
    let program = ["/usr/sbin/modinfo", "/sbin/modinfo", "/usr/bin/modinfo"].map(Path::new);
    let program = program.into_iter().find(|path| path.exists()).unwrap();
    String::from_utf8(Command::new(program).args(["-F", field]).arg(&path).output().unwrap().stdout).unwrap()
}

/// Files below the scene that hold `text`.
fn holding(scene: &Scene, text: &[u8]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let found = fs::read(scene.path(path.to_str().unwrap())).unwrap();
        found.windows(text.len()).any(|window| window == text)
    };
    bytes(scene.root()).into_keys().filter(holds).collect()
}

#[test]
fn modules_of_the_recipe_are_signed_and_no_others() {
    if !has_openssl() {
        return;
    }
    let scene = Scene::new();
    pair(&scene, "mok", "rsa:2048");
    let plain = module_for("probe", KERNEL);
    scene.file("modules/probe.ko", &plain);
    xz(&scene.file("modules/packed.ko", module_for("packed", KERNEL)));
    // As a package lays it out, with one of the kernel's own modules beside it.
    let tree = format!("tree/lib/modules/{KERNEL}");
    scene.file(&format!("{tree}/updates/other.ko"), module_for("other", KERNEL));
    scene.file(&format!("{tree}/kernel/a.ko"), module_for("a", KERNEL));
    let files = "[[stage]]\nname = \"tree\"\nkind = \"files\"\nsource = \"tree\"\ninto = \"/usr\"\n";
    scene.recipe("recipe.toml", &format!("{STAGE}{files}{SIGN}"));
    let digest = scene.build("recipe.toml", "out");

    let modules = format!("usr/lib/modules/{KERNEL}");
    for (path, name) in [("extra/probe.ko", "probe"), ("extra/packed.ko", "packed"), ("updates/other.ko", "other")] {
        let signed = read(&scene.path("out"), &format!("{modules}/{path}"));
        assert_eq!(unsigned(&signed).unwrap(), (&module_for(name, KERNEL)[..], 1), "{path}");
        assert_eq!(modinfo(&signed, "signer"), "mok\n", "{path}");
    }
    let own = read(&scene.path("out"), &format!("{modules}/kernel/a.ko"));
    assert_eq!(own, module_for("a", KERNEL), "a module of the base");
    let dep = assert_indexed(&scene.path("out"), KERNEL);
    let mut names: Vec<&str> = dep.lines().map(|line| line.split(':').next().unwrap()).collect();
    names.sort_unstable();
    let expected = ["extra/packed.ko", "extra/probe.ko", "kernel/a.ko", "kernel/b.ko", "updates/other.ko"];
    assert_eq!(names, expected);
    assert_eq!(scene.run(&["lint", "oci:out"]).code, 0);

    openssl(&scene, "x509 -in mok.pem -outform DER -out mok.der");
    assert_eq!(read(&scene.path("out"), CERTIFICATE), fs::read(scene.path("mok.der")).unwrap());

    // The kernel's check, by openssl: the signature is before the last 40 bytes.
    let signed = read(&scene.path("out"), &format!("{modules}/extra/probe.ko"));
    scene.file("message", &signed[plain.len()..signed.len() - 40]);
    scene.file("content", &plain);
    let verify = "cms -verify -binary -inform DER -in message -content content -certfile mok.pem -CAfile mok.pem";
    openssl(&scene, &format!("{verify} -purpose any -out verified"));

    // Again, and as another machine would.
    assert_eq!(scene.build("recipe.toml", "out"), digest);
    let mut other = scene.command(&["-r", "recipe.toml", "-o", "oci:again:latest", "--jobs", "3"]);
    let other = Run::of(other.env("XDG_CACHE_HOME", scene.path("other")).env("TZ", "Asia/Tokyo"));
    assert_eq!(other.digest(), digest);
    assert!(other.stderr.contains("probe: 2 modules signed by CN=mok"), "{other:?}");
    assert_eq!(bytes(&scene.path("again")), bytes(&scene.path("out")));
}

#[test]
fn the_key_decides_and_is_nowhere() {
    if !has_openssl() {
        return;
    }
    let scene = Scene::new();
    scene.file("modules/probe.ko", module_for("probe", KERNEL));
    scene.recipe("plain.toml", STAGE);
    let bare = scene.build("plain.toml", "out");
    pair(&scene, "mok", "rsa:2048");
    scene.recipe("recipe.toml", &format!("{STAGE}{SIGN}"));
    let first = scene.build("recipe.toml", "out");
    assert_ne!(first, bare);
    assert_eq!(scene.build("plain.toml", "out"), bare, "without a key nothing changes");

    // A part of the key that no other file has: its last third is private.
    let key = fs::read_to_string(scene.path("mok.key")).unwrap();
    let line = key.lines().nth_back(5).unwrap().as_bytes();
    assert_eq!(holding(&scene, line), [PathBuf::from("mok.key")]);

    // From the environment, on a machine with no file.
    let variable = SIGN.replace("\"mok.key\"", "\"env:MODULE_KEY\"");
    scene.recipe("variable.toml", &format!("{STAGE}{variable}"));
    fs::remove_file(scene.path("mok.key")).unwrap();
    let arguments = ["-r", "variable.toml", "-o", "oci:out:latest", "-v"];
    let run = Run::of(scene.command(&arguments).env("MODULE_KEY", &key));
    assert_eq!(run.digest(), first);
    assert!(!run.stderr.as_bytes().windows(line.len()).any(|window| window == line));
    assert_eq!(holding(&scene, line), [""; 0].map(PathBuf::from));

    // A plan signs nothing and needs no key; nor does what only fills the cache of builders.
    let plan = scene.run(&["plan", "-r", "variable.toml"]);
    assert_eq!(plan.code, 2, "no output: {plan:?}");
    scene.recipe("planned.toml", &format!("{STAGE}{variable}[output]\nimage = \"oci:out:latest\"\n"));
    let plan = scene.run(&["plan", "-r", "planned.toml"]);
    assert!(plan.code == 0 && plan.stdout.contains("CN=mok"), "{plan:?}");
    assert_eq!(scene.run(&["stage", "-r", "planned.toml"]).code, 0);

    // Another key under the same names.
    pair(&scene, "mok", "rsa:3072");
    let second = scene.build("recipe.toml", "out");
    assert!(second != first && second != bare);
}

#[test]
fn a_certificate_without_modules_is_there_for_enrolment() {
    if !has_openssl() {
        return;
    }
    let scene = Scene::new();
    pair(&scene, "mok", "rsa:4096");
    scene.recipe("recipe.toml", SIGN);
    scene.build("recipe.toml", "out");
    openssl(&scene, "x509 -in mok.pem -outform DER -out mok.der");
    assert_eq!(read(&scene.path("out"), CERTIFICATE), fs::read(scene.path("mok.der")).unwrap());
}

#[test]
fn real_modules_for_a_real_base() {
    let Some(work) = work() else { return };
    if !has_openssl() {
        return;
    }
    let kernel = fs::read_to_string(work.join("kernel")).unwrap().trim().to_owned();
    let scene = Scene::new();
    pair(&scene, "mok", "rsa:2048");
    for name in ["probe.ko", "probe_core.ko"] {
        let from = work.join("modules").join(&kernel).join(name);
        scene.file(&format!("modules/{kernel}/{name}"), fs::read(from).unwrap());
    }
    let base = format!("oci:{}:latest", work.join("base").display());
    scene.file("recipe.toml", format!("{}{STAGE}{SIGN}", HEAD.replace("oci:base:latest", &base)));
    let first = scene.build("recipe.toml", "out");
    let mut again = scene.command(&["-r", "recipe.toml", "-o", "oci:again:latest", "--jobs", "5"]);
    assert_eq!(Run::of(again.env("XDG_CACHE_HOME", scene.path("other"))).digest(), first);
    let dep = assert_indexed(&scene.path("out"), &kernel);
    assert!(dep.contains("\nextra/probe.ko: extra/probe_core.ko\n"), "{dep}");
    for name in ["probe.ko", "probe_core.ko"] {
        let signed = read(&scene.path("out"), &format!("usr/lib/modules/{kernel}/extra/{name}"));
        let fields = ["signer", "sig_hashalgo", "sig_id"].map(|field| modinfo(&signed, field));
        assert_eq!(fields, ["mok\n", "sha256\n", "PKCS#7\n"]);
        let before = fs::read(scene.path(&format!("modules/{kernel}/{name}"))).unwrap();
        assert_eq!(unsigned(&signed).unwrap().0, unsigned(&before).unwrap().0);
    }
    let lint = scene.run(&["lint", "oci:out"]);
    assert_eq!(lint.code, 0, "{}", lint.stdout);
    assert_eq!(scene.run(&["fsck", "out"]).code, 0);
}
