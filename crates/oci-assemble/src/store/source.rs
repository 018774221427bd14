//! Opening the image that a reference names.

use std::io;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::archive::Archive;
use super::blob::BlobSource;
use super::error::{Result, StoreError, io as failed};
use super::layout::Layout;
use super::resolve::{Resolved, resolve};
use crate::image::{Descriptor, Image, ImageReference, PinnedReference, Platform};

/// Finds the directories that references name.
pub trait Places: Sync {
    /// Opens the directory at `path`, as it stands in a reference.
    fn dir(&self, path: &str) -> io::Result<Dir>;
}

/// Paths mean what they mean to the process: relative ones begin where it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ambient;

impl Places for Ambient {
    fn dir(&self, path: &str) -> io::Result<Dir> {
        Dir::open_ambient_dir(path, ambient_authority())
    }
}

impl Places for Dir {
    /// Paths are relative to this directory and stay below it.
    fn dir(&self, path: &str) -> io::Result<Dir> {
        self.open_dir(path)
    }
}

/// What is needed to fetch images that are not on disk.
#[cfg(feature = "pull")]
#[derive(Debug)]
pub struct Fetch {
    /// The layout into which blobs are fetched.
    pub cache: super::layout::Transaction,
    /// How skopeo is called.
    pub skopeo: super::mirror::SkopeoOptions,
}

/// An image to build upon, and where its blobs come from.
pub struct BaseImage {
    /// The image.
    pub image: Image,
    /// Its manifest.
    pub manifest: Descriptor,
    /// What the reference names: the manifest, or the index it was chosen from.
    pub top: Descriptor,
    /// Gives the blobs.
    pub blobs: Box<dyn BlobSource>,
}

impl std::fmt::Debug for BaseImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseImage").field("manifest", &self.manifest).field("top", &self.top).finish_non_exhaustive()
    }
}

impl BaseImage {
    /// Opens the image at `reference`, which is on disk, for `platform`; without one, the reference must name a single
    /// image. If the reference has a digest, it is that image or none.
    pub fn open(reference: &ImageReference, platform: Option<&Platform>, places: &dyn Places) -> Result<Self> {
        Self::resolve(open_local(reference, places)?, platform)
    }

    /// As [`BaseImage::open`], wherever the image is. If it is not on disk, its blobs are fetched when they are read for
    /// the first time.
    #[cfg(feature = "pull")]
    pub fn fetch(
        reference: &ImageReference,
        platform: Option<&Platform>,
        places: &dyn Places,
        fetch: Fetch,
    ) -> Result<Self> {
        match reference {
            ImageReference::OciDir(_) | ImageReference::OciArchive(_) => Self::open(reference, platform, places),
            ImageReference::Registry(_) | ImageReference::ContainersStorage(_) => {
                Self::resolve(super::mirror::open_remote(reference, fetch.skopeo, fetch.cache)?, platform)
            }
        }
    }

    fn resolve((blobs, top): (Box<dyn BlobSource>, Descriptor), platform: Option<&Platform>) -> Result<Self> {
        let Resolved { image, manifest } = resolve(&*blobs, &top, platform)?;
        Ok(Self { image, manifest, top, blobs })
    }

    /// The reference held to what it named when the image was opened.
    pub fn pin(&self, reference: &ImageReference) -> PinnedReference {
        PinnedReference::new(reference.clone(), self.top.digest)
    }
}

/// Opens a layout or an archive, and says what the reference names in it.
pub(super) fn open_local(reference: &ImageReference, places: &dyn Places) -> Result<(Box<dyn BlobSource>, Descriptor)> {
    match reference {
        ImageReference::OciDir(name) => {
            let layout = Layout::open(places.dir(&name.path).map_err(failed("open", &name.path))?)?;
            let top = layout.find(name.tag.as_deref(), name.digest.as_ref())?;
            Ok((Box::new(layout), top))
        }
        ImageReference::OciArchive(name) => {
            let (parent, file) = name.path.rsplit_once('/').unwrap_or((".", &name.path));
            let parent = if parent.is_empty() { "/" } else { parent };
            let archive = Archive::open(&places.dir(parent).map_err(failed("open", parent))?, file)?;
            let top = archive.find(name.tag.as_deref(), name.digest.as_ref())?;
            Ok((Box::new(archive), top))
        }
        ImageReference::Registry(_) | ImageReference::ContainersStorage(_) => {
            Err(StoreError::Elsewhere { reference: reference.to_string() })
        }
    }
}

#[cfg(test)]
mod tests;
