//! Modules that are added, held against what the kernel and the other modules export.
//!
//! The kernel's exports are those of its list, where the image has one beside the modules; else they are learned from the
//! modules that were built with it, which are all read for that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use oci_assemble::elf::{ElfError, is_module_name};
use oci_assemble::layer::{Contents, whole};
use oci_assemble::tree::{Content, FileTree, TreePath};

use super::stage::Staged;
use super::{DepmodError, SparseRoot};
use crate::kernel::KernelRelease;
use crate::module::{Candidate, Exports, Modules, Symbols, Symvers, Target, Verdict, validate};

/// What the list of a kernel's exports is called, relative to the modules directory.
const SYMVERS: [&str; 4] = ["symvers.gz", "symvers.xz", "symvers.zst", "symvers"];
/// The largest list that is read, as it is stored; real ones have 2 MB before compression.
const SYMVERS_MAX: u64 = 64 << 20;
/// Where the modules are that a kernel was built with.
const OWN: &[u8] = b"kernel/";

/// Which modules are read down to their symbols.
pub(super) struct Links<'a> {
    added: &'a BTreeSet<TreePath>,
    /// The list of the kernel's exports.
    pub(super) list: Option<(TreePath, Content)>,
}

/// Symbols of modules by path.
#[derive(Default)]
pub(super) struct Linked {
    added: BTreeMap<TreePath, Result<Candidate, ElfError>>,
    others: BTreeMap<TreePath, (String, Symbols)>,
}

impl<'a> Links<'a> {
    pub(super) fn new(tree: &FileTree, plan: &SparseRoot, added: &'a BTreeSet<TreePath>) -> Self {
        let found = SYMVERS.iter().find_map(|name| {
            let path = plan.modules.join(name).ok()?;
            let (found, _) = tree.lookup(path.as_bytes())?;
            tree.content(&found).map(|content| (found.clone(), content.clone()))
        });
        Self { added, list: found.filter(|_| !added.is_empty()) }
    }

    /// Whether the symbols of a module are needed: its own, or what it tells of the kernel. The list has those of the
    /// kernel's own modules.
    pub(super) fn need(&self, path: &TreePath) -> bool {
        let listed = self.list.is_some() && path.as_bytes().starts_with(OWN);
        is_module_name(path.name()) && !self.added.is_empty() && (self.added.contains(path) || !listed)
    }

    /// Keeps what was read of a module.
    pub(super) fn take(&self, linked: &mut Linked, path: &TreePath, read: Result<Candidate, ElfError>) {
        if self.added.contains(path) {
            linked.added.insert(path.clone(), read);
        } else if let Ok(Candidate { module, symbols }) = read {
            let symbols = Symbols { needs: BTreeSet::new(), wants: BTreeSet::new(), ..symbols };
            linked.others.insert(path.clone(), (module.name, symbols));
        }
    }

    /// What is wrong with the modules that are added.
    pub(super) fn verdict(
        &self,
        tree: &FileTree,
        contents: &dyn Contents,
        staged: &Staged,
        kernel: &KernelRelease,
    ) -> Result<Verdict, DepmodError> {
        if self.added.is_empty() {
            return Ok(Verdict::default());
        }
        let Linked { added, others } = &staged.linked;
        let mut exports = match &self.list {
            None => Exports::default(),
            Some((path, content)) => {
                let read = |error| DepmodError::Read { path: path.clone(), source: io::Error::other(error) };
                let bytes = match staged.prefetched.get(content) {
                    Some(bytes) => bytes.clone(),
                    None => whole(tree, contents, path, SYMVERS_MAX).map_err(read)?,
                };
                let symvers = Symvers::parse(&bytes);
                Exports::of_symvers(&symvers.map_err(|source| DepmodError::Symvers { path: path.clone(), source })?)
            }
        };
        for (name, symbols) in others.values() {
            exports.add_module(name, symbols);
        }
        if self.list.is_none() {
            let own = others.iter().filter(|(path, _)| path.as_bytes().starts_with(OWN));
            for (_, (_, symbols)) in own {
                exports.learn(symbols);
            }
        }
        let present = staged.modules.iter().filter(|(path, _)| !added.contains_key(*path));
        let present: Modules = present.map(|(path, module)| (path.clone(), module.clone())).collect();
        let target = Target { kernel, modules: &present, builtins: &staged.builtins, exports: &exports };
        Ok(validate(added, &target))
    }
}
