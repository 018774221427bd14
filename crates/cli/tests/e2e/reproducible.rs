//! The same recipe and base give the same bytes, wherever and by whomever it is built.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use oci_assemble::image::{Digest, Encoding, Epoch, History, Image, Layer, MediaType};
use oci_assemble::layer::{Compression, SealOptions, seal_delta};
use oci_assemble::store::Layout;
use oci_assemble::testing::elf::module_for;
use oci_assemble::testing::memory::Memory;
use oci_assemble::tree::{Content, Inode, Meta, TreeDelta, TreePath};

use crate::base::KERNEL;
use crate::files::bytes;
use crate::scene::{Run, Scene};

/// Something of everything that a recipe can bring.
const TABLES: &str = r#"
[[stage]]
name = "tree"
kind = "files"
source = "tree"
into = "/usr"
[[stage]]
name = "probe"
kind = "modules"
source = "modules"
[[file]]
path = "/etc/motd"
source = "motd"
[[file]]
path = "/usr/bin/tool"
content = "echo tool\n"
mode = 0o755
[[symlink]]
path = "/usr/bin/alias"
target = "tool"
[[remove]]
path = "/usr/share/doc/old"
[[user]]
name = "probe"
[[tmpfile]]
line = "d /var/lib/probe 0750 probe probe"
[kargs]
append = ["quiet"]
[modules]
load = ["probe"]
"#;

/// A scene with a recipe in `project` that uses everything.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.recipe("project/recipe.toml", TABLES);
    scene.file("project/tree/share/zz/data", "data".repeat(50_000));
    scene.file("project/tree/share/aa/data", "data");
    let program = scene.file("project/tree/bin/program", "#!/bin/sh\n");
    fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
    scene.file("project/modules/probe.ko", module_for("probe", KERNEL));
    scene.file("project/motd", "hello\n");
    scene
}

/// The command that builds the recipe, as it is run when nothing is special.
fn plain(scene: &Scene, output: &str) -> Command {
    scene.command(&["--recipe", "project/recipe.toml", "--output", &format!("oci:{output}:latest")])
}

fn built(scene: &Scene, command: &mut Command, output: &str) -> BTreeMap<PathBuf, Digest> {
    let digest = Run::of(command).digest();
    let layout = bytes(&scene.path(output));
    assert!(layout.contains_key(&PathBuf::from("blobs/sha256").join(digest.hex())));
    layout
}

/// Makes the command of the run with this number.
type Change<'a> = Box<dyn Fn(usize) -> Command + 'a>;

#[test]
fn the_environment_and_the_machine_do_not_matter() {
    let scene = scene();
    let expected = built(&scene, &mut plain(&scene, "out"), "out");
    assert!(expected.len() > 6, "index, header, manifest, configuration, layers: {expected:?}");
    let other = scene.path("other temporary directory");
    fs::create_dir(&other).unwrap();
    let project = scene.path("project/recipe.toml");
    let project = project.to_str().unwrap();
    let out = |number: usize| format!("oci:out{number}:latest");

    let environment = |name: &'static str, value: &'static str| -> Change<'_> {
        let scene = &scene;
        Box::new(move |number| {
            let mut command = plain(scene, &format!("out{number}"));
            command.env(name, value);
            command
        })
    };
    let arguments = |more: &'static [&'static str]| -> Change<'_> {
        let scene = &scene;
        Box::new(move |number| {
            let mut command = plain(scene, &format!("out{number}"));
            command.args(more);
            command
        })
    };
    let umask = |mask: &'static str| -> Change<'_> {
        let (scene, out) = (&scene, &out);
        Box::new(move |number| {
            let script = format!("umask {mask} && exec \"$@\"");
            let words = ["sh", "-c", &script, "sh"];
            scene.wrapped(&words, &["--recipe", "project/recipe.toml", "--output", &out(number)])
        })
    };
    let changes: Vec<(&str, Change<'_>)> = vec![
        ("nothing", arguments(&[])),
        ("TZ", environment("TZ", "Pacific/Kiritimati")),
        ("LC_ALL", environment("LC_ALL", "tr_TR.UTF-8")),
        ("LANG", environment("LANG", "de_DE.UTF-8")),
        ("HOME", environment("HOME", "/nonexistent")),
        ("SOURCE_DATE_EPOCH empty", environment("SOURCE_DATE_EPOCH", "")),
        ("TERM", environment("TERM", "xterm-256color")),
        ("umask 0000", umask("0000")),
        ("umask 0077", umask("0077")),
        ("one job", arguments(&["--jobs", "1"])),
        ("two jobs", arguments(&["--jobs", "2"])),
        ("five jobs", arguments(&["--jobs", "5"])),
        ("other cache", arguments(&["--cache", "elsewhere"])),
        ("no memory of the last build", arguments(&["--no-cache"])),
        ("root named", arguments(&["--root", "."])),
        ("platform named", arguments(&["--platform", "linux/amd64"])),
        (
            "no cache at all",
            Box::new(|number| {
                let mut command = plain(&scene, &format!("out{number}"));
                command.env_remove("XDG_CACHE_HOME");
                command
            }),
        ),
        (
            "TMPDIR",
            Box::new(|number| {
                let mut command = plain(&scene, &format!("out{number}"));
                command.env("TMPDIR", &other);
                command
            }),
        ),
        ("recipe by absolute path", Box::new(|number| scene.command(&["-r", project, "-o", &out(number)]))),
        (
            "from below the recipe",
            Box::new(|number| {
                fs::create_dir_all(scene.path("project/deep")).unwrap();
                let mut command = scene.command(&[
                    "--recipe",
                    "../recipe.toml",
                    "--output",
                    &format!("oci:../../out{number}:latest"),
                ]);
                // References are relative to the current directory, so the base has to be there too.
                std::os::unix::fs::symlink("../../base", scene.path("project/deep/base")).unwrap();
                command.current_dir(scene.path("project/deep"));
                command
            }),
        ),
    ];
    for (number, (what, change)) in changes.iter().enumerate() {
        let found = built(&scene, &mut change(number), &format!("out{number}"));
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0, "nothing is left in the temporary directory");
}

