//! Packages installed by dnf, out of repositories of the test bed.

use std::collections::BTreeSet;
use std::fs;

use oci_assemble::layer::{Gate, whole};
use oci_assemble::store::layers::{ImageLayers, NoCache, ReadOptions};
use oci_assemble::tree::{FileTree, TreePath};

use crate::bed::{Bed, bed};
use crate::scene::{Run, Scene, image, layout};

pub(crate) fn recipe(scene: &Scene, base: &str, tables: &str) {
    let head = format!("schema = 1\n[image]\nname = \"e2e\"\n[base]\nimage = \"oci:{base}:latest\"\n");
    scene.file("recipe.toml", format!("{head}{tables}"));
}

/// The tree of an image, and a reader of its files.
pub(crate) fn tree(scene: &Scene, name: &str) -> (FileTree, impl Fn(&str) -> Vec<u8>) {
    let path = scene.path(name);
    let (image, blobs) = (image(&path), layout(&path));
    let pairs: Vec<_> = image.layers().map(|(descriptor, diff_id)| (descriptor.clone(), *diff_id)).collect();
    let options = ReadOptions { gate: Gate::Refuse, threads: std::num::NonZero::<usize>::MIN };
    let layers = ImageLayers::open(&blobs, &pairs, &NoCache, options).unwrap();
    let tree = layers.tree().unwrap();
    let read = move |path: &str| {
        let layers = ImageLayers::open(&blobs, &pairs, &NoCache, options).unwrap();
        whole(&layers.tree().unwrap(), &layers, &TreePath::new(path).unwrap(), 1 << 26).unwrap()
    };
    (tree, read)
}

pub(crate) fn paths(tree: &FileTree) -> BTreeSet<String> {
    tree.iter().map(|(path, _)| path.to_string()).collect()
}

pub(crate) fn failed(run: &Run, words: &[&str]) {
    assert_ne!(run.code, 0, "{run:?}");
    for word in words {
        assert!(run.stderr.contains(word), "{word}: {run:?}");
    }
}

#[test]
fn a_package_with_all_that_packages_bring() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    recipe(&scene, "base", "[packages]\ninstall = [\"tree\"]\nrepositories = [\"extras.repo\"]\n");
    let first = bed.build(&scene, "out", &[]).digest();
    let new: BTreeSet<String> =
        paths(&tree(&scene, "out").0).difference(&paths(&tree(&scene, "base").0)).cloned().collect();
    let expected = [
        "/etc/ld.so.conf.d/libtree.conf",
        "/etc/systemd/system",
        "/etc/systemd/system/multi-user.target.wants",
        "/etc/systemd/system/multi-user.target.wants/tree.service",
        "/etc/tree",
        "/etc/tree/secret.conf",
        "/etc/tree/tree.conf",
        "/usr/bin/tree",
        "/usr/bin/tree-ping",
        "/usr/lib/systemd/system-preset/50-tree.preset",
        "/usr/lib/systemd/system/tree.service",
        "/usr/lib/sysusers.d/tree.conf",
        "/usr/lib/tmpfiles.d/tree.conf",
        "/usr/lib64/tree",
        "/usr/lib64/tree/libtree.so.1",
        "/usr/lib64/tree/libtree.so.1.0.0",
        "/usr/share/licenses",
        "/usr/share/licenses/libtree-2.1.0",
        "/usr/share/licenses/libtree-2.1.0/COPYING",
        "/usr/share/licenses/tree-2.1.0",
        "/usr/share/licenses/tree-2.1.0/COPYING",
    ];
    // No documentation, no weak dependency, no log, no cache, no history, no journal of the database.
    let missing: Vec<_> = expected.iter().filter(|path| !new.contains(**path)).collect();
    let more: Vec<_> = new.iter().filter(|path| !expected.contains(&path.as_str())).collect();
    assert_eq!((missing, more), (vec![], vec![]));
    let script = "tree; getcap /usr/bin/tree-ping; stat -c '%U %a' /etc/tree/secret.conf; id -u tree >/dev/null; \
                  rpm -qa '*tree*' 'gpg-pubkey*' | sort; rpm -Va || :";
    let said = bed.inside(&scene.path("out"), script);
    // Its directory in /var is made on the machine, by the package's own line of tmpfiles.d.
    let expected = "tree v2.1.0\n/usr/bin/tree-ping cap_net_raw=p\nroot 600\nlibtree-2.1.0-1.el10.x86_64\n\
                    tree-2.1.0-1.el10.x86_64\nmissing     /var/lib/tree\n";
    assert_eq!(said, expected);
    // Readable where nobody can write a journal: sqlite.org, "Database File Format", 1.3.3.
    let database = tree(&scene, "out").1("usr/lib/sysimage/rpm/rpmdb.sqlite");
    assert_eq!(database[18..20], [1, 1]);
    assert_eq!(bed.build(&scene, "again", &["--rebuild"]).digest(), first, "a second build gives the same");
}

