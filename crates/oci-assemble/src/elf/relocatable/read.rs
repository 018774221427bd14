//! Bytes to value.

use std::borrow::Cow;

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader as _, Sym as _};

use super::{Relocatable, Section, Symbol};
use crate::elf::{Class, ElfError, identity};

/// The most symbols accepted: a whole kernel has a fifth of them.
const SYMBOLS_MAX: usize = 1 << 20;
/// The longest name accepted: four times what mangled names of Rust and C++ come to.
const NAME_MAX: usize = 4096;
/// The most bytes that all names of symbols may have: symbols can share the bytes of their names, so the file's size is
/// no bound. The largest modules have a few MiB.
const NAMES_MAX: usize = 64 << 20;
/// The largest alignment accepted: a page of any architecture.
const ALIGN_MAX: u64 = 1 << 16;

impl<'a> Relocatable<'a> {
    /// Reads an uncompressed file. What follows its last section is ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        match identity(bytes).ok_or(ElfError::NotElf)?.class {
            Class::Elf32 => parse::<FileHeader32<Endianness>>(bytes),
            Class::Elf64 => parse::<FileHeader64<Endianness>>(bytes),
        }
    }
}

fn damaged(part: &'static str) -> ElfError {
    ElfError::Damaged { part, source: None }
}

fn parse<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Relocatable<'_>, ElfError> {
    let identity = identity(bytes).ok_or(ElfError::NotElf)?;
    let header = H::parse(bytes).map_err(ElfError::damaged("file header"))?;
    let endian = header.endian().map_err(ElfError::damaged("file header"))?;
    if header.e_type(endian) != elf::ET_REL || header.e_phnum(endian) != 0 {
        return Err(ElfError::NotRelocatable);
    }
    if identity.class == Class::Elf64 && identity.machine.number == elf::EM_MIPS {
        return Err(ElfError::Unsupported { what: "relocations of 64-bit MIPS" });
    }
    let section_names = header.shstrndx(endian, bytes).map_err(ElfError::damaged("section headers"))? as usize;
    let sections = sections::<H>(header, endian, bytes, section_names)?;
    let mut file = Relocatable {
        identity,
        ident: bytes.first_chunk().copied().unwrap_or_default(),
        version: header.e_version(endian),
        flags: header.e_flags(endian),
        symbol_table: sections.iter().position(|section| section.kind == elf::SHT_SYMTAB),
        sections,
        symbols: Vec::new(),
        section_names,
    };
    for (number, section) in file.sections.iter().enumerate() {
        check(number, section, &file)?;
    }
    if let Some(table) = file.symbol_table {
        file.symbols = symbols::<H>(&file.sections, table, endian)?;
    }
    let names = file.symbol_table.and_then(|table| file.sections.get(table)).map(|table| table.link as usize);
    for number in [file.symbol_table, names, Some(file.section_names)].into_iter().flatten() {
        if let Some(table) = file.sections.get_mut(number) {
            table.data = Cow::Borrowed(&[]);
        }
    }
    Ok(file)
}

fn sections<'a, H: FileHeader<Endian = Endianness>>(
    header: &H,
    endian: Endianness,
    bytes: &'a [u8],
    section_names: usize,
) -> Result<Vec<Section<'a>>, ElfError> {
    let table = header.sections(endian, bytes).map_err(ElfError::damaged("section headers"))?;
    // The empty section at least; numbers from here on have other meanings.
    if table.is_empty() || table.len() >= usize::from(elf::SHN_LORESERVE) {
        return Err(damaged("section headers"));
    }
    let names = table.iter().nth(section_names).filter(|names| names.sh_type(endian) == elf::SHT_STRTAB);
    let names = names.ok_or_else(|| damaged("section names"))?;
    let names = names.data(endian, bytes).map_err(ElfError::damaged("section names"))?;
    let mut left = bytes.len();
    let mut sections = Vec::with_capacity(table.len());
    for header in table.iter() {
        let kind = header.sh_type(endian);
        // The fields of unused headers mean nothing; the first is one of them.
        let data = match kind {
            elf::SHT_NULL => &[],
            _ if sections.is_empty() => return Err(damaged("section headers")),
            _ => header.data(endian, bytes).map_err(ElfError::damaged("section headers"))?,
        };
        // Sections that overlap would let a small file become a large one.
        left = left.checked_sub(data.len()).ok_or_else(|| damaged("section headers"))?;
        let align: u64 = header.sh_addralign(endian).into();
        if align > ALIGN_MAX || !(align == 0 || align.is_power_of_two()) {
            return Err(damaged("section headers"));
        }
        sections.push(Section {
            name: if sections.is_empty() { b"" } else { name(names, header.sh_name(endian))? },
            kind,
            flags: header.sh_flags(endian).into(),
            data: Cow::Borrowed(data),
            address: header.sh_addr(endian).into(),
            size: if kind == elf::SHT_NOBITS { header.sh_size(endian).into() } else { 0 },
            link: header.sh_link(endian),
            info: header.sh_info(endian),
            align,
            entry_size: header.sh_entsize(endian).into(),
        });
    }
    Ok(sections)
}

