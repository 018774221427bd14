//! Kernel modules: indexed as plain depmod indexes them, and named by a kernel argument.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci_assemble::layer::{Gate, whole};
use oci_assemble::store::layers::{ImageLayers, NoCache, ReadOptions};
use oci_assemble::testing::elf::module_for;
use oci_assemble::testing::memory::add_file;
use oci_assemble::testing::module::TestModule;
use oci_assemble::tree::TreePath;

use crate::base::{self, KERNEL, depending};
use crate::files::bytes;
use crate::scene::{Run, Scene, image, layout};

const TABLES: &str = "[[stage]]\nname = \"probe\"\nkind = \"modules\"\nsource = \"modules\"\n";
const KARGS: &str = "usr/lib/bootc/kargs.d/50-assemble-kmods.toml";

/// A file of the image in a layout, as the library reads it.
pub(crate) fn read(layout_path: &Path, path: &str) -> Vec<u8> {
    let (image, blobs) = (image(layout_path), layout(layout_path));
    let pairs: Vec<_> = image.layers().map(|(descriptor, diff_id)| (descriptor.clone(), *diff_id)).collect();
    let options = ReadOptions { gate: Gate::Refuse, threads: std::num::NonZero::<usize>::MIN };
    let layers = ImageLayers::open(&blobs, &pairs, &NoCache, options).unwrap();
    whole(&layers.tree().unwrap(), &layers, &TreePath::new(path).unwrap(), 1 << 26).unwrap()
}

fn karg(scene: &Scene) -> String {
    let text = String::from_utf8(read(&scene.path("out"), KARGS)).unwrap();
    let karg = text.split('"').nth(1).unwrap().to_owned();
    assert!(text.ends_with(&format!("\nkargs = [\n  \"{karg}\",\n]\n")), "{text}");
    let digits = karg.strip_prefix("assemble.kmods=").unwrap();
    assert!(digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{karg}");
    karg
}

#[test]
fn the_kernel_argument_changes_with_the_modules_and_with_nothing_else() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", TABLES);
    scene.file("modules/probe.ko", module_for("probe", KERNEL));
    scene.build("recipe.toml", "out");
    let first = karg(&scene);

    scene.recipe("recipe.toml", &format!("{TABLES}[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\"\n"));
    scene.build("recipe.toml", "out");
    assert_eq!(karg(&scene), first, "another file changes");
    let dated = Run::of(scene.command(&["-r", "recipe.toml", "-o", "oci:out:latest"]).env("SOURCE_DATE_EPOCH", "77"));
    dated.digest();
    assert_eq!(karg(&scene), first, "the date changes");

    let mut seen = vec![first.clone()];
    // One byte behind the module, which changes nothing that depmod looks at.
    let changed = [module_for("probe", KERNEL), vec![0]].concat();
    for (name, bytes) in [
        ("modules/probe.ko", Some(changed)),
        ("modules/more.ko", Some(module_for("more", KERNEL))),
        ("modules/more.ko", None),
    ] {
        match bytes {
            Some(bytes) => drop(scene.file(name, bytes)),
            None => {
                fs::rename(scene.path(name), scene.path("modules/renamed.ko")).unwrap();
            }
        }
        scene.build("recipe.toml", "out");
        assert!(!seen.contains(&karg(&scene)), "{name}: {seen:?}");
        seen.push(karg(&scene));
    }
    fs::remove_file(scene.path("modules/renamed.ko")).unwrap();
    scene.file("modules/probe.ko", module_for("probe", KERNEL));
    scene.build("recipe.toml", "out");
    assert_eq!(karg(&scene), first, "and back");
}

