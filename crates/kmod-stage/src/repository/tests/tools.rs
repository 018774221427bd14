//! createrepo_c, apt-ftparchive and dpkg-scanpackages write, rpm and dpkg judge.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

/// What the command prints; `None`, after saying so, where it is not installed. With `CI=true` that is an error.
fn stdout(command: &mut Command) -> Option<Vec<u8>> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{command:?}: {error}");
            eprintln!("left out: {command:?}: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

const RPMS: [(&str, &str, &str, &str); 4] = [
    ("kernel-core", "0", "6.12.0", "160.el10"),
    ("kernel-devel", "0", "7.0.0~rc1", "1.el10"),
    ("kmod-nvidia-open-dkms", "3", "580.105.08", "1.el10"),
    ("libstdc++", "0", "14.2.1^20250110", "7"),
];

fn rpms(directory: &Path) -> Option<()> {
    for (name, epoch, version, release) in RPMS {
        let spec = directory.join("spec");
        fs::write(
            &spec,
            format!(
                "Name: {name}\nEpoch: {epoch}\nVersion: {version}\nRelease: {release}\nSummary: <a> & \"b\"\n\
                 License: MIT\nBuildArch: noarch\n%description\nÜ <x> & ]]>\n%files\n"
            ),
        )
        .unwrap();
        let define = |name: &str, value: &str| format!("--define={name} {value}");
        let out = directory.to_str().unwrap();
        let topdir = define("_topdir", &format!("{out}/build"));
        let target =
            [topdir, define("_rpmdir", &format!("{out}/repo")), define("source_date_epoch_from_changelog", "0")];
        stdout(Command::new("rpmbuild").args(["--quiet", "-bb"]).args(target).arg(&spec))?;
    }
    Some(())
}

#[test]
fn reads_what_createrepo_writes() {
    let directory = tempfile::tempdir().unwrap();
    let repo = directory.path().join("repo");
    if rpms(directory.path()).is_none() {
        return;
    }
    for arguments in [&[][..], &["--compress-type=xz", "--general-compress-type=xz"], &["--checksum=sha512"]] {
        if stdout(Command::new("createrepo_c").args(["--quiet", "--revision=7"]).args(arguments).arg(&repo)).is_none() {
            return;
        }
        let repomd = fs::read(repo.join("repodata/repomd.xml")).unwrap();
        let repomd = Repomd::parse(&repomd[..], "repomd.xml").unwrap();
        assert_eq!(repomd.revision.as_deref(), Some("7"));
        let primary = &repomd.files["primary"];
        let bytes = fs::read(repo.join(&primary.location)).unwrap();
        primary.verify(&bytes).unwrap();
        let plain = |bytes| decompress(bytes, &primary.location).unwrap();
        let mut found = read_primary(plain(&bytes), "primary.xml", all).unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let expected: Vec<Package> = RPMS
            .iter()
            .map(|(name, epoch, version, release)| {
                let location = format!("noarch/{name}-{version}-{release}.noarch.rpm");
                let file = fs::read(repo.join(&location)).unwrap();
                let mut hasher = primary.digest.hasher();
                hasher.update(&file);
                Package {
                    name: (*name).to_owned(),
                    version: format!("{epoch}:{version}-{release}").parse::<RpmVersion>().unwrap().into(),
                    architecture: "noarch".to_owned(),
                    digest: hasher.finish(),
                    size: u64::try_from(file.len()).unwrap(),
                    location,
                    location_base: None,
                    depends: None,
                }
            })
            .collect();
        assert_eq!(found, expected);
        let some = read_primary(plain(&bytes), "primary.xml", |name| name == "libstdc++").unwrap();
        assert_eq!(some, expected[3..]);

        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(message(primary.verify(&other)).contains("primary.xml"), "a changed file is noticed");
        // A file that ends early never passes for a shorter list.
        for cut in [1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let read = decompress(&bytes[..cut], "primary").map(|plain| read_primary(plain, "primary", all));
            assert!(read.is_err() || read.unwrap().is_err(), "cut to {cut}");
        }
    }
}

use crate::version::RpmVersion;
use repodata::{Repomd, read_primary};

const DEBS: [(&str, &str, &str, &str); 3] = [
    ("linux-headers-6.1.0-56-amd64", "6.1.170-3", "amd64", "linux-headers-6.1.0-56-common (= 6.1.170-3)"),
    (
        "linux-image-6.13-rc7-amd64",
        "6.13~rc7-1~exp1",
        "amd64",
        "kmod, initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool",
    ),
    ("nvidia-kernel-support", "1:550.163.01-2", "all", "adduser"),
];

fn debs(directory: &Path) -> Option<()> {
    for (name, version, architecture, depends) in DEBS {
        let package = directory.join("package");
        let _ = fs::remove_dir_all(&package);
        fs::create_dir_all(package.join("DEBIAN")).unwrap();
        fs::write(
            package.join("DEBIAN/control"),
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: a <a@example.com>\n\
                 Depends: {depends}\nDescription: what it is\n and more\n .\n Package: not this\n"
            ),
        )
        .unwrap();
        let pool = directory.join("repo/pool");
        fs::create_dir_all(&pool).unwrap();
        let file = version.replace(':', "%3a");
        stdout(Command::new("dpkg-deb").arg("--build").arg(&package).arg(pool.join(format!("{name}_{file}.deb"))))?;
    }
    Some(())
}

