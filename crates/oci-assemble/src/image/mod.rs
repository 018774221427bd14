//! The words of the OCI specifications and the algebra of images.

mod digest;

pub use digest::{Digest, DigestError, DigestFault, Hasher};
