//! Databases that the package managers of this machine make and judge.
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::process::Command;

use oci_assemble::layer::{Compression, IndexOptions, LayerDraft, SealOptions, seal};
use oci_assemble::testing::memory::{Memory, add_file};
use oci_assemble::tree::FileTree;

use super::*;

const DPKG: &str = "usr/lib/dpkg";
const RPM: &str = "usr/lib/sysimage/rpm/rpmdb.sqlite";

fn export(files: &[(String, Vec<u8>)]) -> Export {
    let mut tree = FileTree::new();
    for (path, bytes) in files {
        add_file(&mut tree, path, 0o644, bytes.clone());
    }
    let delta = TreeDelta::between(&FileTree::new(), &tree);
    let draft = LayerDraft::new("export", &delta, &FileTree::new(), 0).unwrap();
    let options = SealOptions { compression: Compression::None, threads: NonZero::<usize>::MIN };
    let (_, tar) = seal(&draft, &Memory::default(), Vec::new(), options).unwrap();
    Export::save(&tar[..], tempfile::tempfile().unwrap(), IndexOptions::default()).unwrap()
}

/// The image `tree` with `packages` of the builder entered, beside a file that the stage brings.
fn with(tree: &FileTree, packages: &[&str], export: &Export) -> Result<FileTree, RecordError> {
    let epoch = Epoch::new(7).unwrap();
    let names: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
    let mut delta = taken(&names, export, epoch)?;
    assert_eq!(taken(&names, export, epoch)?, delta, "the same again");
    assert!(
        delta.entries().values().all(|inode| inode.meta.mtime == 7),
        "nothing has a date of the builder: {delta:?}"
    );
    let mut file = FileTree::new();
    add_file(&mut file, "usr/bin/tool", 0o755, "tool");
    delta = TreeDelta::between(&FileTree::new(), &file).then(&delta);
    let view = View { base: tree, tree, contents: &Memory::default(), epoch, architecture: "amd64" };
    let contents = Both(&export.contents);
    let delta = entered(delta, &contents, view)?;
    assert!(delta.entries().keys().all(|path| !path.to_string().contains("assemble-record")), "no image has it");
    let mut after = tree.clone().apply(&delta).unwrap();
    // Contents that the builder has become bytes, so that another builder can be laid on top.
    let stored: Vec<_> = after.iter().map(|(path, inode)| (path.clone(), inode.clone())).collect();
    for (path, inode) in stored.into_iter().filter(|(path, _)| delta.entries().contains_key(path)) {
        if after.content(&path).is_some() {
            let bytes = oci_assemble::layer::whole(&after, &contents, &path, 1 << 30).unwrap();
            after.insert(path, Inode::file(inode.meta, oci_assemble::tree::Content::of(bytes)));
        }
    }
    Ok(after)
}

/// Contents of an export, and bytes.
struct Both<'a>(&'a crate::capture::CapturedContents);

impl oci_assemble::layer::Contents for Both<'_> {
    fn open<'a>(&'a self, content: &'a oci_assemble::tree::Content) -> std::io::Result<Box<dyn std::io::Read + 'a>> {
        match content {
            oci_assemble::tree::Content::Bytes(bytes) => Ok(Box::new(&bytes[..])),
            other => self.0.open(other),
        }
    }
}

fn text(tree: &FileTree, path: &str) -> String {
    let path = TreePath::new(path).unwrap();
    String::from_utf8(oci_assemble::layer::whole(tree, &Memory::default(), &path, 1 << 30).unwrap()).unwrap()
}

fn stanza(name: &str, version: &str, status: &str, more: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok {status}\nArchitecture: amd64\nVersion: {version}\n{more}Description: x\n\n"
    )
}

