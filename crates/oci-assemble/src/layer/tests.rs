#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::maybe_infinite_iter,
    clippy::format_push_string
)]
mod drafts;
mod gate;

use std::io;
use std::num::NonZero;

use proptest::prelude::*;

use super::*;
use crate::image::Digest;
use crate::testing::tree::arbitrary_tree;
use crate::tree::{FileTree, Inode, Kind, TreeDelta};

/// The contents of [`arbitrary_tree`]: single bytes named by their digest.
pub(super) struct SingleBytes;

impl Contents for SingleBytes {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        let byte = (0..3_u8).find(|byte| content.digest() == Some(Digest::of(&[*byte])));
        byte.map(|byte| Box::new(io::Cursor::new([byte])) as Box<dyn Read>).ok_or(io::ErrorKind::NotFound.into())
    }
}

pub(super) fn options(compression: Compression, threads: usize) -> SealOptions {
    SealOptions { compression, threads: NonZero::new(threads).unwrap() }
}

/// Only what layers may carry, dated in range.
fn shippable(tree: &FileTree) -> TreeDelta {
    let mut delta = TreeDelta::new();
    for (path, inode) in tree.iter() {
        let mut inode = inode.clone();
        inode.meta.mtime = inode.meta.mtime.max(0);
        inode.meta.xattrs.retain(|name, _| !name.contains(&b'='));
        let plain = matches!(inode.kind, Kind::Directory | Kind::File(_) | Kind::Symlink(_) | Kind::Hardlink(_));
        if plain
            && path.to_str().is_some()
            && !matches!(&inode.kind, Kind::Symlink(to) if std::str::from_utf8(to).is_err())
        {
            if matches!(&inode.kind, Kind::Hardlink(to) if !delta.entries().contains_key(to)) {
                continue;
            }
            delta.insert(path.clone(), inode);
        }
    }
    delta
}

/// No path leads through a symlink then.
fn without_symlinks(tree: &FileTree) -> FileTree {
    let mut plain = tree.clone();
    for (path, _) in tree.iter().filter(|(_, inode)| matches!(tree.linked(inode).kind, Kind::Symlink(_))) {
        plain.remove(path);
    }
    plain
}

/// Without the entries that are a directory where the base has none, or the other way round, and what is below.
fn without_crossings(delta: &TreeDelta, base: &FileTree) -> TreeDelta {
    let mut plain = delta.clone();
    for (path, inode) in delta.entries() {
        if base.get(path).is_some_and(|found| found.is_directory() != inode.is_directory()) {
            plain.forget(path);
        }
    }
    plain
}

/// The base's directories keep their metadata in a draft, whatever the delta says.
fn bare(tree: &FileTree) -> FileTree {
    let mut bare = tree.clone();
    for (path, _) in tree.iter().filter(|(_, inode)| inode.is_directory()) {
        bare.insert(path.clone(), Inode::directory(crate::tree::Meta::default()));
    }
    bare
}

