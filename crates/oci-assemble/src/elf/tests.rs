#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use std::collections::BTreeSet;
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::testing::elf::{Dynamic, dynamic, module, module_for};
use crate::testing::memory::{Memory, add, add_file};
use crate::tree::{FileTree, Inode, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn library(tree: &mut FileTree, at: &str, of: &Dynamic) {
    add_file(tree, at, 0o755, dynamic(of));
}

/// Lines `name → place`, for comparison.
fn resolved(tree: &FileTree, at: &str) -> Vec<String> {
    let line = |found: Resolution| {
        let place = found.found.map_or("nowhere".into(), |place| place.to_string());
        format!("{} → {place}", String::from_utf8(found.name).unwrap())
    };
    resolve(tree, &Memory::default(), &path(at)).unwrap().into_iter().map(line).collect()
}

#[test]
fn reads_what_a_program_needs() {
    let bytes = dynamic(&Dynamic {
        interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
        soname: Some("libself.so.1"),
        needed: &["libm.so.6", "libc.so.6"],
        rpath: Some("/a:$ORIGIN/b"),
        runpath: Some("/c"),
        ..Dynamic::default()
    });
    let machine = Machine { number: 62, little_endian: true };
    assert_eq!(
        Needed::parse(&bytes).unwrap(),
        Needed {
            identity: Identity { class: Class::Elf64, machine },
            interpreter: Some(b"/lib64/ld-linux-x86-64.so.2".to_vec()),
            soname: Some(b"libself.so.1".to_vec()),
            needed: vec![b"libm.so.6".to_vec(), b"libc.so.6".to_vec()],
            rpath: vec![b"/a".to_vec(), b"$ORIGIN/b".to_vec()],
            runpath: vec![b"/c".to_vec()],
        }
    );
    assert_eq!(machine.to_string(), "amd64");
    assert!(!Needed::parse(&module_for("zfs", "6.12.0")).unwrap().is_dynamic());
    let shifted = [b"x".as_slice(), &bytes].concat();
    assert!(Needed::parse(&shifted[1..]).is_ok(), "bytes may stand at any address");
    assert!(matches!(Needed::parse(b"#!/bin/sh\n"), Err(ElfError::NotElf)));
}

#[test]
fn resolves_as_the_dynamic_linker_does() {
    let mut tree = FileTree::new();
    for (at, to) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        add(&mut tree, at, Inode::symlink(to, 0));
    }
    add_file(&mut tree, "etc/ld.so.conf", 0o644, "include ld.so.conf.d/*.conf\n# /nowhere\n");
    add_file(&mut tree, "etc/ld.so.conf.d/extra.conf", 0o644, "/opt/extra\n");
    add_file(&mut tree, "etc/ld.so.conf.d/README", 0o644, "/opt/unread\n");
    library(
        &mut tree,
        "usr/bin/tool",
        &Dynamic {
            interpreter: Some("/lib64/ld.so"),
            needed: &["libplain.so", "libnear.so", "libconf.so", "libfar.so", "libgone.so", "/usr/lib/by/path.so"],
            rpath: Some("$ORIGIN/../private/${LIB}"),
            ..Dynamic::default()
        },
    );
    library(&mut tree, "usr/lib64/ld.so", &Dynamic::default());
    // The same name for another machine comes first in the search and must be passed over.
    library(&mut tree, "usr/private/lib64/libplain.so", &Dynamic { machine: Some(183), ..Dynamic::default() });
    library(&mut tree, "usr/lib64/libplain.so.1", &Dynamic { needed: &["libdeep.so"], ..Dynamic::default() });
    add(&mut tree, "usr/lib64/libplain.so", Inode::symlink("libplain.so.1", 0));
    // Inherits the program's rpath; a library with a runpath of its own would not.
    library(&mut tree, "usr/private/lib64/libdeep.so", &Dynamic::default());
    library(
        &mut tree,
        "usr/private/lib64/libnear.so",
        &Dynamic { needed: &["libhidden.so", "libdeep.so"], runpath: Some("/opt/own"), ..Dynamic::default() },
    );
    library(&mut tree, "usr/private/lib64/libhidden.so", &Dynamic::default());
    library(&mut tree, "opt/extra/libconf.so", &Dynamic { soname: Some("libalias.so"), ..Dynamic::default() });
    library(&mut tree, "opt/unread/libgone.so", &Dynamic::default());
    library(
        &mut tree,
        "usr/lib/x86_64-linux-gnu/libfar.so",
        &Dynamic { needed: &["libalias.so"], ..Dynamic::default() },
    );
    library(&mut tree, "usr/lib/by/path.so", &Dynamic::default());
    assert_eq!(
        resolved(&tree, "usr/bin/tool"),
        [
            "/lib64/ld.so → /usr/lib64/ld.so",
            "libplain.so → /usr/lib64/libplain.so.1",
            "libnear.so → /usr/private/lib64/libnear.so",
            "libconf.so → /opt/extra/libconf.so",
            "libfar.so → /usr/lib/x86_64-linux-gnu/libfar.so",
            "libgone.so → nowhere",
            "/usr/lib/by/path.so → /usr/lib/by/path.so",
            "libdeep.so → /usr/private/lib64/libdeep.so",
            "libhidden.so → nowhere",
        ]
    );
    let only = BTreeSet::from([path("usr/bin/tool")]);
    let contents = Memory::default();
    let libraries = Libraries::new(&tree, &contents).unwrap().inspecting(&only);
    let names: Vec<_> = libraries.resolve(&path("usr/bin/tool")).unwrap().into_iter().map(|found| found.name).collect();
    assert!(!names.contains(&b"libdeep.so".to_vec()), "the needs of other libraries are not looked into");
}

