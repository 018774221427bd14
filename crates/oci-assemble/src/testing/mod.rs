//! Seeded random values and image fixtures, for the tests of this crate and of its embedders.

pub mod blobs;
pub mod elf;
pub mod image;
pub mod memory;
pub mod module;
pub mod ostree;
pub mod registry;
#[cfg(feature = "sign")]
pub mod sigstore;
pub mod tree;
