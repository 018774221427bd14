//! Copies of images into a layout, byte for byte, from any source.

use std::num::NonZero;

use super::blob::BlobSource;
use super::error::Result;
use super::layout::{Committed, Transaction};
use super::resolve::{reachable, resolve};
use crate::image::{Descriptor, Platform};

/// Which images of an index are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Platforms {
    /// The index and all that it lists: the copy has the digest of the original.
    #[default]
    All,
    /// One image: the copy has the digest of its manifest.
    Only(Platform),
}

impl Platforms {
    /// What of `top` is copied.
    pub fn choose(&self, source: &dyn BlobSource, top: Descriptor) -> Result<Descriptor> {
        match self {
            Self::All => Ok(top),
            Self::Only(platform) => Ok(resolve(source, &top, Some(platform))?.manifest),
        }
    }
}

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// What is listed in the layout now.
    pub image: Descriptor,
    /// What that did to the list.
    pub committed: Committed,
}

/// Copies `top`, or one platform of it, with all that it needs, and lists it under `tag`.
///
/// Law: the copy has the digest of the original, or of the manifest chosen by [`Platforms::Only`].
pub fn copy(
    source: &dyn BlobSource,
    top: Descriptor,
    platforms: &Platforms,
    into: Transaction,
    tag: Option<&str>,
    threads: NonZero<usize>,
) -> Result<Mirrored> {
    let image = platforms.choose(source, top)?;
    let blobs = reachable(source, std::slice::from_ref(&image))?;
    into.take_all(source, &blobs, threads)?;
    let committed = into.commit(tag, &image)?;
    Ok(Mirrored { image, committed })
}
