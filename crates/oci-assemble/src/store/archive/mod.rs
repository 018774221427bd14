//! OCI layouts in a tar file (`oci-archive:`).
//!
//! Reading lists the entries once and then reads blobs where they stand: nothing is extracted. Writing gives the same
//! bytes for the same images: entries in a fixed order, owned by root, dated 1970.

mod read;
mod write;

pub use read::{Archive, ArchiveFault};
pub use write::write_archive;

#[cfg(test)]
mod tests;
