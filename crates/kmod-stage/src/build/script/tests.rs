#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::Write;
use std::process::{Command, Stdio};

use oci_assemble::image::Digest;

use super::*;

fn request() -> Request {
    Request {
        install: vec!["tree".into(), "it's".into()],
        remove: vec!["nano".into()],
        downgrade: vec!["kmod=30-1".into()],
        rather: None,
        kernel: Some(NewKernel { release: "6.1.0-57-amd64".into(), replaced: vec!["old-kernel".into()] }),
    }
}

fn locked() -> BTreeSet<PackageRecord> {
    let package = |name: &str, version: &str, arch: &str| PackageRecord {
        name: name.into(),
        version: version.into(),
        arch: Some(arch.into()),
        checksum: Some(Digest::of(name.as_bytes())),
        source: None,
    };
    [package("tree", "1:2.1-1", "amd64"), package("tree-data", "1:2.1-1", "all")].into()
}

fn all() -> Vec<(String, String)> {
    let mut scripts = Vec::new();
    for family in [Family::Debian, Family::Rpm] {
        let compile =
            compile_request(family, ("6.1.0-56-amd64", Some("6.1.170-1")), &["zfs-dkms".into()], &["zfs".into()]);
        for (name, text) in [
            ("fetch", fetch(family, &request(), None)),
            ("fetch-locked", fetch(family, &request(), Some(&locked()))),
            ("fetch-nothing", fetch(family, &Request::default(), None)),
            ("fetch-compile", fetch(family, &compile, None)),
            ("metadata", metadata(family)),
            ("install", format!("{HEAD}{}", install(family, &request()))),
            ("compile", format!("{HEAD}{}{}", unpack(family), dkms::compile(family, "6.1.0-56-amd64"))),
        ] {
            scripts.push((format!("{family} {name}"), text));
        }
    }
    scripts
}

#[test]
fn every_script_is_one_that_a_shell_reads() {
    for (name, text) in all() {
        let mut shell = Command::new("sh").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = shell.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {}\n{text}", String::from_utf8_lossy(&output.stderr));
        assert!(text.starts_with("#!/bin/sh\nset -eu\n"), "{name}");
    }
}

#[test]
fn package_managers_are_asked_for_what_the_recipe_says() {
    let lines = |name: &str, word: &str| -> Vec<String> {
        let (_, text) = all().into_iter().find(|(found, _)| found == name).unwrap();
        text.lines().filter(|line| line.starts_with(word)).map(str::to_owned).collect()
    };
    assert_eq!(
        lines("apt fetch", "apt_get install"),
        ["apt_get install --download-only --allow-downgrades tree 'it'\\''s' kmod=30-1 nano- old-kernel-"]
    );
    assert_eq!(
        lines("apt fetch-locked", "apt_get install"),
        ["apt_get install --download-only --allow-downgrades tree:amd64=1:2.1-1 tree-data=1:2.1-1 nano- old-kernel-"]
    );
    assert_eq!(
        lines("apt fetch-compile", "apt_get install"),
        [
            "apt_get install --download-only \"$(offered linux-headers-6.1.0-56-amd64 6.1.170-1)\" dkms patch zfs-dkms zfs"
        ]
    );
    let download = "dnf install --downloadonly --destdir=/var/lib/assemble/archives --setopt=gpgcheck=True";
    assert_eq!(
        lines("dnf fetch", "dnf install"),
        [format!("{download} --setopt=installonlypkgs= tree 'it'\\''s' kmod-30-1")]
    );
    assert_eq!(
        lines("dnf fetch-locked", "dnf install"),
        [format!("{download} --setopt=installonlypkgs= tree-1:2.1-1.amd64 tree-data-1:2.1-1.all")]
    );
    assert_eq!(
        lines("apt install", "apt_get install"),
        ["apt_get install -o Dir::Etc::Preferences=/var/lib/assemble/preferences --no-download --ignore-missing \
          --allow-downgrades tree 'it'\\''s' kmod=30-1 nano- old-kernel-"]
    );
    assert_eq!(lines("dnf fetch-nothing", "dnf install"), Vec::<String>::new());
    assert_eq!(lines("dnf install", "dnf remove"), ["dnf remove --cacheonly --disablerepo='*' nano old-kernel"]);
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{program} {arguments:?}: {stdout}{stderr}");
    stdout
}

