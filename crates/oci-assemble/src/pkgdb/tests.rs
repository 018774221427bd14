#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::disallowed_methods)]
use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::testing::memory::{Memory, add, add_file};
use crate::tree::Inode;

#[cfg(feature = "rpm")]
mod rpm_database;
#[cfg(feature = "rpm")]
mod rpm_times;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn names(tree: &FileTree) -> Vec<String> {
    read(tree, &Memory::default()).unwrap().unwrap().packages().iter().map(ToString::to_string).collect()
}

const STATUS: &str = "\
Package: dash
Status: install ok installed
Installed-Size: 10
Architecture: amd64
Version: 1:0.5-12
Description: shell
 Version: 9 of a continuation line counts for nothing

Package: gone
Status: deinstall ok config-files
Version: 1

Package: native
Status: install ok installed
Source: origin (0.9)
Architecture: all
Version: 1.0
";

#[test]
fn reads_dpkg_and_leads_its_paths_through_symlinks() {
    let mut tree = FileTree::new();
    add(&mut tree, "bin", Inode::symlink("usr/bin", 0));
    add_file(&mut tree, "usr/bin/dash", 0o755, "");
    add_file(&mut tree, "usr/lib/dpkg/status", 0o644, STATUS);
    add_file(&mut tree, "usr/lib/dpkg/info/dash:amd64.list", 0o644, "/.\n/bin\n/bin/dash\n/bin/sh\n");
    add_file(&mut tree, "usr/lib/dpkg/info/native.list", 0o644, "/bin/sh\n");
    add_file(&mut tree, "usr/lib/dpkg/diversions", 0o644, "/bin/sh\n/bin/sh.distrib\ndash\n");
    add_file(&mut tree, "usr/lib/dpkg/info/dash:amd64.conffiles", 0o644, "remove-on-upgrade /etc/old\n/bin/dash\n");
    let packages = read(&tree, &Memory::default()).unwrap().unwrap();
    assert_eq!(
        packages.packages(),
        [
            Package {
                name: "dash".into(),
                epoch: Some(1),
                version: "0.5".into(),
                release: Some("12".into()),
                arch: Some("amd64".into()),
                source: Some("dash".into()),
                license: None,
                size: Some(10240),
                installed: Some(0),
                built: None,
                changelog: Vec::new(),
            },
            Package {
                name: "native".into(),
                epoch: None,
                version: "1.0".into(),
                release: None,
                arch: Some("all".into()),
                source: Some("origin".into()),
                license: None,
                size: None,
                installed: Some(0),
                built: None,
                changelog: Vec::new(),
            },
        ]
    );
    let owner = |at: &str| packages.owner(&path(at)).map(|package| package.name.clone());
    assert_eq!(owner("usr/bin/dash").as_deref(), Some("dash"));
    assert_eq!(owner("usr/bin/sh").as_deref(), Some("dash"));
    assert_eq!(owner("usr/bin/sh.distrib").as_deref(), Some("native"), "a diverted file moves");
    assert_eq!(owner("bin").as_deref(), Some("dash"));
    assert_eq!(owner("bin/dash"), None, "nothing stands below a symlink");
    let said = |at: &str| packages.flags(&path(at), &packages.packages()[0]).to_string();
    assert_eq!([said("usr/bin/dash"), said("usr/bin/sh")], ["config,noreplace", "-"]);
    let location = detect(&tree).unwrap();
    assert_eq!(
        files(&tree, &location).iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "/usr/lib/dpkg/diversions",
            "/usr/lib/dpkg/info/dash:amd64.conffiles",
            "/usr/lib/dpkg/info/dash:amd64.list",
            "/usr/lib/dpkg/info/native.list",
            "/usr/lib/dpkg/status"
        ]
    );
}

const APK: &str = "\
C:Q1abc=
P:musl
V:1.2.5-r9
A:x86_64
S:400000
I:638976
L:MIT
o:musl
t:1733000000
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1def=
R:libc.musl-x86_64.so.1

P:musl-utils
V:1.2.5-r9
o:musl
F:
R:top
F:sbin
M:0:0:755
R:ldconfig
";

