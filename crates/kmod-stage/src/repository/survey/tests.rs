//! Repositories on disk, written by the tools of both families.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;

use oci_assemble::image::Digest;

use super::*;
use crate::repository::LocalFiles;

fn files(own: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    own.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn names(repositories: &[Repository]) -> Vec<&str> {
    repositories.iter().map(|repository| repository.name.as_str()).collect()
}

fn all(_: &str) -> bool {
    true
}

fn reason(error: SurveyError) -> String {
    Unread { name: String::new(), error }.to_string()
}

#[test]
fn a_configuration_names_what_is_in_use() {
    let rpm = files(&[
        ("a.repo", "[base]\nbaseurl=file:///srv/$releasever/$basearch\n[off]\nenabled=0\nbaseurl=file:///x\n"),
        ("b.repo", "[more]\nmetalink=https://example.com/?repo=$stream\n"),
        ("c.repo", "[base]\nbaseurl=file:///other\n[last]\nmirrorlist=https://example.com/list\n"),
        ("key.asc", "not read"),
    ]);
    let variables = Variables::new().with("releasever", "10").with("basearch", "x86_64");
    let (found, unread) = configured(Family::Rpm, &rpm, "x86_64", &variables);
    assert_eq!(names(&found), ["base", "last"]);
    assert_eq!(unread.len(), 1);
    assert_eq!(
        (unread[0].name.as_str(), unread[0].to_string().as_str()),
        ("b.repo", "cannot read b.repo, line 2: the variable $stream has no value")
    );
    let error = found[1].packages(&LocalFiles, all).unwrap_err();
    assert_eq!(reason(error), "its place is looked up at https://example.com/list, which only builder containers do");

    let debian = files(&[
        ("a.list", "deb http://deb.debian.org/debian bookworm main contrib\ndeb-src http://x bookworm main\n"),
        (
            "b.sources",
            "Types: deb\nURIs: file:/srv\nSuites: ./\n\nTypes: deb\nURIs: file:/off\nSuites: ./\nEnabled: no\n",
        ),
        ("c.list", "deb [arch=arm64] file:/arm ./\n"),
    ]);
    let (found, unread) = configured(Family::Debian, &debian, "amd64", &Variables::new());
    assert_eq!(
        names(&found),
        [
            "bookworm/main of http://deb.debian.org/debian",
            "bookworm/contrib of http://deb.debian.org/debian",
            "./ of file:/srv"
        ]
    );
    assert!(unread.is_empty());
    let error = found[0].packages(&LocalFiles, all).unwrap_err();
    assert_eq!(reason(error), "http: is fetched by builder containers only");
}

/// The metadata of an rpm repository with one package, kernel-devel.
fn rpm_repository(directory: &Path) {
    let primary = "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" packages=\"1\"><package type=\"rpm\">\
        <name>kernel-devel</name><arch>x86_64</arch><version epoch=\"0\" ver=\"6.12.0\" rel=\"160.el10\"/>\
        <checksum type=\"sha256\" pkgid=\"YES\">DIGEST</checksum><size package=\"1\" installed=\"1\" archive=\"1\"/>\
        <location href=\"kernel-devel.rpm\"/></package></metadata>";
    let primary = primary.replace("DIGEST", &Digest::of(b"package").hex());
    let repomd = format!(
        "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><data type=\"primary\"><checksum type=\"sha256\">{}\
         </checksum><location href=\"repodata/primary.xml\"/></data></repomd>",
        Digest::of(primary.as_bytes()).hex()
    );
    fs::create_dir_all(directory.join("repodata")).unwrap();
    fs::write(directory.join("repodata/primary.xml"), primary).unwrap();
    fs::write(directory.join("repodata/repomd.xml"), repomd).unwrap();
}

#[test]
fn packages_of_a_directory_are_read_and_damage_is_named() {
    let temp = tempfile::tempdir().unwrap();
    rpm_repository(temp.path());
    let url = format!("file://{}", temp.path().display());
    let config = files(&[("a.repo", &format!("[a]\nbaseurl=file:///nowhere {url}/\n"))]);
    let (found, _) = configured(Family::Rpm, &config, "x86_64", &Variables::new());
    let packages = found[0].packages(&LocalFiles, all).unwrap();
    assert_eq!(packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["kernel-devel"]);
    assert!(found[0].packages(&LocalFiles, |_| false).unwrap().is_empty());
    fs::write(temp.path().join("repodata/primary.xml"), "other").unwrap();
    let config = files(&[("a.repo", &format!("[a]\nbaseurl={url}\n"))]);
    let (found, _) = configured(Family::Rpm, &config, "x86_64", &Variables::new());
    let error = reason(found[0].packages(&LocalFiles, all).unwrap_err());
    assert!(error.starts_with("cannot read repodata/primary.xml: it is sha256:"), "{error}");
    fs::remove_file(temp.path().join("repodata/repomd.xml")).unwrap();
    let error = reason(found[0].packages(&LocalFiles, all).unwrap_err());
    assert_eq!(error, format!("there is no {url}/repodata/repomd.xml"));
}

#[test]
fn packages_of_a_suite_are_read_in_whatever_form_is_there() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("dists/bookworm");
    fs::create_dir_all(top.join("main/binary-amd64")).unwrap();
    let list = format!(
        "Package: linux-headers-6.1.0-9-amd64\nVersion: 6.1.9-1\nArchitecture: amd64\nSize: 1\nSHA256: {}\n\
         Filename: pool/x.deb\n",
        Digest::of(b"package").hex()
    );
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, list.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let line = |bytes: &[u8], suffix: &str| {
        format!(" {} {} main/binary-amd64/Packages{suffix}\n", Digest::of(bytes).hex(), bytes.len())
    };
    // The plain form is listed and, as in real archives, not there.
    let release = format!("Suite: x\nSHA256:\n{}{}", line(list.as_bytes(), ""), line(&packed, ".gz"));
    fs::write(top.join("Release"), &release).unwrap();
    fs::write(top.join("main/binary-amd64/Packages.gz"), &packed).unwrap();
    let config = files(&[("a.list", &format!("deb file:{} bookworm main\n", temp.path().display()))]);
    let (found, _) = configured(Family::Debian, &config, "amd64", &Variables::new());
    let packages = found[0].packages(&LocalFiles, all).unwrap();
    assert_eq!(packages.len(), 1);
    assert_eq!(packages[0].name, "linux-headers-6.1.0-9-amd64");
    let signed = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{release}-----BEGIN PGP SIGNATURE-----\n\nx\n\
         -----END PGP SIGNATURE-----\n"
    );
    fs::write(top.join("InRelease"), signed).unwrap();
    fs::remove_file(top.join("Release")).unwrap();
    assert_eq!(found[0].packages(&LocalFiles, all).unwrap(), packages);
    fs::remove_file(top.join("main/binary-amd64/Packages.gz")).unwrap();
    let error = reason(found[0].packages(&LocalFiles, all).unwrap_err());
    assert!(error.starts_with("there is no main/binary-amd64/Packages in file:"), "{error}");
}
