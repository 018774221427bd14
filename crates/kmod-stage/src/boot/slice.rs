//! The part of a tree that some programs need, with every symlink that leads to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use oci_assemble::layer::Contents;
use oci_assemble::tree::{Content, FileTree, Kind, TreePath};

use super::cpio::Cpio;

/// As many symlinks as Linux follows (`MAXSYMLINKS`).
const SYMLINKS_MAX: usize = 40;

/// Paths of a tree, each with the directories above it.
pub(super) struct Slice<'a> {
    tree: &'a FileTree,
    paths: BTreeSet<TreePath>,
}

impl<'a> Slice<'a> {
    pub(super) fn new(tree: &'a FileTree) -> Self {
        Self { tree, paths: BTreeSet::new() }
    }

    /// Takes what stands at `path`, and what that leads to. A path that leads nowhere adds what there is of the way.
    pub(super) fn take(&mut self, path: &[u8]) {
        let mut left: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
        let mut at = TreePath::root();
        let mut symlinks = 0;
        while let Some(part) = left.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = at.parent().unwrap_or_default();
                    continue;
                }
                _ => {}
            }
            let Ok(next) = at.join(&part) else { return };
            let Some(inode) = self.tree.behind(&next) else { return };
            self.paths.insert(next.clone());
            match &inode.kind {
                Kind::Symlink(target) => {
                    symlinks += 1;
                    if symlinks > SYMLINKS_MAX {
                        return;
                    }
                    if target.starts_with(b"/") {
                        at = TreePath::root();
                    }
                    left.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => at = next,
            }
        }
    }

    /// The files of the slice.
    pub(super) fn contents(&self) -> BTreeSet<Content> {
        self.paths.iter().filter_map(|path| self.tree.content(path)).cloned().collect()
    }

    /// Adds the slice to an archive. Costs one pass over the layers that have its files.
    pub(super) fn pack(&self, contents: &dyn Contents, archive: &mut Cpio) -> io::Result<()> {
        let mut read: BTreeMap<Content, Vec<u8>> = BTreeMap::new();
        let mut stored = BTreeSet::new();
        for content in self.contents() {
            if let Content::Bytes(bytes) = &content {
                read.insert(content.clone(), bytes.to_vec());
            } else {
                stored.insert(content);
            }
        }
        contents.visit(&stored, &mut |content, stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            read.insert(content.clone(), bytes);
            Ok(())
        })?;
        for path in &self.paths {
            let Some(inode) = self.tree.behind(path) else { continue };
            match (&inode.kind, self.tree.content(path)) {
                (Kind::Directory, _) => archive.directory(path.as_bytes()),
                (Kind::Symlink(target), _) => archive.symlink(path.as_bytes(), target),
                (_, Some(content)) => {
                    let bytes = read.get(content).ok_or(io::ErrorKind::NotFound)?;
                    archive.file(path.as_bytes(), inode.meta.mode, bytes);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oci_assemble::testing::memory::{add, add_file};
    use oci_assemble::tree::Inode;

    #[test]
    fn every_link_on_the_way_is_taken() {
        let mut tree = FileTree::new();
        add_file(&mut tree, "usr/lib/libz.so.1.2", 0o644, "z");
        add_file(&mut tree, "usr/lib/other", 0o644, "");
        add(&mut tree, "lib", Inode::symlink("/usr/./lib", 0));
        add(&mut tree, "usr/lib/libz.so.1", Inode::symlink("../lib/libz.so.1.2", 0));
        add(&mut tree, "round", Inode::symlink("round", 0));
        let second = Kind::Hardlink(TreePath::new("lib").unwrap());
        add(&mut tree, "lib64", Inode { meta: oci_assemble::tree::Meta::default(), kind: second });
        let mut slice = Slice::new(&tree);
        for path in [&b"lib/libz.so.1"[..], b"round", b"nowhere/x", b"../.."] {
            slice.take(path);
        }
        let paths: Vec<String> = slice.paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["/lib", "/round", "/usr", "/usr/lib", "/usr/lib/libz.so.1", "/usr/lib/libz.so.1.2"]);
        assert_eq!(slice.contents().into_iter().collect::<Vec<_>>(), [Content::of("z")]);
        let mut slice = Slice::new(&tree);
        slice.take(b"lib64/other");
        let paths: Vec<String> = slice.paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["/lib64", "/usr", "/usr/lib", "/usr/lib/other"]);
        let mut archive = Cpio::default();
        slice.pack(&oci_assemble::testing::memory::Memory::default(), &mut archive).unwrap();
    }
}
