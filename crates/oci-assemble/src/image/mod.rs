//! The words of the OCI specifications and the algebra of images.
//!
//! [`Digest`], [`Descriptor`], [`Manifest`], [`Index`] and [`Config`] are the documents of the image-spec as values,
//! read strictly: what two programs could read differently is an error. [`Image`] is a manifest and a configuration
//! that agree; layers are appended and bases exchanged by pure functions. Nothing here opens a file.
//!
//! `oci-spec` has types for the same documents. They keep annotations and labels in hash maps, so writing one twice
//! gives two digests, and they drop fields of a configuration they do not know, which changes an image that was only
//! to get one more layer. So they are what embedders convert from and to, not what is computed with.

pub mod json;
pub mod name;
pub mod ostree;

mod append;
mod config;
mod descriptor;
mod digest;
mod document;
mod edit;
mod epoch;
mod index;
mod layer;
mod manifest;
mod media_type;
mod platform;
mod rebase;
mod reference;
mod validate;

pub use append::{AppendError, Image, ImageError};
pub use config::{Config, History};
pub use descriptor::{Descriptor, REF_NAME};
pub use digest::{Digest, DigestError, DigestFault, Hasher};
pub use document::{Document, DocumentError, DocumentFault, MAX_CONFIG, MAX_DESCRIPTORS, MAX_MANIFEST};
pub use epoch::{Epoch, EpochError};
pub use index::{Index, SelectError};
pub use layer::Layer;
pub use manifest::Manifest;
pub use media_type::{Distribution, Encoding, MediaType};
pub use ostree::LayerRole;
pub use platform::{Platform, PlatformError};
pub use rebase::RebaseError;
pub use reference::{
    ImageReference, LayoutReference, PinnedReference, ReferenceError, ReferenceFault, RegistryReference, StorageImage,
    StorageReference,
};
pub use validate::{ImageWarning, MANY_LAYERS, Mismatch, Observed, compare};

#[cfg(test)]
mod tests;