#[test]
fn reads_apk() {
    let mut tree = FileTree::new();
    add_file(&mut tree, "lib/apk/db/installed", 0o644, APK);
    let packages = read(&tree, &Memory::default()).unwrap().unwrap();
    assert_eq!(
        packages.packages()[0],
        Package {
            name: "musl".into(),
            epoch: None,
            version: "1.2.5".into(),
            release: Some("r9".into()),
            arch: Some("x86_64".into()),
            source: Some("musl".into()),
            license: Some("MIT".into()),
            size: Some(638_976),
            installed: None,
            built: Some(1_733_000_000),
            changelog: Vec::new(),
        }
    );
    let owned: Vec<String> = packages.owned().map(|(path, package)| format!("{path} {}", package.name)).collect();
    assert_eq!(
        owned,
        [
            "/lib musl",
            "/lib/ld-musl-x86_64.so.1 musl",
            "/lib/libc.musl-x86_64.so.1 musl",
            "/sbin musl-utils",
            "/sbin/ldconfig musl-utils",
            "/top musl-utils"
        ]
    );
    assert!(packages.packages().iter().all(|package| package.source_name() == "musl"));
    assert!(installed(&tree, &Memory::default()).unwrap().unwrap().owned().next().is_none());
    add_file(&mut tree, "lib/apk/db/installed", 0o644, "P:nameless\n");
    assert_eq!(
        read(&tree, &Memory::default()).unwrap_err().to_string(),
        "/lib/apk/db/installed is damaged: a package lacks a name or a version"
    );
}

#[test]
fn reads_pacman() {
    let desc = "%NAME%\nlib32-zlib\n\n%VERSION%\n1:1.3.1-2\n\n%BASE%\nzlib\n\n%ARCH%\nx86_64\n\n%BUILDDATE%\n1700000000\n\n\
                %INSTALLDATE%\n1700000009\n\n%SIZE%\n42\n\n%LICENSE%\nZlib\n";
    let list = "%FILES%\netc/\netc/zlib.conf\nusr/\nusr/lib32/libz.so\n\n%BACKUP%\netc/zlib.conf\tabc\n";
    let mut tree = FileTree::new();
    add_file(&mut tree, "var/lib/pacman/local/ALPM_DB_VERSION", 0o644, "9\n");
    add_file(&mut tree, "var/lib/pacman/local/lib32-zlib-1:1.3.1-2/desc", 0o644, desc);
    add_file(&mut tree, "var/lib/pacman/local/lib32-zlib-1:1.3.1-2/files", 0o644, list);
    let packages = read(&tree, &Memory::default()).unwrap().unwrap();
    let package = Package {
        name: "lib32-zlib".into(),
        epoch: Some(1),
        version: "1.3.1".into(),
        release: Some("2".into()),
        arch: Some("x86_64".into()),
        source: Some("zlib".into()),
        license: Some("Zlib".into()),
        size: Some(42),
        installed: Some(1_700_000_009),
        built: Some(1_700_000_000),
        changelog: Vec::new(),
    };
    assert_eq!(packages.packages(), std::slice::from_ref(&package));
    let owned: Vec<String> = packages.owned().map(|(path, _)| path.to_string()).collect();
    assert_eq!(owned, ["/etc", "/etc/zlib.conf", "/usr", "/usr/lib32/libz.so"]);
    assert_eq!(packages.flags(&path("etc/zlib.conf"), &package).to_string(), "config,noreplace");
    let location = detect(&tree).unwrap();
    assert_eq!(files(&tree, &location).len(), 2, "what is read, without the version of the database");
    add_file(&mut tree, "var/lib/pacman/local/broken-1-1/desc", 0o644, "%NAME%\nbroken\n");
    assert_eq!(
        read(&tree, &Memory::default()).unwrap_err().to_string(),
        "/var/lib/pacman/local/broken-1-1 is damaged: it lacks a name or a version"
    );
}

#[test]
fn names_of_sources_come_without_version() {
    let package = |name: &str, source: Option<&str>| Package {
        name: name.into(),
        epoch: None,
        version: "1".into(),
        release: None,
        arch: None,
        source: source.map(str::to_owned),
        license: None,
        size: None,
        installed: None,
        built: None,
        changelog: Vec::new(),
    };
    for (source, name) in [
        (Some("util-linux-2.37.4-20.el9.src.rpm"), "util-linux"),
        (Some("kernel-6.12-1.nosrc.rpm"), "kernel"),
        (Some("gcc-12"), "gcc-12"),
        (Some("odd.src.rpm"), "odd.src.rpm"),
        (Some("-1-2.src.rpm"), "own"),
        (None, "own"),
    ] {
        assert_eq!(package("own", source).source_name(), name);
    }
}

