//! The manifests of real packages: Debian's OpenZFS, from its archive, and a package that rpm built and installed.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use kmod_stage::capture::Export;
use kmod_stage::manifest::{Accounts, ManifestOptions, Outcome, Root, Selected, manifest};
use oci_assemble::layer::IndexOptions;
use oci_assemble::testing::memory::{Memory, add, add_file};
use oci_assemble::tree::{FileTree, Inode, Kind, Meta};

const PACKAGES: [&str; 3] = ["zfsutils-linux", "libzfs4linux", "zfs-zed"];
/// The version whose numbers are known: that of Debian 12.
const KNOWN: &str = "2.1.11-1+deb12u1";

/// Says why a test does not run here; where nobody reads that, it is an error.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: {reason}");
    eprintln!("skipped: {reason}");
}

/// What a program prints; its complaint when it fails.
fn stdout(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Fetches the packages with lists of their own, so that the machine's stay as they are.
fn fetch(into: &Path) -> Result<Vec<PathBuf>, String> {
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(into.join(folder)).unwrap();
    }
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!("deb [signed-by={keys}] http://deb.debian.org/debian bookworm contrib\n");
    fs::write(into.join("sources.list"), source).unwrap();
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(into).env("LC_ALL", "C");
        for option in [
            format!("Dir::Etc::sourcelist={}/sources.list", into.display()),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}/lists", into.display()),
            format!("Dir::Cache={}/cache", into.display()),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=1".to_owned(),
            "Acquire::http::Timeout=20".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        stdout(command.arg("-q").args(words))
    };
    apt(&["update"])?;
    apt(&[&["download"][..], &PACKAGES].concat())?;
    let mut debs: Vec<PathBuf> = fs::read_dir(into).unwrap().map(|entry| entry.unwrap().path()).collect();
    debs.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
    debs.sort();
    Ok(debs)
}

/// Unpacks packages below `root` as dpkg does, without their scripts, and records them; gives what they list.
fn unpack(debs: &[PathBuf], root: &Path) -> Result<BTreeSet<String>, String> {
    for name in ["bin", "sbin", "lib"] {
        fs::create_dir_all(root.join("usr").join(name)).unwrap();
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    let info = root.join("var/lib/dpkg/info");
    fs::create_dir_all(&info).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/debian_version"), "12\n").unwrap();
    let (mut status, mut all) = (String::new(), BTreeSet::new());
    for deb in debs {
        stdout(Command::new("dpkg-deb").arg("-x").arg(deb).arg(root))?;
        let control = stdout(Command::new("dpkg-deb").arg("-f").arg(deb))?;
        let name = control.lines().find_map(|line| line.strip_prefix("Package: ")).unwrap();
        status.push_str(&format!("{control}Status: install ok unpacked\n\n"));
        let listing = stdout(Command::new("sh").args(["-c", "dpkg-deb --fsys-tarfile \"$0\" | tar -t"]).arg(deb))?;
        let paths = listing.lines().map(|line| line.trim_start_matches('.').trim_end_matches('/'));
        let paths: Vec<&str> = paths.filter(|path| !path.is_empty()).collect();
        fs::write(info.join(format!("{name}.list")), format!("/.\n{}\n", paths.join("\n"))).unwrap();
        all.extend(paths.into_iter().map(str::to_owned));
        if let Ok(conffiles) = stdout(Command::new("dpkg-deb").arg("-I").arg(deb).arg("conffiles")) {
            fs::write(info.join(format!("{name}.conffiles")), conffiles).unwrap();
        }
    }
    fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    Ok(all)
}

/// A base with merged directories, `/usr/sbin` too.
fn base() -> FileTree {
    let mut tree = FileTree::new();
    for name in ["bin", "lib", "share"] {
        add(&mut tree, &format!("usr/{name}"), Inode::directory(Meta::root_owned(0o755, 0)));
    }
    for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("usr/sbin", "bin")] {
        add(&mut tree, link, Inode::symlink(target, 0));
    }
    for name in ["etc", "var"] {
        add(&mut tree, name, Inode::directory(Meta::root_owned(0o755, 0)));
    }
    add_file(&mut tree, "usr/lib/tmpfiles.d/var.conf", 0o644, "d /var/lib 0755 - - -\nd /var/cache 0755 - - -\n");
    tree
}