#[test]
fn modules_that_come_as_files_count_as_modules() {
    for (source, into) in
        [("tree", "/usr"), ("tree/lib", "/lib"), ("tree/lib/modules", "/lib/modules"), ("tree.tar", "/usr")]
    {
        let scene = Scene::new();
        let tables =
            format!("[[stage]]\nname = \"tree\"\nkind = \"files\"\nsource = \"{source}\"\ninto = \"{into}\"\n");
        scene.recipe("recipe.toml", &tables);
        scene.file(&format!("tree/lib/modules/{KERNEL}/extra/probe.ko"), module_for("probe", KERNEL));
        let mut tar = Command::new("tar");
        tar.args(["--format=ustar", "-cf", "tree.tar", "-C", "tree", "lib"]).current_dir(scene.root());
        assert!(tar.status().unwrap().success());
        scene.build("recipe.toml", "out");
        karg(&scene);
        let dep =
            String::from_utf8(read(&scene.path("out"), &format!("usr/lib/modules/{KERNEL}/modules.dep"))).unwrap();
        assert!(dep.contains("extra/probe.ko:"), "{source} in {into}: {dep}");
        assert_indexed(&scene.path("out"), KERNEL);
    }
}

/// Unpacks what depmod looks at with tar, layer by layer; no layer here removes any of it.
fn unpack(layout: &Path, root: &Path) {
    let wanted = |name: &str| {
        let name = name.trim_start_matches("./");
        ["usr/lib/modules/", "usr/lib/depmod.d/", "etc/depmod.d/"].iter().any(|place| name.starts_with(place))
    };
    for (descriptor, _) in image(layout).layers() {
        let blob = layout.join("blobs/sha256").join(descriptor.digest.hex());
        let listed = Command::new("tar").arg("-tf").arg(&blob).output().unwrap();
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let names = String::from_utf8(listed.stdout).unwrap();
        let names: Vec<&str> = names.lines().filter(|name| wanted(name) && !name.ends_with('/')).collect();
        assert!(!names.iter().any(|name| name.contains("/.wh.")), "{names:?}");
        if names.is_empty() {
            continue; // an empty list means all files to tar
        }
        let list = root.with_extension("list");
        fs::write(&list, names.join("\n")).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("--no-same-owner").arg("-xf").arg(&blob).arg("-C").arg(root).arg("-T").arg(list);
        assert!(tar.stdin(Stdio::null()).status().unwrap().success());
    }
}

