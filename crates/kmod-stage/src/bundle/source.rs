//! Where bundles come from, and whether they are wanted.

use oci_assemble::image::{Descriptor, Digest};
use oci_assemble::store::{BlobSource, Transaction};

use super::error::BundleFault;
use super::examine::{Examined, Outline, examine};

/// What to do about results of earlier builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// A sound bundle of the key is used; without one, the stage is built and its result kept.
    #[default]
    Allow,
    /// No bundle is looked for, anywhere; the stage is built, and its result takes the place of what was kept
    /// (`--rebuild`).
    Rebuild,
    /// No bundle is looked for, anywhere; the stage is built, and its result is not kept: what was kept stays
    /// (`--no-cache`).
    Refuse,
}

impl Reuse {
    /// Whether earlier results may be used.
    pub fn reads(self) -> bool {
        self == Self::Allow
    }

    /// Whether the result is kept.
    pub fn keeps(self) -> bool {
        self != Self::Refuse
    }
}

/// Gives bundles by key: a directory, a registry.
///
/// Law: what [`BundleSource::fetch`] gives came through [`take`], so it is sound, of that key, and whole in the layout.
pub trait BundleSource: Send + Sync {
    /// What it is called in messages.
    fn place(&self) -> String;

    /// Brings the bundle of `key` into the layout, where it is not listed yet; `None` when there is none. Costs a
    /// look-up, and the transfer of what the layout does not have.
    fn fetch(&self, key: &Digest, into: &Transaction) -> Result<Option<Examined>, BundleFault>;
}

/// Takes the bundle behind `manifest`, which must be that of `key`, from `blobs` into a layout. Documents are read and
/// held against the key before anything large moves; then everything is read again where it arrived.
pub fn take(
    blobs: &dyn BlobSource,
    manifest: &Descriptor,
    key: &Digest,
    into: &Transaction,
) -> Result<Examined, BundleFault> {
    let outline = Outline::read(blobs, manifest)?.of(key)?;
    for blob in outline.blobs().chain([manifest]) {
        into.take(blobs, blob)?;
    }
    examine(into, manifest, key)
}
