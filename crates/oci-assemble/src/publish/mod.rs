//! Images on their way into registries.
//!
//! The order is what makes it safe: blobs, then manifests by their digests, indexes after what they list, then whatever
//! is attached (signatures, attestations), and the tag last. Whoever follows the tag never finds something missing or
//! unsigned, whatever interrupts the run, and a repeated run sends only what is not there.
//!
//! ```text
//! Content (what the image needs) ─┐
//! Observed (what is there)       ─┴▶ PushPlan ═▶ Untagged ═▶ attach … ═▶ Receipt
//! ```

mod content;
mod error;
mod mounts;
mod names;
mod observe;
mod plan;
mod push;
mod receipt;

pub use content::{Content, Document};
pub use error::PublishError;
pub use mounts::{Mounts, base_mounts};
pub use names::{TagError, TagWords, fill};
pub use observe::{Observed, observe};
pub use plan::{BlobAction, PlannedBlob, PlannedManifest, PlannedTag, PushPlan};
pub use push::{Untagged, push};
pub use receipt::{Attached, Receipt, ReceiptBlob, ReceiptManifest, ReceiptTag, Totals};

#[cfg(test)]
mod tests;
