//! Locks: everything that a recipe leaves open, pinned.
//!
//! A lock lies beside its recipe and is reviewed with it. It has two kinds of values:
//!
//! * *pins* are choices that were made once and are kept: which image a tag named, which packages the repositories gave;
//! * everything else is *derived* from recipe, files and pins, and says what the pins were made for: [`Lock::drift`]
//!   compares it with what a recipe says now.
//!
//! Nothing here reads a file; [`sources`](super::sources) digests those that a recipe names.

mod drift;
mod error;
mod package;
mod text;

use std::collections::{BTreeMap, BTreeSet};

pub use drift::{Change, Drift, Facts, PlatformFacts, StageFacts};
pub use error::{LockError, LockFault};
pub use package::Package;
pub use text::LOCK_MAX;

use super::kernel::KernelChoice;
use crate::image::{Digest, Epoch, ImageReference};

/// What a recipe leaves open, pinned for each platform.
///
/// Law: `Lock::parse(&lock.render()) == Ok(lock)`. The text is sorted, one value or package a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The recipe files by their path relative to the recipe's directory, with the digests of their texts.
    pub recipes: BTreeMap<String, Digest>,
    /// The files and directories that recipes name, relative as above.
    pub sources: BTreeMap<String, Digest>,
    /// The compressor with everything that decides its bytes:
    /// [`Compression::identity`](crate::layer::Compression::identity).
    pub compression: String,
    /// What is pinned for each platform, as `OS/ARCHITECTURE[/VARIANT]`.
    pub platforms: BTreeMap<String, PlatformLock>,
}

/// What is pinned for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformLock {
    /// The base image.
    pub base: ImagePin,
    /// The image that builders start from, where that is not the base.
    pub builder: Option<ImagePin>,
    /// The image's kernel, when it has one.
    pub kernel: Option<KernelChoice>,
    /// The date of the image.
    pub epoch: Epoch,
    /// What builders make, by the name of the stage.
    pub stages: BTreeMap<String, StageLock>,
}

/// An image that is held to a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePin {
    /// As the recipe names it.
    pub image: ImageReference,
    /// Digest of its manifest for the platform.
    pub digest: Digest,
    /// Digest of the index that names the manifest, where the image has to be verified: it may be all that is signed.
    pub index: Option<Digest>,
}

/// What a builder makes, pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageLock {
    /// Kind of the stage, as recipes spell it.
    pub kind: String,
    /// Digest of what the recipe asks for: the packages were chosen for that.
    pub request: Digest,
    /// Key of the bundle that the builder makes of it.
    pub key: Digest,
    /// The packages that it is made of.
    pub packages: BTreeSet<Package>,
}

impl Lock {
    /// The digest of the recipe with all it extends: over a line `PATH DIGEST` for each file, sorted by path. Other than
    /// [`Recipe::digest`](super::recipe::Recipe::digest) it does not depend on the recipe root.
    pub fn recipe(&self) -> Digest {
        let mut lines = String::new();
        for (path, digest) in &self.recipes {
            lines.push_str(&format!("{path} {digest}\n"));
        }
        Digest::of(lines.as_bytes())
    }
}

#[cfg(test)]
mod tests;
