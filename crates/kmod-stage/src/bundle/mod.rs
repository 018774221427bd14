//! The staged result of a builder as an OCI artifact, kept by the digest of everything that went in.
//!
//! Compiling a kernel module takes minutes and a container; its result is a handful of files. A *bundle* is that
//! result as it stands: the delta that the stage produced, what is known of where it came from, and the log of the
//! build. It is an artifact of image-spec 1.1 ("manifest.md", "Guidelines for artifact usage"):
//!
//! | part | media type | what it is |
//! |---|---|---|
//! | manifest | OCI image manifest | `artifactType` [`ARTIFACT_TYPE`]; tagged with the key's 64 hexadecimal digits |
//! | config | [`CONFIG_TYPE`] | [`BundleConfig`]: key, inputs, [`BundleRecord`], and the diff_id of the content |
//! | layer 1 | OCI layer, tar+zstd | the delta exactly: owners, modes, attributes, hardlinks, whiteouts, opaque marks |
//! | layer 2, optional | [`LOG_TYPE`] | what the builder printed |
//!
//! The *key* ([`BundleKey`]) is a digest of named inputs; the compressor is none of them, as it does not change the
//! content. A log has times in it, so neither the key, nor the layer, nor the configuration knows of it: only the
//! manifest refers to it. The *content digest* of a bundle is therefore that of its configuration, which names the
//! diff_id; two builds with equal inputs agree in it, and without logs in the manifest's digest as well.
//!
//! [`BundleStore`] keeps bundles in an OCI layout, with its commit protocol. What it gives was read whole and held
//! against every digest on the way; anything else is [`Found::Damaged`], which counts as not being there.

mod config;
mod contents;
mod error;
mod examine;
mod key;
mod modules;
mod record;
mod source;
mod store;
mod write;

pub use config::{BundleConfig, ContentRecord};
pub use contents::BundleContents;
pub use error::{BundleError, BundleFault, ConfigError, KeyError};
pub use examine::{Bundle, Examined};
pub use key::{BundleKey, Difference};
pub use modules::read_modules;
pub use record::{BundleRecord, ModuleRecord, PackageRecord};
pub use source::{BundleSource, Reuse, take};
pub use store::{BundleStore, Damaged, Found, Kept, Listed, Listing, Obtained};
pub use write::{Staged, write};

/// The artifact type of a bundle's manifest.
pub const ARTIFACT_TYPE: &str = "application/vnd.assemble.bundle.v1";
/// The media type of its configuration.
pub const CONFIG_TYPE: &str = "application/vnd.assemble.bundle.config.v1+json";
/// The media type of its log: text, compressed by zstd.
pub const LOG_TYPE: &str = "application/vnd.assemble.bundle.log.v1+zstd";

#[cfg(test)]
mod tests;
