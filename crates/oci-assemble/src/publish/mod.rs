//! Images on their way into registries, and whom they are from.
//!
//! The order is what makes it safe: blobs, then manifests by their digests, indexes after what they list, then whatever
//! is attached (signatures, attestations), and the tag last. Whoever follows the tag never finds something missing or
//! unsigned, whatever interrupts the run, and a repeated run sends only what is not there.
//!
//! ```text
//! Content (what the image needs) ─┐
//! Observed (what is there)       ─┴▶ PushPlan ═▶ Untagged ═▶ attach … ═▶ Receipt
//!
//! Subject + Signer ─▶ Proof ─▶ Artifact (manifest and blobs)    sign, attest
//! Artifact ═▶ ReferrerStore                                     referrers
//! ReferrerSource ═▶ Artifact ═▶ ReferrerStore                   carry
//! ReferrerSource + Signatory ─▶ Verified                        verify
//! layers' indexes ─▶ Artifact, ReferrerSource ─▶ Found          indexes
//! ```
//!
//! * *subject*: the manifest or index that is signed, and the name it goes by.
//! * *legacy* form: an image under the tag `sha256-DIGEST.sig` or `.att`; what skopeo, podman and bootc enforce.
//! * *bundle* form: a manifest whose `subject` is the signed one (image-spec, "manifest.md"); what cosign 3 writes.
//!
//! Signing pushes nothing, and nothing here reads a file, the environment or the clock: keys, tokens and trust roots are
//! handed in, and a registry, a layout or memory takes part through [`referrers::ReferrerSource`] and
//! [`referrers::ReferrerStore`].

#[cfg(feature = "sign")]
pub mod attest;
pub mod indexes;
pub mod referrers;
#[cfg(feature = "sign")]
pub mod sign;
#[cfg(feature = "sign")]
pub mod sigstore;
#[cfg(feature = "sign")]
pub mod verify;

#[cfg(feature = "sign")]
mod carry;
#[cfg(feature = "registry")]
mod content;
#[cfg(feature = "registry")]
mod error;
#[cfg(feature = "registry")]
mod mounts;
#[cfg(feature = "registry")]
mod names;
#[cfg(feature = "registry")]
mod observe;
#[cfg(feature = "registry")]
mod plan;
#[cfg(feature = "registry")]
mod push;
#[cfg(feature = "registry")]
mod receipt;

#[cfg(feature = "sign")]
pub use carry::{Carried, carry};
#[cfg(feature = "registry")]
pub use content::{Content, Document};
#[cfg(feature = "registry")]
pub use error::PublishError;
#[cfg(feature = "registry")]
pub use mounts::{Mounts, base_mounts};
#[cfg(feature = "registry")]
pub use names::{TagError, TagWords, fill};
#[cfg(feature = "registry")]
pub use observe::{Observed, observe};
#[cfg(feature = "registry")]
pub use plan::{BlobAction, PlannedBlob, PlannedManifest, PlannedTag, PushPlan};
#[cfg(feature = "registry")]
pub use push::{Untagged, push};
#[cfg(feature = "registry")]
pub use receipt::{Attached, Receipt, ReceiptBlob, ReceiptManifest, ReceiptTag, Totals};
pub use referrers::{ReferrerSource, ReferrerStore};

#[cfg(all(test, feature = "registry"))]
mod tests;