/// The manifest of `packages`, which are installed in `root`; everything there is root's.
fn select(root: &Path, packages: &[&str]) -> (Export, Selected) {
    let tar = root.with_extension("tar");
    let mut archive = Command::new("tar");
    archive.arg("-C").arg(root).arg("-cf").arg(&tar).args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name"]);
    stdout(archive.arg(".")).unwrap();
    let export = Export::read(File::open(&tar).unwrap(), IndexOptions::default()).unwrap();
    let options = ManifestOptions {
        stage: "tool".into(),
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
        overrides: Vec::new(),
        accounts: Accounts::default(),
        started: 1_800_000_000,
    };
    let builder = Root { tree: &export.tree, contents: &export.contents };
    let selected = manifest(builder, Root { tree: &base(), contents: &Memory::default() }, &options).unwrap();
    (export, selected)
}

#[test]
fn openzfs_of_debian() {
    let scratch = tempfile::tempdir().unwrap();
    let debs = match fetch(scratch.path()) {
        Ok(debs) => debs,
        Err(reason) => return skip(&reason),
    };
    let root = scratch.path().join("root");
    let listed = unpack(&debs, &root).unwrap();
    let (export, selected) = select(&root, &PACKAGES);

    // Every path that the packages list has its place.
    let manifest = &selected.manifest;
    let entries = manifest.entries.iter().map(|entry| &entry.listed);
    let placed: BTreeSet<_> = entries.chain(manifest.omitted.iter().map(|omitted| &omitted.listed)).collect();
    for path in &listed {
        let place = match export.tree.resolve_parent(path) {
            oci_assemble::tree::Resolved::Found(place) => place,
            other => panic!("{path}: {other:?}"),
        };
        assert!(placed.contains(&place), "{path}");
    }
    let kept = |path: &str| selected.files.entries().get(&oci_assemble::tree::TreePath::new(path).unwrap());
    assert!(kept("usr/bin/zfs").is_some() && kept("usr/sbin/zfs").is_none(), "usr/sbin is a link in the base");
    assert!(
        kept("usr/share/doc/zfs-zed/copyright").is_some() && kept("usr/share/doc/zfs-zed/NEWS.Debian.gz").is_none()
    );
    assert!(!selected.files.entries().keys().any(|path| path.as_bytes().starts_with(b"var/")));
    compare_with_systemctl(&selected, &root);

    let version = manifest.packages.iter().map(oci_assemble::pkgdb::Package::evr).collect::<BTreeSet<_>>();
    if version == BTreeSet::from([KNOWN.to_owned()]) {
        golden(&selected);
    } else {
        eprintln!("the archive has {version:?}: numbers are not compared");
    }
}

/// The units that are enabled.
fn enabled(selected: &Selected) -> Vec<&str> {
    let units = selected.presets.units.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Enabled { .. }));
    units.map(|(name, _)| name.as_str()).collect()
}

/// `systemctl preset` of the units that we enable makes the links that we make. (Units without a line it enables, too.)
fn compare_with_systemctl(selected: &Selected, root: &Path) {
    if let Err(reason) = stdout(Command::new("systemctl").arg("--version")) {
        return skip(&reason);
    }
    stdout(Command::new("systemctl").arg("--root").arg(root).arg("preset").args(enabled(selected))).unwrap();
    let list = stdout(Command::new("find").arg("etc/systemd/system").args(["-type", "l"]).current_dir(root)).unwrap();
    let theirs: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let ours = selected.presets.links.entries().iter().filter(|(_, inode)| matches!(inode.kind, Kind::Symlink(_)));
    let ours: BTreeSet<String> = ours.map(|(path, _)| path.to_str().unwrap().to_owned()).collect();
    assert_eq!(ours, theirs);
}

