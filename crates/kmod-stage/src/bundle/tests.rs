#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]
mod config;
mod damage;
mod key;
mod laws;
mod reuse;
mod tools;

use std::io::Read;
use std::num::NonZero;
use std::path::PathBuf;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::Digest;
use oci_assemble::layer::Contents;
use oci_assemble::testing::elf::module_for;
use oci_assemble::testing::memory::Memory;
use oci_assemble::tree::{Content, Inode, Kind, Meta, TreeDelta, TreePath};

use super::*;

pub(super) const ONE: NonZero<usize> = NonZero::<usize>::MIN;

pub(super) fn dir(temp: &tempfile::TempDir) -> Dir {
    Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap()
}

pub(super) fn store(temp: &tempfile::TempDir) -> BundleStore {
    BundleStore::new(dir(temp), "the cache")
}

pub(super) fn key(kernel: &str) -> BundleKey {
    BundleKey::new([("kind", "dkms"), ("kernel", kernel), ("package:zfs-dkms", "2.3.9-1.el10 sha256:00")]).unwrap()
}

pub(super) fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// A staged result of two modules (one under two names), a configuration file, and removals.
pub(super) fn delta(kernel: &str) -> TreeDelta {
    let mut delta = TreeDelta::new();
    let extra = format!("usr/lib/modules/{kernel}/extra");
    for name in ["spl", "zfs"] {
        let module = module_for(name, kernel);
        delta.insert(path(&format!("{extra}/{name}.ko")), Inode::file(Meta::root_owned(0o644, 7), Content::of(module)));
    }
    let twin = Inode { meta: Meta::default(), kind: Kind::Hardlink(path(&format!("{extra}/zfs.ko"))) };
    delta.insert(path(&format!("{extra}/zzz.ko")), twin);
    delta.insert(path("etc/modules-load.d/zfs.conf"), Inode::file(Meta::root_owned(0o600, 7), Content::of("zfs\n")));
    delta.whiteout(path("usr/share/doc"));
    delta.opaque(path("etc/zfs"));
    delta
}

pub(super) fn record(kernel: &str, delta: &TreeDelta, contents: &dyn Contents) -> BundleRecord {
    BundleRecord {
        kind: "dkms".into(),
        stage: "zfs".into(),
        kernel: Some(kernel.into()),
        builder: Some(Digest::of(b"builder")),
        sources: [("zfs.tar.gz".to_owned(), Digest::of(b"zfs"))].into(),
        packages: [PackageRecord {
            name: "zfs-dkms".into(),
            version: "2.3.9-1.el10".into(),
            arch: Some("noarch".into()),
            checksum: None,
            source: Some("zfs-dkms-2.3.9-1.el10.src.rpm".into()),
        }]
        .into(),
        modules: read_modules(delta, contents).unwrap(),
        exclusions: [("documentation".to_owned(), 12)].into(),
        services: ["zfs-mount.service".to_owned()].into(),
        presets: vec!["enable zfs-mount.service".into()],
        notes: vec!["one note".into()],
    }
}

pub(super) fn keep(temp: &tempfile::TempDir, kernel: &str, log: Option<&str>) -> Kept {
    let (delta, contents) = (delta(kernel), Memory::default());
    let (key, record) = (key(kernel), record(kernel, &delta, &contents));
    let mut log = log.map(str::as_bytes);
    let log = log.as_mut().map(|log| log as &mut (dyn Read + Send));
    store(temp).keep(Staged { key: &key, record: &record, delta: &delta, contents: &contents, log }, ONE).unwrap()
}

pub(super) fn hit(temp: &tempfile::TempDir, kernel: &str) -> Bundle {
    match store(temp).find(key(kernel).digest()) {
        Found::Hit(bundle) => *bundle,
        other => panic!("{other:?}"),
    }
}

/// The error and its causes, as one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

pub(super) fn blob(temp: &tempfile::TempDir, digest: &Digest) -> PathBuf {
    temp.path().join("blobs/sha256").join(digest.hex())
}
