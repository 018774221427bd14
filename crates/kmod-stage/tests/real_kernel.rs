//! depmod on a distribution's kernel with thousands of modules.
//!
//! The base image is made by `tests/base/make-base.sh DIR`; `ASSEMBLE_TEST_BASE` names DIR, `.work` of the workspace is
//! looked at without it.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)]

mod host;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use host::disk::Layout;
use kmod_stage::depmod::{DepmodOptions, DepmodProgram, index_modules};
use kmod_stage::kernel::{KernelRelease, Kernels};
use kmod_stage::sandbox::{Rung, SandboxPolicy};
use oci_assemble::tree::{Content, Kind, TreeDelta, TreePath};

/// The directory with the base image; a reason where there is none.
fn base() -> Option<PathBuf> {
    let directory = std::env::var_os("ASSEMBLE_TEST_BASE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.work"), PathBuf::from);
    if directory.join("base/index.json").exists() {
        return Some(directory);
    }
    let reason = format!("no base image in {}", directory.display());
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: {reason}");
    eprintln!("skipped: {reason}");
    None
}

fn files(delta: &TreeDelta) -> BTreeMap<String, Vec<u8>> {
    let bytes = |kind: &Kind| match kind {
        Kind::File(Content::Bytes(bytes)) => bytes.to_vec(),
        other => panic!("{other:?}"),
    };
    let name = |path: &TreePath| String::from_utf8(path.name().to_vec()).unwrap();
    delta.entries().iter().map(|(path, inode)| (name(path), bytes(&inode.kind))).collect()
}

#[test]
fn a_whole_kernel_is_indexed_as_the_distribution_does() {
    let Some(base) = base() else { return };
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::read(base.join("base"));
    let root = directory.path().join("root");
    layout.unpack(&root);
    let layers = layout.layers();
    let mut tree = layers.tree().unwrap();
    let release = fs::read_to_string(base.join("kernel")).unwrap();
    let kernel = KernelRelease::new(release.trim()).unwrap();
    assert_eq!(Kernels::find(&tree).bootable, std::slice::from_ref(&kernel));

    let shipped: BTreeMap<String, Vec<u8>> = {
        let modules = root.join("usr/lib/modules").join(kernel.as_str());
        let names = ["modules.dep", "modules.dep.bin", "modules.alias", "modules.symbols.bin", "modules.softdep"];
        names.iter().map(|name| ((*name).to_owned(), fs::read(modules.join(name)).unwrap())).collect()
    };
    let workspace = tempfile::tempdir().unwrap();
    let mut options = DepmodOptions::new(workspace.path().to_owned(), 0);
    options.jobs = NonZeroUsize::new(2).unwrap();
    let mut found = BTreeMap::new();
    for (policy, rung) in [(SandboxPolicy::Require, Rung::Namespaces), (SandboxPolicy::Auto, Rung::Landlock)] {
        options.policy = policy;
        let start = Instant::now();
        let indexed = index_modules(&tree, &layers, &kernel, &options).unwrap();
        eprintln!("{rung}: {} modules in {:?}", indexed.report.modules.len(), start.elapsed());
        assert_eq!(indexed.report.confinement.rung, rung);
        assert!(indexed.report.modules.len() > 1000);
        assert_eq!(matches!(indexed.report.program, DepmodProgram::Image(_)), rung == Rung::Namespaces);
        found.insert(rung, files(&indexed.delta));
        // The second round has no depmod in the image.
        tree.remove(&TreePath::new("usr/sbin/depmod").unwrap());
    }
    assert!(found[&Rung::Namespaces] == host::plain_depmod(&root, kernel.as_str()), "not what plain depmod writes");
    assert!(found[&Rung::Namespaces] == found[&Rung::Landlock], "the rungs differ");
    for (name, bytes) in &shipped {
        assert!(found[&Rung::Namespaces][name] == *bytes, "{name} is not what the distribution shipped");
    }
}