fn shell(text: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", &format!("set -eu\n{text}")]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// rpm is one that knows two packages.
#[test]
fn rpm_finds_the_owners_of_all_files() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name).display().to_string();
    std::fs::create_dir_all(at("usr/lib")).unwrap();
    std::fs::create_dir(at("etc")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
    write("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    write("etc/group", "root:x:0:\nadm:x:4:\n");
    write("usr/lib/passwd", "chrony:x:990:987::/:/sbin/nologin\n");
    let lines = dnf::ACCOUNTS.replace("/etc/", &at("etc/")).replace("/usr/lib/", &at("usr/lib/"));
    let rpm = "rpm() { case $* in *USERNAME*) printf 'root\\nchrony\\nown\\nroot\\n' ;; *) printf 'adm\\nown\\n' ;; esac; }\nset -- a.rpm\n";
    let (success, output) = shell(&format!("{rpm}{lines}{lines}"));
    assert!(success && output.is_empty(), "{output}");
    let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    assert_eq!(
        read("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nchrony:x:990:987::/:/sbin/nologin\nown:x:64001:64001::/:/sbin/nologin\n"
    );
    assert_eq!(read("etc/group"), "root:x:0:\nadm:x:4:\nown:x:64002:\n");
}

#[test]
fn a_patch_is_applied_where_it_fits() {
    if Command::new("patch").arg("--version").output().is_err() {
        return;
    }
    let change =
        |file: &str, from: &str, to: &str| format!("--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-{from}\n+{to}\n");
    let applied = |patches: &[String]| {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name).display().to_string();
        for (tree, file, text) in [("spl-1", "spl.c", "one\n"), ("zfs-1", "zfs.c", "two\n")] {
            std::fs::create_dir_all(at(&format!("src/{tree}"))).unwrap();
            for (name, text) in [("dkms.conf", ""), (file, text), ("both.c", "both\n")] {
                std::fs::write(at(&format!("src/{tree}/{name}")), text).unwrap();
            }
        }
        std::fs::create_dir(at("patches")).unwrap();
        for (number, patch) in patches.iter().enumerate() {
            std::fs::write(at(&format!("patches/{number:03}-fix")), patch).unwrap();
        }
        let lines = dkms::PATCHES.replace("/run/assemble/patches", &at("patches"));
        let lines = lines.replace("/usr/src", &at("src")).replace(STATE, &at(""));
        let (success, output) = shell(&lines);
        let file = |name: &str| std::fs::read_to_string(at(name)).unwrap();
        (success, output, [file("src/spl-1/spl.c"), file("src/zfs-1/zfs.c")])
    };
    // The second one is for what the first one left.
    let (success, output, files) = applied(&[change("zfs.c", "two", "2"), change("zfs.c", "2", "zwei")]);
    assert!(success, "{output}");
    assert_eq!(files, ["one\n", "zwei\n"]);
    for (patch, words) in [
        (change("zfs.c", "three", "3"), "the patch 000-fix fits no "),
        (change("both.c", "both", "2"), "the patch 000-fix fits both "),
    ] {
        let (success, output, files) = applied(&[patch]);
        assert!(!success && output.contains(words), "{output}");
        assert_eq!(files, ["one\n", "two\n"]);
    }
}

/// apt of this machine, on a repository that offers newer versions than those that were fetched.
#[test]
fn apt_installs_what_was_fetched_and_nothing_newer() {
    if Command::new("apt-get").arg("--version").output().is_err() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name).display().to_string();
    for directory in ["repository", "lists/partial", "cache/archives/partial", "fetched"] {
        std::fs::create_dir_all(at(directory)).unwrap();
    }
    let mut index = String::new();
    for (name, version, depends) in
        [("tool", "1.0-1", "libtool"), ("tool", "2.0-1", "libtool"), ("libtool", "1:1.0", ""), ("libtool", "1:2.0", "")]
    {
        let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
        index += &format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@example.org>\n{depends}\
             Filename: ./{name}.deb\nSize: 1\nSHA256: {}\nDescription: x\n\n",
            "ab".repeat(32)
        );
    }
    std::fs::write(at("repository/Packages"), index).unwrap();
    std::fs::write(at("status"), "").unwrap();
    std::fs::write(at("sources"), format!("deb [trusted=yes] file:{} ./\n", at("repository"))).unwrap();
    let options = [
        format!("Dir::Etc::SourceList={}", at("sources")),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
        format!("Dir::State={}", at("")),
        format!("Dir::State::lists={}", at("lists")),
        format!("Dir::State::status={}", at("status")),
        format!("Dir::Cache={}", at("cache")),
        "APT::Sandbox::User=".to_owned(),
        "Debug::NoLocking=1".to_owned(),
    ];
    let mut apt = vec!["--quiet", "--yes"];
    for option in &options {
        apt.extend(["-o", option]);
    }
    run("apt-get", &[&apt[..], &["update"]].concat());
    let install = ["--simulate", "--no-download", "--ignore-missing", "install", "tool"];
    let chosen = |more: &[&str]| -> Vec<String> {
        let text = run("apt-get", &[&apt[..], more, &install].concat());
        let lines = text.lines().filter(|line| line.starts_with("Inst "));
        lines.map(|line| line.split_whitespace().take(3).skip(1).collect::<Vec<_>>().join(" ")).collect()
    };
    // Versions that are offered are asked for by number.
    let cache: Vec<String> = options.iter().map(|option| format!("-o {option}")).collect();
    let offered = apt::OFFERED.replace(
        "-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/var/lib/assemble/sources",
        &cache.join(" "),
    );
    let (_, text) = shell(&format!("{offered}offered tool 1.0-1; offered tool 3.0-1; offered none 1"));
    assert_eq!(text, "tool=1.0-1\ntool\nnone\n");
    assert_eq!(chosen(&[]), ["libtool (1:2.0", "tool (2.0-1"]);
    let listing = format!("libtool 1:1.0 all {0} 1\ntool 1.0-1 all {0} 1\n", "ab".repeat(32));
    std::fs::write(at("fetched/packages"), listing).unwrap();
    run("sh", &["-c", &format!("set -eu\n{}", apt::pins().replace(STATE, at("").trim_end_matches('/')))]);
    let preferences = format!("Dir::Etc::Preferences={}", at("preferences"));
    assert_eq!(chosen(&["-o", &preferences]), ["libtool (1:1.0", "tool (1.0-1"]);
}
