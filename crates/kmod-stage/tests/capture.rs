//! Captures of file systems that real programs made: GNU tar, and podman where it can run.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)]

mod host;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use host::Image;
use kmod_stage::capture::{CaptureError, CaptureOptions, Captured, Export, ExportError, capture};
use oci_assemble::layer::{Contents, IndexOptions, LayerDraft, write_tar};
use oci_assemble::testing::memory::{Memory, add};
use oci_assemble::tree::{Content, FileTree, Inode, Kind, Meta, TreeDelta, TreePath};

const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn options() -> CaptureOptions {
    let tmpfiles = path("usr/lib/tmpfiles.d/tools.conf");
    CaptureOptions { marker: path(".started"), mounts: vec![path("packages")], tmpfiles }
}

fn text(contents: &dyn Contents, content: &Content) -> io::Result<String> {
    let mut text = String::new();
    contents.open(content)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Paths, kinds, modes, times and attributes; sizes and digests are left out.
fn shape(delta: &TreeDelta) -> Vec<String> {
    let words = |line: &str| {
        let left = line.split(' ').filter(|word| !word.starts_with("size=") && !word.starts_with("sha256:"));
        left.collect::<Vec<_>>().join(" ")
    };
    delta.dump().lines().map(words).collect()
}

/// A shell, in the directory below which the paths are.
fn script(directory: &Path, text: &str) {
    let status = Command::new("sh").args(["-euc", text]).current_dir(directory).status().unwrap();
    assert!(status.success());
}

#[test]
fn files_are_read_out_of_the_tar() {
    let temp = tempfile::tempdir().unwrap();
    script(
        temp.path(),
        "mkdir -p tree/usr/bin tree/var/lib/tool; cd tree; : >.started; echo tool >usr/bin/tool; ln usr/bin/tool usr/bin/also
         echo old >usr/bin/old; touch -d @1000000000 usr/bin/old; : >usr/bin/empty; cp usr/bin/tool usr/bin/same
         cd ..; tar --owner=0 --group=0 --mode=u=rwX,go=rX -cf export.tar -C tree .started usr var",
    );
    let tar = temp.path().join("export.tar");
    let export = Export::read(File::open(&tar).unwrap(), IndexOptions::default()).unwrap();
    let copy = tempfile::tempfile().unwrap();
    let saved = Export::save(File::open(&tar).unwrap(), copy.try_clone().unwrap(), IndexOptions::default()).unwrap();
    assert_eq!(saved.tree, export.tree);
    let base = FileTree::new();
    let Captured { delta, removals, left_out, report } =
        capture(&base, &Memory::default(), &saved, &options()).unwrap();
    assert_eq!(
        shape(&delta),
        [
            "/usr dir 0755 0:0 0",
            "/usr/bin dir 0755 0:0 0",
            "/usr/bin/also file 0644 0:0 0",
            "/usr/bin/empty file 0644 0:0 0",
            "/usr/bin/old file 0644 0:0 1000000000",
            "/usr/bin/same file 0644 0:0 0",
            "/usr/bin/tool hardlink 0644 0:0 0 to=/usr/bin/also",
            "/usr/lib/tmpfiles.d/tools.conf file 0644 0:0 0",
            "/var dir 0755 0:0 0",
        ]
    );
    assert!(removals.is_empty() && left_out.is_empty() && report.count() == 2, "{report:?}");
    let read = |name: &str| text(&saved.contents, delta.entries()[&path(name)].content().unwrap());
    assert_eq!(read("usr/bin/also").unwrap(), "tool\n");
    assert_eq!((read("usr/bin/same").unwrap().as_str(), read("usr/bin/empty").unwrap().as_str()), ("tool\n", ""));
    assert!(
        read("usr/lib/tmpfiles.d/tools.conf")
            .unwrap()
            .ends_with("\nd /var/lib 0755 root root -\nd /var/lib/tool 0755 root root -\n")
    );

    // A stream that changed gives no other bytes.
    let size = copy.metadata().unwrap().len();
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    copy.read_exact_at(&mut bytes, 0).unwrap();
    let at = bytes.windows(4).position(|window| window == b"old\n").unwrap();
    copy.write_at(b"evil", at as u64).unwrap();
    assert!(read("usr/bin/old").unwrap_err().to_string().contains("changed since it was read"));
    copy.set_len(at as u64).unwrap();
    assert_eq!(read("usr/bin/old").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_stream_that_is_no_whole_export_is_refused() {
    struct Fails(File);
    impl Read for Fails {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(io::Error::other("the runtime failed")),
                read => Ok(read),
            }
        }
    }
    let temp = tempfile::tempdir().unwrap();
    script(
        temp.path(),
        "mkdir d; : >d/.wh.x; tar -cf marked.tar d; : >d/a; tar -cf whole.tar d/a; head -c 700 whole.tar >cut.tar",
    );
    let read = |name: &str| Export::read(File::open(temp.path().join(name)).unwrap(), IndexOptions::default());
    assert!(matches!(read("marked.tar"), Err(ExportError::WhiteoutName { path: found }) if found == path("d")));
    assert!(matches!(read("cut.tar"), Err(ExportError::Index(_))));
    let whole = Fails(File::open(temp.path().join("whole.tar")).unwrap());
    assert!(matches!(
        Export::save(whole, tempfile::tempfile().unwrap(), IndexOptions::default()),
        Err(ExportError::Index(_))
    ));
    let unmarked = capture(&FileTree::new(), &Memory::default(), &read("whole.tar").unwrap(), &options());
    assert!(matches!(unmarked, Err(CaptureError::NoMarker { .. })));
}

/// Says why a test does not run here; where nobody reads that, it is an error.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: {reason}");
    eprintln!("skipped: {reason}");
}