#[test]
fn owners_times_and_permissions_of_the_recipes_files_do_not_matter() {
    let scene = scene();
    let expected = built(&scene, &mut plain(&scene, "out"), "out");
    let files = ["motd", "tree/share/aa/data", "tree/bin/program", "modules/probe.ko", "recipe.toml"];
    for (number, mode) in [0o600, 0o664, 0o4644].into_iter().enumerate() {
        for name in files {
            let path = scene.path("project").join(name);
            let executable = if name == "tree/bin/program" { 0o100 } else { 0 };
            fs::set_permissions(&path, PermissionsExt::from_mode(mode | executable)).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + number as u64);
            fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
            if is_root() {
                std::os::unix::fs::chown(&path, Some(12 + u32::try_from(number).unwrap()), Some(34)).unwrap();
            }
        }
        fs::set_permissions(scene.path("project/tree"), PermissionsExt::from_mode(0o700 | mode)).unwrap();
        let output = format!("out{number}");
        assert_eq!(built(&scene, &mut plain(&scene, &output), &output), expected, "mode {mode:o}");
    }
}

/// Makes the base one of another day: its directories were touched, and a file is new.
fn update_base(scene: &Scene) {
    let mut delta = TreeDelta::new();
    for path in ["", "etc", "usr", "usr/bin", "usr/lib", "usr/lib/modules", "usr/share"] {
        let path = TreePath::relative(path.as_bytes()).unwrap();
        delta.insert(path, Inode::directory(Meta::root_owned(0o755, 1_800_000_000)));
    }
    let path = TreePath::new("usr/share/zz-new").unwrap();
    delta.insert(path, Inode::file(Meta::root_owned(0o644, 1_800_000_000), Content::of("new")));
    let options = SealOptions { compression: Compression::DEFAULT, threads: NonZero::<usize>::MIN };
    let (sealed, blob) = seal_delta(&delta, &Memory::default(), Vec::new(), options).unwrap();
    let dir = cap_std::fs::Dir::open_ambient_dir(scene.path("base"), cap_std::ambient_authority()).unwrap();
    let transaction = Layout::write(dir).unwrap();
    let descriptor = transaction.put_bytes(MediaType::layer(Encoding::Zstd), &blob).unwrap();
    let layer = Layer { descriptor, diff_id: sealed.diff_id, uncompressed_size: None, history: History::of("update") };
    let image = scene.image("base").with_created(Epoch::new(1_800_000_000).unwrap()).append(layer).unwrap();
    let descriptor = transaction.put_image(&image).unwrap();
    transaction.commit(Some("latest"), &descriptor).unwrap();
}

