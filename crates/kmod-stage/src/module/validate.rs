//! Would the kernel load these modules? All that can be known without asking it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;

use oci_assemble::elf::{ElfError, Modinfo, Relocatable, decompress};
use oci_assemble::tree::TreePath;

use super::exports::Exports;
use super::symbols::{Export, Symbols};
use super::{Fault, Module, Modules, faults};
use crate::kernel::KernelRelease;

/// No symbol of a module, but a checksum of structures that the kernel shares with all of them.
const LAYOUT: &str = "module_layout";

/// A module that is to be added to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it is for and needs.
    pub module: Module,
    /// Its symbols.
    pub symbols: Symbols,
}

impl Candidate {
    /// Reads a module file, compressed or not, signed or not.
    pub fn parse(file: &[u8]) -> Result<Self, ElfError> {
        let plain = decompress(file)?;
        // The first checks what the second relies on.
        let relocatable = Relocatable::parse(&plain)?;
        let info = Modinfo::parse(&plain)?;
        Ok(Self { module: Module::from(&info), symbols: Symbols::of(&relocatable, &info)? })
    }
}

/// The kernel that modules are to be added to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its release.
    pub kernel: &'a KernelRelease,
    /// The modules that are there already.
    pub modules: &'a Modules,
    /// Names of those that are part of the kernel.
    pub builtins: &'a BTreeSet<String>,
    /// What the kernel and the modules that are there offer.
    pub exports: &'a Exports,
}

/// What became of checking modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// What is wrong, in the order of paths, for each first what concerns it as a whole.
    pub faults: Vec<Fault>,
    /// Symbols that could not be checked, by module: nothing known offers them, and not all exports of the kernel are
    /// known.
    pub unchecked: BTreeMap<TreePath, BTreeSet<String>>,
}

/// Checks the modules `added`, as they are or as the reason why one could not be read.
///
/// A module of another kernel gets that one fault for all its symbols: each of them may be wrong as well.
pub fn validate(added: &BTreeMap<TreePath, Result<Candidate, ElfError>>, target: &Target<'_>) -> Verdict {
    let readable = || added.iter().filter_map(|(path, module)| Some((path, module.as_ref().ok()?)));
    let mut together = target.modules.clone();
    let mut exports = target.exports.clone();
    for (path, candidate) in readable() {
        together.insert(path.clone(), candidate.module.clone());
        exports.add_module(&candidate.module.name, &candidate.symbols);
    }
    let mut whole: BTreeMap<TreePath, Vec<Fault>> = BTreeMap::new();
    for fault in faults(&together, target.builtins, target.kernel) {
        whole.entry(fault.path().clone()).or_default().push(fault);
    }
    let mut verdict = Verdict::default();
    for (path, module) in added {
        let candidate = match module {
            Ok(candidate) => candidate,
            Err(error) => {
                verdict.faults.push(Fault::Unreadable { path: path.clone(), reason: chain(error) });
                continue;
            }
        };
        let whole = whole.remove(path).unwrap_or_default();
        let other_kernel = whole.iter().any(|fault| matches!(fault, Fault::OtherKernel { .. }));
        verdict.faults.extend(whole);
        if !other_kernel {
            symbols(path, &candidate.symbols, &exports, &mut verdict);
        }
    }
    verdict
}

/// An error with what it comes from.
fn chain(error: &ElfError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

fn symbols(path: &TreePath, symbols: &Symbols, exports: &Exports, verdict: &mut Verdict) {
    let layout = symbols.expects.keys().filter(|name| *name == LAYOUT);
    let names: BTreeSet<&String> = symbols.needs.iter().chain(&symbols.wants).chain(layout).collect();
    for symbol in names {
        let offers: Vec<Export> = exports.offers(symbol).map(|(_, export)| export).collect();
        let (path, symbol) = (path.clone(), symbol.clone());
        if offers.is_empty() {
            if symbols.needs.contains(&symbol) {
                if exports.knows_kernel() {
                    verdict.faults.push(Fault::UnresolvedSymbol { path, symbol });
                } else {
                    verdict.unchecked.entry(path).or_default().insert(symbol);
                }
            }
            continue;
        }
        if let (Some(expected), Some(found)) = (symbols.expects.get(&symbol), mismatch(symbols, &symbol, &offers)) {
            let (path, symbol, expected) = (path.clone(), symbol.clone(), *expected);
            verdict.faults.push(Fault::CrcMismatch { path, symbol, expected, found });
        }
        if !symbols.is_gpl_compatible() && offers.iter().all(|offer| offer.gpl_only) {
            verdict.faults.push(Fault::GplOnly { path, symbol, license: symbols.license.clone() });
        }
    }
}

/// A checksum that is offered, if none is the expected one. An export without one is accepted by the kernel.
fn mismatch(symbols: &Symbols, symbol: &str, offers: &[Export]) -> Option<u32> {
    let expected = symbols.expects.get(symbol)?;
    let fits = offers.iter().any(|offer| offer.crc.is_none_or(|crc| crc == *expected));
    if fits { None } else { offers.iter().find_map(|offer| offer.crc) }
}
