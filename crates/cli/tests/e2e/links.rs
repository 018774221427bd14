//! Several names of one inode that is no regular file, through an image cut anew and the programs that unpack it.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::base::append_raw;
use crate::scene::Scene;

/// A layer by GNU tar: a symlink with two names.
fn layer(root: &Path) -> Vec<u8> {
    for folder in ["etc", "usr/bin"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    symlink("somewhere", root.join("usr/bin/two")).unwrap();
    fs::hard_link(root.join("usr/bin/two"), root.join("etc/one")).unwrap();
    let mut tar = Command::new("tar");
    let tar = tar.args(["--sort=name", "--owner=0", "--group=0", "-c", "etc/one", "usr/bin/two"]).current_dir(root);
    let made = tar.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

#[test]
fn the_names_of_a_symlink_stay_one_inode_for_umoci() {
    if Command::new("umoci").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "umoci is missing");
        eprintln!("skipped: no umoci");
        return;
    }
    let scene = Scene::new();
    append_raw(&scene.path("base"), &layer(&scene.path("root")));
    let words = ["rechunk", "oci:base:latest", "oci:cut:latest", "--max-layers", "6", "--compression", "gzip"];
    scene.run(&words).digest();
    let run = scene.run(&["inspect", "--tree", "oci:cut:latest"]);
    assert!(
        run.stdout.lines().any(|line| line.starts_with("/usr/bin/two hardlink ") && line.ends_with(" to=/etc/one"))
    );
    let (from, to) = (scene.path("cut"), scene.path("unpacked"));
    let mut umoci = Command::new("umoci");
    umoci.args(["unpack", "--rootless", "--image"]).arg(format!("{}:latest", from.display())).arg(&to);
    let run = umoci.output().unwrap();
    assert!(run.status.success(), "{run:?}");
    let [one, two] = ["etc/one", "usr/bin/two"].map(|name| fs::symlink_metadata(to.join("rootfs").join(name)).unwrap());
    assert_eq!((one.ino(), one.nlink(), one.is_symlink()), (two.ino(), 2, true));
}