#[test]
fn appended_layers_stay_when_the_base_is_another() {
    let scene = scene();
    scene.build("project/recipe.toml", "out");
    update_base(&scene);
    scene.build("project/recipe.toml", "next");
    let (out, next) = (scene.image("out"), scene.image("next"));
    assert_ne!(out.digest(), next.digest());
    assert_ne!(out.config().created, next.config().created);
    let own = |image: &Image, base: usize| -> Vec<Digest> {
        image.layers().skip(base).map(|(descriptor, _)| descriptor.digest).collect()
    };
    let layers = scene.image("base").layers().len();
    assert_eq!(own(&out, layers - 1), own(&next, layers));
    assert!(own(&out, layers - 1).len() > 3);
}

#[test]
fn the_executable_bit_and_every_byte_matter() {
    let scene = scene();
    let first = scene.build("project/recipe.toml", "out");
    let program = scene.path("project/tree/bin/program");
    fs::set_permissions(&program, PermissionsExt::from_mode(0o644)).unwrap();
    let second = scene.build("project/recipe.toml", "out");
    assert_ne!(second, first, "the executable bit");
    fs::set_permissions(&program, PermissionsExt::from_mode(0o711)).unwrap();
    assert_eq!(scene.build("project/recipe.toml", "out"), first);
    scene.file("project/motd", "hellO\n");
    assert_ne!(scene.build("project/recipe.toml", "out"), first, "one bit of content");
}

#[test]
fn another_checkout_gives_the_same() {
    let scene = scene();
    let expected = built(&scene, &mut plain(&scene, "out"), "out");
    let other = Scene::new();
    // Copied in another order, so that directories list their entries otherwise.
    let mut names: Vec<PathBuf> = bytes(&scene.path("project")).into_keys().collect();
    names.reverse();
    for name in names {
        let from = scene.path("project").join(&name);
        let to = other.path("a b/ü/project").join(&name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
    let mut command = other.command(&["--recipe", "a b/ü/project/recipe.toml", "--output", "oci:out:latest"]);
    assert_eq!(built(&other, &mut command, "out"), expected);
}

#[test]
fn an_unprivileged_user_gets_the_same() {
    if !is_root() {
        return; // then every other test has shown it
    }
    let scene = scene();
    let expected = built(&scene, &mut plain(&scene, "out"), "out");
    // Where the tests run from may be out of this user's reach.
    let program = scene.program_for_all();
    let home = scene.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
    command.args(["--recipe", "project/recipe.toml", "--output", "oci:home/out:latest"]).current_dir(scene.root());
    command.env_clear().env("PATH", "/usr/bin").env("HOME", &home).env("TMPDIR", &home);
    assert_eq!(built(&scene, &mut command, "home/out"), expected);
    assert_eq!(fs::metadata(home.join("out/index.json")).unwrap().uid(), 65534);
    assert!(home.join(".cache/assemble").is_dir());
}

#[test]
fn source_date_epoch_dates_the_image() {
    let scene = scene();
    let at = |epoch: &str, output: &str| {
        let layout = built(&scene, plain(&scene, output).env("SOURCE_DATE_EPOCH", epoch), output);
        (layout, scene.image(output))
    };
    let plain = built(&scene, &mut plain(&scene, "plain"), "plain");
    let (first, image) = at("1700000000", "a");
    assert_eq!(image.config().created.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(image.manifest().annotations["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
    assert_eq!(at("1700000000", "b").0, first);
    let (later, _) = at("1700000001", "c");
    assert!(later != first && first != plain && later != plain);
    // The base's own date is what holds without it.
    let (same, image) = at(&crate::base::EPOCH.to_string(), "d");
    assert_eq!((same, image.config().created.as_deref()), (plain, Some("2025-01-01T00:00:00Z")));
    for (text, why) in
        [("yesterday", "is not a number"), ("-1", "is not a number"), ("99999999999999", "is not between")]
    {
        let run = Run::of(self::plain(&scene, "e").env("SOURCE_DATE_EPOCH", text));
        assert_eq!(run.code, 2);
        assert!(run.stderr.starts_with("error: reading SOURCE_DATE_EPOCH\n") && run.stderr.contains(why), "{run:?}");
    }
    assert!(!Path::new(&scene.path("e")).exists());
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