/// Whether the section is one whose numbers of other things are understood.
fn check(number: usize, section: &Section<'_>, file: &Relocatable<'_>) -> Result<(), ElfError> {
    let symbols = |section: &Section<'_>| file.symbol_table.is_some_and(|table| section.link as usize == table);
    match section.kind {
        elf::SHT_SYMTAB if file.symbol_table != Some(number) => {
            Err(ElfError::Unsupported { what: "a second symbol table" })
        }
        elf::SHT_SYMTAB_SHNDX => Err(ElfError::Unsupported { what: "more sections than a symbol can name" }),
        elf::SHT_DYNSYM | elf::SHT_DYNAMIC | elf::SHT_HASH | elf::SHT_GNU_HASH => Err(ElfError::NotRelocatable),
        elf::SHT_REL | elf::SHT_RELA => {
            let size = file.identity.relocation_size(section.kind);
            let whole = section.entry_size == size as u64 && section.data.len().is_multiple_of(size);
            if whole && symbols(section) { Ok(()) } else { Err(damaged("relocations")) }
        }
        elf::SHT_GROUP if !symbols(section) || section.data.len() < 4 || !section.data.len().is_multiple_of(4) => {
            Err(damaged("section group"))
        }
        _ => Ok(()),
    }
}

fn symbols<'a, H: FileHeader<Endian = Endianness>>(
    sections: &[Section<'a>],
    table: usize,
    endian: Endianness,
) -> Result<Vec<Symbol<'a>>, ElfError> {
    let wrong = || damaged("symbol table");
    let table = sections.get(table).ok_or_else(wrong)?;
    let borrowed = |section: &Section<'a>| match section.data {
        Cow::Borrowed(data) => Some(data),
        Cow::Owned(_) => None,
    };
    let names = sections.get(table.link as usize).filter(|section| section.kind == elf::SHT_STRTAB);
    let names = names.and_then(borrowed).ok_or_else(wrong)?;
    let entry = size_of::<H::Sym>();
    let count = table.data.len() / entry;
    if count == 0
        || count > SYMBOLS_MAX
        || !table.data.len().is_multiple_of(entry)
        || table.entry_size != entry as u64
        || table.info as usize > count
    {
        return Err(wrong());
    }
    let (raw, _) = object::pod::slice_from_bytes::<H::Sym>(&table.data, count).map_err(|()| wrong())?;
    let mut left = NAMES_MAX;
    raw.iter()
        .map(|symbol| {
            let section = symbol.st_shndx(endian);
            if section < elf::SHN_LORESERVE && usize::from(section) >= sections.len() {
                return Err(wrong());
            }
            let name = name(names, symbol.st_name(endian))?;
            left = left.checked_sub(name.len()).ok_or(ElfError::Unsupported { what: "so many names of symbols" })?;
            let (value, size) = (symbol.st_value(endian).into(), symbol.st_size(endian).into());
            Ok(Symbol { name, value, size, info: symbol.st_info(), other: symbol.st_other(), section })
        })
        .collect()
}

/// The NUL-terminated name at `offset` of a string table. It is looked for in a bounded stretch, as thousands of
/// unterminated names would take forever.
fn name(table: &[u8], offset: u32) -> Result<&[u8], ElfError> {
    if offset == 0 {
        return Ok(b""); // also where the table is empty
    }
    let rest = table.get(offset as usize..).ok_or_else(|| damaged("string table"))?;
    let end = rest.iter().take(NAME_MAX + 1).position(|byte| *byte == 0).ok_or_else(|| damaged("string table"))?;
    Ok(&rest[..end])
}
