//! Copies of images from wherever they are into a layout, byte for byte.
//!
//! Registries and containers-storage are read through skopeo, whose authentication, proxies and signature policy apply.
//! Whatever it gives is verified here before it is kept; what is in the layout already is not fetched again.

mod remote;
mod skopeo;
mod storage;

use std::num::NonZero;

pub use remote::Remote;
pub use skopeo::{ProxyError, SkopeoOptions};

use super::blob::BlobSource;
use super::copy::{Mirrored, Platforms, copy};
use super::error::Result;
use super::layout::Transaction;
use super::parallel::for_each;
use super::resolve::reachable;
use super::source::{Places, open_local};
use crate::image::{Descriptor, ImageReference};

/// How to copy.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// How skopeo is called.
    pub skopeo: SkopeoOptions,
    /// Which images of an index are copied.
    pub platforms: Platforms,
    /// Blobs fetched at the same time, each by a skopeo of its own.
    pub threads: NonZero<usize>,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        // Registries limit how many connections one client may have; six is what container tools open.
        Self {
            skopeo: SkopeoOptions::default(),
            platforms: Platforms::All,
            threads: NonZero::<usize>::MIN.saturating_add(5),
        }
    }
}

/// Copies the image at `from` into a layout and lists it under `tag`. If the reference has a digest, that is what is
/// copied, or nothing.
///
/// Law: the copy has the digest of the original (or of the manifest chosen by [`Platforms::Only`]), unless it comes from
/// containers-storage, which does not keep what it was.
pub fn mirror(
    from: &ImageReference,
    places: &dyn Places,
    into: Transaction,
    tag: Option<&str>,
    options: &MirrorOptions,
) -> Result<Mirrored> {
    let image = match from {
        ImageReference::OciDir(_) | ImageReference::OciArchive(_) => {
            let (source, top) = open_local(from, places)?;
            return copy(&*source, top, &options.platforms, into, tag, options.threads);
        }
        ImageReference::Registry(_) | ImageReference::ContainersStorage(_) => {
            let remote = Remote::new(from.clone(), options.skopeo.clone(), &into);
            let image = options.platforms.choose(&remote, top(&remote, from)?)?;
            let blobs = reachable(&remote, std::slice::from_ref(&image))?;
            for_each(&blobs, options.threads, |blob| remote.open(blob).map(drop))?;
            image
        }
    };
    let committed = into.commit(tag, &image)?;
    Ok(Mirrored { image, committed })
}

/// What the reference names, as it can be had.
fn top<T: std::borrow::Borrow<Transaction> + Send + Sync>(
    remote: &Remote<T>,
    reference: &ImageReference,
) -> Result<Descriptor> {
    let top = remote.top()?;
    match reference {
        ImageReference::ContainersStorage(_) => storage::uncompressed(remote, &top),
        _ => Ok(top),
    }
}

/// Opens the image at a reference that is not on this machine's disk. Its blobs are fetched into `cache` when they are
/// read for the first time.
pub(super) fn open_remote(
    reference: &ImageReference,
    options: SkopeoOptions,
    cache: Transaction,
) -> Result<(Box<dyn BlobSource>, Descriptor)> {
    let remote = Remote::new(reference.clone(), options, cache);
    let top = top(&remote, reference)?;
    Ok((Box::new(remote), top))
}

#[cfg(test)]
mod tests;
