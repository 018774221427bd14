#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use std::fs;
use std::path::PathBuf;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::Epoch;
use oci_assemble::layer::Sources;
use oci_assemble::plan::step::{Stage, View};
use oci_assemble::tree::FileTree;

use super::*;

const BASE: &str = "\
/usr dir 0755 0:0 0
/usr/lib dir 0755 0:0 0
/usr/lib/modules dir 0755 0:0 0
/usr/lib/modules/6.1 dir 0755 0:0 0
/usr/lib/modules/6.1/vmlinuz file 0644 0:0 0 size=0 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
";

fn staged(files: &[&str], sources: &[&str], kernel: Option<&str>) -> Result<Vec<String>, String> {
    let temp = tempfile::tempdir().unwrap();
    for file in files {
        let path = temp.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let root = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
    let sources = sources.iter().map(PathBuf::from).collect();
    let stage = ModulesStage::new("s", root, sources, kernel.map(str::to_owned));
    let tree = FileTree::parse(BASE).unwrap();
    let contents = Sources::default();
    let epoch = Epoch::new(7).unwrap();
    let produced = stage.produce(View { base: &tree, tree: &tree, contents: &contents, epoch, architecture: "amd64" });
    let produced = produced.map_err(|error| std::error::Error::source(&error).unwrap().to_string())?;
    Ok(produced.delta.entries().keys().map(ToString::to_string).collect())
}

#[test]
fn modules_go_below_extra_of_the_images_kernel() {
    let extra = "/usr/lib/modules/6.1/extra";
    for (files, sources, expected) in [
        (vec!["m/a.ko", "m/b.ko.xz", "m/README"], vec!["m"], vec!["a.ko", "b.ko.xz"]),
        (vec!["m/6.1/a.ko", "m/5.9/a.ko"], vec!["m"], vec!["a.ko"]),
        (vec!["m/updates/dkms/a.ko", "m/extra/zfs/z.ko"], vec!["m"], vec!["a.ko", "zfs/z.ko"]),
        (vec!["m/a.ko", "n/b.ko"], vec!["m/a.ko", "n"], vec!["a.ko", "b.ko"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|name| format!("{extra}/{name}")).collect();
        assert_eq!(staged(&files, &sources, None).unwrap(), expected);
    }
}

#[test]
fn says_what_is_missing() {
    for (files, sources, kernel, message) in [
        (vec!["m/README"], vec!["m"], None, "m holds no kernel module (.ko, .ko.gz, .ko.xz or .ko.zst)"),
        (vec!["m/a.ko"], vec!["m"], Some("5.9"), "the recipe asks for kernel 5.9, the image has 6.1"),
        (
            vec!["m/a.ko", "n/a.ko"],
            vec!["m", "n"],
            None,
            "two modules of the stage would become /usr/lib/modules/6.1/extra/a.ko",
        ),
        (vec!["m/a.ko"], vec!["none"], None, "cannot read none"),
    ] {
        assert_eq!(staged(&files, &sources, kernel).unwrap_err(), message);
    }
    assert_eq!(kernel(&FileTree::new(), None), Err(KernelChoice::None));
    let two = FileTree::parse(&format!(
        "{BASE}{}",
        BASE.lines().skip(3).collect::<Vec<_>>().join("\n").replace("6.1", "6.2")
    ))
    .unwrap();
    assert_eq!(kernel(&two, None).unwrap_err().to_string(), "the image has several kernels: 6.1, 6.2");
}