proptest! {
    #[test]
    fn a_sealed_layer_reads_back_as_its_draft(tree in arbitrary_tree()) {
        let delta = shippable(&tree);
        prop_assume!(!delta.is_empty());
        let draft = LayerDraft::new("test", &delta, &FileTree::new(), 7).unwrap();
        for compression in [Compression::DEFAULT, Compression::GZIP_DEFAULT, Compression::None] {
            let (sealed, blob) = seal(&draft, &SingleBytes, Vec::new(), options(compression, 2)).unwrap();
            prop_assert_eq!(sealed.digest, Digest::of(&blob));
            prop_assert_eq!(sealed.size, blob.len() as u64);
            let encoding = compression.media_type().encoding().unwrap();
            let mut stream = decode(&blob[..], encoding).unwrap();
            let index = index(std::io::BufReader::new(&mut stream), IndexOptions::default()).unwrap();
            prop_assert_eq!(stream.broken(), None);
            prop_assert_eq!(index.diff_id, sealed.diff_id);
            prop_assert_eq!(index.size, sealed.uncompressed);
            prop_assert_eq!(index.delta.dump(), draft.delta().dump());
            prop_assert!(index.violations.is_empty(), "{:?}", index.violations);
            let merged = MergedIndex::new(FileTree::new().apply(&index.delta).unwrap(), std::slice::from_ref(&index));
            prop_assert_eq!(MergedIndex::from_bytes(&merged.to_bytes()), Some(merged.clone()));
            for (_, inode) in merged.tree.iter() {
                let Some(content) = inode.content() else { continue };
                let offset = index.offsets.get(&content.digest().unwrap()).map(|offset| (0, *offset));
                prop_assert_eq!(merged.places.get(&content.digest().unwrap()), offset);
                prop_assert!(merged.places.has(content));
            }
            prop_assert_eq!(LayerIndex::from_bytes(&index.to_bytes()), Some(index));
        }
    }

    #[test]
    fn a_delta_sealed_as_it_stands_is_read_back(
        (before, after) in (arbitrary_tree(), arbitrary_tree()),
        opaque in any::<bool>(),
        threads in 1..4_usize,
    ) {
        let mut delta = TreeDelta::between(&before, &after);
        for (path, inode) in TreeDelta::from(&after).entries() {
            let devices = matches!(after.linked(inode).kind, Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. });
            if devices || inode.meta.xattrs.keys().any(|name| name.contains(&b'=')) {
                delta.forget(path);
            }
        }
        if opaque {
            delta.opaque(crate::tree::TreePath::new("a").unwrap());
        }
        let (sealed, blob) = seal_delta(&delta, &SingleBytes, Vec::new(), options(Compression::DEFAULT, threads)).unwrap();
        let index = index(
            std::io::BufReader::new(decode(&blob[..], crate::image::Encoding::Zstd).unwrap()),
            IndexOptions::default(),
        ).unwrap();
        prop_assert_eq!(index.diff_id, sealed.diff_id);
        prop_assert_eq!(index.delta.dump(), delta.dump());
    }

    #[test]
    fn any_marks_beside_any_entries_become_a_lawful_layer_that_does_the_same(
        base in arbitrary_tree(),
        tree in arbitrary_tree(),
        marks in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4),
    ) {
        let base = without_symlinks(&base);
        let mut delta = without_crossings(&shippable(&tree), &base);
        for (at, whiteout) in marks {
            let Some((path, inode)) = (!base.is_empty()).then(|| base.iter().nth(at.index(base.len()))).flatten() else { break };
            if whiteout {
                delta.whiteout(path.clone());
            } else if inode.is_directory() {
                delta.opaque(path.clone());
            }
        }
        prop_assume!(!delta.is_empty());
        let draft = LayerDraft::new("test", &delta, &base, 7).unwrap();
        let mut stream = Vec::new();
        write_tar(&draft, &SingleBytes, &mut stream).unwrap();
        let index = index(&stream[..], IndexOptions::default()).unwrap();
        for rule in [Rule::OwnWhiteout, Rule::WhiteoutOrder, Rule::Duplicate, Rule::ImplicitParent] {
            prop_assert_eq!(index.violations.count(rule), 0, "{:?}", index.violations);
        }
        prop_assert_eq!(index.delta.dump(), draft.delta().dump());
        let (expected, found) = (base.clone().apply(&delta).unwrap(), base.apply(draft.delta()).unwrap());
        prop_assert_eq!(bare(&found).dump(), bare(&expected).dump());
    }

    #[test]
    fn the_number_of_threads_decides_nothing(tree in arbitrary_tree(), threads in 1..5_usize) {
        let delta = shippable(&tree);
        prop_assume!(!delta.is_empty());
        let draft = LayerDraft::new("test", &delta, &FileTree::new(), 7).unwrap();
        let one = seal(&draft, &SingleBytes, Vec::new(), options(Compression::DEFAULT, 1)).unwrap();
        let many = seal(&draft, &SingleBytes, io::sink(), options(Compression::DEFAULT, threads)).unwrap();
        prop_assert_eq!(one.0, many.0);
    }

    #[test]
    fn reading_garbage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..4096), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
        for gate in [Gate::Refuse, Gate::Record] {
            let _ = index(&bytes[..], IndexOptions { gate, ..IndexOptions::default() });
        }
        bytes = gate::Archive::new().file("usr/bin/x", b"hello").dir("etc").link("etc/y", "usr/bin/x").end();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        for gate in [Gate::Refuse, Gate::Record] {
            let _ = index(&bytes[..], IndexOptions { gate, ..IndexOptions::default() });
        }
    }
}

#[test]
fn a_file_that_changed_since_it_was_listed_is_an_error() {
    struct Lying(&'static [u8]);
    impl Contents for Lying {
        fn open<'a>(&'a self, _: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
            Ok(Box::new(self.0))
        }
    }
    let mut delta = TreeDelta::new();
    let content = Content::Stored { digest: Digest::of(b"four"), size: 4 };
    let path = crate::tree::TreePath::new("usr/file").unwrap();
    delta.insert(path, Inode::file(crate::tree::Meta::root_owned(0o644, 0), content));
    let draft = LayerDraft::new("test", &delta, &FileTree::new(), 0).unwrap();
    for (bytes, message) in [
        (&b"abc"[..], "/usr/file has 3 bytes, but was listed with 4"),
        (b"abcde", "/usr/file has 5 bytes, but was listed with 4"),
    ] {
        let error = seal(&draft, &Lying(bytes), io::sink(), options(Compression::DEFAULT, 1)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_full_disk_is_an_error_and_ends_the_threads() {
    #[derive(Debug)]
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut delta = TreeDelta::new();
    let noise: Vec<u8> = (0..32_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let path = crate::tree::TreePath::new("noise").unwrap();
    delta.insert(path, Inode::file(crate::tree::Meta::root_owned(0o644, 0), Content::of(noise)));
    let draft = LayerDraft::new("test", &delta, &FileTree::new(), 0).unwrap();
    for compression in [Compression::DEFAULT, Compression::GZIP_DEFAULT, Compression::None] {
        let error = seal(&draft, &SingleBytes, Full, options(compression, 2)).unwrap_err();
        assert!(matches!(&error, WriteError::Sink(source) if source.kind() == io::ErrorKind::StorageFull), "{error:?}");
    }
}
