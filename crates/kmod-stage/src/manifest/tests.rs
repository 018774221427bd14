#![allow(clippy::unwrap_used)]
mod laws;
mod rejected;
mod units;

use std::fmt::Write as _;

use oci_assemble::testing::elf::{Dynamic, dynamic};
use oci_assemble::testing::memory::{Memory, add, add_file};
use oci_assemble::tree::{Content, Meta};

use super::*;

/// An empty file's digest is in every golden: short, it reads better.
const EMPTY: &str = "0 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// A tree with merged directories and account files.
fn system() -> FileTree {
    let mut tree = FileTree::new();
    for name in ["bin", "sbin", "lib"] {
        add(&mut tree, &format!("usr/{name}"), Inode::directory(Meta::root_owned(0o755, 0)));
        add(&mut tree, name, Inode::symlink(format!("usr/{name}"), 0));
    }
    for name in ["etc", "var", "usr/share"] {
        add(&mut tree, name, Inode::directory(Meta::root_owned(0o755, 0)));
    }
    add_file(&mut tree, "etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\n");
    add_file(&mut tree, "etc/group", 0o644, "root:x:0:\nshadow:x:42:\n");
    tree
}

/// Records packages `NAME` with version 1-1 and what they list in dpkg's database.
fn record(tree: &mut FileTree, packages: &[(&str, &[&str])]) {
    let mut status = String::new();
    for (name, paths) in packages {
        let _ = writeln!(status, "Package: {name}\nStatus: install ok installed\nVersion: 1-1\nArchitecture: all\n");
        add_file(tree, &format!("var/lib/dpkg/info/{name}.list"), 0o644, format!("/.\n{}\n", paths.join("\n")));
    }
    add_file(tree, "var/lib/dpkg/status", 0o644, status);
    add_file(tree, "etc/debian_version", 0o644, "13\n");
}

fn options(packages: &[&str]) -> ManifestOptions {
    ManifestOptions {
        stage: "tool".into(),
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
        overrides: Vec::new(),
        accounts: Accounts::default(),
        started: 1000,
    }
}

fn select(builder: &FileTree, base: &FileTree, options: &ManifestOptions) -> Result<Selected, ManifestError> {
    let contents = Memory::default();
    manifest(Root { tree: builder, contents: &contents }, Root { tree: base, contents: &contents }, options)
}

fn dump(selected: &Selected) -> Vec<String> {
    selected.manifest.dump().lines().map(|line| line.replace(EMPTY, "EMPTY")).collect()
}

