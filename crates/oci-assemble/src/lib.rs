//! Assembles bootable container images natively.

pub mod chunk;
pub mod elf;
pub mod image;
pub mod inspect;
pub mod layer;
pub mod pkgdb;
pub mod plan;
#[cfg(any(feature = "registry", feature = "sign"))]
pub mod publish;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tree;
