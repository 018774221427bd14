//! Packages made by hand and by the tools of both families.
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;
use std::process::Command;

use super::testing::{deb, rpm};
use super::*;

fn meta(path: &str) -> bool {
    path.ends_with("/META")
}

#[test]
fn the_first_file_that_is_wanted_is_given() {
    let files = [("usr/src/a/README", "odd"), ("usr/src/a/META", "text"), ("usr/src/b/META", "other")];
    for package in [deb(&files), rpm(&files)] {
        assert_eq!(file(&package, meta, 4).unwrap(), Some(b"text".to_vec()));
        assert_eq!(file(&package, |_| false, 4).unwrap(), None);
        assert!(matches!(file(&package, meta, 3), Err(ArchiveError::TooLarge { limit: 3, .. })));
        // Whatever is cut off, it is an error or another file, never a panic.
        for end in 0..package.len() {
            let cut = file(&package[..end], meta, 4);
            assert!(cut.as_ref().map_or(true, |found| found.as_deref() == Some(b"text")), "{end}: {cut:?}");
        }
    }
}

/// Runs a tool; `false`, after saying so, where it is not installed. With `CI=true` that is an error.
fn tool(command: &mut Command) -> bool {
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{command:?}: {error}");
            eprintln!("left out: {command:?}: {error}");
            false
        }
    }
}

/// The only file below a directory that ends so.
fn only(directory: &Path, end: &str) -> Vec<u8> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name().to_str().unwrap().ends_with(end) {
            found.push(fs::read(entry.path()).unwrap());
        }
    }
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn what_the_tools_of_distributions_write_is_read() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    fs::create_dir_all(at("tree/DEBIAN")).unwrap();
    fs::create_dir_all(at("tree/usr/src/zfs-2.2.9")).unwrap();
    fs::write(at("tree/usr/src/zfs-2.2.9/META"), "Version: 2.2.9\n").unwrap();
    let control = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n";
    fs::write(at("tree/DEBIAN/control"), control).unwrap();
    for compressor in ["-Zxz", "-Zgzip", "-Znone"] {
        let made = tool(
            Command::new("dpkg-deb")
                .args(["--root-owner-group", compressor, "--build"])
                .arg(at("tree"))
                .arg(at("x.deb")),
        );
        if made {
            assert_eq!(file(&only(temp.path(), ".deb"), meta, 99).unwrap(), Some(b"Version: 2.2.9\n".to_vec()));
        }
    }
    for payload in ["w6.xzdio", "w9.gzdio", "w3.zstdio"] {
        let spec = "Name: x\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n%install\n\
                    mkdir -p %{buildroot}/usr/src/zfs-2.2.9\necho 'Version: 2.2.9' >%{buildroot}/usr/src/zfs-2.2.9/META\n\
                    %files\n/usr/src/zfs-2.2.9\n";
        fs::write(at("x.spec"), spec).unwrap();
        let define = |name: &str, value: &str| format!("--define={name} {value}");
        let mut command = Command::new("rpmbuild");
        command.args(["--quiet", "-bb"]).arg(define("_topdir", at("build").to_str().unwrap()));
        command.arg(define("_rpmdir", at("rpms").to_str().unwrap())).arg(define("_binary_payload", payload));
        if tool(command.arg(at("x.spec"))) {
            assert_eq!(file(&only(&at("rpms/noarch"), ".rpm"), meta, 99).unwrap(), Some(b"Version: 2.2.9\n".to_vec()));
        }
    }
}
