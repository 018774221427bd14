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
