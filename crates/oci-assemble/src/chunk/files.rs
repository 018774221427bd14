//! Components of files that nothing but their place holds together.
//!
//! One component for all of them would be a catch-all: ten new bytes would move everything. So the tree is cut along its
//! directories into pieces of at most [`PIECE`] bytes: a directory is one piece if it fits, else each of its directories is
//! looked at by itself, and its own files are one, which is halved by the next bit of a hash of their names until each part
//! fits. A part is named by those bits, so one that grows too large moves by itself.

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
    let (mut at, mut direct) = (0, Vec::new());
    while let Some((path, _)) = files.get(at) {
        match end(path) {
            None => {
                direct.push(at);
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
    halve(files, &direct, &name, 0, names);
}

/// Names the pieces of the files at `which`, whose hashes have the same first `bits`. `name` ends with those.
fn halve(files: &[(TreePath, u64)], which: &[usize], name: &str, bits: u32, names: &mut [String]) {
    let bytes: u64 = which.iter().map(|at| files[*at].1).sum();
    if bytes <= PIECE || which.len() < 2 || bits == u64::BITS {
        for at in which {
            name.clone_into(&mut names[*at]);
        }
        return;
    }
    let is_one = |at: &usize| hash(files[*at].0.name()) << bits >> 63 == 1;
    let (ones, zeros): (Vec<usize>, Vec<usize>) = which.iter().copied().partition(is_one);
    let mark = if bits == 0 { "#" } else { "" };
    halve(files, &zeros, &format!("{name}{mark}0"), bits + 1, names);
    halve(files, &ones, &format!("{name}{mark}1"), bits + 1, names);
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
    use std::collections::{BTreeMap, BTreeSet};

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
                "files:/opt/big#000",
                "files:/opt/big#001",
                "files:/opt/big#010",
                "files:/opt/big#011",
                "files:/opt/big#100",
                "files:/opt/big#101",
                "files:/opt/big#11",
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

    /// Where a directory grows past what so many pieces hold, one of them is cut; the others keep their names and files.
    #[test]
    fn a_piece_that_grows_is_cut_by_itself() {
        let path = |number: usize| TreePath::new(format!("opt/data/{number:05}")).unwrap();
        let name = |count: usize| {
            let files: Vec<(TreePath, u64)> = (0..count).map(|number| (path(number), 100_000)).collect();
            let names = pieces(&files, "files", "files:/");
            files.into_iter().map(|(path, _)| path).zip(names).collect::<BTreeMap<TreePath, String>>()
        };
        let mut before = name(1);
        for count in 2..400 {
            let after = name(count);
            let moved: BTreeSet<&String> =
                after.iter().filter(|(path, name)| before.get(*path) != Some(*name)).map(|(_, name)| name).collect();
            let touched = after.iter().filter(|(_, name)| moved.contains(name)).count();
            assert!(touched <= 22, "{count}: {touched} files, {moved:?}");
            before = after;
        }
    }
}
