//! Archives and copies: the same image in another shape, byte for byte.

use std::fs;
use std::process::Command;

use crate::files::{bytes, leftovers};
use crate::scene::{HEAD, Run, Scene};

const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

fn names(scene: &Scene, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(scene.path(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_archive_is_the_same_image_and_the_same_bytes_every_time() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", MOTD);
    let image = scene.build("recipe.toml", "out");
    fs::create_dir(scene.path("archives")).unwrap();
    let build = |name: &str| ["--recipe", "recipe.toml", "--output", name].map(str::to_owned);
    assert_eq!(scene.run(&build("oci-archive:archives/a.tar:latest")).digest(), image);
    let first = bytes(&scene.path("archives"));
    // Over the one that is there, and elsewhere with all that may not matter changed.
    assert_eq!(scene.run(&build("oci-archive:archives/a.tar:latest")).digest(), image);
    assert_eq!(bytes(&scene.path("archives")), first);
    let script = ["sh", "-c", "umask 077 && TZ=Asia/Tokyo exec \"$@\"", "sh"];
    let again = Run::of(&mut scene.wrapped(&script, &build("oci-archive:archives/b.tar:latest")));
    assert_eq!(again.digest(), image);
    assert_eq!(fs::read(scene.path("archives/a.tar")).unwrap(), fs::read(scene.path("archives/b.tar")).unwrap());
    assert_eq!(names(&scene, "archives"), ["a.tar", "b.tar"], "nothing is left beside them");

    let listed = Command::new("tar").arg("-tf").arg(scene.path("archives/a.tar")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().any(|name| name == "index.json") && !listed.contains(".assemble"), "{listed}");
    // What it holds is the layout, file by file.
    fs::create_dir(scene.path("unpacked")).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(scene.path("archives/a.tar")).arg("-C").arg(scene.path("unpacked"));
    assert!(tar.status().unwrap().success());
    assert_eq!(bytes(&scene.path("unpacked")), bytes(&scene.path("out")));
}

#[test]
fn a_failing_build_leaves_the_old_archive() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", MOTD);
    scene.recipe("bad.toml", &MOTD.replace("/etc/motd", "/usr/bin/gcc"));
    fs::create_dir(scene.path("archives")).unwrap();
    scene.run(&["-r", "recipe.toml", "-o", "oci-archive:archives/a.tar:latest"]).digest();
    let before = bytes(&scene.path("archives"));
    assert_eq!(scene.run(&["-r", "bad.toml", "-o", "oci-archive:archives/a.tar:latest"]).code, 1);
    assert_eq!(bytes(&scene.path("archives")), before);
}

#[test]
fn a_base_in_an_archive_gives_the_same_image() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", MOTD);
    let expected = scene.build("recipe.toml", "out");
    assert_eq!(scene.run(&["mirror", "oci:base:latest", "oci-archive:base.tar:latest"]).code, 0);
    let head = HEAD.replace("oci:base:latest", "oci-archive:base.tar:latest");
    scene.file("archive.toml", format!("{head}{MOTD}"));
    let image = scene.build("archive.toml", "from-archive");
    assert_eq!(image, expected, "how the base is stored is no part of the image");
    assert_eq!(bytes(&scene.path("from-archive")), bytes(&scene.path("out")));
    for command in ["lint", "inspect"] {
        let words = |image: &'static str| scene.run(&[command, image, "--json"]).stdout.replace(image, "IMAGE");
        assert_eq!(words("oci-archive:base.tar"), words("oci:base"), "{command}");
    }
}

#[test]
fn a_mirror_is_a_copy_byte_for_byte() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", MOTD);
    scene.build("recipe.toml", "out");
    let digest = scene.image("out").digest();
    assert_eq!(scene.run(&["mirror", "oci:out:latest", "oci:copy:latest"]).digest(), digest);
    assert_eq!(bytes(&scene.path("copy")), bytes(&scene.path("out")));
    assert_eq!(scene.run(&["mirror", "oci:out:latest", "oci-archive:copy.tar:latest"]).digest(), digest);
    assert_eq!(scene.run(&["mirror", "oci-archive:copy.tar:latest", "oci:back:latest"]).digest(), digest);
    assert_eq!(bytes(&scene.path("back")), bytes(&scene.path("out")));
    for layout in ["out", "copy", "back"] {
        assert_eq!(leftovers(&scene.path(layout)), [""; 0]);
        assert_eq!(scene.run(&["fsck", layout]).code, 0);
    }
    let foreign = scene.run(&["mirror", "oci:out:latest", "oci:foreign:latest", "--platform", "linux/arm64"]);
    assert_eq!(foreign.code, 2, "{foreign:?}");
    assert!(foreign.stderr.contains("the image is for linux/amd64, not for linux/arm64"), "{foreign:?}");
}

#[test]
fn images_that_skopeo_must_read_need_it_and_it_is_said() {
    let scene = Scene::new();
    let head = HEAD.replace("oci:base:latest", "docker://localhost:1/base:latest");
    scene.file("recipe.toml", format!("{head}{MOTD}"));
    // A policy that may refuse images is skopeo's to enforce.
    scene.file("home/.config/containers/policy.json", "{\"default\":[{\"type\":\"reject\"}]}");
    for words in [
        &["-r", "recipe.toml", "-o", "oci:out:latest"][..],
        &["lint", "docker://localhost:1/base:latest"],
        &["inspect", "containers-storage:localhost/base:latest"],
        &["mirror", "docker://localhost:1/base:latest", "oci:copy:latest"],
    ] {
        let run = Run::of(scene.command(words).env("PATH", "/nowhere").env("HOME", scene.path("home")));
        assert_eq!((run.code, run.stdout.as_str()), (69, ""), "{words:?}: {run:?}");
        assert!(run.stderr.contains("cannot run skopeo") && run.stderr.contains("\nhint: install skopeo"), "{run:?}");
    }
    let to = ["mirror", "docker://localhost:1/base:latest", "docker://localhost:1/copy:latest"];
    let run = Run::of(scene.command(&to).env("HOME", scene.path("home")));
    assert!(run.code == 2 && run.stderr.contains("signature policy of this machine"), "{run:?}");
    // A registry that does not answer is a reason to try again, whoever asks it.
    scene.file("home/.config/containers/policy.json", "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}");
    for words in [
        &["lint", "docker://localhost:1/base:latest", "--insecure"][..],
        &["-r", "recipe.toml", "-o", "oci:out:latest"],
    ] {
        let run = Run::of(scene.command(words).env("HOME", scene.path("home")));
        assert_eq!(run.code, 75, "{run:?}");
    }
}
