//! Layouts in temporary directories, for tests.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

use std::fs;
use std::path::PathBuf;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::{BlobSource, Committed, Layout, StoreError, Transaction};
use crate::image::{Descriptor, Digest, Encoding, MediaType};
use crate::testing::image::image;

pub(super) struct Scratch(pub(super) tempfile::TempDir);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn dir(&self) -> Dir {
        Dir::open_ambient_dir(self.0.path(), ambient_authority()).unwrap()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.path("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// A layout with an image of these layers under each tag.
    pub(super) fn with(images: &[(&str, &[&str])]) -> Self {
        let scratch = Self::new();
        for (tag, layers) in images {
            write(&scratch, Some(tag), layers).unwrap();
        }
        scratch
    }
}

pub(super) fn fill(transaction: &Transaction, layers: &[&str]) -> Result<Descriptor, StoreError> {
    for name in layers {
        transaction.put_bytes(MediaType::layer(Encoding::Plain), name.as_bytes())?;
    }
    transaction.put_image(&image(layers))
}

pub(super) fn write(scratch: &Scratch, tag: Option<&str>, layers: &[&str]) -> Result<Committed, StoreError> {
    let transaction = Layout::write(scratch.dir())?;
    let descriptor = fill(&transaction, layers)?;
    transaction.commit(tag, &descriptor)
}

pub(super) fn open(scratch: &Scratch) -> Layout {
    Layout::open(scratch.dir()).unwrap()
}

pub(super) fn content(layout: &Layout, name: &str) -> Result<Vec<u8>, StoreError> {
    layout.open(&Descriptor::of(MediaType::layer(Encoding::Plain), name.as_bytes()))?.read_whole()
}

/// Every file below the layout, the private directory's lock files left out.
pub(super) fn listing(scratch: &Scratch) -> Vec<String> {
    fn walk(dir: &std::path::Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(scratch.0.path(), "", &mut found);
    found.sort();
    found
}

/// Whether a test must be left out because a program is not installed, which it says. Where everything has to be
/// installed (`CI=true`) that is an error.
pub(super) fn lacks(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let Some(missing) = programs.iter().find(|program| !installed(program)) else { return false };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{missing} is not installed");
    eprintln!("left out: {missing} is not installed");
    true
}