fn text(delta: &oci_assemble::tree::TreeDelta, at: &str) -> String {
    match delta.entries().get(&path(at)).and_then(Inode::content) {
        Some(Content::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_rule_is_named_once_and_says_why() {
    let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
    for rule in RULES {
        assert!(rule.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{rule}");
        assert!(!rule.reason.is_empty() && !rule.means.to_string().is_empty(), "{rule}");
    }
    assert_eq!(
        RULES.iter().find(|rule| rule.name == "libtool").unwrap().to_string(),
        "libtool: *.la below /usr/lib /usr/lib32 /usr/lib64 /usr/libx32 /usr/libexec /usr/local/lib (only libtool reads them)"
    );
}

/// A package with something for each rule.
fn tool() -> FileTree {
    let mut tree = system();
    let library = |soname| dynamic(&Dynamic { soname: Some(soname), ..Dynamic::default() });
    for (at, mode) in [
        ("usr/sbin/tool", 0o4755),
        ("etc/tool.conf", 0o600),
        ("etc/init.d/tool", 0o755),
        ("etc/init.d/old", 0o755),
        ("usr/lib/systemd/system/tool.service", 0o644),
        ("usr/share/doc/tool/copyright", 0o644),
        ("usr/share/doc/tool/README", 0o644),
        ("usr/share/man/man8/tool.8.gz", 0o644),
        ("usr/include/tool.h", 0o644),
        ("usr/lib/libtool.a", 0o644),
        ("usr/lib/libtool.la", 0o644),
        ("usr/lib/pkgconfig/tool.pc", 0o644),
        ("usr/lib/python3/tool.py", 0o644),
        ("usr/lib/python3/__pycache__/tool.cpython-313.pyc", 0o644),
        ("usr/lib/modules/6.1/extra/tool.ko", 0o644),
        ("usr/lib/modules-load.d/tool.conf", 0o644),
        ("usr/share/initramfs-tools/hooks/tool", 0o755),
        ("usr/share/locale/de/LC_MESSAGES/tool.mo", 0o644),
        ("usr/src/tool-1/dkms.conf", 0o644),
        ("boot/tool", 0o644),
        ("var/lib/tool/data", 0o644),
    ] {
        add_file(&mut tree, at, mode, "");
    }
    add_file(&mut tree, "usr/lib/libtool.so.1", 0o644, library("libtool.so.1"));
    add(&mut tree, "usr/lib/libtool.so", Inode::symlink("libtool.so.1", 0));
    add_file(&mut tree, "usr/lib/libplain.so.1", 0o644, library("libplain.so"));
    add(&mut tree, "usr/lib/libplain.so", Inode::symlink("libplain.so.1", 0));
    add(&mut tree, "usr/lib/libcuda.so", Inode::symlink("libtool.so.1", 0));
    add(&mut tree, "usr/sbin/alias", Inode::symlink("/sbin/tool", 5000));
    let time = Meta::root_owned(0o4755, 500);
    add(&mut tree, "usr/sbin/tool", Inode::file(time, Content::of("")));
    record(&mut tree, &[("tool", &TOOL), ("other", &["/usr", "/usr/bin", "/usr/bin/other"])]);
    add_file(&mut tree, "var/lib/dpkg/info/tool.conffiles", 0o644, "/etc/tool.conf\n");
    tree
}

const TOOL: [&str; 37] = [
    "/usr",
    "/sbin",
    "/sbin/tool",
    "/sbin/alias",
    "/etc",
    "/etc/tool.conf",
    "/etc/init.d",
    "/etc/init.d/tool",
    "/etc/init.d/old",
    "/lib/systemd/system/tool.service",
    "/usr/share/doc/tool",
    "/usr/share/doc/tool/copyright",
    "/usr/share/doc/tool/README",
    "/usr/share/doc/tool/absent",
    "/usr/share/man/man8/tool.8.gz",
    "/usr/include/tool.h",
    "/usr/lib/libtool.a",
    "/usr/lib/libtool.la",
    "/usr/lib/libtool.so",
    "/usr/lib/libtool.so.1",
    "/usr/lib/libplain.so",
    "/usr/lib/libplain.so.1",
    "/usr/lib/libcuda.so",
    "/usr/lib/pkgconfig/tool.pc",
    "/usr/lib/python3/tool.py",
    "/usr/lib/python3/__pycache__/tool.cpython-313.pyc",
    "/lib/modules/6.1/extra/tool.ko",
    "/usr/lib/modules-load.d/tool.conf",
    "/usr/share/initramfs-tools/hooks/tool",
    "/usr/share/locale/de/LC_MESSAGES/tool.mo",
    "/usr/share/locale/fr/LC_MESSAGES/tool.mo",
    "/usr/src/tool-1/dkms.conf",
    "/boot/tool",
    "/var",
    "/var/lib",
    "/var/lib/tool",
    "/var/lib/tool/data",
];

#[test]
fn picks_the_files_of_a_package() {
    let builder = tool();
    // usr/sbin is merged in the base, too.
    let mut base = system();
    base.remove(&path("usr/sbin"));
    add(&mut base, "usr/sbin", Inode::symlink("bin", 0));
    let selected = select(&builder, &base, &options(&["tool=1"])).unwrap();
    let lines = dump(&selected);
    let expected = include_str!("tests/tool.txt");
    assert_eq!(lines.join("\n") + "\n", expected);
    assert_eq!(
        selected.generated.dump().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>(),
        ["/usr/lib/tmpfiles.d/50-assemble.tool.conf"]
    );
    assert_eq!(
        text(&selected.generated, "usr/lib/tmpfiles.d/50-assemble.tool.conf"),
        "# What packages have in /var, which images do not carry.\n\
         d /var/lib 0755 root root -\n\
         d /var/lib/tool 0755 root root -\n"
    );
    let times: Vec<i64> = ["usr/bin/alias", "etc/init.d", "usr/bin/tool"]
        .map(|at| selected.files.entries()[&path(at)].meta.mtime)
        .to_vec();
    assert_eq!(times, [0, 0, 500], "written in the builder, a directory, of the package");
    assert_eq!(selected.manifest.counts().values().sum::<usize>() + selected.manifest.in_base(), {
        selected.manifest.omitted.len()
    });
}

#[test]
fn keeps_what_the_base_has_and_what_tmpfiles_makes() {
    let builder = tool();
    let mut base = system();
    add_file(&mut base, "usr/sbin/tool", 0o4755, "");
    add_file(&mut base, "usr/lib/tmpfiles.d/tool.conf", 0o644, "d /var/lib/tool 0700 tool tool - -\n");
    let selected = select(&builder, &base, &options(&["tool"])).unwrap();
    assert!(selected.generated.is_empty(), "{}", selected.generated.dump());
    assert!(!selected.files.entries().contains_key(&path("usr/sbin/tool")));
    assert!(dump(&selected).contains(&"= /usr/sbin/tool tool-1-1.all".to_owned()));
    assert!(selected.notes.is_empty(), "{:?}", selected.notes);
}

#[test]
fn hardlinks_stay_links_within_the_image() {
    let mut builder = system();
    add_file(&mut builder, "usr/bin/a", 0o755, "x");
    add(&mut builder, "usr/bin/b", Inode { meta: Meta::root_owned(0o755, 0), kind: Kind::Hardlink(path("usr/bin/a")) });
    add(&mut builder, "usr/bin/c", Inode { meta: Meta::root_owned(0o755, 0), kind: Kind::Hardlink(path("usr/bin/a")) });
    record(&mut builder, &[("links", &["/usr/bin/b", "/usr/bin/c"])]);
    let selected = select(&builder, &system(), &options(&["links"])).unwrap();
    let x = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    assert_eq!(
        selected.files.dump().lines().collect::<Vec<_>>(),
        [&format!("/usr/bin/b file 0755 0:0 0 size=1 sha256:{x}"), "/usr/bin/c hardlink 0755 0:0 0 to=/usr/bin/b"]
    );
}

#[test]
fn symlinks_with_several_names_are_symlinks_and_stay_links() {
    let link = |to: &str| Inode { meta: Meta::root_owned(0o777, 0), kind: Kind::Hardlink(path(to)) };
    let mut builder = system();
    add(&mut builder, "usr/bin/a", Inode::symlink("nowhere", 0));
    for name in ["b", "c"] {
        add(&mut builder, &format!("usr/bin/{name}"), link("usr/bin/a"));
    }
    add_file(&mut builder, "usr/lib/target", 0o644, "");
    add(&mut builder, "usr/bin/d", Inode::symlink("../lib/target", 0));
    add(&mut builder, "usr/bin/e", link("usr/bin/d"));
    record(&mut builder, &[("links", &["/usr/bin/b", "/usr/bin/c", "/usr/bin/e"])]);
    let selected = select(&builder, &system(), &options(&["links"])).unwrap();
    assert_eq!(
        selected.files.dump(),
        "/usr/bin/b symlink 0777 0:0 0 to=nowhere\n/usr/bin/c hardlink 0777 0:0 0 to=/usr/bin/b\n\
         /usr/bin/e symlink 0777 0:0 0 to=../lib/target\n"
    );
    assert!(selected.notes.iter().any(|note| note == "/usr/bin/e leads to /usr/lib/target, which the image lacks"));
    // What the base has is the same by whatever names.
    let mut base = system();
    add(&mut base, "usr/bin/0", Inode::symlink("nowhere", 0));
    add(&mut base, "usr/bin/b", link("usr/bin/0"));
    add(&mut base, "usr/bin/c", Inode::symlink("elsewhere", 0));
    let error = select(&builder, &base, &options(&["links"])).unwrap_err().to_string();
    assert!(
        error.contains("/usr/bin/c") && error.contains("another target") && !error.contains("/usr/bin/b "),
        "{error}"
    );
}

#[test]
fn owners_are_led_by_name() {
    let mut builder = system();
    add_file(&mut builder, "etc/group", 0o644, "root:x:0:\nshadow:x:99:\n");
    let meta = Meta { gid: 99, ..Meta::root_owned(0o2755, 0) };
    let mut capable = Meta::root_owned(0o755, 0);
    capable.xattrs.insert(b"security.capability"[..].into(), b"\x01"[..].into());
    capable.xattrs.insert(b"security.selinux"[..].into(), b"label"[..].into());
    add(&mut builder, "usr/bin/a", Inode::file(meta, Content::of("")));
    add(&mut builder, "usr/bin/b", Inode::file(capable, Content::of("")));
    record(&mut builder, &[("pack", &["/usr/bin/a", "/usr/bin/b"])]);
    let selected = select(&builder, &system(), &options(&["pack"])).unwrap();
    assert_eq!(
        dump(&selected),
        [
            "+ /usr/bin/a file 2755 root:shadow EMPTY pack-1-1.all",
            "+ /usr/bin/b file 0755 root:root EMPTY security.capability=\\x01 pack-1-1.all"
        ]
    );
    assert_eq!(selected.files.entries()[&path("usr/bin/a")].meta.gid, 42);
    assert_eq!(selected.files.entries()[&path("usr/bin/b")].meta.xattrs.len(), 1);
}