#[test]
fn names_paths_that_can_be_nowhere() {
    let mut tree = FileTree::new();
    add(&mut tree, "loop", Inode::symlink("loop", 0));
    add_file(&mut tree, "usr/lib/dpkg/status", 0o644, STATUS);
    add_file(&mut tree, "usr/lib/dpkg/info/native.list", 0o644, "/loop/a\n/a\n");
    let packages = read(&tree, &Memory::default()).unwrap().unwrap();
    let unplaced: Vec<_> = packages.unplaced().map(|(package, path)| (package.name.as_str(), path)).collect();
    assert_eq!(unplaced, [("native", b"/loop/a".as_slice())]);
    assert_eq!(packages.owned().count(), 1);
}

#[test]
fn reads_distroless_images() {
    let mut tree = FileTree::new();
    let folder = "var/lib/dpkg/status.d";
    add_file(&mut tree, &format!("{folder}/libc6"), 0o644, "Package: libc6\nVersion: 2.41-1\nArchitecture: amd64\n");
    let sum = "0123456789abcdef0123456789abcdef  usr/lib/libc.so.6\n";
    add_file(&mut tree, &format!("{folder}/libc6.md5sums"), 0o644, sum);
    assert_eq!(names(&tree), ["libc6-2.41-1.amd64"]);
    let packages = read(&tree, &Memory::default()).unwrap().unwrap();
    assert_eq!(packages.owner(&path("usr/lib/libc.so.6")).unwrap().name, "libc6");
}

#[test]
fn finds_the_live_database_and_names_the_others() {
    let mut tree = FileTree::new();
    assert_eq!(detect(&tree), None);
    add_file(&mut tree, "usr/share/rpm/Packages", 0o644, "x");
    let error = read(&tree, &Memory::default()).unwrap_err();
    assert_eq!(error.to_string(), "/usr/share/rpm/Packages is an rpm database of the kind rpm bdb, which is not read");
    add_file(&mut tree, "var/lib/dpkg/status", 0o644, STATUS);
    add_file(&mut tree, "var/lib/rpm/rpmdb.sqlite", 0o644, "");
    assert_eq!(detect(&tree).unwrap().kind, DbKind::RpmBdb, "an empty database counts for nothing");
    add_file(&mut tree, "etc/debian_version", 0o644, "13\n");
    assert_eq!(detect(&tree).unwrap().kind, DbKind::Dpkg);

    let mut tree = FileTree::new();
    add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite", 0o644, "x");
    add(&mut tree, "usr/lib/sysimage/rpm", Inode::symlink("../../share/rpm", 0));
    assert_eq!(detect(&tree).unwrap().second, None, "a link to it is no second database");
    add_file(&mut tree, "var/lib/rpm/rpmdb.sqlite", 0o644, "y");
    let error = read(&tree, &Memory::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are two package databases, /usr/share/rpm/rpmdb.sqlite and /var/lib/rpm/rpmdb.sqlite"
    );
}

/// Adds the files of a directory of this machine, without what is below its directories.
fn add_directory(tree: &mut FileTree, from: &Path, to: &str) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            let name = entry.file_name().into_string().unwrap();
            add_file(tree, &format!("{to}/{name}"), 0o644, fs::read(entry.path()).unwrap());
        }
    }
}

/// What the command prints; `None`, after saying so, where the program is not installed. With `CI=true` that is an error.
fn stdout(command: &mut Command) -> Option<String> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{command:?}: {error}");
            eprintln!("left out: {command:?}: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn agrees_with_dpkg_of_this_machine() {
    if !Path::new("/var/lib/dpkg/status").exists() {
        return; // no Debian machine
    }
    let format = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package}\n";
    let Some(expected) = stdout(Command::new("dpkg-query").args(["-W", "-f", format])) else { return };
    let mut tree = FileTree::new();
    for link in ["bin", "sbin", "lib", "lib64"] {
        add(&mut tree, link, Inode::symlink(format!("usr/{link}"), 0));
        add(&mut tree, &format!("usr/{link}/x"), Inode::symlink("x", 0));
    }
    add_directory(&mut tree, Path::new("/var/lib/dpkg"), "var/lib/dpkg");
    add_directory(&mut tree, Path::new("/var/lib/dpkg/info"), "var/lib/dpkg/info");
    let packages = read(&tree, &Memory::default()).unwrap().unwrap();
    let mut ours: Vec<String> = packages
        .packages()
        .iter()
        .map(|package| {
            let (arch, source) = (package.arch.clone().unwrap(), package.source.clone().unwrap());
            format!("{} {} {arch} {source}", package.name, package.evr())
        })
        .collect();
    let mut expected: Vec<&str> = expected.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
    ours.sort();
    expected.sort_unstable();
    assert!(expected.len() > 10);
    assert_eq!(ours, expected);
    assert_eq!(packages.owner(&path("usr/bin/ls")).unwrap().name, "coreutils");
}