#[test]
fn versions_are_exact_and_packages_go() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    let repositories = "repositories = [\"extras.repo\", \"updates.repo\"]\n";
    recipe(&scene, "base", &format!("[packages]\ninstall = [\"tree\"]\n{repositories}"));
    bed.build(&scene, "new", &[]).digest();
    assert_eq!(bed.inside(&scene.path("new"), "tree"), "tree v2.2.0\n");
    recipe(&scene, "new", &format!("[packages]\ndowngrade = [\"tree=2.1.0-1.el10\"]\n{repositories}"));
    bed.build(&scene, "old", &[]).digest();
    let said = bed.inside(&scene.path("old"), "tree; rpm -qa '*tree*' | sort; rpm -Va || :");
    let expected = "tree v2.1.0\nlibtree-2.1.0-1.el10.x86_64\ntree-2.1.0-1.el10.x86_64\nmissing     /var/lib/tree\n";
    assert_eq!(said, expected);
    recipe(&scene, "new", "[packages]\nremove = [\"tree\"]\n");
    bed.build(&scene, "gone", &[]).digest();
    assert_eq!(bed.inside(&scene.path("gone"), "rpm -qa '*tree*'; rpm -Va"), "libtree-2.2.0-1.el10.x86_64\n");
    assert_eq!(tree(&scene, "gone").0.get(&TreePath::new("usr/bin/tree").unwrap()), None);
}

#[test]
fn a_plan_knows_the_layers_of_what_is_kept() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    let output = "[output]\nimage = \"oci:out:latest\"\n";
    let packages = "[packages]\ninstall = [\"tree\"]\nrepositories = [\"extras.repo\"]\n";
    recipe(&scene, "base", &format!("{packages}{output}"));
    // Plans need no podman.
    let plan = || {
        let mut command = scene.command(&["plan", "--recipe", "recipe.toml", "--json"]);
        Run::of(command.env("ASSEMBLE_PODMAN", "/nonexistent/podman")).json().1
    };
    let unknown = |words: &str| {
        let plan = plan();
        assert!(plan["unknown"].as_str().is_some_and(|text| text.contains(words)), "{plan:#}");
        assert!(plan.get("forecast").is_none(), "{plan:#}");
    };
    unknown("no results of stages are kept here yet");
    assert_eq!(bed.run(&scene, &["lock", "--recipe", "recipe.toml"]).code, 0);
    bed.run(&scene, &["stage", "--recipe", "recipe.toml", "--quiet"]);
    let foreseen = plan();
    bed.build(&scene, "out", &["--locked"]).digest();
    let built = image(&scene.path("out"));
    let base = image(&scene.path("base")).layers().len();
    let written: Vec<_> = built.layers().skip(base).map(|(layer, _)| layer.digest.to_string()).collect();
    let layers = foreseen["forecast"]["layers"].as_array().unwrap();
    let layers: Vec<_> = layers.iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
    assert_eq!(layers, written);
    assert_eq!(plan()["forecast"]["download"], 0);
    fs::remove_file(scene.path("recipe.lock")).unwrap();
    unknown("plans run no containers");
}

#[test]
fn an_image_is_cut_by_source_packages() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    let words = ["rechunk", "oci:base:latest", "oci:cut:latest", "--max-layers", "500", "--dry-run", "--json"];
    let (_, plan) = scene.run(&words).json();
    let layers = plan["layers"].as_array().unwrap().iter();
    let components = layers.flat_map(|layer| layer["components"].as_array().unwrap());
    let packages = components.filter(|component| component["origin"] == "package");
    let found: BTreeSet<&str> = packages.map(|component| component["name"].as_str().unwrap()).collect();
    // Those with a file or a link that is there: `foo-1.0-1.el10.src.rpm` without its version and release.
    let script = "rpm -qa --qf '[%{=SOURCERPM}\t%{FILEMODES:perms}\t%{FILENAMES}\n]' | grep -P '\t[-l]' |
        while IFS='\t' read -r source mode path; do [ ! -e \"$path\" ] && [ ! -L \"$path\" ] || echo \"$source\"; done | sort -u";
    let said = bed.inside(&scene.path("base"), script);
    let source = |line: &str| line.rsplitn(3, '-').last().unwrap().to_owned();
    let expected: BTreeSet<String> = said.lines().map(source).collect();
    assert_eq!(found, expected.iter().map(String::as_str).collect());
}