fn podman(arguments: &[&str]) -> io::Result<Output> {
    Command::new("podman").args(arguments).output()
}

/// An image and a container of this test alone, removed at the end.
struct Container {
    name: String,
    image: String,
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = podman(&["rm", "--force", &self.name]);
        let _ = podman(&["rmi", "--force", &self.image]);
    }
}

/// Runs `text` in a container of `tar`, and gives the container; nothing where podman cannot run.
fn run(tar: &Path, text: &str) -> Option<Container> {
    let name = format!("assemble-capture-{}", std::process::id());
    let container = Container { image: format!("localhost/{name}:test"), name };
    let import = match podman(&["import", tar.to_str().unwrap(), &container.image]) {
        Ok(import) => import,
        Err(error) => {
            skip(&format!("podman: {error}"));
            return None;
        }
    };
    if !import.status.success() {
        skip(&String::from_utf8_lossy(&import.stderr));
        return None;
    }
    // Machines with both versions of control groups need the other runtime and lower limits.
    let limited = ["--runtime=runc", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];
    let mut said = String::new();
    for extra in [&[][..], &limited] {
        let fixed = ["--name", &container.name, "--network=none", &container.image, "/bin/sh", "-euc", text];
        let output = podman(&[&["run"], extra, &fixed].concat()).unwrap();
        if output.status.success() {
            return Some(container);
        }
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        let _ = podman(&["rm", "--force", &container.name]);
    }
    skip(&said);
    None
}

/// A small system with the programs of this machine that the script needs.
fn base() -> (FileTree, Memory) {
    let mut image = Image { tree: FileTree::new() };
    for directory in ["bin", "sbin", "lib", "lib64"] {
        add(&mut image.tree, &format!("usr/{directory}"), Inode::directory(Meta::root_owned(0o755, 0)));
        add(&mut image.tree, directory, Inode::symlink(format!("usr/{directory}"), 0));
    }
    for program in ["/bin/sh", "/bin/touch", "/bin/chmod", "/bin/chown", "/bin/mkdir", "/bin/ln", "/bin/rm"] {
        image.program(&format!("usr{program}"), &fs::canonicalize(program).unwrap());
    }
    image.program("usr/bin/setcap", Path::new("/usr/sbin/setcap"));
    for (name, text) in [
        ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("etc/hosts", "127.0.0.1 base\n"),
        ("usr/share/one", "1\n"),
        ("usr/share/gone", "1\n"),
        ("usr/share/dir/x", "1\n"),
        ("usr/share/kept/x", "1\n"),
        ("usr/share/ping", "1\n"),
    ] {
        image.file(name, text);
    }
    let link = |to: &str| Inode { meta: Meta::default(), kind: Kind::Hardlink(path(to)) };
    image.tree.insert(path("usr/share/two"), link("usr/share/one"));
    image.tree.insert(path("usr/share/kept/y"), link("usr/share/kept/x"));
    // The merged tree of an image names contents by digest.
    let (mut tree, mut memory) = (FileTree::new(), Memory::default());
    for (path, inode) in image.tree.iter() {
        let mut inode = inode.clone();
        if let Kind::File(Content::Bytes(bytes)) = &inode.kind {
            inode.kind = Kind::File(memory.put(bytes.to_vec()));
        }
        if path.to_str() == Some("usr/share/ping") {
            inode.meta.xattrs.insert(b"security.capability".as_slice().into(), NET_RAW.as_slice().into());
            inode.meta.xattrs.insert(b"user.note".as_slice().into(), b"x".as_slice().into());
        }
        tree.insert(path.clone(), inode);
    }
    (tree, memory)
}

