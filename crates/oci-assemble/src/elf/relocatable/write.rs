//! Value to bytes: file header, sections in order, section headers.

use std::borrow::Cow;
use std::collections::HashMap;

use object::elf::{ET_REL, SHT_NOBITS, SHT_NULL};

use super::Relocatable;
use crate::elf::{Class, ElfError, MODULE_MAX};

/// Where the name of a section is, and its bytes.
type Part<'a> = (u32, Cow<'a, [u8]>);

impl Relocatable<'_> {
    /// The file; at most [`MODULE_MAX`] bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ElfError> {
        let parts = self.parts()?;
        let (header, alignment): (u64, u64) = if self.identity.class == Class::Elf64 { (64, 8) } else { (52, 4) };
        let mut end = header;
        let mut offsets = Vec::with_capacity(self.sections.len());
        for (section, (_, data)) in self.sections.iter().zip(&parts) {
            // A section without bytes stands where the one before it ends.
            let align = if section.kind == SHT_NOBITS { 1 } else { section.align.max(1) };
            let start = if section.kind == SHT_NULL { 0 } else { end.next_multiple_of(align) };
            offsets.push(start);
            end = end.max(start + data.len() as u64);
            if end > MODULE_MAX {
                return Err(ElfError::TooLarge { limit: MODULE_MAX });
            }
        }
        let table = end.next_multiple_of(alignment);

        let little = self.identity.machine.little_endian;
        let mut out = Encoder { bytes: Vec::new(), class: self.identity.class, little };
        self.header(&mut out, header, table);
        for ((_, data), start) in parts.iter().zip(&offsets).filter(|((_, data), _)| !data.is_empty()) {
            out.pad_to(*start);
            out.bytes.extend_from_slice(data);
        }
        out.pad_to(table);
        for ((section, (name, data)), start) in self.sections.iter().zip(&parts).zip(&offsets) {
            let size = if section.kind == SHT_NOBITS { section.size } else { data.len() as u64 };
            out.word(*name);
            out.word(section.kind);
            out.wide(section.flags);
            out.wide(section.address);
            out.wide(*start);
            out.wide(size);
            out.word(section.link);
            out.word(section.info);
            out.wide(section.align);
            out.wide(section.entry_size);
        }
        Ok(out.bytes)
    }

    /// Of each section the place of its name, and its bytes.
    fn parts(&self) -> Result<Vec<Part<'_>>, ElfError> {
        let symbol_names =
            self.symbol_table.and_then(|table| self.sections.get(table)).map(|table| table.link as usize);
        // One table may have the names of both.
        let mut of_symbols = Strings::default();
        let mut of_sections = Strings::default();
        let shared = symbol_names == Some(self.section_names);
        let mut symbols =
            Encoder { bytes: Vec::new(), class: self.identity.class, little: self.identity.machine.little_endian };
        for symbol in &self.symbols {
            let name = of_symbols.add(symbol.name)?;
            symbols.symbol(name, symbol);
        }
        let strings = if shared { &mut of_symbols } else { &mut of_sections };
        let names = self.sections.iter().map(|section| strings.add(section.name)).collect::<Result<Vec<_>, _>>()?;
        let mut parts: Vec<Part<'_>> =
            names.into_iter().zip(&self.sections).map(|(name, section)| (name, section.data.as_ref().into())).collect();
        let mut put = |number: Option<usize>, data: Vec<u8>| {
            if let Some((_, place)) = number.and_then(|number| parts.get_mut(number)) {
                *place = Cow::Owned(data);
            }
        };
        put(self.symbol_table, symbols.bytes);
        put(symbol_names, of_symbols.bytes);
        put(Some(self.section_names).filter(|_| !shared), of_sections.bytes);
        Ok(parts)
    }

    fn header(&self, out: &mut Encoder, size: u64, table: u64) {
        let half = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        out.bytes.extend_from_slice(&self.ident);
        out.half(ET_REL);
        out.half(self.identity.machine.number);
        out.word(self.version);
        out.wide(0); // entry point
        out.wide(0); // program headers
        out.wide(table);
        out.word(self.flags);
        out.half(u16::try_from(size).unwrap_or(u16::MAX));
        out.half(0);
        out.half(0);
        out.half(if self.identity.class == Class::Elf64 { 64 } else { 40 });
        out.half(half(self.sections.len()));
        out.half(half(self.section_names));
    }
}

/// A string table in the making: each name once, in the order of its first use.
struct Strings<'a> {
    bytes: Vec<u8>,
    places: HashMap<&'a [u8], u32>,
}

impl Default for Strings<'_> {
    fn default() -> Self {
        Self { bytes: vec![0], places: HashMap::from([(&b""[..], 0)]) }
    }
}

impl<'a> Strings<'a> {
    fn add(&mut self, name: &'a [u8]) -> Result<u32, ElfError> {
        if let Some(place) = self.places.get(name) {
            return Ok(*place);
        }
        let too_large = ElfError::TooLarge { limit: MODULE_MAX };
        let Some(place) = u32::try_from(self.bytes.len()).ok().filter(|place| u64::from(*place) < MODULE_MAX) else {
            return Err(too_large);
        };
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.places.insert(name, place);
        Ok(place)
    }
}

/// Numbers in the byte order and size of the file.
struct Encoder {
    bytes: Vec<u8>,
    class: Class,
    little: bool,
}

impl Encoder {
    fn half(&mut self, number: u16) {
        self.bytes.extend(if self.little { number.to_le_bytes() } else { number.to_be_bytes() });
    }

    fn word(&mut self, number: u32) {
        self.bytes.extend(if self.little { number.to_le_bytes() } else { number.to_be_bytes() });
    }

    /// An address, offset or size: 8 bytes, in 32-bit files 4.
    fn wide(&mut self, number: u64) {
        match (self.class, self.little) {
            (Class::Elf64, true) => self.bytes.extend(number.to_le_bytes()),
            (Class::Elf64, false) => self.bytes.extend(number.to_be_bytes()),
            (Class::Elf32, true) => self.bytes.extend_from_slice(&number.to_le_bytes()[..4]),
            (Class::Elf32, false) => self.bytes.extend_from_slice(&number.to_be_bytes()[4..]),
        }
    }

    fn symbol(&mut self, name: u32, symbol: &super::Symbol<'_>) {
        self.word(name);
        if self.class == Class::Elf32 {
            self.wide(symbol.value);
            self.wide(symbol.size);
        }
        self.bytes.extend([symbol.info, symbol.other]);
        self.half(symbol.section);
        if self.class == Class::Elf64 {
            self.wide(symbol.value);
            self.wide(symbol.size);
        }
    }

    fn pad_to(&mut self, offset: u64) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.bytes.resize(offset.max(self.bytes.len()), 0);
    }
}