#[test]
fn dpkg_has_them_as_if_it_had_installed_them() {
    let conffiles = "Conffiles:\n /etc/tool.conf newconffile\n /etc/kept.conf 0123456789abcdef0123456789abcdef\n";
    let status = stanza("tool", "2", "unpacked", conffiles)
        + &stanza("libtool", "2", "unpacked", "")
        + &stanza("tool-dkms", "2", "unpacked", "");
    let builder = export(
        &[
            (format!("{DPKG}/status"), status.as_str()),
            (format!("{DPKG}/info/tool.list"), "/.\n/usr/bin/tool\n"),
            (format!("{DPKG}/info/tool.conffiles"), "/etc/tool.conf\n"),
            (format!("{DPKG}/info/libtool:amd64.list"), "/.\n"),
            (format!("{DPKG}/info/tool-dkms.list"), "/.\n"),
            (format!("{DPKG}/info/tool.more.list"), "of another package\n"),
            (SUMS.to_owned(), "d41d8cd98f00b204e9800998ecf8427e  /etc/tool.conf\n"),
            ("etc/debian_version".to_owned(), "12\n"),
        ]
        .map(|(path, text)| (path, text.as_bytes().to_vec())),
    );
    let mut image = FileTree::new();
    add_file(&mut image, "etc/debian_version", 0o644, "12\n");
    let before = stanza("base", "1", "installed", "") + &stanza("tool", "1", "installed", "");
    add_file(&mut image, &format!("{DPKG}/status"), 0o640, before);
    let after = with(&image, &["tool", "libtool"], &builder).unwrap();
    let sums = conffiles.replace("newconffile", "d41d8cd98f00b204e9800998ecf8427e");
    let expected = stanza("base", "1", "installed", "")
        + &stanza("tool", "2", "installed", &sums)
        + &stanza("libtool", "2", "installed", "");
    assert_eq!(text(&after, &format!("{DPKG}/status")), expected);
    let status = after.get(&TreePath::new(format!("{DPKG}/status")).unwrap()).unwrap();
    assert_eq!((status.meta.mode, status.meta.mtime), (0o640, 0));
    let info = TreePath::new(format!("{DPKG}/info")).unwrap();
    let names: Vec<String> = after.children(&info).map(|(path, _)| path.to_string()).collect();
    let at = |name: &str| format!("/{DPKG}/info/{name}");
    assert_eq!(names, [at("libtool:amd64.list"), at("tool.conffiles"), at("tool.list")]);
    assert_eq!(with(&after, &["tool", "libtool"], &builder).unwrap(), after, "once more changes nothing");
    assert!(matches!(with(&image, &["none"], &builder), Err(RecordError::NoPackage { .. })));
    let error = with(&FileTree::new(), &["tool"], &builder).unwrap_err();
    assert_eq!(
        error.to_string(),
        "packages are entered into the databases of dpkg and of rpm's sqlite form; the image has none"
    );
}

/// What the command prints; `None`, after saying so, where it is not installed. With `CI=true` that is an error.
fn stdout(command: &mut Command) -> Option<String> {
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{command:?}: {error}");
            eprintln!("left out: {command:?}: {error}");
            None
        }
    }
}

fn define(name: &str, value: &Path) -> String {
    format!("--define={name} {}", value.display())
}

/// Builds packages and enters them into a database of their own: the database.
fn installed(work: &Path, name: &str, packages: &[(&str, &str)]) -> Option<Vec<u8>> {
    let mut files = Vec::new();
    for (package, version) in packages {
        let spec = format!(
            "Name: {package}\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: x\nProvides: virtual({package})\n\
             %description\nx\n%install\nmkdir -p %{{buildroot}}/usr/share/{package}\n\
             echo {version} >%{{buildroot}}/usr/share/{package}/file\n%files\n/usr/share/{package}\n"
        );
        fs::write(work.join("spec"), spec).unwrap();
        let out = work.join(format!("{package}-{version}"));
        let mut build = Command::new("rpmbuild");
        build.args(["--quiet", "-bb", "--target=x86_64"]).arg(define("_topdir", &work.join("build")));
        stdout(build.arg(define("_rpmdir", &out)).arg(work.join("spec")))?;
        files.push(out.join(format!("x86_64/{package}-{version}-1.x86_64.rpm")));
    }
    let database = work.join(name);
    let mut rpm = Command::new("rpm");
    rpm.arg(define("_dbpath", &database)).arg("--define=_db_backend sqlite");
    rpm.args(["--install", "--justdb", "--nodeps", "--noscripts", "--ignorearch", "--ignoreos", "--nosignature"]);
    stdout(rpm.args(files))?;
    Some(fs::read(database.join("rpmdb.sqlite")).unwrap())
}

