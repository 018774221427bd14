//! An rpm database whose times of installation are set to times of building.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use oci_assemble::image::Digest;
use oci_assemble::layer::decode;
use oci_assemble::testing::memory::add_file;
use oci_assemble::tree::{FileTree, TreePath};
use serde_json::json;

use crate::base;
use crate::scene::{Run, Scene};

const DATABASE: &str = "usr/lib/sysimage/rpm/rpmdb.sqlite";
const SAYS: &str = "/usr/lib/sysimage/rpm/rpmdb.sqlite: times of installation of 2 packages set to their times of \
                    building; what else rpm reads of it is as before";
const RECIPE: &str = "[layers]\nmode = \"full\"\nmax = 6\nnormalize_rpmdb = true\n";

/// Whether rpm is there; in continuous integration it must be.
fn has_rpm() -> bool {
    let found = Command::new("rpmbuild").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: no rpmbuild");
    if !found {
        eprintln!("skipped: no rpmbuild");
    }
    found
}

fn rpm(program: &str, time: &str, words: &[&str], last: &Path) -> String {
    let output = Command::new(program).args(words).arg(last).env("SOURCE_DATE_EPOCH", time).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Builds two packages, installs them at two times, and writes an image of each database.
fn images(scene: &Scene) {
    let top = format!("--define=_topdir {}", scene.path("top").display());
    for name in ["one", "two"] {
        let text = format!(
            "Name: {name}\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n\
             %install\nmkdir -p %{{buildroot}}/usr/share\necho > %{{buildroot}}/usr/share/{name}\n%files\n/usr/share/{name}\n"
        );
        let spec = scene.file(&format!("{name}.spec"), text);
        let built = "--define=use_source_date_epoch_as_buildtime 1";
        rpm("rpmbuild", "1000000000", &["-bb", "--quiet", built, &top], &spec);
    }
    for (image, time) in [("early", "1500000000"), ("late", "1600000000")] {
        let at = scene.path(&format!("{image}-db"));
        let place = format!("--define=_dbpath {}", at.display());
        for name in ["one", "two"] {
            let file = scene.path(&format!("top/RPMS/noarch/{name}-1-1.noarch.rpm"));
            rpm("rpm", time, &["-i", "--justdb", "--nodeps", "--ignoreos", &place], &file);
        }
        let mut tree = base::image_tree();
        for name in fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
            let bytes = fs::read(at.join(&name)).unwrap();
            add_file(&mut tree, &format!("usr/lib/sysimage/rpm/{name}"), 0o644, bytes);
        }
        for name in ["one", "two"] {
            add_file(&mut tree, &format!("usr/share/{name}"), 0o644, "\n");
        }
        fs::create_dir(scene.path(image)).unwrap();
        base::write(&scene.path(image), &tree, |image| image);
    }
}

fn layers(scene: &Scene, layout: &str) -> Vec<Digest> {
    scene.image(layout).layers().map(|(descriptor, _)| descriptor.digest).collect()
}

/// The tree of an image without its database, and the digest of that.
fn tree(scene: &Scene, layout: &str) -> (FileTree, Option<Digest>) {
    let run = scene.run(&["inspect", "--tree", &format!("oci:{layout}")]);
    let mut tree = FileTree::parse(&run.stdout).unwrap();
    let digest = tree.content(&TreePath::new(DATABASE).unwrap()).unwrap().digest();
    for end in ["", "-shm", "-wal"] {
        tree.remove(&TreePath::new(format!("{DATABASE}{end}")).unwrap());
    }
    (tree, digest)
}

/// The database as it lies in a layer, beginning with the mark of SQLite.
fn database(scene: &Scene, layout: &str) -> Vec<u8> {
    let mark = b"SQLite format 3\0";
    let files = scene.image(layout).layers().find_map(|(layer, _)| {
        let file = fs::File::open(scene.path(layout).join("blobs/sha256").join(layer.digest.hex())).unwrap();
        let mut tar = Vec::new();
        decode(file, layer.media_type.encoding().unwrap()).unwrap().read_to_end(&mut tar).unwrap();
        let start = tar.chunks(512).position(|block| block.starts_with(mark))? * 512;
        let pages = u32::from_be_bytes(tar[start + 28..start + 32].try_into().unwrap());
        Some(tar[start..start + pages as usize * 4096].to_vec())
    });
    files.unwrap()
}

fn cut(scene: &Scene, from: &str, to: &str, previous: &str, more: &[&str]) -> Run {
    let (from, to) = (format!("oci:{from}:latest"), format!("oci:{to}:latest"));
    let run = scene.run(&[&["rechunk", &from, &to, "--max-layers", "6", "--previous", previous], more].concat());
    assert_eq!(run.code, 0, "{run:?}");
    run
}