fn expected_debs(repo: &Path) -> Vec<Package> {
    let package = |(name, version, architecture, depends): &(&str, &str, &str, &str)| {
        let location = format!("pool/{name}_{}.deb", version.replace(':', "%3a"));
        let file = fs::read(repo.join(&location)).unwrap();
        Package {
            name: (*name).to_owned(),
            version: version.parse::<crate::version::DebianVersion>().unwrap().into(),
            architecture: (*architecture).to_owned(),
            digest: Digest::of(&file),
            size: u64::try_from(file.len()).unwrap(),
            location,
            location_base: None,
            depends: Some((*depends).to_owned()),
        }
    };
    DEBS.iter().map(package).collect()
}

#[test]
fn reads_what_apt_and_dpkg_write() {
    let directory = tempfile::tempdir().unwrap();
    let repo = directory.path().join("repo");
    if debs(directory.path()).is_none() {
        return;
    }
    let expected = expected_debs(&repo);
    let index = repo.join("dists/test/main/binary-amd64");
    fs::create_dir_all(&index).unwrap();
    for (program, arguments) in
        [("apt-ftparchive", &["packages", "pool"][..]), ("dpkg-scanpackages", &["--multiversion", "pool"])]
    {
        let Some(packages) = stdout(Command::new(program).args(arguments).current_dir(&repo)) else { return };
        let mut found = debian::read_packages(&packages[..], "Packages", all).unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(found, expected, "{program}");
        let some = debian::read_packages(&packages[..], "Packages", |name| name.starts_with("linux-headers-"));
        assert_eq!(some.unwrap(), expected[..1]);
        fs::write(index.join("Packages"), packages).unwrap();
    }
    for program in ["xz", "gzip"] {
        stdout(Command::new(program).args(["--keep", "--force"]).arg(index.join("Packages"))).unwrap();
    }
    let options = ["Suite=test", "Codename=t", "Architectures=amd64", "Components=main contrib", "Acquire-By-Hash=yes"];
    let options = options.map(|option| format!("-oAPT::FTPArchive::Release::{option}"));
    let suite = repo.join("dists/test");
    let release = stdout(Command::new("apt-ftparchive").args(options).arg("release").arg(&suite)).unwrap();
    let read_release = debian::Release::parse(&release, "Release").unwrap();
    let head = (read_release.suite.as_deref(), read_release.codename.as_deref(), read_release.by_hash);
    assert_eq!(head, (Some("test"), Some("t"), true));
    assert_eq!(read_release.components, ["main", "contrib"]);
    for name in ["Packages", "Packages.xz", "Packages.gz"] {
        let path = format!("main/binary-amd64/{name}");
        let bytes = fs::read(suite.join(&path)).unwrap();
        read_release.files[&path].verify(&bytes).unwrap();
        let found = debian::read_packages(decompress(&bytes, &path).unwrap(), &path, all).unwrap();
        assert_eq!(found.len(), 3);
    }
}

/// The lists of the machine that runs the tests, where it has any: thousands of packages that nobody made up.
#[test]
fn reads_the_lists_of_this_machine() {
    let Ok(entries) = fs::read_dir("/var/lib/apt/lists") else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.to_str().unwrap().to_owned();
        if name.ends_with("_InRelease") {
            let release = debian::Release::parse_signed(&fs::read(&path).unwrap(), &name).unwrap();
            assert!(!release.files.is_empty(), "{name}");
        } else if name.ends_with("_Packages") {
            let text = fs::read(&path).unwrap();
            let expected = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"Package: ")).count();
            assert_eq!(debian::read_packages(&text[..], &name, all).unwrap().len(), expected);
        }
    }
}
