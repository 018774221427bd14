//! Takes back what depmod wrote: files with known names, regular, bounded, and nothing else.

use std::collections::BTreeMap;
use std::io::{self, Read};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use oci_assemble::tree::{Content, FileTree, Inode, Meta, TreeDelta, TreePath};

use super::DepmodError;
use super::workspace::Workspace;
use crate::kernel::{KernelRelease, MODULES};

/// The index files of depmod, all versions of kmod.
pub(super) const NAMES: &[&str] = &[
    "modules.alias",
    "modules.alias.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.dep",
    "modules.dep.bin",
    "modules.devname",
    "modules.softdep",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.weakdep",
];

/// The largest index file that is taken: ten times the largest known.
const INDEX_MAX: u64 = 64 << 20;

/// The one that is always written.
const REQUIRED: &str = "modules.dep";

/// Index files by name.
pub(super) type Files = BTreeMap<&'static str, Vec<u8>>;

/// The index files in the workspace, from whichever of the two modules directories depmod took.
pub(super) fn harvest(workspace: &Workspace, kernel: &KernelRelease) -> Result<Files, DepmodError> {
    for modules in [MODULES, "lib/modules"] {
        let directory = workspace
            .root()
            .open_dir(format!("{modules}/{kernel}"))
            .map_err(|source| DepmodError::NoIndex { name: REQUIRED, source: Some(source) })?;
        let mut files = Files::new();
        for name in NAMES.iter().copied() {
            let read = read(&directory, name).map_err(|source| DepmodError::NoIndex { name, source: Some(source) })?;
            files.extend(read.map(|bytes| (name, bytes)));
        }
        if files.contains_key(REQUIRED) {
            return Ok(files);
        }
    }
    Err(DepmodError::NoIndex { name: REQUIRED, source: None })
}

/// The bytes of a regular file; none when nothing has that name.
fn read(directory: &Dir, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    // A symlink is an error, a FIFO does not block.
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match directory.open_with(name, &options) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(INDEX_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > INDEX_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(bytes)) }
}

/// `files` as entries of the image's `modules` directory. An index of an earlier run that was not made again would be
/// wrong: it is removed.
pub(super) fn delta(
    tree: &FileTree,
    modules: &TreePath,
    mut files: Files,
    mtime: i64,
) -> Result<TreeDelta, DepmodError> {
    let mut delta = TreeDelta::new();
    for name in NAMES {
        let path = modules.join(name)?;
        match files.remove(name) {
            Some(bytes) => delta.insert(path, Inode::file(Meta::root_owned(0o644, mtime), Content::of(bytes))),
            None if tree.get(&path).is_some() => delta.whiteout(path),
            None => {}
        }
    }
    Ok(delta)
}

#[cfg(test)]
mod tests;
