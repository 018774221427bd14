//! Would the image's kernel load what was built?

use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::elf::{ElfError, MODULE_MAX, is_module_name, module_name};
use oci_assemble::layer::{Contents, WholeError, whole};
use oci_assemble::plan::step::View;
use oci_assemble::tree::{Content, FileTree, Resolved, TreeDelta, TreePath};

use super::Family;
use crate::capture::Export;
use crate::kernel::{KernelRelease, MODULES};
use crate::module::{Candidate, Exports, Fault, Module, Modules, Symvers, builtins, validate};

/// The largest list of exported symbols that is read; real ones have 2 MB.
const SYMVERS_MAX: u64 = 64 << 20;

/// Modules that the kernel would refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// What is wrong with them.
    #[error("the kernel would refuse what was built: {}", list(.faults))]
    Faults {
        /// In the order of paths.
        faults: Vec<Fault>,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] WholeError),
    /// The kernel's list of exported symbols is damaged.
    #[error("cannot read {path}")]
    Symvers {
        /// The list.
        path: TreePath,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How many faults a message names; the others are alike.
const SHOWN: usize = 5;

fn list(faults: &[Fault]) -> String {
    let shown: Vec<String> = faults.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = faults.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}

/// Checks the modules of `delta`, whose contents are in memory. Gives notes on what could not be checked.
pub(super) fn check(
    delta: &TreeDelta,
    kernel: &KernelRelease,
    family: Family,
    export: &Export,
    view: View<'_>,
) -> Result<Vec<String>, CheckError> {
    let mut added: BTreeMap<TreePath, Result<Candidate, ElfError>> = BTreeMap::new();
    let alone = alone(delta);
    for path in delta.entries().keys().filter(|path| is_module_name(path.name())) {
        let bytes = whole(&alone, &Nothing, path, MODULE_MAX)?;
        added.insert(relative(path, kernel), Candidate::parse(&bytes));
    }
    let modules = present(view.tree, kernel);
    let builtin = format!("{MODULES}/{kernel}/modules.builtin");
    let builtin = TreePath::new(builtin).ok().filter(|path| view.tree.content(path).is_some());
    let builtin = builtin.map(|path| whole(view.tree, view.contents, &path, SYMVERS_MAX)).transpose()?;
    let exports = exports(kernel, family, export)?;
    let target = crate::module::Target {
        kernel,
        modules: &modules,
        builtins: &builtins(&builtin.unwrap_or_default()),
        exports: &exports,
    };
    let verdict = validate(&added, &target);
    if !verdict.faults.is_empty() {
        return Err(CheckError::Faults { faults: verdict.faults });
    }
    let unchecked: usize = verdict.unchecked.values().map(BTreeSet::len).sum();
    if unchecked == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "{unchecked} symbols of the modules could not be held against the kernel, whose exports are not known"
    )])
}

/// Contents that are in memory need no source.
struct Nothing;

impl Contents for Nothing {
    fn open<'a>(&'a self, content: &'a Content) -> std::io::Result<Box<dyn std::io::Read + 'a>> {
        match content {
            Content::Bytes(bytes) => Ok(Box::new(&bytes[..])),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

fn alone(delta: &TreeDelta) -> FileTree {
    let mut tree = FileTree::new();
    for (path, inode) in delta.entries() {
        tree.insert(path.clone(), inode.clone());
    }
    tree
}

/// A module's path below the directory of its kernel.
fn relative(path: &TreePath, kernel: &KernelRelease) -> TreePath {
    let prefix = format!("{MODULES}/{kernel}/");
    let rest = path.as_bytes().strip_prefix(prefix.as_bytes()).unwrap_or(path.as_bytes());
    TreePath::new(rest).unwrap_or_else(|_| path.clone())
}

/// The modules that are there, by name alone: they came with their kernel, and reading thousands of them tells no more.
fn present(tree: &FileTree, kernel: &KernelRelease) -> Modules {
    let mut modules = Modules::new();
    let Resolved::Found(directory) = tree.resolve(format!("{MODULES}/{kernel}")) else { return modules };
    for (path, _) in tree.below(&directory).filter(|(path, _)| is_module_name(path.name())) {
        let name = module_name(path.name()).unwrap_or_default();
        let module = Module {
            name: String::from_utf8_lossy(&name).into_owned(),
            release: kernel.to_string(),
            depends: Vec::new(),
            wants: BTreeSet::new(),
            aliases: 0,
            srcversion: None,
            signed: false,
        };
        modules.insert(relative(path, kernel), module);
    }
    modules
}

/// What the kernel offers, by the list that its headers bring.
fn exports(kernel: &KernelRelease, family: Family, export: &Export) -> Result<Exports, CheckError> {
    let headers = match family {
        Family::Debian => format!("usr/src/linux-headers-{kernel}/Module.symvers"),
        Family::Rpm => format!("usr/src/kernels/{kernel}/Module.symvers"),
    };
    let beside = ["", ".xz", ".zst", ".gz"].map(|suffix| format!("{MODULES}/{kernel}/symvers{suffix}"));
    let found = [headers].iter().chain(&beside).find_map(|path| export.tree.lookup(path).map(|(path, _)| path));
    let Some(path) = found.filter(|path| export.tree.content(path).is_some()) else { return Ok(Exports::default()) };
    let bytes = whole(&export.tree, &export.contents, &path, SYMVERS_MAX)?;
    let symvers = Symvers::parse(&bytes).map_err(|error| CheckError::Symvers { path, source: Box::new(error) })?;
    Ok(Exports::of_symvers(&symvers))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use oci_assemble::tree::{Inode, Meta};

    use super::*;

    #[test]
    fn modules_are_known_by_their_place_in_the_kernels_directory() {
        let kernel = KernelRelease::new("6.1").unwrap();
        let mut tree = FileTree::new();
        for path in ["usr", "usr/lib", MODULES, "usr/lib/modules/6.1", "usr/lib/modules/6.1/kernel"] {
            tree.insert(TreePath::new(path).unwrap(), Inode::directory(Meta::root_owned(0o755, 0)));
        }
        let file = Inode::file(Meta::root_owned(0o644, 0), Content::of("x"));
        tree.insert(TreePath::new("usr/lib/modules/6.1/kernel/a-b.ko.xz").unwrap(), file.clone());
        tree.insert(TreePath::new("usr/lib/modules/6.1/modules.dep").unwrap(), file);
        let names: Vec<_> = present(&tree, &kernel).into_iter().map(|(path, module)| (path, module.name)).collect();
        assert_eq!(names, [(TreePath::new("kernel/a-b.ko.xz").unwrap(), "a_b".to_owned())]);
    }
}
