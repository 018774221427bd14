//! The image's own `bootc container lint`, run in a container of the image.
//!
//! The lints of `oci_assemble::inspect::lint` judge a tree that was never unpacked; the bootc that an image carries judges
//! it as the client it will be deployed with. [`judge`] runs that one, [`BootcReport::parse`] reads what it prints, and
//! [`disagreements`] holds the two against each other: a lint of the same name that finds something on one side only is a
//! mistake of one of them, and worth knowing either way.
//!
//! Words of the output: bootc, `crates/lib/src/lints.rs`, 1.1 to 1.16.

mod compare;
mod judge;
mod report;

pub use compare::{Disagreement, disagreements};
pub use judge::{BootcError, PROGRAM, judge, script};
pub use report::{BootcFinding, BootcReport};

#[cfg(test)]
mod tests;
