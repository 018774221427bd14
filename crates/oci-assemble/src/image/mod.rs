//! The words of the OCI specifications and the algebra of images.

mod digest;
mod epoch;

pub use digest::{Digest, DigestError, DigestFault, Hasher};
pub use epoch::{Epoch, EpochError};
