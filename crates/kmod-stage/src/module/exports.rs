//! What modules of one kernel can be linked with.

use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::elf::module_name;

use super::symbols::{Export, Symbols};
use super::symvers::Symvers;

/// The kernel itself, as lists name it.
const KERNEL: &str = "vmlinux";

/// Symbols that a kernel and its modules offer.
///
/// Best made from the kernel's `Module.symvers`. Where an image has none, it is collected from the kernel's modules:
/// what they export, and what they expect of the kernel. The latter is a part of the kernel's exports only, so a symbol
/// that is not there may still exist; [`Exports::knows_kernel`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// By symbol and by who offers it.
    symbols: BTreeMap<String, BTreeMap<String, Export>>,
    /// Who offers what.
    modules: BTreeMap<String, BTreeSet<String>>,
    knows_kernel: bool,
}

impl Exports {
    /// Those of a list.
    pub fn of_symvers(symvers: &Symvers) -> Self {
        let mut exports = Self::default();
        for (symbol, exported) in &symvers.symbols {
            let file = exported.module.rsplit('/').next().unwrap_or_default();
            let name = module_name(format!("{file}.ko").as_bytes());
            let name = name.map_or_else(String::new, |name| String::from_utf8_lossy(&name).into_owned());
            exports.knows_kernel |= name == KERNEL;
            exports.insert(name, symbol, exported.export);
        }
        exports
    }

    /// Adds the exports of the module called `name`, in place of those of another one with that name: of two files with
    /// one name, depmod indexes one.
    pub fn add_module(&mut self, name: &str, symbols: &Symbols) {
        for symbol in self.modules.remove(name).unwrap_or_default() {
            if let Some(offers) = self.symbols.get_mut(&symbol) {
                offers.remove(name);
            }
        }
        for (symbol, export) in &symbols.exports {
            self.insert(name.to_owned(), symbol, *export);
        }
    }

    /// Adds what a module that was built with the kernel expects of it, as far as nothing offers it yet. So add all
    /// modules first.
    pub fn learn(&mut self, symbols: &Symbols) {
        for (symbol, crc) in &symbols.expects {
            if self.offers(symbol).next().is_none() {
                // Whether it is for compatible licences only cannot be seen from here.
                self.insert(KERNEL.to_owned(), symbol, Export { gpl_only: false, crc: Some(*crc) });
            }
        }
    }

    /// Whether all exports of the kernel itself are known: if not, a symbol that nothing offers may be the kernel's.
    pub fn knows_kernel(&self) -> bool {
        self.knows_kernel
    }

    /// Those who offer `symbol`, by name, and what they offer.
    pub fn offers(&self, symbol: &str) -> impl Iterator<Item = (&str, Export)> {
        self.symbols.get(symbol).into_iter().flatten().map(|(name, export)| (name.as_str(), *export))
    }

    fn insert(&mut self, name: String, symbol: &str, export: Export) {
        self.modules.entry(name.clone()).or_default().insert(symbol.to_owned());
        self.symbols.entry(symbol.to_owned()).or_default().insert(name, export);
    }
}
