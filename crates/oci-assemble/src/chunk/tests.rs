#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::num::NonZero;

use proptest::prelude::*;

use super::*;
use crate::image::{Digest, Image};
use crate::layer::{Compression, IndexOptions, SealOptions, decode, index, measure, seal};
use crate::pkgdb;
use crate::testing::image::amd64;
use crate::testing::memory::{Memory, add, add_file};
use crate::testing::tree::arbitrary_tree;
use crate::tree::{Content, FileTree, Inode, Kind, Meta, TreePath};

mod components;
mod history;
mod links;
mod packing;
mod recorded;
mod told;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn options(max: usize) -> ChunkingOptions<'static> {
    ChunkingOptions { max, packages: None, previous: None, encoding: None }
}

/// The tree with what layers cannot carry taken out.
fn lawful(tree: &FileTree) -> FileTree {
    let mut lawful = FileTree::new();
    for (path, inode) in tree.iter() {
        let utf8 = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        let good = match &inode.kind {
            Kind::Symlink(target) => utf8(target),
            Kind::Hardlink(target) => utf8(target.as_bytes()) && lawful.get(target).is_some(),
            kind => matches!(kind, Kind::Directory | Kind::File(_)),
        };
        let above = path.ancestors().all(|above| lawful.get(&above).is_some_and(Inode::is_directory));
        if good && above && utf8(path.as_bytes()) {
            let mut inode = inode.clone();
            inode.meta.xattrs.retain(|name, _| !name.contains(&b'='));
            lawful.insert(path.clone(), inode);
        }
    }
    lawful
}

/// Contents of one byte each, as random trees have them.
fn contents() -> Memory {
    let mut memory = Memory::default();
    for byte in 0..3_u8 {
        memory.put([byte]);
    }
    memory
}

fn seal_all(drafts: &[crate::layer::LayerDraft], memory: &Memory) -> Vec<(Digest, Vec<u8>)> {
    let options = SealOptions { compression: Compression::Zstd(1), threads: NonZero::<usize>::MIN };
    let sealed = |draft| seal(draft, memory, Vec::new(), options).unwrap();
    drafts.iter().map(sealed).map(|(sealed, blob)| (sealed.diff_id, blob)).collect()
}

proptest! {
    /// What clients see of the layers is the neutral tree, and that is the tree but for times and dropped attributes.
    #[test]
    fn rechunking_is_lossless(tree in arbitrary_tree(), max in 1_usize..5) {
        let tree = lawful(&tree);
        let plain = neutral(&tree, None);
        let components = Components::new(&plain, &tree, None, &ComponentMap::default());
        let chunking = Chunking::new(&components, options(max));
        prop_assert!(chunking.layers.len() <= max);
        let drafts = draft(&chunking, &components, &plain, 0).unwrap();
        let mut merged = FileTree::new();
        for (diff_id, blob) in seal_all(&drafts, &contents()).iter().rev() {
            let stream = decode(&blob[..], crate::image::Encoding::Zstd).unwrap();
            let read = index(std::io::BufReader::new(stream), IndexOptions::default()).unwrap();
            prop_assert_eq!(read.diff_id, *diff_id);
            prop_assert!(read.violations.is_empty(), "{:?}", read.violations);
            merged = merged.apply(&read.delta).unwrap();
        }
        prop_assert_eq!(merged.dump(), plain.dump());
        prop_assert_eq!(plain.len(), tree.len());
        for ((at, inode), (before, other)) in plain.iter().zip(tree.iter()) {
            let timeless = |inode: &Inode| Inode { meta: Meta { mtime: 0, ..inode.meta.clone() }, ..inode.clone() };
            prop_assert_eq!((at, timeless(inode)), (before, timeless(other)));
        }
    }

    #[test]
    fn neutral_trees_stay_as_they_are(tree in arbitrary_tree()) {
        let once = neutral(&tree, None);
        prop_assert_eq!(neutral(&once, None), once);
    }

    #[test]
    fn every_path_is_in_one_component_and_every_component_in_one_layer(tree in arbitrary_tree(), max in 1_usize..6) {
        let components = Components::new(&tree, &tree, None, &ComponentMap::default());
        let claimed: BTreeSet<&TreePath> = components.paths().map(|(path, _)| path).collect();
        for (path, inode) in tree.iter() {
            let parent = inode.is_directory() && (path.is_root() || tree.below(path).next().is_some());
            prop_assert_eq!(claimed.contains(path), !parent, "{}", path);
            for name in tree.names(path) {
                prop_assert_eq!(components.of(&name), components.of(path));
            }
        }
        let chunking = Chunking::new(&components, options(max));
        let paths: Vec<&TreePath> = chunking.paths(&components).into_iter().flatten().collect();
        prop_assert_eq!(paths.len(), claimed.len());
        prop_assert_eq!(paths.into_iter().collect::<BTreeSet<_>>(), claimed);
    }

    #[test]
    fn measuring_finds_what_sealing_finds(tree in arbitrary_tree()) {
        let tree = neutral(&lawful(&tree), None);
        let paths: Vec<&TreePath> = tree.iter().map(|(path, _)| path).collect();
        let draft = crate::layer::LayerDraft::part("x", &tree, paths, 0).unwrap();
        let (diff_id, size) = measure(&draft, &contents()).unwrap();
        let compression = SealOptions { compression: Compression::None, threads: NonZero::<usize>::MIN };
        let (sealed, blob) = seal(&draft, &contents(), Vec::new(), compression).unwrap();
        prop_assert_eq!((diff_id, size), (sealed.diff_id, blob.len() as u64));
    }
}

