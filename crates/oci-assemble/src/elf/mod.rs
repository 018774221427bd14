//! ELF files as far as images need them: which libraries a program asks for, where a tree has them, and what a
//! kernel module says of itself.
//!
//! Everything here reads bytes and runs nothing. All offsets of a file are taken as hostile: a wrong one is an
//! [`ElfError`], never a panic, and no allocation is larger than the file. Sources: the System V ABI (chapters 4 and 5),
//! ld.so(8), the kernel's `scripts/mod/modpost.c` and `kernel/module_signature.c`.

mod compressed;
mod modinfo;
mod needed;
mod relocatable;
mod resolve;
mod search;

pub use compressed::{Compression, MODULE_MAX, decompress, decompress_within};
pub use modinfo::{Modinfo, is_module_name, module_name};
pub use needed::{Class, Identity, Machine, Needed, identity};
pub use relocatable::{Place, Relocatable, Section, Symbol};
pub use resolve::{Libraries, Resolution, resolve};

use crate::layer::WholeError;

/// The largest program or library that is read: larger than any library that a distribution ships.
pub const ELF_MAX: u64 = 1 << 30;

/// Why a file is not an ELF file that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The file does not begin with the ELF magic.
    #[error("not an ELF file")]
    NotElf,
    /// A table or string lies outside the file, or has impossible values.
    #[error("damaged ELF {part}")]
    Damaged {
        /// Which part.
        part: &'static str,
        /// What the parser said.
        #[source]
        source: Option<object::read::Error>,
    },
    /// It is a program or library, not what the linker makes of object files before.
    #[error("not a relocatable file")]
    NotRelocatable,
    /// It has something that cannot be written anew.
    #[error("{what} cannot be handled")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// It has no `.modinfo`, so it is no kernel module.
    #[error("there is no .modinfo section")]
    NoModinfo,
    /// The `.modinfo` section lacks something every module has.
    #[error("the .modinfo section has no {key}")]
    NoKey {
        /// The missing key.
        key: &'static str,
    },
    /// The file is larger than this reader accepts.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// The compressed data of a module cannot be read.
    #[error("damaged {compression} data")]
    Compressed {
        /// How it is compressed.
        compression: Compression,
        /// What the decompressor said.
        #[source]
        source: std::io::Error,
    },
    /// The bytes of a file of the tree could not be read.
    #[error(transparent)]
    Read(#[from] WholeError),
}

impl ElfError {
    fn damaged(part: &'static str) -> impl FnOnce(object::read::Error) -> Self {
        move |source| Self::Damaged { part, source: Some(source) }
    }
}

#[cfg(test)]
mod tests;