fn golden(selected: &Selected) {
    assert_eq!(
        enabled(selected),
        [
            "zfs-import-cache.service",
            "zfs-import.target",
            "zfs-load-module.service",
            "zfs-mount.service",
            "zfs-share.service",
            "zfs-volume-wait.service",
            "zfs-zed.service",
            "zfs.target"
        ]
    );
    assert_eq!(
        selected.notes,
        [
            "zfs-import-scan.service is not enabled: /usr/lib/systemd/system-preset/50-zfs.preset:3",
            "zfs-scrub-monthly@.timer is not enabled: no preset names it",
            "zfs-scrub-weekly@.timer is not enabled: no preset names it",
            "zfs-volumes.target is not enabled: no preset names it"
        ]
    );
    assert_eq!((selected.manifest.entries.len(), selected.manifest.in_base()), (221, 8));
    let counts = [("documentation", 116), ("packaging", 5), ("self-link", 2), ("sysv-script", 5)];
    assert_eq!(selected.manifest.counts(), BTreeMap::from(counts));
}

const SPEC: &str = "\
Name: tool
Version: 1.2
Release: 3
Epoch: 4
Summary: s
License: MIT
BuildArch: noarch
%description
d
%install
cd %{buildroot}
mkdir -p usr/sbin etc usr/share/licenses/tool usr/share/doc/tool var/lib/tool usr/share/man/man8
for name in usr/sbin/tool etc/tool.conf etc/tool.cache usr/share/licenses/tool/COPYING usr/share/doc/tool/README; do
    echo $name > $name
done
%files
%attr(4755, root, root) /usr/sbin/tool
%config(noreplace) %attr(0600, root, root) /etc/tool.conf
%ghost /etc/tool.cache
%license /usr/share/licenses/tool/COPYING
%doc /usr/share/doc/tool/README
%dir %attr(0700, root, root) /var/lib/tool
";

#[test]
fn a_package_of_rpm() {
    if let Err(reason) = stdout(Command::new("rpmbuild").arg("--version")) {
        return skip(&reason);
    }
    let scratch = tempfile::tempdir().unwrap();
    let spec = scratch.path().join("tool.spec");
    fs::write(&spec, SPEC).unwrap();
    let top = format!("_topdir {}", scratch.path().join("top").display());
    let plain = ["--define", "_build_id_links none", "--define", "__os_install_post %{nil}"];
    stdout(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &top]).args(plain).arg(&spec)).unwrap();
    let root = scratch.path().join("root");
    fs::create_dir_all(root.join("usr/sbin")).unwrap();
    symlink("usr/sbin", root.join("sbin")).unwrap();
    let package = scratch.path().join("top/RPMS/noarch/tool-1.2-3.noarch.rpm");
    let database = ["--define", "_dbpath /usr/lib/sysimage/rpm", "-i", "--nodeps", "--root"];
    stdout(Command::new("rpm").args(database).arg(&root).arg(package)).unwrap();

    let (_, selected) = select(&root, &["tool=1.2-3"]);
    let text = selected.manifest.dump();
    let lines = text.lines().map(|line| match line.split_once("sha256:") {
        Some((head, tail)) => format!("{head}{}", tail.get(65..).unwrap_or_default()),
        None => line.to_owned(),
    });
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "- /etc/tool.cache ghost tool-4:1.2-3.noarch",
            "+ /etc/tool.conf file 0600 root:root 14 config,noreplace tool-4:1.2-3.noarch",
            "+ /usr/bin/tool file 4755 root:root 14 tool-4:1.2-3.noarch",
            "- /usr/share/doc/tool/README doc tool-4:1.2-3.noarch",
            "+ /usr/share/licenses dir 0755 root:root -",
            "+ /usr/share/licenses/tool dir 0755 root:root -",
            "+ /usr/share/licenses/tool/COPYING file 0644 root:root 32 license tool-4:1.2-3.noarch",
            "- /var/lib/tool var-state tool-4:1.2-3.noarch",
        ]
    );
    let made: Vec<String> = selected.generated.entries().keys().map(ToString::to_string).collect();
    assert_eq!(made, ["/usr/lib/tmpfiles.d/50-assemble.tool.conf"]);
}