/// What rpm says of a database in an image.
fn said(work: &Path, tree: &FileTree, words: &[&str]) -> String {
    let directory = tempfile::tempdir_in(work).unwrap();
    let path = TreePath::new(RPM).unwrap();
    let bytes = oci_assemble::layer::whole(tree, &Memory::default(), &path, 1 << 30).unwrap();
    fs::write(directory.path().join("rpmdb.sqlite"), bytes).unwrap();
    let mut rpm = Command::new("rpm");
    rpm.arg(define("_dbpath", directory.path())).arg("--define=_db_backend sqlite").args(words);
    stdout(&mut rpm).unwrap()
}

#[test]
fn rpm_has_them_as_if_it_had_installed_them() {
    let temp = tempfile::tempdir().unwrap();
    let work = temp.path();
    let all = [("base", "1"), ("gcc", "1"), ("tool", "2"), ("tool-dkms", "2"), ("tool-libs", "2")];
    let Some(builder) = installed(work, "builder", &all) else { return };
    let image = installed(work, "image", &[("base", "1"), ("tool", "1"), ("other", "1")]).unwrap();
    let builder = export(&[(RPM.to_owned(), builder)]);
    let mut tree = FileTree::new();
    add_file(&mut tree, RPM, 0o644, image);
    let after = with(&tree, &["tool", "tool-libs"], &builder).unwrap();
    let mut names: Vec<String> = said(work, &after, &["-qa"]).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["base-1-1.x86_64", "other-1-1.x86_64", "tool-2-1.x86_64", "tool-libs-2-1.x86_64"]);
    // Each index leads to them.
    assert_eq!(said(work, &after, &["-q", "--whatprovides", "virtual(tool-libs)"]), "tool-libs-2-1.x86_64\n");
    assert_eq!(said(work, &after, &["-q", "tool", "base"]), "tool-2-1.x86_64\nbase-1-1.x86_64\n");
    assert_eq!(said(work, &after, &["-ql", "tool"]), "/usr/share/tool\n/usr/share/tool/file\n");
    assert_eq!(said(work, &after, &["--verifydb"]), "");
    let path = TreePath::new(RPM).unwrap();
    let database = oci_assemble::layer::whole(&after, &Memory::default(), &path, 1 << 30).unwrap();
    assert_eq!(database[18..20], [1, 1], "it is read without a log");
    assert_eq!(after, with(&tree, &["tool", "tool-libs"], &builder).unwrap(), "the same again");
    assert!(matches!(with(&tree, &["none"], &builder), Err(RecordError::NoPackage { .. })));
}

/// SQLite runs expressions of a schema when it looks at rows; this one would take hours.
#[test]
fn expressions_in_the_schema_of_an_image_do_not_run() {
    let database = |name: &str, more: &str| {
        let mut database = rusqlite::Connection::open_in_memory().unwrap();
        // The smallest header: one entry, the name.
        let mut blob = [0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 3, 232, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1].to_vec();
        blob.extend([name.as_bytes(), b"\0"].concat());
        let tables = "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB); CREATE TABLE Name(key, hnum, idx)";
        database.execute_batch(tables).unwrap();
        database.execute("INSERT INTO Packages VALUES (3, ?1)", [blob]).unwrap();
        database.execute("INSERT INTO Name VALUES (?1, 3, 0)", [name]).unwrap();
        database.execute_batch(more).unwrap();
        database.serialize("main").unwrap().to_vec()
    };
    let slow = "instr(hex(zeroblob(20000000)), hex(zeroblob(10000000))||''1'')";
    let schema = |columns: &str| {
        format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE Name({columns})' WHERE name = 'Name'"
        )
    };
    let checked = schema(&format!("key, hnum, idx, CHECK({slow} = 0)"));
    let image = |more: &str| {
        let mut tree = FileTree::new();
        add_file(&mut tree, RPM, 0o644, database("other", more));
        tree
    };
    let builder = |more: &str| export(&[(RPM.to_owned(), database("tools", more))]);
    with(&image(""), &["tools"], &builder("")).unwrap();
    for (image, builder) in [(image(&checked), builder("")), (image(""), builder(&checked))] {
        assert!(matches!(with(&image, &["tools"], &builder), Err(RecordError::Sqlite { .. })));
    }
}
