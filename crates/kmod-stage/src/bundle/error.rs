//! What goes wrong with bundles.

use std::io;

use oci_assemble::elf::ElfError;
use oci_assemble::image::{Digest, DocumentError, json::JsonError};
use oci_assemble::layer::{IndexError, WriteError};
use oci_assemble::store::StoreError;
use oci_assemble::tree::TreePath;

/// Why inputs make no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A name that is empty, or has other characters than printable ASCII, or white space or `=`.
    #[error("{name:?} cannot be the name of an input")]
    Name {
        /// The name.
        name: String,
    },
    /// Two inputs have one name.
    #[error("input {name:?} is given twice")]
    Twice {
        /// The name.
        name: String,
    },
}

/// Why a text is no configuration of a bundle, or a configuration cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not strict JSON, or too much of it.
    #[error("the configuration cannot be read")]
    Json(#[source] JsonError),
    /// No `schema`.
    #[error("the configuration has no schema")]
    NoSchema,
    /// A form that this program does not know.
    #[error("the configuration has schema {found}, this program reads {expected}")]
    Schema {
        /// In the document.
        found: String,
        /// Ours.
        expected: u64,
    },
    /// A field is missing, unknown, or of another type.
    #[error("the configuration has a wrong field")]
    Shape(#[source] serde_json::Error),
    /// Its inputs make no key.
    #[error(transparent)]
    Input(KeyError),
    /// Its key is not that of its inputs.
    #[error("the configuration says key {stated}, its inputs make {computed}")]
    Key {
        /// In the document.
        stated: Digest,
        /// Of its inputs.
        computed: Digest,
    },
    /// Another text for the same value than the one that is written.
    #[error("the configuration is not canonical JSON")]
    NotCanonical,
    /// More bytes than clients of registries read.
    #[error("the configuration has {size} bytes, more than {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why what is stored under a key is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleFault {
    /// The store cannot give a part, or gives other bytes.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] DocumentError),
    /// Something else than a bundle.
    #[error("it is no bundle: {what}")]
    Shape {
        /// What is not as it should be.
        what: &'static str,
    },
    /// Its configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The bundle of another key.
    #[error("it is the bundle of key {found}")]
    OtherKey {
        /// The key it is of.
        found: Digest,
    },
    /// Its content cannot be read.
    #[error("its content cannot be read")]
    Content(#[source] IndexError),
    /// Its content is not what the configuration says.
    #[error("its content has {what} {found}, the configuration says {stated}")]
    Differs {
        /// Of what.
        what: &'static str,
        /// In the configuration.
        stated: String,
        /// In the content.
        found: String,
    },
    /// A kernel module that the configuration states otherwise, or only one of both has.
    #[error("the configuration and the content differ in module {path}")]
    Module {
        /// The module.
        path: TreePath,
    },
    /// Its log cannot be read.
    #[error("its log cannot be read")]
    Log(#[source] io::Error),
}

/// Why a bundle cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content cannot be read or written.
    #[error("cannot write the content of the bundle")]
    Write(#[from] WriteError),
    /// The content has something that no layer can carry unchanged (a device, an attribute with `=` in its name, a name
    /// that begins with `.wh.`).
    #[error("{path} cannot be kept in a bundle as it is")]
    NotCarried {
        /// The path.
        path: TreePath,
    },
    /// The configuration cannot be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A kernel module that cannot be read.
    #[error("cannot read the kernel module {path}")]
    Module {
        /// The module.
        path: TreePath,
        /// Why not.
        #[source]
        source: ElfError,
    },
    /// Files cannot be read.
    #[error("cannot read the kernel modules")]
    Read(#[source] io::Error),
    /// The log cannot be read or written.
    #[error("cannot write the log of the bundle")]
    Log(#[source] io::Error),
    /// What was written does not read back as what it was made from.
    #[error("the bundle does not read back")]
    Readback(#[source] BundleFault),
}