#[test]
fn circles_and_missing_files_end() {
    let mut tree = FileTree::new();
    library(&mut tree, "usr/lib64/a.so", &Dynamic { needed: &["b.so"], ..Dynamic::default() });
    library(&mut tree, "usr/lib64/b.so", &Dynamic { needed: &["a.so", "b.so"], ..Dynamic::default() });
    add_file(&mut tree, "etc/ld.so.conf", 0o644, "include /etc/ld.so.conf\n");
    assert_eq!(resolved(&tree, "usr/lib64/a.so"), ["b.so → /usr/lib64/b.so", "a.so → /usr/lib64/a.so"]);
    let error = resolve(&tree, &Memory::default(), &path("usr/lib64/c.so")).unwrap_err();
    assert_eq!(error.to_string(), "/usr/lib64/c.so is not a regular file of the tree");
}

/// The program running this test, checked against the real `ld.so` of this machine.
#[test]
fn agrees_with_the_dynamic_linker_of_this_machine() {
    let exe = std::env::current_exe().unwrap();
    let output = std::process::Command::new("ldd").arg(&exe).output().unwrap();
    let listed: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.trim().split_once(" => ").map(|(name, _)| name.to_owned()))
        .collect();
    assert!(!listed.is_empty());
    let mut tree = FileTree::new();
    add_file(&mut tree, "usr/bin/this", 0o755, std::fs::read(&exe).unwrap());
    let mut all: BTreeSet<String> = BTreeSet::new();
    for directory in ["/lib64", "/usr/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib"] {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let wanted = listed.contains(&name) || name.starts_with("ld-linux");
            if wanted && let Ok(bytes) = std::fs::read(entry.path()) {
                add_file(&mut tree, &format!("{directory}/{name}"), 0o755, bytes);
            }
        }
    }
    for found in resolve(&tree, &Memory::default(), &path("usr/bin/this")).unwrap() {
        assert!(found.found.is_some(), "{}", String::from_utf8_lossy(&found.name));
        all.insert(String::from_utf8(found.name).unwrap());
    }
    all.retain(|name| !name.contains("ld-linux"));
    let expected: BTreeSet<String> = listed.into_iter().filter(|name| !name.contains("ld-linux")).collect();
    assert_eq!(all, expected);
}

fn sample() -> Vec<u8> {
    let mut bytes = module(&[
        ("version", "2.2.9-1"),
        ("license", "CDDL"),
        ("alias", "zzfs"),
        ("alias", "devname:zfs"),
        ("srcversion", "0123456789ABCDEF"),
        ("depends", "spl,znvpair"),
        ("softdep", "pre: spl post: zstd"),
        ("name", "zfs"),
        ("vermagic", "6.12.0-160.el10.x86_64 SMP preempt mod_unload modversions "),
        ("author", "Jos\u{e9}"),
    ]);
    bytes.extend(b"signature~Module signature appended~\n");
    bytes
}

#[test]
fn reads_modules_in_all_compressions() {
    let plain = sample();
    let info = Modinfo::parse(&plain).unwrap();
    assert_eq!((info.name.as_str(), info.release(), info.signed), ("zfs", "6.12.0-160.el10.x86_64", true));
    assert_eq!(info.depends, ["spl", "znvpair"]);
    assert_eq!(info.softdeps, ["pre: spl post: zstd"]);
    assert_eq!(info.aliases, ["zzfs", "devname:zfs"]);
    assert_eq!(info.license.as_deref(), Some("CDDL"));
    assert_eq!(info.version.as_deref(), Some("2.2.9-1"));
    assert_eq!(info.srcversion.as_deref(), Some("0123456789ABCDEF"));
    assert_eq!(info.entries.len(), 10);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(&plain).unwrap();
    let files = [gzip.finish().unwrap(), xz.finish().unwrap(), zstd::encode_all(&plain[..], 3).unwrap()];
    let compressions = [Compression::Gzip, Compression::Xz, Compression::Zstd];
    for (file, compression) in files.iter().zip(compressions) {
        assert_eq!(Compression::of(file), Some(compression));
        assert_eq!(Modinfo::parse(file).unwrap(), info);
        let cut = &file[..file.len() / 2];
        assert!(
            matches!(Modinfo::parse(cut), Err(ElfError::Compressed { compression: found, .. }) if found == compression)
        );
    }
}

