//! Relocatable files (`ET_REL`, what kernel modules are) as values: read, edited, written.
//!
//! Sections keep their order and bytes, symbols keep their order. Written anew are only the things that name others:
//! string tables, the symbol table, the symbol numbers of relocations, the section numbers of headers and groups. So the
//! code and data of a file that was read and written are the same, and the file itself depends on nothing but the value.
//!
//! Laws: reading what was written gives the same value, and writing that the same bytes.

mod read;
mod strip;
mod write;

use std::borrow::Cow;

use object::elf::{SHN_ABS, SHN_LORESERVE, SHN_UNDEF, STB_LOCAL, STB_WEAK};

use super::Identity;

/// A relocatable file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocatable<'a> {
    identity: Identity,
    /// `e_ident`, with the ABI and its version.
    ident: [u8; 16],
    /// `e_version` and `e_flags`.
    version: u32,
    flags: u32,
    /// By number; the one with number 0 is the empty one.
    sections: Vec<Section<'a>>,
    /// By number; the one with number 0 is the empty one. Nothing at all when there is no symbol table.
    symbols: Vec<Symbol<'a>>,
    /// Number of the symbol table.
    symbol_table: Option<usize>,
    /// Number of the string table with the names of sections.
    section_names: usize,
}

/// A section. Numbers in it are those of the file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section<'a> {
    /// Name.
    pub name: &'a [u8],
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// Bytes; none for `SHT_NOBITS`, the symbol table and the string tables of symbols and sections.
    pub data: Cow<'a, [u8]>,
    address: u64,
    /// `sh_size` of a section without bytes.
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry_size: u64,
}

/// A symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Name.
    pub name: &'a [u8],
    /// `st_value`: in a section, the offset from its start.
    pub value: u64,
    size: u64,
    info: u8,
    other: u8,
    section: u16,
}

/// Where a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it must come from elsewhere.
    Undefined,
    /// Its value is all there is to it.
    Absolute,
    /// In the section with this number.
    Section(usize),
    /// Something that only the linker or one architecture knows.
    Special(u16),
}

impl Symbol<'_> {
    /// Where it is.
    pub fn place(&self) -> Place {
        match self.section {
            SHN_UNDEF => Place::Undefined,
            SHN_ABS => Place::Absolute,
            number if number < SHN_LORESERVE => Place::Section(number.into()),
            number => Place::Special(number),
        }
    }

    /// Whether other files do not see it.
    pub fn is_local(&self) -> bool {
        self.info >> 4 == STB_LOCAL
    }

    /// Whether it may be missing.
    pub fn is_weak(&self) -> bool {
        self.info >> 4 == STB_WEAK
    }

    /// `STT_*`.
    fn kind(&self) -> u8 {
        self.info & 15
    }
}

impl<'a> Relocatable<'a> {
    /// For which machine it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// All sections by number, beginning with the empty one.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// All symbols by number, beginning with the empty one.
    pub fn symbols(&self) -> &[Symbol<'a>] {
        &self.symbols
    }

    /// The first section of this name.
    pub fn section(&self, name: &[u8]) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Like [`Relocatable::section`], to change its bytes.
    pub fn section_mut(&mut self, name: &[u8]) -> Option<&mut Section<'a>> {
        self.sections.iter_mut().find(|section| section.name == name)
    }

    /// The 32-bit number at `at` of `bytes`, in the byte order of the file.
    pub fn word(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.identity.machine.little_endian { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) })
    }
}

#[cfg(test)]
mod tests;