#[test]
fn what_fails_is_named() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    let install = |name: &str, repository: &str| {
        recipe(&scene, "base", &format!("[packages]\ninstall = [\"{name}\"]\nrepositories = [\"{repository}\"]\n"));
        bed.build(&scene, "out", &[])
    };
    failed(
        &install("tree-broken", "extras.repo"),
        &["scripts of packages failed", "%post(tree-broken-2.1.0-1.el10.noarch) scriptlet failed, exit status 3"],
    );
    failed(&install("no-such-package", "extras.repo"), &["Unable to find a match: no-such-package"]);
    scene.file("down.repo", bed.repository("none", "gpgcheck=0\n"));
    failed(&install("tree", "down.repo"), &["Failed to download metadata for repo 'none'"]);
    assert!(!scene.path("out").exists(), "nothing is written");
}

/// rpm's plugin makes name spaces for the scripts of packages. Where it may not, as in builder containers, every script
/// fails and the transaction goes on: research "rpm 4.20's unshare plugin", `rpm-plugin-unshare(8)`.
#[test]
fn scripts_run_where_the_base_wants_name_spaces_for_them() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    let macros = "usr/lib/rpm/macros.d/macros.transaction_unshare";
    let install = |base: &'static str, name: &'static str, output: &'static str| {
        let tables = format!("[packages]\ninstall = [\"{name}\"]\nrepositories = [\"extras.repo\"]\n");
        recipe(&scene, base, &tables);
        bed.build(&scene, output, &[]).digest();
        tree(&scene, output)
    };
    let (_, before) = install("base", "rpm-plugin-unshare", "unsharing");
    // Its scripts make a user and enable a unit.
    let (found, after) = install("unsharing", "tree", "out");
    let wanted = TreePath::new("etc/systemd/system/multi-user.target.wants/tree.service").unwrap();
    assert!(found.get(&wanted).is_some(), "the script after installing did not run");
    assert_eq!(bed.inside(&scene.path("out"), "stat -c %U /usr/lib64/tree; id -un tree"), "root\ntree\n");
    // What helps the builder is no part of the image.
    assert_eq!((after(macros), found.get(&TreePath::new("root/.rpmmacros").unwrap())), (before(macros), None));
}

/// A key that signed nothing, in armour.
fn other_key(scene: &Scene) -> Vec<u8> {
    let home = scene.path("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let gpg = |words: &[&str]| {
        let mut command = std::process::Command::new("gpg");
        let output = command.arg("--homedir").arg(&home).args(["--quiet", "--batch"]).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    gpg(&["--passphrase", "", "--quick-gen-key", "Somebody else", "rsa2048", "sign", "0"]);
    gpg(&["--armor", "--export"])
}

#[test]
fn packages_are_signed_by_the_key_of_the_repository_or_refused() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    recipe(&scene, "base", "[packages]\ninstall = [\"tree\"]\nrepositories = [\"signed.repo\"]\n");
    let signed = |more: &str| scene.file("signed.repo", bed.repository("signed", more));
    let build = |bed: &Bed| bed.build(&scene, "out", &[]);
    // Nothing that a repository does not say makes it trusted.
    signed("");
    failed(&build(&bed), &["packages of repository [signed] must be signed (gpgkey=), or it says gpgcheck=0"]);
    let other = other_key(&scene);
    // A key in the file's own form: dnf takes URLs, and containers see the recipe's repositories only.
    signed("gpgkey=file:///run/assemble/repositories/other.key\n");
    scene.file("other.key", other);
    let with_key = "[packages]\ninstall = [\"tree\"]\nrepositories = [\"signed.repo\", \"other.key\"]\n";
    recipe(&scene, "base", with_key);
    failed(&build(&bed), &["Import of key(s) didn't help, wrong key(s)?", "GPG check FAILED"]);
    signed(&format!("gpgkey={}signed/RPM-GPG-KEY-testbed\n", bed.url()));
    build(&bed).digest();
    let said = bed.inside(&scene.path("out"), "tree; rpm -qa 'gpg-pubkey*'; rpm -q --qf '%{RSAHEADER:pgpsig}' tree");
    // The image does not trust the key.
    assert!(said.starts_with("tree v2.1.0\nRSA/SHA512"), "{said}");
}