const STATUS: &str = "Package: libssl3\nStatus: install ok installed\nVersion: 3.0.15-1~deb12u1\nSource: openssl\n\n\
    Package: bash\nStatus: install ok installed\nVersion: 5.2-1\n\n\
    Package: linux-image-6.1\nStatus: install ok installed\nVersion: 6.1-1\nSource: linux\n";

fn debian() -> FileTree {
    let mut tree = FileTree::new();
    for (path, time) in [
        ("usr/bin/bash", 50),
        ("usr/lib/libssl.so", 50),
        ("usr/lib/touched", 150),
        ("usr/lib/python3/m.py", 150),
        ("usr/lib/python3/__pycache__/m.cpython-311.pyc", 150),
        ("usr/lib/modules/6.1/kernel/x.ko", 50),
        ("usr/lib/modules/6.1/modules.builtin", 50),
        ("usr/lib/modules/6.1/modules.dep", 150),
        ("usr/lib/modules/6.1/vmlinuz", 150),
        ("usr/lib/modules/6.1/initramfs.img", 150),
        ("usr/lib/modules/6.1/extra/zfs/zfs.ko", 150),
        ("usr/lib/tagged", 150),
        ("usr/lib/mapped", 150),
        ("usr/local/own", 150),
        ("etc/bash.bashrc", 50),
        ("etc/ld.so.cache", 150),
        ("sysroot/ostree/repo/config", 150),
    ] {
        add_file(&mut tree, path, 0o644, path.as_bytes());
        let mut inode = tree.at(path).unwrap().clone();
        inode.meta.mtime = time;
        if path.ends_with("tagged") {
            inode.meta.xattrs.insert(b"user.component".as_slice().into(), b"by-tag".as_slice().into());
        }
        inode.meta.xattrs.insert(b"security.selinux".as_slice().into(), b"x".as_slice().into());
        tree.insert(self::path(path), inode);
    }
    add_file(&mut tree, "usr/lib/large", 0o644, vec![7; 1 << 20]);
    add_file(&mut tree, "var/lib/dpkg/status", 0o644, STATUS);
    for (package, list) in [
        ("bash", "/usr/bin/bash\n/etc/bash.bashrc\n/usr/lib/empty\n"),
        ("libssl3", "/usr/lib/libssl.so\n/usr/lib/touched\n/usr/lib/mapped\n/usr/lib/python3/m.py\n"),
        ("linux-image-6.1", "/usr/lib/modules/6.1/kernel/x.ko\n/usr/lib/modules/6.1/modules.builtin\n"),
    ] {
        add_file(&mut tree, &format!("var/lib/dpkg/info/{package}.list"), 0o644, list);
        let path = path(&format!("var/lib/dpkg/info/{package}.list"));
        let mut inode = tree.get(&path).unwrap().clone();
        inode.meta.mtime = 100;
        tree.insert(path, inode);
    }
    add(&mut tree, "usr/lib/empty", Inode::directory(Meta::root_owned(0o755, 7)));
    add(&mut tree, "usr/bin/rbash", Inode { meta: Meta::default(), kind: Kind::Hardlink(path("usr/bin/bash")) });
    tree
}

fn map() -> ComponentMap {
    ComponentMap::parse("[[component]]\nname = \"mine\"\npaths = [\"/usr/lib/mapped\", \"/opt/**\"]\n").unwrap()
}

