//! `.repo` and `.sources` files as distributions ship them.

use super::*;
use repo_file::RpmRepository;
use sources_file::{DebianSource, SignedBy};

fn el10() -> Variables {
    Variables::new().with("releasever", "10").with("basearch", "x86_64").with("stream", "10-stream")
}

const OPENZFS: &str = "\
# ZFS on Linux
[zfs-2.2]
name=OpenZFS for EL$releasever - 2.2
baseurl=http://download.example.com/epel/$releasever/zfs-2.2/$basearch/
enabled=1
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-openzfs
  file:///etc/pki/rpm-gpg/RPM-GPG-KEY-openzfs-2022, https://example.com/${basearch}.key

[zfs-testing]
name = Testing = new
metalink = https://mirrors.example.com/metalink?repo=zfs-$stream&arch=$basearch&protocol=https,http
enabled = No
repo_gpgcheck = True
priority = 50
metadata_expire = 6h
";

#[test]
fn repo_files_are_read() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let expected = [
        RpmRepository {
            id: "zfs-2.2".into(),
            line: 2,
            name: Some("OpenZFS for EL10 - 2.2".into()),
            baseurl: texts(&["http://download.example.com/epel/10/zfs-2.2/x86_64/"]),
            mirrorlist: None,
            metalink: None,
            enabled: true,
            gpgcheck: Some(true),
            repo_gpgcheck: None,
            gpgkey: texts(&[
                "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-openzfs",
                "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-openzfs-2022",
                "https://example.com/x86_64.key",
            ]),
            priority: 99,
            other: BTreeMap::new(),
        },
        RpmRepository {
            id: "zfs-testing".into(),
            line: 10,
            name: Some("Testing = new".into()),
            baseurl: vec![],
            mirrorlist: None,
            metalink: Some(
                "https://mirrors.example.com/metalink?repo=zfs-10-stream&arch=x86_64&protocol=https,http".into(),
            ),
            enabled: false,
            gpgcheck: None,
            repo_gpgcheck: Some(true),
            gpgkey: vec![],
            priority: 50,
            other: [("metadata_expire".into(), "6h".into())].into(),
        },
    ];
    assert_eq!(repo_file::parse(OPENZFS.as_bytes(), "zfs.repo", &el10()).unwrap(), expected);
    let dos = OPENZFS.replace('\n', "\r\n");
    assert_eq!(repo_file::parse(dos.as_bytes(), "zfs.repo", &el10()).unwrap(), expected, "line ends of Windows");
}

#[test]
fn repo_files_that_are_wrong_are_refused_with_their_line() {
    for (text, expected) in [
        ("baseurl=x\n", "line 1: expected [ID] or \"key=value\""),
        ("\n\n[a\n", "line 3: expected [ID]"),
        ("[a/b]\nbaseurl=x\n", "line 1: expected [ID]"),
        ("[]\n", "line 1: expected [ID]"),
        ("[a]\nbaseurl\n", "line 2: expected [ID] or \"key=value\""),
        ("[a]\n  more\n", "line 2: expected a key before a continued line"),
        ("[a]\nbaseurl=x\nenabled=maybe\n", "line 3: enabled is \"maybe\", not 0 or 1"),
        ("[a]\nbaseurl=x\npriority=high\n", "line 3: priority is \"high\", not a number"),
        ("[a]\nbaseurl=x\nBaseURL=y\n", "line 3: baseurl is given twice"),
        ("[a]\nbaseurl=x\n[b]\nbaseurl=y\n[a]\n", "line 5: [a] is given twice"),
        ("[a]\nname=b\n", "line 1: [a] has no baseurl, mirrorlist or metalink"),
        ("[a]\nname=b\nbaseurl=http://x/$relver/\n", "line 3: the variable $relver has no value"),
        ("[a]\nbaseurl=http://x/${basearch:-y}/\n", "line 2: the variable $basearch:-y has no value"),
        ("[a]\nbaseurl=http://x/$\n", "line 2: the variable $ has no value"),
    ] {
        let message = message(repo_file::parse(text.as_bytes(), "x.repo", &el10()));
        assert_eq!(message, format!("cannot read x.repo, {expected}"), "{text:?}");
    }
}

const SOURCES: &str = "\
# Debian
Types: deb deb-src
URIs: http://deb.example.org/debian
Suites: trixie trixie-updates
Components: main contrib
 non-free
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://example.com/$(ARCH)/
Suites: ./
Enabled: no
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS/xcRfwEQWzr
 -----END PGP PUBLIC KEY BLOCK-----
";

#[test]
fn sources_files_are_read() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let expected = [
        DebianSource {
            line: 2,
            types: texts(&["deb", "deb-src"]),
            uris: texts(&["http://deb.example.org/debian"]),
            suites: texts(&["trixie", "trixie-updates"]),
            components: texts(&["main", "contrib", "non-free"]),
            architectures: vec![],
            signed_by: Some(SignedBy::Keyrings(texts(&["/usr/share/keyrings/debian-archive-keyring.gpg"]))),
            enabled: true,
            trusted: false,
        },
        DebianSource {
            line: 9,
            types: texts(&["deb"]),
            uris: texts(&["https://example.com/amd64/"]),
            suites: texts(&["./"]),
            components: vec![],
            architectures: vec![],
            signed_by: Some(SignedBy::Key(
                "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n\
                 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS/xcRfwEQWzr\n\
                 -----END PGP PUBLIC KEY BLOCK-----\n"
                    .into(),
            )),
            enabled: false,
            trusted: false,
        },
    ];
    let variables = Variables::new().with("ARCH", "amd64");
    assert_eq!(sources_file::parse(SOURCES.as_bytes(), "debian.sources", &variables).unwrap(), expected);
    for (from, to, expected) in [
        ("Types: deb deb-src\n", "", "line 2: the source has no Types"),
        ("Types: deb deb-src", "Types: deb rpm", "line 2: Types is \"rpm\", not deb or deb-src"),
        ("Components: main contrib\n non-free\n", "", "line 2: the source has no Components"),
        ("Enabled: no", "Enabled: later", "line 12: Enabled is \"later\", not yes or no"),
        ("$(ARCH)", "$(VERSION)", "line 10: the variable $VERSION has no value"),
    ] {
        let text = SOURCES.replacen(from, to, 1);
        let message = message(sources_file::parse(text.as_bytes(), "x.sources", &variables));
        assert_eq!(message, format!("cannot read x.sources, {expected}"));
    }
}
