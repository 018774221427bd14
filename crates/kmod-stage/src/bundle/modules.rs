//! The kernel modules of a staged result.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use oci_assemble::elf::{ElfError, MODULE_MAX, Modinfo, is_module_name};
use oci_assemble::image::Digest;
use oci_assemble::layer::Contents;
use oci_assemble::tree::{Content, TreeDelta, TreePath};

use super::error::BundleError;
use super::record::ModuleRecord;
use crate::kernel::MODULES;

/// The module files of a delta by path: regular files below `usr/lib/modules` whose name says so, each name of a file
/// that has several.
pub(super) fn module_files(delta: &TreeDelta) -> BTreeMap<&TreePath, &Content> {
    let below = |path: &TreePath| path.as_bytes().strip_prefix(MODULES.as_bytes()).is_some_and(|r| r.starts_with(b"/"));
    let content = |path: &TreePath| delta.linked(delta.entries().get(path)?).content();
    let modules = delta.entries().keys().filter(|path| is_module_name(path.name()) && below(path));
    modules.filter_map(|path| Some((path, content(path)?))).collect()
}

/// Reads the kernel modules of `delta`, which is what [`BundleRecord::modules`](super::BundleRecord::modules) has to
/// be. Each is held in memory for a moment.
pub fn read_modules(delta: &TreeDelta, contents: &dyn Contents) -> Result<BTreeSet<ModuleRecord>, BundleError> {
    let mut paths: BTreeMap<&Content, Vec<&TreePath>> = BTreeMap::new();
    for (path, content) in module_files(delta) {
        paths.entry(content).or_default().push(path);
    }
    let wanted: BTreeSet<Content> = paths.keys().map(|content| (*content).clone()).collect();
    let mut found = BTreeSet::new();
    let mut failed = None;
    let visited = contents.visit(&wanted, &mut |content, stream| {
        let names = paths.get(content).map(Vec::as_slice).unwrap_or_default();
        let Some(first) = names.first() else { return Ok(()) };
        match read_module(content, stream)? {
            Ok(module) => {
                found.extend(names.iter().map(|path| ModuleRecord { path: (*path).clone(), ..module.clone() }));
            }
            Err(source) => {
                failed = Some(BundleError::Module { path: (*first).clone(), source });
                return Err(io::ErrorKind::InvalidData.into()); // ends the visit
            }
        }
        Ok(())
    });
    match (failed, visited) {
        (Some(error), _) => Err(error),
        (None, visited) => visited.map(|()| found).map_err(BundleError::Read),
    }
}

fn read_module(content: &Content, stream: &mut dyn Read) -> io::Result<Result<ModuleRecord, ElfError>> {
    if content.size() > MODULE_MAX {
        return Ok(Err(ElfError::TooLarge { limit: MODULE_MAX }));
    }
    let mut bytes = Vec::new();
    stream.take(MODULE_MAX).read_to_end(&mut bytes)?;
    Ok(Modinfo::parse(&bytes).map(|info| ModuleRecord {
        path: TreePath::root(),
        name: info.name,
        vermagic: info.vermagic,
        srcversion: info.srcversion,
        depends: info.depends,
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
    }))
}