#[test]
fn components_are_what_changes_together() {
    let tree = debian();
    let packages = pkgdb::read(&tree, &Memory::default()).unwrap();
    let plain = neutral(&tree, packages.as_ref());
    let components = Components::new(&plain, &tree, packages.as_ref(), &map());
    let found: Vec<String> = components
        .paths()
        .map(|(path, index)| {
            let component = &components.list()[index];
            format!("{path} {} {:?}", component.name, component.origin)
        })
        .collect();
    assert_eq!(
        found,
        [
            "/etc/bash.bashrc etc Configuration",
            "/etc/ld.so.cache caches Cache",
            "/sysroot files:/ Files",
            "/usr/bin/bash bash Package",
            "/usr/bin/rbash bash Package",
            "/usr/lib/empty bash Package",
            "/usr/lib/large file:/usr/lib/large File",
            "/usr/lib/libssl.so openssl Package",
            "/usr/lib/mapped mine Map",
            "/usr/lib/modules/6.1/extra/zfs/zfs.ko modules/extra/zfs Modules",
            "/usr/lib/modules/6.1/initramfs.img initramfs Initramfs",
            "/usr/lib/modules/6.1/kernel/x.ko linux Package",
            "/usr/lib/modules/6.1/modules.builtin linux Package",
            "/usr/lib/modules/6.1/modules.dep module-indexes ModuleIndexes",
            "/usr/lib/modules/6.1/vmlinuz linux Package",
            "/usr/lib/python3/__pycache__/m.cpython-311.pyc openssl Package",
            "/usr/lib/python3/m.py openssl Package",
            "/usr/lib/tagged by-tag Attribute",
            "/usr/lib/touched openssl Package",
            "/usr/local/own files:/ Files",
            "/var/lib/dpkg/info/bash.list bash Package",
            "/var/lib/dpkg/info/libssl3.list openssl Package",
            "/var/lib/dpkg/info/linux-image-6.1.list linux Package",
            "/var/lib/dpkg/status package-database PackageDatabase",
        ]
    );
    let rate = |name: &str| {
        let chunking = Chunking::new(&components, ChunkingOptions { packages: packages.as_ref(), ..options(64) });
        let mut members = chunking.layers.into_iter().flat_map(|chunk| chunk.components);
        members.find(|member| member.name == name).unwrap().rate
    };
    assert!(rate("linux") > rate("openssl") && rate("openssl") > rate("bash"));
}

#[test]
fn times_that_tell_of_the_build_are_gone() {
    let tree = debian();
    let packages = pkgdb::read(&tree, &Memory::default()).unwrap();
    let plain = neutral(&tree, packages.as_ref());
    let time = |at: &str| plain.at(at).unwrap().meta.mtime;
    for (at, expected) in [
        ("usr/bin/bash", 50),
        ("usr/lib/libssl.so", 50),
        ("usr/lib/touched", 0),
        ("usr/lib/python3/m.py", 150),
        ("usr/lib/python3/__pycache__/m.cpython-311.pyc", 0),
        ("usr/lib/modules/6.1/vmlinuz", 0),
        ("usr/lib/empty", 0),
        ("usr", 0),
        ("var/lib/dpkg/info/bash.list", 0),
    ] {
        assert_eq!(time(at), expected, "{at}");
    }
    assert!(plain.iter().all(|(_, inode)| inode.meta.xattrs.is_empty()));
    assert_eq!((plain.at("sysroot/ostree"), plain.at("sysroot").unwrap().is_directory()), (None, true));
    // The lists are dated 0 now, and that says nothing.
    let again = pkgdb::read(&plain, &Memory::default()).unwrap();
    assert_eq!(neutral(&plain, again.as_ref()), plain);
}

fn chunked(tree: &FileTree, max: usize, previous: Option<&Recorded>) -> Chunking {
    let packages = pkgdb::read(tree, &Memory::default()).unwrap();
    let plain = neutral(tree, packages.as_ref());
    let components = Components::new(&plain, tree, packages.as_ref(), &map());
    Chunking::new(&components, ChunkingOptions { packages: packages.as_ref(), previous, ..options(max) })
}

