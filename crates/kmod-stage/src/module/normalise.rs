//! Module files in one form: uncompressed, unsigned, without data for debuggers, with a build id of their content.
//!
//! Builders differ in all of these without the module being another: dkms signs with a key of its own, compresses when
//! the kernel's own modules are compressed, and data for debuggers is nine tenths of a file. In one form, a module that
//! was built again has the same bytes, and the layer's compression does better than one per file.

use oci_assemble::elf::{Compression, ElfError, Modinfo, Relocatable, decompress, module_name};
use oci_assemble::image::Digest;

use super::paths::{BuildPaths, build_paths};
use super::signature::{SignatureError, unsigned};
use super::underscored;

/// Where the linker notes the build id.
const BUILD_ID: &[u8] = b".note.gnu.build-id";
/// `NT_GNU_BUILD_ID`.
const BUILD_ID_TYPE: u32 = 3;

/// A module in the one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalised {
    /// The file: plain ELF.
    pub bytes: Vec<u8>,
    /// Its name without a suffix of compression: `zfs.ko`.
    pub file_name: Vec<u8>,
    /// What is known of it.
    pub facts: Facts,
}

/// What is known of a module that was brought into the one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The name it has in the kernel. That of the file may be another: distributions rename files.
    pub name: String,
    /// Release and options of the kernel it was built for.
    pub vermagic: String,
    /// Its own version.
    pub version: Option<String>,
    /// Checksum of its sources.
    pub srcversion: Option<String>,
    /// Its licence, as it is written.
    pub license: Option<String>,
    /// Names of the modules it needs.
    pub depends: Vec<String>,
    /// Size of the file as it came, bytes.
    pub size_before: u64,
    /// Size of the file as it is, bytes.
    pub size_after: u64,
    /// How it was compressed.
    pub compression: Option<Compression>,
    /// How many signatures it had.
    pub signatures: usize,
    /// Paths of source files in its texts, which show where it was built. They stay: code may print them.
    pub build_paths: BuildPaths,
}

/// A file that is no module, or a damaged one.
#[derive(Debug, thiserror::Error)]
#[error("{name} is no usable kernel module")]
pub struct NormaliseError {
    /// Name of the file.
    pub name: String,
    /// What is wrong with it.
    #[source]
    pub fault: NormaliseFault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NormaliseFault {
    /// Its name is not that of a module.
    #[error("its name ends neither in .ko nor in .ko.gz, .ko.xz or .ko.zst")]
    Name,
    /// Its compression or its ELF parts are damaged.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// Its signature is damaged.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Brings the module file `bytes`, called `name`, into the one form.
///
/// Sections, symbols and relocations are those that `strip --strip-debug` leaves; the bytes of sections are as they
/// were, but for the build id. Laws: equal input gives equal output; normalising twice is normalising once; a file
/// stripped, signed or compressed beforehand gives the same bytes.
pub fn normalise(bytes: &[u8], name: &[u8]) -> Result<Normalised, NormaliseError> {
    one_form(bytes, name).map_err(|fault| NormaliseError { name: String::from_utf8_lossy(name).into_owned(), fault })
}

fn one_form(bytes: &[u8], name: &[u8]) -> Result<Normalised, NormaliseFault> {
    if module_name(name).is_none() {
        return Err(NormaliseFault::Name);
    }
    let plain = decompress(bytes)?;
    let (unsigned, signatures) = unsigned(&plain)?;
    // The first checks what the second relies on.
    let relocatable = Relocatable::parse(unsigned)?;
    let info = Modinfo::parse(unsigned)?;
    let stripped = relocatable.without_debug()?;
    let build_paths = build_paths(&stripped);
    let bytes_after = with_build_id(stripped)?;
    Ok(Normalised {
        file_name: plain_name(name).to_vec(),
        facts: Facts {
            name: underscored(&info.name),
            vermagic: info.vermagic,
            version: info.version,
            srcversion: info.srcversion,
            license: info.license,
            depends: info.depends.iter().map(|name| underscored(name)).collect(),
            size_before: bytes.len() as u64,
            size_after: bytes_after.len() as u64,
            compression: Compression::of(bytes),
            signatures,
            build_paths,
        },
        bytes: bytes_after,
    })
}

/// The name of a file without a suffix of compression.
pub(crate) fn plain_name(name: &[u8]) -> &[u8] {
    let plain = [&b".gz"[..], b".xz", b".zst"].iter().find_map(|suffix| name.strip_suffix(*suffix));
    plain.unwrap_or(name)
}

/// The file, its build id replaced by a digest of the file with an empty build id: as unique as the linker's, but not
/// of data for debuggers that is gone.
fn with_build_id(mut module: Relocatable<'_>) -> Result<Vec<u8>, ElfError> {
    let Some(note) = module.section(BUILD_ID) else { return module.to_bytes() };
    let places = descriptors(&module, &note.data)?;
    let mut put = |id: &[u8]| {
        if let Some(note) = module.section_mut(BUILD_ID) {
            for (at, byte) in places.iter().flat_map(|place| place.clone().zip(id.iter().cycle())) {
                if let Some(place) = note.data.to_mut().get_mut(at) {
                    *place = *byte;
                }
            }
        }
        module.to_bytes()
    };
    let digest = Digest::of(&put(&[0])?);
    put(digest.bytes())
}

/// Where the ids of the notes in `data` are: `Elf_Nhdr` (three words: sizes of name and content, type), the name and
/// the content, padded to words.
fn descriptors(module: &Relocatable<'_>, data: &[u8]) -> Result<Vec<std::ops::Range<usize>>, ElfError> {
    let damaged = || ElfError::Damaged { part: "build id", source: None };
    let mut places = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let word = |index: usize| module.word(data, at + 4 * index).ok_or_else(damaged);
        let (name, size, kind) = (word(0)? as usize, word(1)? as usize, word(2)?);
        let content = name.checked_next_multiple_of(4).and_then(|name| name.checked_add(at + 12));
        let content = content.ok_or_else(damaged)?;
        let end = content.checked_add(size).filter(|end| *end <= data.len()).ok_or_else(damaged)?;
        if kind == BUILD_ID_TYPE && data[at + 12..].starts_with(b"GNU\0") {
            places.push(content..end);
        }
        at = end.next_multiple_of(4);
    }
    Ok(places)
}
