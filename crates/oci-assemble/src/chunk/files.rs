//! Components of files that nothing but their place holds together.
//!
//! One component for all of them would be a catch-all: ten new bytes would move everything. So the tree is cut along its
//! directories into pieces of at most [`PIECE`] bytes: a directory is one piece if it fits, else each of its directories is
//! looked at by itself, and its own files are one, cut by a hash of their names if need be.

use crate::image::Digest;
use crate::tree::{Escaped, TreePath};

/// The most bytes of a piece, as they are in a tar: what ten bytes may move, before compression. Files are smaller.
pub(super) const PIECE: u64 = 2 << 20;

/// Names of components for `files`, which are in path order with their bytes: `whole` where one is enough, else `kind` and
/// the directory.
pub(super) fn pieces(files: &[(TreePath, u64)], kind: &str, whole: &str) -> Vec<String> {
    let mut names = vec![String::new(); files.len()];
    if bytes(files) <= PIECE {
        names.fill(whole.to_owned());
    } else {
        cut(files, kind, &TreePath::root(), 0, &mut names);
    }
    names
}

fn bytes(files: &[(TreePath, u64)]) -> u64 {
    files.iter().map(|(_, bytes)| bytes).sum()
}

/// Names the pieces of `folder`, whose files are `files`; `depth` is the length of its path with the slash behind it.
fn cut(files: &[(TreePath, u64)], kind: &str, folder: &TreePath, depth: usize, names: &mut [String]) {
    let name = format!("{kind}:{folder}");
    if bytes(files) <= PIECE {
        names.fill(name);
        return;
    }
    let end = |path: &TreePath| path.as_bytes()[depth..].iter().position(|byte| *byte == b'/').map(|at| depth + at);
    let direct: u64 = files.iter().filter(|(path, _)| end(path).is_none()).map(|(_, bytes)| bytes).sum();
    // A prefix of the hash: twice as many pieces split each one and mix none.
    let bits = direct.div_ceil(PIECE).next_power_of_two().trailing_zeros();
    let mut at = 0;
    while let Some((path, _)) = files.get(at) {
        match end(path) {
            None => {
                let bucket = if bits == 0 { String::new() } else { format!("#{:x}", hash(path.name()) >> (64 - bits)) };
                names[at] = format!("{name}{bucket}");
                at += 1;
            }
            Some(end) => {
                let below = &path.as_bytes()[..=end];
                let count = files[at..].iter().take_while(|(path, _)| path.as_bytes().starts_with(below)).count();
                let child = TreePath::new(&below[..end]).unwrap_or_default();
                cut(&files[at..at + count], kind, &child, end + 1, &mut names[at..at + count]);
                at += count;
            }
        }
    }
}

/// A name's place on the ring of all hashes: the same on every machine, with nothing of the order of names left.
pub(super) fn hash(name: &[u8]) -> u64 {
    let Digest::Sha256(bytes) = Digest::of(name) else { return 0 };
    bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The component of one large file.
pub(super) fn large(path: &TreePath) -> String {
    format!("file:/{}", Escaped(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    fn sizes(files: &[(TreePath, u64)]) -> BTreeMap<String, u64> {
        let mut sizes = BTreeMap::new();
        for (name, (_, bytes)) in pieces(files, "files", "files:/").into_iter().zip(files) {
            *sizes.entry(name).or_default() += bytes;
        }
        sizes
    }

    #[test]
    fn large_directories_are_cut_along_their_directories_and_then_by_name() {
        let mut files: Vec<(TreePath, u64)> = Vec::new();
        for number in 0..200 {
            files.push((TreePath::new(format!("opt/big/{number:03}")).unwrap(), 50_000));
            files.push((TreePath::new(format!("opt/small/{number:03}")).unwrap(), 1000));
        }
        files.push((TreePath::new("etc/one").unwrap(), 10));
        files.push((TreePath::new("opt/direct").unwrap(), 10));
        files.sort();
        let sizes = sizes(&files);
        let names: Vec<&str> = sizes.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "files:/etc",
                "files:/opt",
                "files:/opt/big#0",
                "files:/opt/big#1",
                "files:/opt/big#2",
                "files:/opt/big#3",
                "files:/opt/big#4",
                "files:/opt/big#5",
                "files:/opt/big#6",
                "files:/opt/big#7",
                "files:/opt/small"
            ]
        );
        assert!(sizes.values().all(|bytes| *bytes <= PIECE), "{sizes:?}");
        assert_eq!(sizes.values().sum::<u64>(), 200 * 51_000 + 20);
    }

    #[test]
    fn a_new_file_changes_one_piece() {
        let path = |number: usize| TreePath::new(format!("usr/lib/{}/{number:04}", number % 7)).unwrap();
        let mut files: Vec<(TreePath, u64)> = (0..1400).map(|number| (path(number), 9000)).collect();
        files.sort();
        let before =
            pieces(&files, "files", "files:/").into_iter().zip(files.clone()).map(|(name, (path, _))| (path, name));
        let before: BTreeMap<TreePath, String> = before.collect();
        files.push((TreePath::new("usr/lib/new").unwrap(), 10));
        files.sort();
        for (name, (path, _)) in pieces(&files, "files", "files:/").into_iter().zip(&files) {
            assert_eq!(before.get(path).unwrap_or(&"files:/usr/lib".to_owned()), &name);
        }
    }
}