#[test]
fn with_history_only_what_changed_moves() {
    let mut tree = debian();
    let first = chunked(&tree, 5, None);
    let recorded = first.recorded();
    let same = chunked(&tree, 5, Some(&recorded));
    assert!(same.layers.iter().all(|chunk| chunk.fate == Fate::Kept));
    assert_eq!(same.recorded(), recorded, "a build that changes nothing is no observation");
    // A changed time alone is no change, another byte is one.
    let mut inode = tree.at("usr/local/own").unwrap().clone();
    inode.meta.mtime = 999;
    tree.insert(path("usr/local/own"), inode);
    assert!(chunked(&tree, 5, Some(&recorded)).layers.iter().all(|chunk| chunk.fate == Fate::Kept));
    add_file(&mut tree, "usr/lib/libssl.so", 0o644, "new");
    let next = chunked(&tree, 5, Some(&recorded));
    let with = |chunking: &Chunking, name: &str| {
        chunking.layers.iter().position(|chunk| chunk.components.iter().any(|member| member.name == name)).unwrap()
    };
    let names = |chunking: &Chunking, at: usize| -> Vec<String> {
        chunking.layers[at].components.iter().map(|member| member.name.clone()).collect()
    };
    for (at, chunk) in next.layers.iter().enumerate() {
        assert_eq!(chunk.fate == Fate::Kept, at != with(&next, "openssl"), "{at}");
        assert_eq!(names(&next, at), names(&first, at));
    }
    assert_eq!(next.recorded().get("openssl").unwrap().seen, Seen { builds: 1, changes: 1 });
    assert_eq!(next.recorded().get("bash").unwrap().seen, Seen { builds: 1, changes: 0 });
    // A new file of nobody changes the component of such files and no other; more layers move nothing that stays.
    add_file(&mut tree, "opt/new", 0o644, "new");
    let stays = |chunk: &&Chunk| chunk.components.iter().all(|of| !["openssl", "files:/"].contains(&of.name.as_str()));
    let expected = first.layers.iter().filter(stays).count();
    for max in [5, 9] {
        let more = chunked(&tree, max, Some(&recorded));
        assert_eq!(more.layers.iter().filter(|chunk| chunk.fate == Fate::Kept).count(), expected, "{max}");
    }
}

#[test]
fn maps_say_what_is_wrong_with_them() {
    for (text, message) in [
        ("[[component]]\nname = \"x\"\npath = [\"/x\"]\n", "line 3 of the component map: unknown field `path`"),
        ("[[component]]\nname = \" \"\npaths = [\"/x\"]\n", "component 1 of the map has no usable name"),
        ("[[component]]\nname = \"x\"\npaths = []\n", "component 1 of the map (x) names no paths"),
        (
            "[[component]]\nname = \"x\"\npaths = [\"opt\"]\n",
            "component 1 of the map (x) has the path \"opt\", which does not begin with a slash",
        ),
    ] {
        let error = ComponentMap::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn what_bootc_refuses_is_refused() {
    let bootable = Image::scratch(amd64()).with_label("containers.bootc", "1");
    let plain = Image::scratch(amd64());
    let refused = |paths: &[&str]| {
        let mut tree = FileTree::new();
        for path in paths {
            add_file(&mut tree, path, 0o644, "");
        }
        assert_eq!(check(&plain, &tree), Ok(()));
        check(&bootable, &tree).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&["boot/EFI/Linux/a.EFI"]),
        "/boot/EFI/Linux/a.EFI is a unified kernel image: it seals the tree, and other layers would break the seal"
    );
    assert!(refused(&["usr/lib/modules/1/vmlinuz", "usr/lib/modules/2/vmlinuz"]).starts_with("there are two kernels"));
    assert_eq!(refused(&["etc/x", "usr/etc/x"]), "/etc and /usr/etc are both there, which bootc refuses");
    let cannot = |inode: Inode, name: &[u8]| {
        let mut tree = FileTree::new();
        tree.insert(TreePath::new(name).unwrap(), inode);
        let components = Components::new(&tree, &tree, None, &ComponentMap::default());
        let error = draft(&Chunking::new(&components, options(3)), &components, &tree, 0).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    let fifo = Inode { meta: Meta::default(), kind: Kind::Fifo };
    assert_eq!(cannot(fifo, b"f"), "/f is a fifo; layers carry only files, directories and links");
    let file = || Inode::file(Meta::default(), Content::of("x"));
    assert_eq!(cannot(file(), b"\xff"), "the name or target of /\\xff is not UTF-8");
    assert_eq!(cannot(file(), b".wh.x"), "/.wh.x has a name that starts with .wh., which clients take for a removal");
}

#[test]
fn settled_trees_name_files_by_digest() {
    let mut tree = FileTree::new();
    add_file(&mut tree, "a", 0o644, "text");
    let memory = Memory::default();
    let (settled, contents) = settle(&tree, &memory).unwrap();
    let stored = Content::Stored { digest: Digest::of(b"text"), size: 4 };
    assert_eq!(settled.content(&path("a")), Some(&stored));
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut crate::layer::Contents::open(&contents, &stored).unwrap(), &mut bytes).unwrap();
    assert_eq!(bytes, b"text");
    assert_eq!(settle(&settled, &memory).unwrap().0, settled);
}
