//! Where the dynamic linker looks: the directories of `/etc/ld.so.conf` and those built into it.

use std::collections::BTreeSet;

use super::needed::{Class, Identity};
use crate::layer::{Contents, WholeError, whole};
use crate::tree::{FileTree, TreePath, glob};

/// The configuration of ldconfig(8). Its cache is not consulted: it may be older than the tree.
const CONFIGURATION: &str = "etc/ld.so.conf";
/// How deep `include` lines may nest: distributions use one level.
const INCLUDE_DEPTH: usize = 8;
/// The largest configuration file read: real ones have a few lines.
const CONFIGURATION_MAX: u64 = 1 << 20;

/// The directories that the ldconfig configuration of `tree` names, in order.
pub(super) fn configured(tree: &FileTree, contents: &dyn Contents) -> Result<Vec<Vec<u8>>, WholeError> {
    let mut search = Search { tree, contents, seen: BTreeSet::new(), directories: Vec::new() };
    if let Ok(path) = TreePath::new(CONFIGURATION)
        && tree.lookup(path.as_bytes()).is_some()
    {
        search.read(&path, 0)?;
    }
    Ok(search.directories)
}

struct Search<'a> {
    tree: &'a FileTree,
    contents: &'a dyn Contents,
    seen: BTreeSet<TreePath>,
    directories: Vec<Vec<u8>>,
}

impl Search<'_> {
    fn read(&mut self, path: &TreePath, depth: usize) -> Result<(), WholeError> {
        if depth > INCLUDE_DEPTH || !self.seen.insert(path.clone()) {
            return Ok(());
        }
        let bytes = whole(self.tree, self.contents, path, CONFIGURATION_MAX)?;
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            match words.next() {
                Some(b"include") => {
                    for pattern in words {
                        for included in self.matches(path, pattern) {
                            self.read(&included, depth + 1)?;
                        }
                    }
                }
                Some(b"hwcap") | None => {}
                Some(_) => {
                    let places = line.split(|byte| matches!(byte, b':' | b',' | b' ' | b'\t'));
                    self.directories.extend(places.filter(|place| place.starts_with(b"/")).map(<[u8]>::to_vec));
                }
            }
        }
        Ok(())
    }

    /// The files that an `include` pattern names, in order; only its last component may have `*` and `?`.
    fn matches(&self, from: &TreePath, pattern: &[u8]) -> Vec<TreePath> {
        let at = pattern.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (folder, name) = pattern.split_at(at);
        let folder = if folder.starts_with(b"/") {
            self.tree.lookup(folder)
        } else {
            let mut near = from.parent().unwrap_or_default().as_bytes().to_vec();
            near.push(b'/');
            near.extend_from_slice(folder);
            self.tree.lookup(near)
        };
        let Some((folder, _)) = folder else { return Vec::new() };
        let children = self.tree.children(&folder).map(|(path, _)| path);
        children
            .filter(|path| {
                glob::matches(name, path.name())
                    && self.tree.lookup(path.as_bytes()).is_some_and(|(_, inode)| !inode.is_directory())
            })
            .cloned()
            .collect()
    }
}

/// The directories built into the dynamic linkers of the larger distributions for this machine.
pub(super) fn built_in(identity: Identity) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for library in lib(identity) {
        names.push([b"/".as_slice(), &library].concat());
        names.push([b"/usr/".as_slice(), &library].concat());
    }
    names
}

/// What `$LIB` may stand for, below `/` and `/usr`.
pub(super) fn lib(identity: Identity) -> Vec<Vec<u8>> {
    let platform = identity.machine.platform();
    let abi = if identity.machine.architecture() == Some("arm") { "gnueabihf" } else { "gnu" };
    let multiarch = format!("lib/{platform}-linux-{abi}").into_bytes();
    match identity.class {
        Class::Elf64 => vec![b"lib64".to_vec(), multiarch, b"lib".to_vec()],
        Class::Elf32 => vec![multiarch, b"lib".to_vec(), b"lib32".to_vec()],
    }
}
