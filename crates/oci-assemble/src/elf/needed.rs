//! What a program or library asks the dynamic linker for.

use std::fmt;

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _};
use object::{Endianness, StringTable};

use super::ElfError;

/// Size of addresses in an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 32 bit.
    Elf32,
    /// 64 bit.
    Elf64,
}

/// An instruction set: the `e_machine` number with the byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// `EM_*` of the ABI.
    pub number: u16,
    /// Byte order.
    pub little_endian: bool,
}

impl Machine {
    /// The OCI name of the architecture (`GOARCH`), for those that bootable images exist for.
    pub fn architecture(self) -> Option<&'static str> {
        match (self.number, self.little_endian) {
            (elf::EM_X86_64, true) => Some("amd64"),
            (elf::EM_386, true) => Some("386"),
            (elf::EM_AARCH64, true) => Some("arm64"),
            (elf::EM_ARM, true) => Some("arm"),
            (elf::EM_PPC64, true) => Some("ppc64le"),
            (elf::EM_S390, false) => Some("s390x"),
            (elf::EM_RISCV, true) => Some("riscv64"),
            (elf::EM_LOONGARCH, true) => Some("loong64"),
            _ => None,
        }
    }

    /// What `$PLATFORM` stands for, and the first part of Debian's multiarch directory.
    pub(super) fn platform(self) -> &'static str {
        match self.architecture() {
            Some("amd64") => "x86_64",
            Some("386") => "i386",
            Some("arm64") => "aarch64",
            Some("ppc64le") => "powerpc64le",
            Some("s390x") => "s390x",
            Some("riscv64") => "riscv64",
            Some("loong64") => "loongarch64",
            Some("arm") => "arm",
            _ => "unknown",
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.architecture() {
            Some(name) => f.write_str(name),
            None => write!(f, "machine {}", self.number),
        }
    }
}

/// For which machine an ELF file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Size of addresses.
    pub class: Class,
    /// Instruction set.
    pub machine: Machine,
}

/// The dynamic section of a program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// For which machine it is. A library of another one is passed over.
    pub identity: Identity,
    /// The dynamic linker, from `PT_INTERP`.
    pub interpreter: Option<Vec<u8>>,
    /// Its own name, `DT_SONAME`.
    pub soname: Option<Vec<u8>>,
    /// `DT_NEEDED` in order.
    pub needed: Vec<Vec<u8>>,
    /// Directories of `DT_RPATH`, not expanded.
    pub rpath: Vec<Vec<u8>>,
    /// Directories of `DT_RUNPATH`, not expanded. When there are any, `rpath` counts for nothing.
    pub runpath: Vec<Vec<u8>>,
}

/// The machine that an ELF file is for, from its first 20 bytes; `None` when they are not those of an ELF file.
pub fn identity(bytes: &[u8]) -> Option<Identity> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return None;
    }
    let class = match *bytes.get(4)? {
        elf::ELFCLASS32 => Class::Elf32,
        elf::ELFCLASS64 => Class::Elf64,
        _ => return None,
    };
    let pair = [*bytes.get(18)?, *bytes.get(19)?];
    let (number, little_endian) = match *bytes.get(5)? {
        elf::ELFDATA2LSB => (u16::from_le_bytes(pair), true),
        elf::ELFDATA2MSB => (u16::from_be_bytes(pair), false),
        _ => return None,
    };
    Some(Identity { class, machine: Machine { number, little_endian } })
}

impl Needed {
    /// Reads the program headers and the dynamic section. A file without them (a static program, a kernel module)
    /// needs nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        let identity = identity(bytes).ok_or(ElfError::NotElf)?;
        match identity.class {
            Class::Elf32 => read::<FileHeader32<Endianness>>(bytes, identity),
            Class::Elf64 => read::<FileHeader64<Endianness>>(bytes, identity),
        }
    }

    /// Whether the dynamic linker has anything to do for it.
    pub fn is_dynamic(&self) -> bool {
        self.interpreter.is_some() || !self.needed.is_empty()
    }
}

fn read<H: FileHeader<Endian = Endianness>>(bytes: &[u8], identity: Identity) -> Result<Needed, ElfError> {
    let header = H::parse(bytes).map_err(ElfError::damaged("file header"))?;
    let endian = header.endian().map_err(ElfError::damaged("file header"))?;
    let segments = header.program_headers(endian, bytes).map_err(ElfError::damaged("program headers"))?;
    let mut found = Needed {
        identity,
        interpreter: None,
        soname: None,
        needed: Vec::new(),
        rpath: Vec::new(),
        runpath: Vec::new(),
    };
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, bytes).map_err(ElfError::damaged("interpreter"))? {
            found.interpreter = Some(path.to_vec());
        }
        if let Some(dynamic) = segment.dynamic(endian, bytes).map_err(ElfError::damaged("dynamic section"))? {
            read_dynamic::<H>(&mut found, endian, bytes, segments, dynamic)?;
        }
    }
    Ok(found)
}

fn read_dynamic<H: FileHeader<Endian = Endianness>>(
    found: &mut Needed,
    endian: Endianness,
    bytes: &[u8],
    segments: &[H::ProgramHeader],
    dynamic: &[H::Dyn],
) -> Result<(), ElfError> {
    let entries = || {
        dynamic
            .iter()
            .map_while(|entry| Some((entry.tag32(endian)?, entry)))
            .take_while(|(tag, _)| *tag != elf::DT_NULL)
    };
    let wanted = |tag| matches!(tag, elf::DT_NEEDED | elf::DT_SONAME | elf::DT_RPATH | elf::DT_RUNPATH);
    if !entries().any(|(tag, _)| wanted(tag)) {
        return Ok(());
    }
    let value = |wanted| entries().find(|(tag, _)| *tag == wanted).map(|(_, entry)| entry.d_val(endian).into());
    let damaged = || ElfError::Damaged { part: "dynamic string table", source: None };
    let address: u64 = value(elf::DT_STRTAB).ok_or_else(damaged)?;
    let size: u64 = value(elf::DT_STRSZ).ok_or_else(damaged)?;
    let start = offset_of::<H>(endian, segments, address).ok_or_else(damaged)?;
    let end = start.checked_add(size).filter(|end| *end <= bytes.len() as u64).ok_or_else(damaged)?;
    let strings = StringTable::new(bytes, start, end);
    for (tag, entry) in entries().filter(|(tag, _)| wanted(*tag)) {
        let text = entry.string(endian, strings).map_err(ElfError::damaged("dynamic string table"))?;
        match tag {
            elf::DT_NEEDED => found.needed.push(text.to_vec()),
            elf::DT_SONAME => found.soname = Some(text.to_vec()),
            elf::DT_RPATH => found.rpath.extend(directories(text)),
            _ => found.runpath.extend(directories(text)),
        }
    }
    Ok(())
}

fn directories(text: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    text.split(|byte| *byte == b':').filter(|part| !part.is_empty()).map(<[u8]>::to_vec)
}

/// Where in the file the segments have `address`.
fn offset_of<H: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    segments: &[H::ProgramHeader],
    address: u64,
) -> Option<u64> {
    segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD).find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(endian).into())?;
        (within < segment.p_filesz(endian).into()).then(|| within.checked_add(segment.p_offset(endian).into()))?
    })
}
