//! The image's own depmod, with the files it takes to run it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use oci_assemble::elf::{self, ElfError, Libraries, Resolution};
use oci_assemble::layer::{Contents, start};
use oci_assemble::tree::{Content, FileTree, Resolved, TreePath};

use super::{DepmodError, Placed};

/// Where depmod is, best first; a symlink to `kmod` in most distributions.
const PLACES: &[&str] = &["usr/sbin/depmod", "sbin/depmod", "usr/bin/depmod", "bin/depmod"];

/// Where dynamic linkers look without being told. The sparse root has no linker cache, so every library stands in all
/// of them: wherever this linker looks first, it finds the one that was chosen here.
const LIBRARY_DIRECTORIES: &[&str] = &["lib64", "usr/lib64", "lib", "usr/lib"];

/// How the names of those libraries begin that the kmod of any distribution is linked with.
const LIKELY_LIBRARIES: &[&str] =
    &["ld-", "ld64", "libc.", "libcrypto.", "libkmod.", "liblzma.", "libz.", "libzstd.", "libxxhash."];

/// Libraries that kmod, from 34 on, can be built to load only when a module is compressed (`dlopen` in its
/// meson_options.txt; `libkmod/libkmod-file-*.c`). Nothing that the linker reads names them.
const LATE_LIBRARIES: &[&[u8]] = &[b"liblzma.so.5", b"libz.so.1", b"libzstd.so.1"];

/// The largest file that is read before it is known to be needed: libcrypto has 6 MiB.
const LIKELY_MAX: u64 = 16 << 20;

/// Enough of a file to know its machine.
const IDENTITY_BYTES: u64 = 64;

/// The image's depmod and its libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDepmod {
    /// The program, symlinks followed; also its path in the sparse root.
    pub path: TreePath,
    /// Program, dynamic linker and libraries. A library has one entry for each of its directories.
    pub files: Vec<Placed>,
}

impl ImageDepmod {
    /// Finds depmod in `tree` and what it is loaded with. `here` is the OCI name of the architecture that has to run it.
    pub fn plan(tree: &FileTree, contents: &dyn Contents, here: &str) -> Result<Self, DepmodError> {
        let path = find(tree).ok_or(DepmodError::NoImageDepmod)?;
        let unusable = |source| DepmodError::ImageDepmod { path: path.clone(), source };
        let head = start(tree, contents, &path, IDENTITY_BYTES).map_err(|error| unusable(error.into()))?;
        let identity = head.as_deref().and_then(elf::identity).ok_or_else(|| unusable(ElfError::NotElf))?;
        if identity.machine.architecture() != Some(here) {
            return Err(DepmodError::ForeignMachine { machine: identity.machine });
        }
        let mut files = Vec::new();
        let mut missing = Vec::new();
        place(tree, &path, path.clone(), &mut files);
        for library in libraries(tree, contents, &path).map_err(unusable)? {
            let Some(found) = &library.found else {
                missing.push(String::from_utf8_lossy(&library.name).into_owned());
                continue;
            };
            if library.name.contains(&b'/') {
                place(tree, found, TreePath::new(&library.name)?, &mut files);
            } else {
                for directory in LIBRARY_DIRECTORIES {
                    place(tree, found, TreePath::new(directory)?.join(&library.name)?, &mut files);
                }
            }
        }
        if missing.is_empty() { Ok(Self { path, files }) } else { Err(DepmodError::Libraries { path, missing }) }
    }
}

/// What depmod is loaded with, and what it may load later as far as that is there.
fn libraries(tree: &FileTree, contents: &dyn Contents, path: &TreePath) -> Result<Vec<Resolution>, ElfError> {
    let mut libraries = Libraries::new(tree, contents)?;
    let mut needed = libraries.needed(path)?;
    // A static one loads nothing.
    if !needed.is_dynamic() {
        return libraries.resolve(path);
    }
    let late = LATE_LIBRARIES.iter().map(|name| name.to_vec());
    let late: Vec<Vec<u8>> = late.filter(|name| !needed.needed.contains(name)).collect();
    needed.needed.extend(late.iter().cloned());
    libraries.learn(path.clone(), Some(needed.identity), Some(needed));
    let mut found = libraries.resolve(path)?;
    found.retain(|library| library.found.is_some() || !late.contains(&library.name));
    Ok(found)
}

fn find(tree: &FileTree) -> Option<TreePath> {
    let places = PLACES.iter().filter_map(|place| tree.lookup(place));
    places.map(|(path, _)| path).find(|path| tree.content(path).is_some())
}

/// The OCI name of the architecture this program is built for.
pub(super) fn this_machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Puts the file at `from` to `to`, unless something is there.
fn place(tree: &FileTree, from: &TreePath, to: TreePath, files: &mut Vec<Placed>) {
    if let Some(content) = tree.content(from)
        && files.iter().all(|file| file.path != to)
    {
        files.push(Placed { path: to, also: None, content: content.clone(), mode: 0o755 });
    }
}

/// Files that [`ImageDepmod::plan`] will most probably read: depmod, common libraries, the linker's configuration.
/// A guess that is wrong costs time and nothing else.
pub(super) fn likely(tree: &FileTree, contents: &dyn Contents) -> BTreeSet<Content> {
    let mut paths: BTreeSet<TreePath> = find(tree).into_iter().collect();
    paths.extend(tree.lookup("etc/ld.so.conf").map(|(path, _)| path));
    let mut within = |directory: &TreePath, wanted: &dyn Fn(&[u8]) -> bool| {
        let found = tree.children(directory).map(|(path, _)| path).filter(|path| wanted(path.name()));
        paths.extend(found.filter_map(|path| tree.lookup(path.as_bytes())).map(|(path, _)| path));
    };
    if let Resolved::Found(directory) = tree.resolve("etc/ld.so.conf.d") {
        within(&directory, &|name| name.ends_with(b".conf"));
    }
    for directory in LIBRARY_DIRECTORIES.iter().map(|name| tree.resolve(name)) {
        let Resolved::Found(directory) = directory else { continue };
        let library = |name: &[u8]| LIKELY_LIBRARIES.iter().any(|start| name.starts_with(start.as_bytes()));
        within(&directory, &library);
        for (multiarch, _) in tree.children(&directory).filter(|(path, _)| path.name().ends_with(b"-linux-gnu")) {
            within(multiarch, &library);
        }
    }
    let contents_of = paths.iter().filter_map(|path| tree.content(path));
    contents_of.filter(|content| content.size() <= LIKELY_MAX && contents.has(content)).cloned().collect()
}

/// Contents of which some were read before.
pub(super) struct Prefetched<'a> {
    contents: &'a dyn Contents,
    read: &'a BTreeMap<Content, Vec<u8>>,
}

impl<'a> Prefetched<'a> {
    pub(super) fn new(contents: &'a dyn Contents, read: &'a BTreeMap<Content, Vec<u8>>) -> Self {
        Self { contents, read }
    }
}

impl Contents for Prefetched<'_> {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        match self.read.get(content) {
            Some(bytes) => Ok(Box::new(bytes.as_slice())),
            None => self.contents.open(content),
        }
    }

    fn has(&self, content: &Content) -> bool {
        self.read.contains_key(content) || self.contents.has(content)
    }
}
