//! What stands in a directory, as values that tests compare.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use oci_assemble::image::Digest;

/// All files below `directory` with what `look` sees of each. The private directory of a layout, which holds nothing but
/// locks between runs, is left out.
fn all<T>(directory: &Path, look: impl Fn(&Path) -> T) -> BTreeMap<PathBuf, T> {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                if entry.file_name() != ".assemble" {
                    folders.push(path);
                }
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), look(&path));
            }
        }
    }
    found
}

/// Names and bytes (by digest) of all files.
pub(crate) fn bytes(directory: &Path) -> BTreeMap<PathBuf, Digest> {
    all(directory, |path| Digest::of(&fs::read(path).unwrap()))
}

/// The state of a file by which a write would show: inode, size, time of the last write.
pub(crate) fn states(directory: &Path) -> BTreeMap<PathBuf, (u64, u64, i64, i64)> {
    all(directory, |path| {
        let metadata = fs::symlink_metadata(path).unwrap();
        (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
    })
}

/// What a writer left in the private directory of a layout, beside the locks.
pub(crate) fn leftovers(layout: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(layout.join(".assemble")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !["lock", "users"].contains(&name.as_str())).collect()
}

/// Blobs that are there.
pub(crate) fn blobs(layout: &Path) -> Vec<String> {
    let entries = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Copies a tree of files and directories.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
