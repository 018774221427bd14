//! What the system refuses: permissions, full disks, files that change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::files::{bytes, leftovers};
use crate::scene::{Run, Scene};

const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

/// The words before a command that make it that of an unprivileged user.
fn nobody() -> &'static [&'static str] {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if root { &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] } else { &[] }
}

/// Runs the program in `scene` as an unprivileged user, for whom everything can be read.
fn as_nobody(scene: &Scene, arguments: &[&str]) -> Run {
    let program = scene.program_for_all();
    let words: Vec<&str> = nobody().iter().copied().chain([program.to_str().unwrap()]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(arguments).current_dir(scene.root()).env_clear().env("PATH", "/usr/bin");
    Run::of(&mut command)
}

#[test]
fn a_directory_that_may_not_be_written() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", MOTD);
    fs::create_dir(scene.path("closed")).unwrap();
    fs::set_permissions(scene.path("closed"), PermissionsExt::from_mode(0o555)).unwrap();
    for (output, action) in [
        ("oci:closed:x", "writing to closed"),
        ("oci:closed/below:x", "making the directory closed/below"),
        ("oci-archive:closed/x.tar:x", "making a directory beside closed/x.tar"),
    ] {
        let run = as_nobody(&scene, &["-r", "recipe.toml", "-o", output]);
        assert_eq!((run.code, run.stdout.as_str()), (77, ""), "{output}: {run:?}");
        assert!(run.stderr.starts_with(&format!("error: {action}\n")), "{run:?}");
        assert!(run.stderr.contains("Permission denied"), "{run:?}");
    }
    assert_eq!(fs::read_dir(scene.path("closed")).unwrap().count(), 0);
}

#[test]
fn files_that_may_not_be_read() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", "[[file]]\npath = \"/etc/motd\"\nsource = \"motd\"\n");
    fs::set_permissions(scene.file("motd", "secret"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::create_dir(scene.path("out")).unwrap();
    if !nobody().is_empty() {
        chown(scene.path("out"), Some(65534), Some(65534)).unwrap();
    }
    let run = as_nobody(&scene, &["-r", "recipe.toml", "-o", "oci:out:x"]);
    assert_eq!(run.code, 77, "{run:?}");
    assert!(run.stderr.contains("motd"), "the file is named: {run:?}");
    assert!(!scene.path("out/index.json").exists());
    fs::set_permissions(scene.path("recipe.toml"), PermissionsExt::from_mode(0o000)).unwrap();
    assert_eq!(as_nobody(&scene, &["-r", "recipe.toml", "-o", "oci:out:x"]).code, 77);
}

#[test]
fn a_full_disk() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", MOTD);
    let expected = scene.build("recipe.toml", "calm");
    for place in ["small", "small/deep"] {
        fs::create_dir_all(scene.path(place)).unwrap();
    }
    // A file system of its own with room for the small blobs only; what is seen of it afterwards is listed inside.
    let script = "mount -t tmpfs -o size=400k none small || exit 99\n\
                  \"$@\"; code=$?; echo \"exit $code\"; find small -type f | sort; df --output=used small | tail -1\n\
                  mount -o remount,size=100m small && \"$@\" && find small/out/.assemble small/x.tar 2>/dev/null | sort";
    let words = ["unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c", script, "sh"];
    let run = Run::of(&mut scene.wrapped(&words, &["-r", "recipe.toml", "-o", "oci:small/out:x"]));
    assert_ne!(run.code, 99, "{run:?}");
    assert!(run.stdout.starts_with("exit 74\n"), "{run:?}");
    assert!(!run.stdout.contains("index.json"), "{run:?}");
    assert!(run.stderr.contains("No space left on device"), "{run:?}");
    assert!(run.stderr.contains("hint: free some space and run the same command again"), "{run:?}");
    let again = format!("{expected}\nsmall/out/.assemble\nsmall/out/.assemble/lock\nsmall/out/.assemble/users\n");
    assert!(run.stdout.ends_with(&again), "{run:?}");

    let run = Run::of(&mut scene.wrapped(&words, &["-r", "recipe.toml", "-o", "oci-archive:small/x.tar:x"]));
    assert!(run.stdout.starts_with("exit 74\n") && run.stderr.contains("hint: free some space"), "{run:?}");
    assert!(!run.stdout.contains("small/x.tar\n "), "nothing half-written is left: {run:?}");
    assert!(run.stdout.ends_with(&format!("{expected}\nsmall/x.tar\n")), "{run:?}");
}

#[test]
fn a_full_disk_where_layers_are_held() {
    let scene = Scene::new();
    fs::create_dir(scene.path("small")).unwrap();
    let script = "mount -t tmpfs -o size=8k none small || exit 99; \"$@\"; code=$?; ls -A small; exit $code";
    let words = ["unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c", script, "sh"];
    for (output, place) in [("oci:small/out:x", "small/out"), ("oci-archive:small/x.tar:x", "small")] {
        let rechunk = ["rechunk", "oci:base:latest", output, "--memory", "192M"];
        let run = Run::of(&mut scene.wrapped(&words, &rechunk));
        assert_eq!((run.code, run.stdout.as_str()), (74, ""), "nothing is left: {run:?}");
        let cause = format!("caused by: cannot write what does not fit into memory to a file in {place}\n");
        assert!(run.stderr.contains(&cause) && run.stderr.contains("No space left on device"), "{run:?}");
        assert!(run.stderr.ends_with(&format!("hint: give more with --memory, or make room in {place}\n")), "{run:?}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", "[[file]]\npath = \"/etc/motd\"\nsource = \"motd\"\n");
    let path = scene.file("motd", "0");
    let done = AtomicBool::new(false);
    let runs: Vec<Run> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u64;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                fs::write(&path, number.to_string()).unwrap();
            }
        });
        let mut runs: Vec<Run> = Vec::new();
        while runs.len() < 20 && runs.last().is_none_or(|run| run.code == 0) {
            runs.push(scene.run(&["-r", "recipe.toml", "-o", "oci:out:x"]));
        }
        done.store(true, Ordering::Relaxed);
        runs
    });
    assert!(runs.iter().any(|run| run.code == 75), "{runs:?}");
    for run in runs.iter().filter(|run| run.code != 0) {
        assert_eq!(run.code, 75, "{run:?}");
        assert!(run.stderr.contains("motd changed while the image was built\nhint: "), "{run:?}");
    }
    let quiet = scene.run(&["-r", "recipe.toml", "-o", "oci:out:x"]);
    quiet.digest();
    scene.run(&["-r", "recipe.toml", "-o", "oci:calm:x"]).digest();
    assert_eq!(leftovers(&scene.path("out")), [""; 0]);
    // Runs that worked left images whose tag has moved on.
    assert_eq!(scene.run(&["gc", "out", "--remove"]).code, 0);
    assert_eq!(bytes(&scene.path("out")), bytes(&scene.path("calm")));
}