const SCRIPT: &str = "
    : >/.started; mkdir /packages
    echo one >/usr/bin/shipped; touch -d @1000000000 /usr/bin/shipped
    setcap cap_net_raw+ep /usr/bin/shipped
    chmod 0600 /usr/share/one
    touch /usr/share/kept/x /usr/share/kept
    rm /usr/share/gone
    rm -r /usr/share/dir; ln -s kept /usr/share/dir
    echo 'tool:x:100:100::/:/bin/false' >>/etc/passwd
    echo 'tool:x:100:' >>/etc/group
    echo 'tool:!:20777::::::' >>/etc/shadow; : >/etc/shadow-
    mkdir -p /var/lib/tool /run/tool /var/cache/apt; chown 100:100 /var/lib/tool; echo x >/var/lib/tool/state
    echo x >/var/cache/apt/pkgcache.bin; echo x >/tmp/x";

#[test]
fn a_container_gives_what_its_script_changed() {
    let temp = tempfile::tempdir().unwrap();
    let (mut base, memory) = base();
    add(&mut base, "tmp", Inode::directory(Meta::root_owned(0o1777, 0)));
    let draft = LayerDraft::new("base", &TreeDelta::from(&base), &FileTree::new(), 0).unwrap();
    let tar = temp.path().join("base.tar");
    let mut file = File::create(&tar).unwrap();
    write_tar(&draft, &memory, &mut file).unwrap();
    file.flush().unwrap();
    // What exports lose.
    let mut labelled = FileTree::new();
    for (path, inode) in base.iter() {
        let mut inode = inode.clone();
        inode.meta.xattrs.insert(b"security.selinux".as_slice().into(), b"label".as_slice().into());
        labelled.insert(path.clone(), inode);
    }
    let Some(container) = run(&tar, SCRIPT) else { return };
    let exported = temp.path().join("export.tar");
    assert!(podman(&["export", "-o", exported.to_str().unwrap(), &container.name]).unwrap().status.success());
    let export = Export::read(File::open(&exported).unwrap(), IndexOptions::default()).unwrap();
    for stub in ["dev", "proc", "sys", "run/.containerenv"] {
        assert!(export.tree.get(&path(stub)).is_some(), "podman leaves {stub}");
    }
    let Captured { removals, delta, report, left_out } = capture(&labelled, &memory, &export, &options()).unwrap();
    let capability =
        r"security.capability=\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let mut expected = vec![
        "/usr/share/gone whiteout".to_owned(),
        "/etc/group file 0755 0:0 0".into(),
        "/etc/passwd file 0755 0:0 0".into(),
        "/etc/shadow file 0755 0:0 0".into(),
        format!("/usr/bin/shipped file 0644 0:0 1000000000 {capability}"),
        "/usr/lib/tmpfiles.d/tools.conf file 0644 0:0 0".into(),
        "/usr/share/dir symlink 0777 0:0 0 to=kept".into(),
        "/usr/share/one file 0600 0:0 0".into(),
    ];
    // Storage drivers without layers keep links together that overlayfs breaks when one name of a file changes.
    if delta.entries().contains_key(&path("usr/share/two")) {
        expected.push("/usr/share/two hardlink 0600 0:0 0 to=/usr/share/one".into());
    }
    if delta.entries().contains_key(&path("usr/share/kept/y")) {
        expected.insert(7, "/usr/share/kept/y file 0755 0:0 0".into());
    }
    let shape: Vec<String> = shape(&delta).into_iter().filter(|line| !line.starts_with("/var dir")).collect();
    assert_eq!(shape, expected);
    assert_eq!(removals.dump(), "/usr/share/dir whiteout\n");
    assert!(left_out.is_empty(), "{left_out:?}");
    let read = |name: &str| text(&export.contents, delta.entries()[&path(name)].content().unwrap()).unwrap();
    assert_eq!(read("etc/shadow"), "root:*:19000:0:99999:7:::\ntool:!:::::::\n");
    assert!(read("usr/lib/tmpfiles.d/tools.conf").ends_with("\nd /var/lib/tool 0755 tool tool -\n"));
    assert_eq!(read("usr/bin/shipped"), "one\n");
    let rules: Vec<&str> = report.0.iter().map(|dropped| dropped.rule.pattern).collect();
    for rule in ["/dev", "/run", "/tmp", "/etc/shadow-", "/var/cache/apt", "/var/**"] {
        assert!(rules.contains(&rule), "{rule} in {rules:?}");
    }

    // Both layers are lawful, one on the other.
    let first = LayerDraft::new("removals", &removals, &labelled, 86_400).unwrap();
    let between = labelled.apply(first.delta()).unwrap();
    LayerDraft::new("packages", &delta, &between, 86_400).unwrap();
}