/// The index files in a directory of modules.
fn indexes(modules: &Path) -> BTreeMap<String, Vec<u8>> {
    let inputs = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(modules).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("modules.") && !inputs.contains(&name.as_str()) {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// The image's indexes are those that plain depmod makes of the unpacked image.
pub(crate) fn assert_indexed(layout: &Path, kernel: &str) -> String {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir_all(root.join("etc/depmod.d")).unwrap();
    unpack(layout, &root);
    symlink("usr/lib", root.join("lib")).unwrap();
    let modules = root.join("usr/lib/modules").join(kernel);
    let ours = indexes(&modules);
    for name in ours.keys() {
        fs::remove_file(modules.join(name)).unwrap();
    }
    let mut depmod = Command::new("depmod");
    depmod.arg("-b").arg(&root);
    for place in ["etc/depmod.d", "usr/lib/depmod.d"] {
        depmod.arg("-C").arg(root.join(place));
    }
    let run = depmod.arg(kernel).output().unwrap();
    assert!(run.status.success() && run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
    let plain = indexes(&modules);
    assert_eq!(ours.keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
    for (name, bytes) in &plain {
        assert!(ours[name] == *bytes, "{name} differs");
    }
    String::from_utf8(ours["modules.dep"].clone()).unwrap()
}

#[test]
fn indexes_are_those_of_plain_depmod() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", TABLES);
    scene.file("modules/probe.ko", depending("probe", KERNEL, "a"));
    scene.build("recipe.toml", "out");
    let dep = assert_indexed(&scene.path("out"), KERNEL);
    assert_eq!(dep.lines().count(), 3, "{dep}");
}

/// Modules that come ready-made are held against the kernel like those that are compiled here: against its list of exports
/// where the image has one, else against what its own modules expect.
#[test]
fn modules_that_the_kernel_would_refuse_are_refused() {
    let own = TestModule { name: "own", release: KERNEL, imports: &[("printk", Some(1))], ..TestModule::default() };
    let list = "0x00000001\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n0x00000002\tkthread\tvmlinux\tEXPORT_SYMBOL_GPL\t\n";
    for listed in [true, false] {
        let scene = Scene::new();
        let mut tree = base::image_tree();
        if listed {
            add_file(&mut tree, &format!("usr/lib/modules/{KERNEL}/symvers.zst"), 0o644, list);
        } else {
            add_file(&mut tree, &format!("usr/lib/modules/{KERNEL}/kernel/own.ko"), 0o644, own.build());
        }
        fs::remove_dir_all(scene.path("base")).unwrap();
        fs::create_dir(scene.path("base")).unwrap();
        base::write(&scene.path("base"), &tree, |image| image);
        scene.recipe("recipe.toml", TABLES);
        let run = |imports, license| {
            let module = TestModule { name: "probe", imports, license, ..own };
            scene.file("modules/probe.ko", module.build());
            scene.run(&["--recipe", "recipe.toml", "--output", "oci:out:latest"])
        };
        let good = run(&[("printk", Some(1))], "GPL");
        assert_eq!(good.code, 0, "{good:?}");
        let wrong = run(&[("printk", Some(9))], "GPL");
        let words = "extra/probe.ko was built against another \"printk\": checksum 0x00000009, here it is 0x00000001";
        assert!(wrong.code != 0 && wrong.stderr.contains(words), "{wrong:?}");
        let unknown = run(&[("made_up", Some(1))], "GPL");
        let words = "extra/probe.ko uses \"made_up\", which neither the kernel nor a module exports";
        assert_eq!((unknown.code == 0, unknown.stderr.contains(words)), (!listed, listed), "{unknown:?}");
        let restricted = run(&[("kthread", Some(2))], "CDDL");
        let words = "extra/probe.ko uses \"kthread\", which its licence \"CDDL\" does not allow";
        assert_eq!((restricted.code == 0, restricted.stderr.contains(words)), (!listed, listed), "{restricted:?}");
    }
}

/// `.work` of the source tree, where `make base` puts a real Debian base and modules for its kernel. Continuous
/// integration must have it.
pub(crate) fn work() -> Option<PathBuf> {
    let work = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.work");
    let there = work.join("base/index.json").exists() && work.join("modules").exists();
    if !there {
        let ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!ci, "{} has no base: run make base", work.display());
        eprintln!("skipped: {} has no base, which make base makes", work.display());
    }
    there.then(|| work.canonicalize().unwrap())
}

#[test]
fn a_real_base() {
    let Some(work) = work() else { return };
    let kernel = fs::read_to_string(work.join("kernel")).unwrap().trim().to_owned();
    let top = work.parent().unwrap().to_path_buf();
    let scene = Scene::new();
    let before = bytes(&work.join("base"));
    let build = |output: &str, jobs: &str| {
        let output = format!("oci:{}:latest", scene.path(output).display());
        let mut command = scene.command(&["-r", "recipes/debian-probe.toml", "-o", &output, "--jobs", jobs]);
        Run::of(command.current_dir(&top))
    };
    let first = build("out", "2").digest();
    assert_eq!(build("out", "2").digest(), first);
    let mut again = scene.command(&["-r", "recipes/debian-probe.toml", "--jobs", "5", "-o"]);
    again.arg(format!("oci:{}:latest", scene.path("again").display()));
    again.env("TZ", "Asia/Tokyo").env("XDG_CACHE_HOME", scene.path("other-cache")).current_dir(&top);
    assert_eq!(Run::of(&mut again).digest(), first);
    assert_eq!(bytes(&scene.path("again")), bytes(&scene.path("out")));
    assert_eq!(bytes(&work.join("base")), before, "the base is as it was");

    let dep = assert_indexed(&scene.path("out"), &kernel);
    assert!(dep.contains("\nextra/probe.ko: extra/probe_core.ko\n"), "modprobe finds the module and what it needs");
    let lint = scene.run(&["lint", "oci:out"]);
    assert_eq!(lint.code, 0, "{}", lint.stdout);
    assert_eq!(scene.run(&["fsck", "out"]).code, 0);
}
