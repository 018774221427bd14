//! The `.modinfo` section of kernel modules.

use std::borrow::Cow;

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHF_COMPRESSED, SHT_NOBITS};
use object::read::elf::{FileHeader, SectionHeader as _};

use super::needed::{Class, Identity, identity};
use super::{ElfError, decompress};

/// What follows the signature of a signed module (`kernel/module_signature.c`).
const SIGNATURE_TRAILER: &[u8] = b"~Module signature appended~\n";

/// What a kernel module says of itself. Text that is not UTF-8 (names of authors) has replacement characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modinfo {
    /// For which machine it is.
    pub identity: Identity,
    /// The name it has in the kernel.
    pub name: String,
    /// Release and options of the kernel it was built for.
    pub vermagic: String,
    /// Modules whose symbols it uses, in the order of the section.
    pub depends: Vec<String>,
    /// `softdep` lines: modules to load before and after it.
    pub softdeps: Vec<String>,
    /// Devices and names it answers to.
    pub aliases: Vec<String>,
    /// Its licence, as it is written.
    pub license: Option<String>,
    /// Its own version.
    pub version: Option<String>,
    /// Checksum of its sources.
    pub srcversion: Option<String>,
    /// Whether a signature is appended to the file.
    pub signed: bool,
    /// All keys and values, those above too, in the order of the section.
    pub entries: Vec<(String, String)>,
}

impl Modinfo {
    /// Reads a module file, compressed or not.
    pub fn parse(file: &[u8]) -> Result<Self, ElfError> {
        let bytes = decompress(file)?;
        let identity = identity(&bytes).ok_or(ElfError::NotElf)?;
        let section = match identity.class {
            Class::Elf32 => section::<FileHeader32<Endianness>>(&bytes),
            Class::Elf64 => section::<FileHeader64<Endianness>>(&bytes),
        }?;
        Self::from_entries(identity, entries(section), bytes.ends_with(SIGNATURE_TRAILER))
    }

    fn from_entries(identity: Identity, entries: Vec<(String, String)>, signed: bool) -> Result<Self, ElfError> {
        let all =
            |key: &'static str| entries.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.clone());
        Ok(Self {
            identity,
            name: all("name").next().ok_or(ElfError::NoKey { key: "name" })?,
            vermagic: all("vermagic").next().ok_or(ElfError::NoKey { key: "vermagic" })?,
            depends: all("depends")
                .flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>())
                .filter(|name| !name.is_empty())
                .collect(),
            softdeps: all("softdep").collect(),
            aliases: all("alias").collect(),
            license: all("license").next(),
            version: all("version").next(),
            srcversion: all("srcversion").next(),
            signed,
            entries,
        })
    }

    /// The kernel release it was built for: the first word of [`Modinfo::vermagic`].
    pub fn release(&self) -> &str {
        self.vermagic.split(' ').next().unwrap_or_default()
    }
}

/// Whether a file of this name is a kernel module: `.ko`, `.ko.gz`, `.ko.xz` or `.ko.zst`.
pub fn is_module_name(file: &[u8]) -> bool {
    stem(file).is_some()
}

/// The name that the module in a file of this name has in the kernel: without suffixes, dashes as underscores.
pub fn module_name(file: &[u8]) -> Option<Vec<u8>> {
    Some(stem(file)?.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect())
}

fn stem(file: &[u8]) -> Option<&[u8]> {
    let stem = [&b".ko"[..], b".ko.gz", b".ko.xz", b".ko.zst"].iter().find_map(|suffix| file.strip_suffix(*suffix))?;
    (!stem.is_empty()).then_some(stem)
}

fn section<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<&[u8], ElfError> {
    let header = H::parse(bytes).map_err(ElfError::damaged("file header"))?;
    let endian = header.endian().map_err(ElfError::damaged("file header"))?;
    let sections = header.sections(endian, bytes).map_err(ElfError::damaged("section headers"))?;
    let (_, found) = sections.section_by_name(endian, b".modinfo").ok_or(ElfError::NoModinfo)?;
    let flags: u64 = found.sh_flags(endian).into();
    if found.sh_type(endian) == SHT_NOBITS || flags & u64::from(SHF_COMPRESSED) != 0 {
        return Err(ElfError::Damaged { part: ".modinfo section", source: None });
    }
    found.data(endian, bytes).map_err(ElfError::damaged(".modinfo section"))
}

/// NUL-terminated `key=value` texts; what has no `=` is no entry.
fn entries(section: &[u8]) -> Vec<(String, String)> {
    let text = |bytes| match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    };
    section
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            Some((text(&entry[..at]), text(&entry[at + 1..])))
        })
        .collect()
}
