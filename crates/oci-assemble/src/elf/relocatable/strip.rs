//! Leaves out what only debuggers read, as `strip --strip-debug` of binutils does.

use std::borrow::Cow;

use object::elf::{EM_MIPS, SHF_ALLOC, SHF_INFO_LINK, SHT_GROUP, SHT_REL, SHT_RELA, STT_FILE, STT_SECTION};

use super::{Place, Relocatable, Section};
use crate::elf::{Class, ElfError, Identity};

/// `SHT_LLVM_ADDRSIG`: hints of LLVM for the linker, with numbers of symbols; nothing reads them in a linked module.
const ADDRESS_SIGNIFICANCE: u32 = 0x6fff_4c03;
/// Names of sections for debuggers begin with these (`_bfd_elf_make_section_from_shdr` of binutils), if they are not
/// loaded.
const DEBUG: [&[u8]; 7] =
    [b".debug", b".zdebug", b".gnu.debuglto_.debug_", b".gnu.linkonce.wi.", b".line", b".stab", b".gdb_index"];

impl Relocatable<'_> {
    /// Without sections for debuggers, their relocations and symbols, names of source files, and the symbols of sections
    /// that no relocation needs.
    ///
    /// Law: stripping twice is stripping once.
    pub fn without_debug(self) -> Result<Self, ElfError> {
        let sections = self.kept_sections();
        let symbols = self.kept_symbols(&sections)?;
        let sections_at = numbers(&sections);
        let symbols_at = numbers(&symbols);
        let part = ElfError::Damaged { part: "section headers", source: None };
        let moved = |number: u32| sections_at.get(number as usize).copied().flatten();
        let (Some(section_names), Some(symbol_table)) = (
            sections_at.get(self.section_names).copied().flatten(),
            self.symbol_table.map_or(Some(None), |table| sections_at.get(table).copied().flatten().map(Some)),
        ) else {
            return Err(part);
        };
        let edit = Edit { identity: self.identity, sections: &sections_at, symbols: &symbols_at };
        let mut kept = Vec::with_capacity(sections.len());
        for (number, section) in self.sections.iter().enumerate().filter(|(number, _)| sections[*number]) {
            let mut section = edit.section(section)?;
            if self.symbol_table == Some(number) {
                let locals = symbols.iter().take(section.info as usize).filter(|kept| **kept).count();
                section.info = u32::try_from(locals).unwrap_or(u32::MAX);
            }
            kept.push(section);
        }
        let mut stripped = Self {
            sections: kept,
            section_names: section_names as usize,
            symbol_table: symbol_table.map(|table| table as usize),
            symbols: Vec::with_capacity(symbols.len()),
            ..self
        };
        for (mut symbol, _) in self.symbols.into_iter().zip(symbols).filter(|(_, kept)| *kept) {
            if let Place::Section(_) = symbol.place() {
                let number = moved(symbol.section.into()).and_then(|number| u16::try_from(number).ok());
                symbol.section = number.ok_or(ElfError::Damaged { part: "symbol table", source: None })?;
            }
            stripped.symbols.push(symbol);
        }
        Ok(stripped)
    }

    /// Which sections stay, by number.
    fn kept_sections(&self) -> Vec<bool> {
        let mut kept: Vec<bool> = self.sections.iter().map(|section| !is_debug(section)).collect();
        let is_kept = |kept: &[bool], number: u32| kept.get(number as usize).copied().unwrap_or(true);
        for (number, section) in self.sections.iter().enumerate() {
            if matches!(section.kind, SHT_REL | SHT_RELA) {
                kept[number] &= is_kept(&kept, section.info);
            }
        }
        for (number, section) in self.sections.iter().enumerate().filter(|(_, section)| section.kind == SHT_GROUP) {
            let members = (4..section.data.len()).step_by(4).filter_map(|at| self.word(&section.data, at));
            kept[number] = members.into_iter().any(|member| is_kept(&kept, member));
        }
        kept
    }

    /// Which symbols stay, by number.
    fn kept_symbols(&self, sections: &[bool]) -> Result<Vec<bool>, ElfError> {
        let mut needed = vec![false; self.symbols.len()];
        let mut need = |number: u32| match needed.get_mut(number as usize) {
            Some(needed) => {
                *needed = true;
                Ok(())
            }
            None => Err(ElfError::Damaged { part: "relocations", source: None }),
        };
        for (section, _) in self.sections.iter().zip(sections).filter(|(_, kept)| **kept) {
            match section.kind {
                SHT_REL | SHT_RELA => {
                    let size = self.identity.relocation_size(section.kind);
                    for entry in section.data.chunks_exact(size) {
                        need(self.identity.relocation_symbol(entry))?;
                    }
                }
                SHT_GROUP => need(section.info)?,
                _ => (),
            }
        }
        let kept = self.symbols.iter().zip(needed).enumerate().map(|(number, (symbol, needed))| {
            let there = match symbol.place() {
                Place::Section(section) => sections.get(section).copied().unwrap_or(false),
                _ => true,
            };
            if needed && !there {
                return Err(ElfError::Unsupported { what: "code that refers to data for debuggers" });
            }
            let kept = there && (needed || !matches!(symbol.kind(), STT_FILE | STT_SECTION));
            Ok(kept || number == 0)
        });
        kept.collect()
    }
}

