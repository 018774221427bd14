//! Modules in one form.
use std::io::Write as _;

use oci_assemble::elf::{Compression, Modinfo};
use oci_assemble::testing::module::TestModule;
use proptest::prelude::*;

use super::*;

const MAGIC: &[u8] = b"~Module signature appended~\n";

fn sign(file: &[u8], key: u8) -> Vec<u8> {
    [file, &[key; 50], &[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 50], MAGIC].concat()
}

fn gzip(file: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(file).unwrap();
    encoder.finish().unwrap()
}

fn module(debug: bool) -> Vec<u8> {
    TestModule {
        name: "zfs",
        release: "6.1",
        license: "CDDL",
        depends: "spl,a-b",
        imports: &[("printk", Some(1))],
        exports: &[("zfs_one", 2, true)],
        text: "\0VERIFY at /build/zfs/2.2/a.c:12\0/build/zfs/other/include/b.h\0/etc/zfs.conf\0",
        debug,
        ..TestModule::default()
    }
    .build()
}

#[test]
fn one_module_has_one_form() {
    let plain = normalise(&module(false), b"zfs.ko").unwrap();
    assert_eq!(
        plain.facts,
        Facts {
            name: "zfs".into(),
            vermagic: "6.1 SMP preempt mod_unload modversions ".into(),
            version: None,
            srcversion: None,
            license: Some("CDDL".into()),
            depends: vec!["spl".into(), "a_b".into()],
            size_before: module(false).len() as u64,
            size_after: plain.bytes.len() as u64,
            compression: None,
            signatures: 0,
            build_paths: BuildPaths { count: 2, directory: Some("/build/zfs".into()) },
        }
    );
    assert_eq!(plain.file_name, b"zfs.ko");
    let info = |bytes: &[u8]| Modinfo::parse(bytes).unwrap();
    assert_eq!(info(&plain.bytes), info(&module(false)));
    let again = normalise(&plain.bytes, b"zfs.ko").unwrap();
    assert_eq!((&again.bytes, again.facts.size_before), (&plain.bytes, plain.facts.size_after));

    let signed = sign(&sign(&module(true), 1), 2);
    let packed = normalise(&gzip(&signed), b"zfs.ko.gz").unwrap();
    assert!(packed.bytes == plain.bytes, "signature, compression and data for debuggers make no difference");
    assert_eq!(packed.file_name, b"zfs.ko");
    assert_eq!((packed.facts.signatures, packed.facts.compression), (2, Some(Compression::Gzip)));
}

#[test]
fn the_build_id_follows_the_content() {
    let id = |name: &str| {
        let bytes = normalise(&TestModule { name, ..TestModule::default() }.build(), b"x.ko").unwrap().bytes;
        let relocatable = oci_assemble::elf::Relocatable::parse(&bytes).unwrap();
        relocatable.section(b".note.gnu.build-id").unwrap().data.to_vec()
    };
    assert_eq!(id("one").len(), 36);
    assert_eq!(id("one")[..16], [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0]);
    assert_ne!(id("one"), id("two"));
}

#[test]
fn what_is_no_module_is_named() {
    let broken = [&module(false), MAGIC].concat();
    for (bytes, name, fault) in [
        (&module(false)[..], "zfs.so", "its name ends neither in .ko nor in .ko.gz, .ko.xz or .ko.zst"),
        (b"#!/bin/sh", "zfs.ko", "not an ELF file"),
        (&module(false)[..600], "zfs.ko", "damaged ELF section headers"),
        (&gzip(&module(false))[..200], "zfs.ko.gz", "damaged gzip data"),
        (&broken, "zfs.ko", "the signature has the unknown type 0"),
    ] {
        let error = normalise(bytes, name.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), format!("{name} is no usable kernel module"));
        assert_eq!(error.fault.to_string(), fault, "{name}");
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        cut in 0..3000_usize,
        changes in prop::collection::vec((0..3000_usize, any::<u8>()), 0..6),
        packed in any::<bool>(),
    ) {
        let mut bytes = sign(&module(true), 1);
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at % length] = byte;
        }
        bytes.truncate(length.saturating_sub(cut.saturating_sub(2000)));
        let bytes = if packed { gzip(&bytes) } else { bytes };
        let _ = Candidate::parse(&bytes);
        if let Ok(normalised) = normalise(&bytes, b"x.ko") {
            prop_assert!(normalised.bytes.len() <= 2 * length + 14 * (1 << 16));
            prop_assert_eq!(normalise(&normalised.bytes, b"x.ko").unwrap().bytes, normalised.bytes);
        }
        let _ = Symvers::parse(&bytes);
    }
}
