//! Images made of files of this machine.
#![allow(clippy::unwrap_used, dead_code)]

pub(crate) mod disk;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_assemble::layer::Contents;
use oci_assemble::testing::memory::{add, add_file};
use oci_assemble::tree::{Content, FileTree, Inode, Kind, Meta, TreePath};

/// The release of the kernel of every image here.
pub(crate) const KERNEL: &str = "9.9.9-test";

/// A tree whose files are all in memory.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) tree: FileTree,
}

impl Contents for Image {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        match content {
            Content::Bytes(bytes) => Ok(Box::new(&bytes[..])),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Image {
    /// A merged-usr tree with this machine's depmod, its libraries and three modules.
    pub(crate) fn of_this_machine() -> Self {
        let mut image = Self { tree: FileTree::new() };
        for directory in ["bin", "sbin", "lib", "lib64"] {
            add(&mut image.tree, &format!("usr/{directory}"), Inode::directory(Meta::root_owned(0o755, 0)));
            add(&mut image.tree, directory, Inode::symlink(format!("usr/{directory}"), 0));
        }
        let program = fs::canonicalize("/usr/sbin/depmod").unwrap();
        image.program("usr/bin/kmod", &program);
        add(&mut image.tree, "usr/sbin/depmod", Inode::symlink("/bin/kmod", 0));
        let top = format!("usr/lib/modules/{KERNEL}");
        image.module("kernel/a.ko", "a", KERNEL, "", &["-DEXPORTS=a_symbol"]);
        image.module("kernel/b.ko.xz", "b", KERNEL, "a", &["-DUSES=a_symbol"]);
        image.module("updates/c-c.ko.zst", "c_c", KERNEL, "inside", &[]);
        for (name, text) in [
            ("modules.order", "kernel/b.ko\nkernel/a.ko\n"),
            ("modules.builtin", "kernel/fs/inside.ko\n"),
            ("modules.builtin.modinfo", "inside.alias=char-major-1-*\0inside.license=GPL\0"),
            ("modules.dep", "stale"),
            ("modules.weakdep", "stale"),
            ("vmlinuz", "kernel"),
        ] {
            image.file(&format!("{top}/{name}"), text);
        }
        image
    }

    /// Puts a program of this machine and its libraries where the loader looks for them.
    pub(crate) fn program(&mut self, path: &str, host: &Path) {
        self.file(path, fs::read(host).unwrap());
        let libraries = Command::new("ldd").arg(host).output().unwrap().stdout;
        let libraries = String::from_utf8(libraries).unwrap();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            let below = library.strip_prefix("/usr").unwrap_or(library);
            self.file(&format!("usr{below}"), fs::read(library).unwrap());
        }
    }

    pub(crate) fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        add_file(&mut self.tree, path, 0o755, bytes);
    }

    pub(crate) fn content(&mut self, path: &str, content: Content) {
        add(&mut self.tree, path, Inode::file(Meta::root_owned(0o644, 0), content));
    }

    /// A module that is compressed as its name says.
    pub(crate) fn module(&mut self, path: &str, name: &str, release: &str, depends: &str, more: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let object = directory.path().join("module.o");
        let source = source(directory.path(), include_str!("../depmod/module.c"));
        let mut compiler = Command::new("cc");
        compiler.args(["-c", "-fno-pic", "-o"]).arg(&object).arg(source).arg(format!("-DNAME={name}"));
        compiler.arg(format!("-DRELEASE=\"{release}\"")).arg(format!("-DDEPENDS=\"{depends}\"")).args(more);
        assert!(compiler.status().unwrap().success(), "cc failed");
        let plain = fs::read(object).unwrap();
        let bytes = match path.rsplit('.').next().unwrap() {
            "xz" => packed("xz", &["--check=crc32", "-c"], &plain, directory.path()),
            "zst" => packed("zstd", &["-c"], &plain, directory.path()),
            _ => plain,
        };
        self.file(&format!("usr/lib/modules/{KERNEL}/{path}"), bytes);
    }

    pub(crate) fn bytes(&self, path: &TreePath) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.open(self.tree.content(path).unwrap()).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn depmod_path(&self) -> TreePath {
        self.tree.lookup("usr/sbin/depmod").unwrap().0
    }

    pub(crate) fn without_depmod(&self) -> Self {
        let mut image = self.clone();
        image.tree.remove(&TreePath::new("usr/sbin/depmod").unwrap());
        image
    }

    pub(crate) fn remove_libraries(&mut self, name: &str) {
        let found: Vec<_> =
            self.tree.iter().map(|(path, _)| path.clone()).filter(|path| path.name() == name.as_bytes()).collect();
        assert!(!found.is_empty());
        for path in &found {
            self.tree.remove(path);
        }
    }

    pub(crate) fn with_evil_depmod(mut self, mode: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("evil");
        let source = source(directory.path(), include_str!("../depmod/evil.c"));
        let mut compiler = Command::new("cc");
        compiler.arg(format!("-DMODE={mode}")).arg("-o").arg(&program).arg(source);
        assert!(compiler.status().unwrap().success(), "cc failed");
        self.program("usr/bin/kmod", &program);
        self
    }
}

/// A C file in `directory`: where the test came from may be out of reach for who runs it.
fn source(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("source.c");
    fs::write(&path, text).unwrap();
    path
}

fn packed(program: &str, arguments: &[&str], bytes: &[u8], directory: &Path) -> Vec<u8> {
    let file = directory.join("plain");
    fs::write(&file, bytes).unwrap();
    let output = Command::new(program).args(arguments).arg(&file).output().unwrap();
    assert!(output.status.success(), "{program} failed");
    output.stdout
}

/// Writes `tree` below `directory`: directories, files and symlinks.
pub(crate) fn on_disk(tree: &FileTree, contents: &dyn Contents, directory: &Path) {
    for (path, inode) in tree.iter().filter(|(path, _)| !path.is_root()) {
        let target = directory.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
        match &inode.kind {
            Kind::Directory => fs::create_dir(&target).unwrap(),
            Kind::Symlink(link) => symlink(std::ffi::OsStr::from_bytes(link), &target).unwrap(),
            Kind::File(content) => {
                let mut bytes = Vec::new();
                contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
                fs::write(&target, bytes).unwrap();
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

/// The index files that this machine's depmod writes for the tree in `directory`, by name.
pub(crate) fn plain_depmod(directory: &Path, kernel: &str) -> BTreeMap<String, Vec<u8>> {
    let modules = directory.join("usr/lib/modules").join(kernel);
    let indexes = || {
        let entries = fs::read_dir(&modules).unwrap().map(|entry| entry.unwrap());
        let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
        let inputs = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
        entries
            .filter(|entry| name(entry).starts_with("modules.") && !inputs.contains(&name(entry).as_str()))
            .map(|entry| (name(&entry), entry.path()))
            .collect::<BTreeMap<_, _>>()
    };
    for old in indexes().values() {
        fs::remove_file(old).unwrap();
    }
    let configuration = ["etc/depmod.d", "usr/local/lib/depmod.d", "usr/lib/depmod.d"];
    let configuration = configuration.iter().flat_map(|below| ["-C".into(), directory.join(below)]);
    let depmod = Command::new("depmod").arg("-b").arg(directory).args(configuration).arg(kernel).output().unwrap();
    assert!(depmod.status.success() && depmod.stderr.is_empty(), "{}", String::from_utf8_lossy(&depmod.stderr));
    indexes().into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}