#[test]
fn the_same_packages_installed_again_are_the_same_layers() {
    if !has_rpm() {
        return;
    }
    let scene = Scene::new();
    images(&scene);
    let differing = |one: &str, other: &str| {
        let before = layers(&scene, one);
        layers(&scene, other).iter().filter(|digest| !before.contains(digest)).count()
    };
    // Without the word, nothing is changed and one layer is new.
    let run = cut(&scene, "early", "plain", "none", &[]);
    assert!(!run.stderr.contains("times of installation"), "{run:?}");
    cut(&scene, "late", "plain-next", "oci:plain:latest", &[]);
    assert_eq!(differing("plain", "plain-next"), 1);
    assert_eq!(tree(&scene, "plain").1, tree(&scene, "early").1);
    assert_ne!(tree(&scene, "plain").1, tree(&scene, "plain-next").1);

    let wanted = &["--normalize-rpmdb"][..];
    // A quarter of the cap is for it.
    let words = ["rechunk", "oci:early:latest", "oci:x:latest", "--memory", "192M"];
    assert_eq!(scene.run(&[&words[..], &["--dry-run"]].concat()).code, 0);
    let refused = scene.run(&[&words[..], wanted].concat());
    assert!(refused.code == 2 && refused.stderr.contains("and cutting oci:early:latest takes"), "{refused:?}");
    let run = cut(&scene, "early", "normal", "none", &[wanted, &["--memory", "300M"]].concat());
    assert!(run.stderr.contains(SAYS), "{run:?}");
    let words = [wanted, &["--dry-run", "--json"]].concat();
    let (_, plan) = cut(&scene, "late", "next", "oci:normal:latest", &words).json();
    let done = json!({ "path": format!("/{DATABASE}"), "packages": 2, "keys": 0 });
    assert_eq!((&plan["expected_download"], &plan["normalized_rpmdb"]), (&json!(0), &done), "{plan:#}");
    assert!(!scene.path("next").exists());
    let (_, told) = cut(&scene, "late", "next", "oci:normal:latest", &[wanted, &["--json"]].concat()).json();
    assert_eq!(told["normalized_rpmdb"], done);
    assert_eq!(layers(&scene, "normal"), layers(&scene, "next"));
    assert_eq!(tree(&scene, "normal"), tree(&scene, "next"));
    assert_eq!(tree(&scene, "normal").0, tree(&scene, "plain").0, "every other file is as it was");
    assert_ne!(tree(&scene, "normal").1, tree(&scene, "plain").1);

    // A recipe says the same, and a plan expects it.
    for base in ["early", "late"] {
        let head = format!("schema = 1\n[image]\nname = \"e2e\"\n[base]\nimage = \"oci:{base}:latest\"\n");
        scene.file(&format!("{base}.toml"), format!("{head}[output]\nimage = \"oci:built:latest\"\n{RECIPE}"));
    }
    let run = scene.run(&["--recipe", "early.toml"]);
    assert!(run.code == 0 && run.stderr.contains(SAYS), "{run:?}");
    assert_eq!(tree(&scene, "built").1, tree(&scene, "normal").1);
    let before = layers(&scene, "built");
    let (_, plan) = scene.run(&["plan", "--recipe", "late.toml", "--json"]).json();
    assert_eq!(plan["cut"]["expected_download"], 0, "{plan:#}");
    scene.run(&["--recipe", "late.toml"]).digest();
    assert_eq!(layers(&scene, "built"), before);

    // rpm reads it from where nobody can write.
    let at = scene.path("read");
    fs::create_dir(&at).unwrap();
    fs::write(at.join("rpmdb.sqlite"), database(&scene, "next")).unwrap();
    let format = ["-q", "--qf", "%{NAME} %{INSTALLTIME} %{INSTALLTID}\\n", "one", "two", "--dbpath"];
    assert_eq!(rpm("rpm", "0", &format, &at), "one 1000000000 1000000000\ntwo 1000000000 1000000000\n");
}

#[test]
fn an_image_without_an_rpm_database_is_cut_as_without_the_word() {
    let scene = Scene::new();
    cut(&scene, "base", "plain", "none", &[]);
    let run = cut(&scene, "base", "normal", "none", &["--normalize-rpmdb"]);
    assert!(run.stderr.contains("the image has no rpm database in the format of SQLite"), "{run:?}");
    assert_eq!(scene.image("plain").digest(), scene.image("normal").digest());
    let (_, told) = cut(&scene, "base", "normal", "none", &["--normalize-rpmdb", "--json"]).json();
    assert_eq!(told.get("normalized_rpmdb"), Some(&json!(null)));
    assert!(cut(&scene, "base", "plain", "none", &["--json"]).json().1.get("normalized_rpmdb").is_none());
}
