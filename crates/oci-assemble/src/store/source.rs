//! Opening the image that a reference names.

use std::io;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::archive::Archive;
use super::blob::{BlobSource, read_document};
use super::error::{Result, StoreError, io as failed};
use super::layout::Layout;
use super::resolve::{Resolved, resolve};
use crate::image::{
    Descriptor, Image, ImageReference, Index, LayoutReference, MAX_MANIFEST, Manifest, MediaType, PinnedReference,
    Platform,
};

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
#[cfg(any(feature = "pull", feature = "registry"))]
#[derive(Debug)]
pub struct Fetch {
    /// The layout into which blobs are fetched.
    pub cache: super::layout::Transaction,
    /// The client that reads registries; without one, skopeo does.
    #[cfg(feature = "registry")]
    pub client: Option<super::registry::Client>,
    /// How skopeo is called, for what the client does not read.
    #[cfg(feature = "pull")]
    pub skopeo: super::mirror::SkopeoOptions,
}

#[cfg(any(feature = "pull", feature = "registry"))]
impl Fetch {
    /// Opens what a reference names that is not on this machine's disk. Its blobs are fetched into the cache when they are
    /// read for the first time.
    fn open(self, reference: &ImageReference) -> Result<(Box<dyn BlobSource>, Descriptor)> {
        #[cfg(feature = "registry")]
        if let (ImageReference::Registry(name), Some(client)) = (reference, &self.client) {
            let repository = super::registry::Repository::new(client, name, super::registry::Access::Pull)?;
            let kept = super::registry::Kept::new(repository, self.cache);
            let top = kept.find(name)?;
            return Ok((Box::new(kept), top));
        }
        #[cfg(feature = "pull")]
        {
            super::mirror::open_remote(reference, self.skopeo, self.cache)
        }
        #[cfg(not(feature = "pull"))]
        Err(StoreError::Elsewhere { reference: reference.to_string() })
    }
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
    #[cfg(any(feature = "pull", feature = "registry"))]
    pub fn fetch(
        reference: &ImageReference,
        platform: Option<&Platform>,
        places: &dyn Places,
        fetch: Fetch,
    ) -> Result<Self> {
        match reference {
            ImageReference::OciDir(_) | ImageReference::OciArchive(_) => Self::open(reference, platform, places),
            ImageReference::Registry(_) | ImageReference::ContainersStorage(_) => {
                Self::resolve(fetch.open(reference)?, platform)
            }
        }
    }

    /// Opens exactly the image with the digest, in the layout or archive that the reference names: whatever its tags
    /// name by now, and whether or not it is still listed.
    pub fn open_pinned(pinned: &PinnedReference, platform: Option<&Platform>, places: &dyn Places) -> Result<Self> {
        Self::resolve(open_digest(pinned, places)?, platform)
    }

    /// As [`BaseImage::open_pinned`], wherever the image is.
    #[cfg(any(feature = "pull", feature = "registry"))]
    pub fn fetch_pinned(
        pinned: &PinnedReference,
        platform: Option<&Platform>,
        places: &dyn Places,
        fetch: Fetch,
    ) -> Result<Self> {
        match pinned.reference() {
            ImageReference::OciDir(_) | ImageReference::OciArchive(_) => Self::open_pinned(pinned, platform, places),
            ImageReference::Registry(_) | ImageReference::ContainersStorage(_) => {
                let image = Self::fetch(&pinned.to_reference(), platform, places, fetch)?;
                // Storage may know an image by a digest that is not that of its manifest.
                if image.manifest.digest == pinned.digest() || image.top.digest == pinned.digest() {
                    return Ok(image);
                }
                Err(StoreError::Missing { digest: pinned.digest() })
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
pub fn open_local(reference: &ImageReference, places: &dyn Places) -> Result<(Box<dyn BlobSource>, Descriptor)> {
    match reference {
        ImageReference::OciDir(name) => {
            let layout = layout(name, places)?;
            let top = layout.find(name.tag.as_deref(), name.digest.as_ref())?;
            Ok((Box::new(layout), top))
        }
        ImageReference::OciArchive(name) => {
            let archive = archive(name, places)?;
            let top = archive.find(name.tag.as_deref(), name.digest.as_ref())?;
            Ok((Box::new(archive), top))
        }
        ImageReference::Registry(_) | ImageReference::ContainersStorage(_) => {
            Err(StoreError::Elsewhere { reference: reference.to_string() })
        }
    }
}

fn layout(name: &LayoutReference, places: &dyn Places) -> Result<Layout> {
    Layout::open(places.dir(&name.path).map_err(failed("open", &name.path))?)
}

fn archive(name: &LayoutReference, places: &dyn Places) -> Result<Archive> {
    let (parent, file) = name.path.rsplit_once('/').unwrap_or((".", &name.path));
    let parent = if parent.is_empty() { "/" } else { parent };
    Archive::open(&places.dir(parent).map_err(failed("open", parent))?, file)
}

/// Opens a layout or an archive, and describes the document of that digest in it.
fn open_digest(pinned: &PinnedReference, places: &dyn Places) -> Result<(Box<dyn BlobSource>, Descriptor)> {
    let digest = pinned.digest();
    let (blobs, size, index): (Box<dyn BlobSource>, Option<u64>, Index) = match pinned.reference() {
        ImageReference::OciDir(name) => {
            let layout = layout(name, places)?;
            let (size, index) = (layout.size(&digest)?, layout.index()?);
            (Box::new(layout), size, index)
        }
        ImageReference::OciArchive(name) => {
            let archive = archive(name, places)?;
            let (size, index) = (archive.size(&digest), archive.index().clone());
            (Box::new(archive), size, index)
        }
        ImageReference::Registry(_) | ImageReference::ContainersStorage(_) => {
            return Err(StoreError::Elsewhere { reference: pinned.to_string() });
        }
    };
    let tags = || index.manifests.iter().filter_map(|entry| entry.ref_name().map(str::to_owned)).collect();
    let size = size.ok_or_else(|| StoreError::NoImage { wanted: digest.to_string(), present: tags() })?;
    // What kind of document it is only its bytes say, which are held against the digest.
    let unknown = Descriptor::new(MediaType::ImageManifest, digest, size);
    let bytes = read_document(&*blobs, &unknown, MAX_MANIFEST)?;
    let media_type = match Manifest::parse(&bytes, None) {
        Ok(manifest) => manifest.media_type,
        Err(error) => Index::parse(&bytes, None).map_err(|_| error)?.media_type,
    };
    Ok((blobs, Descriptor::new(media_type, digest, size)))
}

#[cfg(test)]
mod tests;