fn is_debug(section: &Section<'_>) -> bool {
    section.kind == ADDRESS_SIGNIFICANCE
        || section.flags & u64::from(SHF_ALLOC) == 0 && DEBUG.iter().any(|prefix| section.name.starts_with(prefix))
}

/// The new number of each thing that is kept.
fn numbers(kept: &[bool]) -> Vec<Option<u32>> {
    let mut next = 0..;
    kept.iter().map(|kept| if *kept { next.next() } else { None }).collect()
}

/// New numbers for old ones.
struct Edit<'a> {
    identity: Identity,
    sections: &'a [Option<u32>],
    symbols: &'a [Option<u32>],
}

impl Edit<'_> {
    fn section<'a>(&self, old: &Section<'a>) -> Result<Section<'a>, ElfError> {
        let wrong = || ElfError::Damaged { part: "section headers", source: None };
        let moved = |number: u32| self.sections.get(number as usize).copied().flatten().ok_or_else(wrong);
        let symbol = |number: u32| self.symbols.get(number as usize).copied().flatten().ok_or_else(wrong);
        let mut section = Section { link: moved(old.link)?, ..old.clone() };
        match old.kind {
            SHT_REL | SHT_RELA => {
                section.info = moved(old.info)?;
                let mut data = old.data.to_vec();
                for entry in data.chunks_exact_mut(self.identity.relocation_size(old.kind)) {
                    let number = symbol(self.identity.relocation_symbol(entry))?;
                    self.identity.set_relocation_symbol(entry, number);
                }
                section.data = Cow::Owned(data);
            }
            SHT_GROUP => {
                section.info = symbol(old.info)?;
                let little = self.identity.machine.little_endian;
                let word = |bytes: [u8; 4]| if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
                let mut words = old.data.chunks_exact(4).filter_map(|bytes| Some(word(bytes.try_into().ok()?)));
                let mut kept: Vec<u32> = words.next().into_iter().collect();
                kept.extend(words.filter_map(|member| self.sections.get(member as usize).copied().flatten()));
                let bytes = |word: u32| if little { word.to_le_bytes() } else { word.to_be_bytes() };
                section.data = Cow::Owned(kept.into_iter().flat_map(bytes).collect());
            }
            _ if old.flags & u64::from(SHF_INFO_LINK) != 0 => section.info = moved(old.info)?,
            _ => (),
        }
        Ok(section)
    }
}

impl Identity {
    /// Bytes of a relocation in a section of this `sh_type`: offset, symbol and type, and the addend of `SHT_RELA`.
    pub(super) fn relocation_size(self, kind: u32) -> usize {
        let word = if self.class == Class::Elf64 { 8 } else { 4 };
        if kind == SHT_RELA { 3 * word } else { 2 * word }
    }

    /// The number of the symbol of a relocation: the upper half of `r_info`, in 32-bit files its upper three bytes.
    fn relocation_symbol(self, entry: &[u8]) -> u32 {
        debug_assert!(self.class == Class::Elf32 || self.machine.number != EM_MIPS);
        let little = self.machine.little_endian;
        let word = |at: usize| {
            let bytes = entry.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
            if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
        };
        match (self.class, little) {
            (Class::Elf64, true) => word(12),
            (Class::Elf64, false) => word(8),
            (Class::Elf32, _) => word(4) >> 8,
        }
    }

    fn set_relocation_symbol(self, entry: &mut [u8], number: u32) {
        let bytes = if self.machine.little_endian { number.to_le_bytes() } else { number.to_be_bytes() };
        // The byte of the type, in 32-bit files, is the first or the last one of `r_info`.
        let (at, bytes) = match (self.class, self.machine.little_endian) {
            (Class::Elf64, true) => (12, &bytes[..]),
            (Class::Elf64, false) => (8, &bytes[..]),
            (Class::Elf32, true) => (5, &bytes[..3]),
            (Class::Elf32, false) => (4, &bytes[1..]),
        };
        if let Some(place) = entry.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}
