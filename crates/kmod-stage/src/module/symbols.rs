//! What a module takes from the kernel and other modules, and what it gives them.
//!
//! With `CONFIG_MODVERSIONS` every exported symbol has a checksum (CRC) of its type. A module carries those it was
//! built against, and the kernel refuses it when one differs (`check_version` of `kernel/module/version.c`).
//! Sources: `include/linux/export-internal.h`, `include/linux/modversion.h` and `scripts/mod/modpost.c` of Linux.

use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::elf::{ElfError, Machine, Modinfo, Place, Relocatable, Symbol};

/// Bytes of `struct modversion_info`: a `long` with the checksum, and the name.
const VERSION: usize = 64;
/// `KSYM_FLAG_GPL_ONLY` of kernels that keep flags beside one table, instead of two tables.
const GPL_ONLY_FLAG: u8 = 1;
/// Licences that the kernel takes for compatible with its own (`include/linux/license.h`).
const COMPATIBLE: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];
/// Undefined symbols that the module loader or the linker answers itself (`ignore_undef_symbol` of modpost).
const ANSWERED: [&str; 2] = ["_GLOBAL_OFFSET_TABLE_", "__this_module"];
/// Those of some architectures begin with these: routines that compilers call to save registers, and the like.
const ANSWERED_POWERPC: [&str; 7] =
    ["_restgpr", "_savegpr", "_rest32gpr_", "_save32gpr_", "_restvr_", "_savevr_", ".TOC."];
const ANSWERED_S390: [&str; 1] = ["__s390_indirect_jump_"];

/// Symbols of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// What others must give.
    pub needs: BTreeSet<String>,
    /// What it would use if others gave it.
    pub wants: BTreeSet<String>,
    /// Checksums of what it was built against, by symbol. `module_layout` is no symbol of the module, but a checksum of
    /// structures that all modules share.
    pub expects: BTreeMap<String, u32>,
    /// What it gives.
    pub exports: BTreeMap<String, Export>,
    /// Its licence, as it is written; without one it counts as proprietary.
    pub license: Option<String>,
}

/// A symbol for other modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Whether only modules with a licence compatible with the GPL may use it.
    pub gpl_only: bool,
    /// Checksum of its type, where the kernel has them.
    pub crc: Option<u32>,
}

impl Symbols {
    /// Reads them; `info` has the licence.
    pub fn of(module: &Relocatable<'_>, info: &Modinfo) -> Result<Self, ElfError> {
        let mut found = Self { license: info.license.clone(), ..Self::default() };
        let mut crcs = BTreeMap::new();
        let mut gpl_only = BTreeSet::new();
        for symbol in module.symbols() {
            if symbol.name.is_empty() {
                continue;
            }
            if symbol.place() == Place::Undefined && !symbol.is_local() {
                let name = text(symbol.name);
                if !is_answered(&name, module.identity().machine) {
                    if symbol.is_weak() { &mut found.wants } else { &mut found.needs }.insert(name);
                }
            } else if let Some(name) = symbol.name.strip_prefix(b"__ksymtab_") {
                if let Some(gpl_only) = table(module, symbol) {
                    found.exports.insert(text(name), Export { gpl_only, crc: None });
                }
            } else if let Some(name) = symbol.name.strip_prefix(b"__crc_") {
                crcs.extend(checksum(module, symbol).map(|crc| (name, crc)));
            } else if let Some(name) = symbol.name.strip_prefix(b"__flags_") {
                gpl_only.extend(Some(name).filter(|_| flags(module, symbol) & GPL_ONLY_FLAG != 0));
            }
        }
        for (name, export) in &mut found.exports {
            export.crc = crcs.get(name.as_bytes()).copied();
            export.gpl_only |= gpl_only.contains(name.as_bytes());
        }
        found.expects = versions(module)?;
        Ok(found)
    }

    /// Whether it may use symbols that are for compatible licences only.
    pub fn is_gpl_compatible(&self) -> bool {
        self.license.as_deref().is_some_and(|license| COMPATIBLE.contains(&license))
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn is_answered(name: &str, machine: Machine) -> bool {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    ANSWERED.contains(&name)
        || match machine.architecture() {
            Some("ppc64le") => starts(&ANSWERED_POWERPC),
            Some("s390x") => starts(&ANSWERED_S390),
            _ => false,
        }
}

/// Whether the table that a `__ksymtab_` symbol is in is that for compatible licences; nothing for other sections.
fn table(module: &Relocatable<'_>, symbol: &Symbol<'_>) -> Option<bool> {
    let Place::Section(number) = symbol.place() else { return None };
    // Before the last link, each symbol has a section of its own with one more underscore and "+NAME".
    let section = module.sections().get(number)?.name;
    let table = section.strip_prefix(b"_").filter(|rest| rest.starts_with(b"__ksymtab")).unwrap_or(section);
    match table.split(|byte| *byte == b'+').next()? {
        b"__ksymtab" => Some(false),
        b"__ksymtab_gpl" | b"__ksymtab_gpl_future" => Some(true),
        _ => None,
    }
}

/// The value of a `__crc_` symbol: its address in older kernels, what it points to in newer ones.
fn checksum(module: &Relocatable<'_>, symbol: &Symbol<'_>) -> Option<u32> {
    match symbol.place() {
        Place::Absolute => u32::try_from(symbol.value).ok(),
        Place::Section(number) => {
            module.word(&module.sections().get(number)?.data, usize::try_from(symbol.value).ok()?)
        }
        _ => None,
    }
}

fn flags(module: &Relocatable<'_>, symbol: &Symbol<'_>) -> u8 {
    let Place::Section(number) = symbol.place() else { return 0 };
    let byte = module.sections().get(number).filter(|section| section.name.ends_with(b"__kflagstab"));
    byte.and_then(|section| section.data.get(usize::try_from(symbol.value).ok()?)).copied().unwrap_or_default()
}

/// Checksums that the module expects: fixed-size records, and from Linux 6.14 on two parallel lists, which also have
/// names that are too long for records.
fn versions(module: &Relocatable<'_>) -> Result<BTreeMap<String, u32>, ElfError> {
    let damaged = |part| ElfError::Damaged { part, source: None };
    let data = |name: &[u8]| module.section(name).map(|section| section.data.as_ref()).unwrap_or_default();
    let (records, ends) = data(b"__versions").as_chunks::<VERSION>();
    if !ends.is_empty() {
        return Err(damaged("__versions section"));
    }
    let long = if module.identity().class == oci_assemble::elf::Class::Elf64 { 8 } else { 4 };
    // The checksum is the lower half of the long.
    let at = if long == 8 && !module.identity().machine.little_endian { 4 } else { 0 };
    let mut found = BTreeMap::new();
    for record in records {
        let name = record[long..].split(|byte| *byte == 0).next().unwrap_or_default();
        let crc = module.word(record, at).ok_or_else(|| damaged("__versions section"))?;
        found.insert(text(name), crc);
    }
    let crcs = data(b"__version_ext_crcs");
    let names = data(b"__version_ext_names").split_inclusive(|byte| *byte == 0);
    for (index, crc) in names.enumerate().map(|(index, name)| (name, module.word(crcs, 4 * index))) {
        let name = index.strip_suffix(b"\0").ok_or_else(|| damaged("__version_ext_names section"))?;
        if !name.is_empty() {
            found.insert(text(name), crc.ok_or_else(|| damaged("__version_ext_crcs section"))?);
        }
    }
    found.remove("");
    Ok(found)
}