#[test]
fn refuses_what_is_no_module() {
    let plain = sample();
    let mut absurd = plain.clone();
    absurd[60..62].copy_from_slice(&0xfeff_u16.to_le_bytes()); // e_shnum
    let mut huge = plain.clone();
    let table = usize::try_from(u64::from_le_bytes(plain[40..48].try_into().unwrap())).unwrap();
    huge[60..62].copy_from_slice(&0_u16.to_le_bytes()); // the count is in sh_size of section 0 …
    huge[table + 32..table + 40].copy_from_slice(&u64::MAX.to_le_bytes());
    for (bytes, message) in [
        (Vec::new(), "not an ELF file"),
        (b"garbage".to_vec(), "not an ELF file"),
        (plain[..100].to_vec(), "damaged ELF section headers"),
        (absurd, "damaged ELF section headers"),
        (huge, "damaged ELF section headers"),
        (dynamic(&Dynamic::default()), "there is no .modinfo section"),
        (module(&[("name", "x")]), "the .modinfo section has no vermagic"),
    ] {
        let error = Modinfo::parse(&bytes).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn bombs_are_cut_off() {
    // 513 MiB of zeros in 16 KiB of zstd.
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(0), MODULE_MAX + 1), 1).unwrap();
    assert!(matches!(decompress(&bomb), Err(ElfError::TooLarge { limit: MODULE_MAX })));
}

#[test]
fn knows_module_files_by_name() {
    for (file, name) in [
        ("zfs.ko", Some("zfs")),
        ("snd-hda-intel.ko.xz", Some("snd_hda_intel")),
        ("a.ko.zst", Some("a")),
        ("a.ko.gz", Some("a")),
        (".ko", None),
        ("a.ko.bak", None),
        ("modules.dep", None),
    ] {
        assert_eq!(module_name(file.as_bytes()).as_deref(), name.map(str::as_bytes), "{file}");
        assert_eq!(is_module_name(file.as_bytes()), name.is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn damaged_files_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        truncate: bool,
    ) {
        let program = dynamic(&Dynamic {
            interpreter: Some("/ld.so"), soname: Some("x"), needed: &["a", "b"], rpath: Some("/r"), ..Dynamic::default()
        });
        for mut bytes in [sample(), program] {
            for (at, byte) in &changes {
                let at = at.index(bytes.len().min(400));
                bytes[at] = *byte;
            }
            if truncate {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = Needed::parse(&bytes);
            let _ = Modinfo::parse(&bytes);
        }
    }

    #[test]
    fn noise_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in 0..4_usize) {
        let magics: [&[u8]; 4] = [b"\x7fELF\x02\x01", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
        bytes.splice(0..0, magics[magic].iter().copied());
        let _ = Needed::parse(&bytes);
        let _ = Modinfo::parse(&bytes);
    }
}

#[test]
fn links_are_followed_by_each_of_their_names() {
    let mut tree = FileTree::new();
    let link = |to: &str| Inode { meta: crate::tree::Meta::default(), kind: crate::tree::Kind::Hardlink(path(to)) };
    add(&mut tree, "a", Inode::symlink("usr/lib64", 0));
    add(&mut tree, "lib64", link("a"));
    library(&mut tree, "usr/lib64/liba.so.1", &Dynamic::default());
    add(&mut tree, "opt/liba.so", Inode::symlink("/usr/lib64/liba.so.1", 0));
    add(&mut tree, "usr/lib64/liba.so", link("opt/liba.so"));
    add_file(&mut tree, "etc/other.conf", 0o644, "/opt/extra\n");
    add(&mut tree, "etc/0", Inode::symlink("/etc/other.conf", 0));
    add(&mut tree, "etc/ld.so.conf", link("etc/0"));
    library(&mut tree, "opt/extra/libb.so", &Dynamic::default());
    library(&mut tree, "usr/bin/tool", &Dynamic { needed: &["liba.so", "libb.so"], ..Dynamic::default() });
    assert_eq!(resolved(&tree, "usr/bin/tool"), ["liba.so → /usr/lib64/liba.so.1", "libb.so → /opt/extra/libb.so"]);
}
