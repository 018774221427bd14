//! Where an image is written: a layout, or an archive of one.

use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use kmod_stage::podman::ImageSource;
use kmod_stage::private::PrivateDir;
use oci_assemble::image::{Descriptor, Digest, Image, ImageReference, LayoutReference, PinnedReference};
use oci_assemble::layer::Sealed;
use oci_assemble::plan::assemble::LayerSink;
use oci_assemble::store::{
    Ambient, BaseImage, BlobSink, BlobSource, CacheDir, Layout, StoreError, Transaction, Verified, resolve,
    write_archive,
};

use crate::exit::{Class, Context, Failure};
use crate::wire::{self, OpenedImage};

/// Beginning of the names of directories for the blobs of archives. Long, for abandoned ones are removed by it.
const SCRATCH: &str = ".assemble-archive-";

/// A place for images.
pub(crate) enum Output {
    /// A layout.
    Layout(LayoutReference),
    /// An archive.
    Archive(LayoutReference),
    /// A layout that gets what is new and nothing of the base, and does not list the image: for a push.
    Partial(LayoutReference),
}

impl Output {
    pub(crate) fn new(reference: &ImageReference) -> Result<Self, Failure> {
        let (place, output): (&LayoutReference, fn(LayoutReference) -> Self) = match reference {
            ImageReference::OciDir(place) => (place, Self::Layout),
            ImageReference::OciArchive(place) => (place, Self::Archive),
            other => {
                return Err(Failure::new(Class::Usage, format!("images cannot be written to {other}"))
                    .hint("write to oci:DIR:TAG or oci-archive:FILE:TAG"));
            }
        };
        if place.digest.is_some() {
            let text = format!("{reference} names a digest, but the digest of a new image is not known before");
            return Err(Failure::new(Class::Usage, text).hint("name a tag instead"));
        }
        Ok(output(place.clone()))
    }

    fn place(&self) -> &LayoutReference {
        match self {
            Self::Layout(place) | Self::Archive(place) | Self::Partial(place) => place,
        }
    }

    /// The same place for what is new only.
    pub(crate) fn partial(self) -> Self {
        match self {
            Self::Layout(place) => Self::Partial(place),
            other => other,
        }
    }

    /// Whether the image is there as it should be: whole, under its tag, or what is new on top of `base`. Costs a look at
    /// each blob.
    pub(crate) fn has(&self, digest: &Digest, base: &Image) -> bool {
        match self {
            Self::Partial(place) => partial_has(place, digest, base).unwrap_or(false),
            // An archive is cheap to write again, and cannot be looked into as cheaply.
            Self::Archive(_) => false,
            Self::Layout(place) => layout_has(place, digest).unwrap_or(false),
        }
    }
}

fn layout_has(place: &LayoutReference, digest: &Digest) -> Result<bool, Failure> {
    let dir = wire::open_dir(&PathBuf::from(&place.path), Class::Io)?;
    let look = || {
        let layout = Layout::open(dir)?;
        let entry = layout.find(place.tag.as_deref(), Some(digest))?;
        let image = resolve(&layout, &entry, None)?.image;
        for blob in image.blobs() {
            if !layout.has(blob)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let found: Result<bool, StoreError> = look();
    found.context(Class::Io, "looking for the image")
}

fn partial_has(place: &LayoutReference, digest: &Digest, base: &Image) -> Result<bool, StoreError> {
    let pinned = PinnedReference::new(ImageReference::OciDir(place.clone()), *digest);
    let opened = BaseImage::open_pinned(&pinned, None, &Ambient)?;
    for (layer, _) in opened.image.layers() {
        if base.layers().all(|(of_base, _)| of_base.digest != layer.digest) && !opened.blobs.has(layer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A place being written.
pub(crate) struct Writing {
    transaction: Transaction,
    output: Output,
    /// Where the blobs of an archive are gathered; removed in the end.
    scratch: Option<PrivateDir>,
}

impl Output {
    /// Begins to write. Nothing is visible before [`Stored::list`].
    pub(crate) fn begin(self, cache: Option<&Arc<CacheDir>>) -> Result<Writing, Failure> {
        let path = PathBuf::from(&self.place().path);
        let (dir, scratch) = match &self {
            Self::Layout(_) | Self::Partial(_) => (wire::make_dir(&path)?, None),
            Self::Archive(_) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let scratch = PrivateDir::new(parent.unwrap_or(".".as_ref()), SCRATCH);
                let scratch = scratch.context(Class::Io, format!("making a directory beside {}", path.display()))?;
                (wire::open_dir(scratch.path(), Class::Io)?, Some(scratch))
            }
        };
        let verified = cache.map_or_else(Verified::default, |cache| Verified::in_cache(Arc::clone(cache)));
        let transaction =
            Layout::write_with(dir, verified).context(Class::Io, format!("writing to {}", path.display()))?;
        Ok(Writing { transaction, output: self, scratch })
    }
}

impl Writing {
    /// Takes the bytes of one layer.
    pub(crate) fn sink(&self) -> Result<Box<dyn LayerSink + '_>, Failure> {
        let sink = self.transaction.sink().context(Class::Io, "making a file for the layer")?;
        Ok(Box::new(Sink(sink)))
    }

    /// Takes the base's blobs, and writes manifest and configuration.
    pub(crate) fn store(self, base: &OpenedImage, image: &Image, threads: NonZero<usize>) -> Result<Stored, Failure> {
        let blobs: Vec<_> = base.image.layers().map(|(descriptor, _)| descriptor.clone()).collect();
        let taken = self.transaction.take_all(&*base.blobs, &blobs, threads);
        taken.context(Class::Data, "taking layers of another image")?;
        self.store_own(image)
    }

    /// Takes one layer of another image; `false` when that does not have it, or it is not what its descriptor says.
    pub(crate) fn take_sound(&self, source: &dyn BlobSource, blob: &Descriptor) -> Result<bool, Failure> {
        match self.transaction.take(source, blob) {
            Err(error) if error.is_of_blob() => Ok(false),
            taken => taken.map(|_| true).context(Class::Data, "taking a layer of another image"),
        }
    }

    /// Writes manifest and configuration of an image whose layers are all there.
    pub(crate) fn store_own(self, image: &Image) -> Result<Stored, Failure> {
        let image = self.transaction.put_image(image).context(Class::Io, "writing the manifest")?;
        Ok(Stored { writing: self, image })
    }

    /// Lets `copy` bring an image into the place; it lists what it brings.
    pub(crate) fn mirror(
        self,
        copy: impl FnOnce(Transaction, Option<&str>) -> Result<Descriptor, Failure>,
    ) -> Result<Descriptor, Failure> {
        let Self { transaction, output, scratch } = self;
        let place = output.place();
        let image = copy(transaction, place.tag.as_deref())?;
        if let Some(scratch) = scratch {
            let dir = wire::open_dir(scratch.path(), Class::Io)?;
            archive(place, &Layout::open(dir).context(Class::Io, "opening the copy")?, &image)?;
        }
        Ok(image)
    }
}

/// An image whose blobs are all in their place, and which is not listed yet.
pub(crate) struct Stored {
    writing: Writing,
    image: Descriptor,
}

impl Stored {
    /// Where podman finds it already.
    pub(crate) fn source(&self) -> Result<ImageSource, Failure> {
        let place = match &self.writing.scratch {
            Some(scratch) => scratch.path().to_owned(),
            None => PathBuf::from(&self.writing.output.place().path),
        };
        let directory = std::path::absolute(&place).context(Class::Io, format!("finding {}", place.display()))?;
        Ok(ImageSource::Layout { directory, manifest: self.image.digest })
    }

    /// Lists the image, or writes the archive.
    pub(crate) fn list(self) -> Result<(), Failure> {
        let Self { writing: Writing { transaction, output, scratch }, image } = self;
        let place = output.place();
        if let Output::Partial(_) = output {
            return transaction.commit_all(&[]).map(drop).context(Class::Io, "writing what is new");
        }
        if scratch.is_none() {
            return transaction.commit(place.tag.as_deref(), &image).map(drop).context(Class::Io, "listing the image");
        }
        archive(place, &transaction, &image)
    }
}

/// Writes the archive at `place` from the blobs of `source`.
fn archive(place: &LayoutReference, source: &dyn BlobSource, image: &Descriptor) -> Result<(), Failure> {
    let path = PathBuf::from(&place.path);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::new(Class::Usage, format!("{} names no file", path.display())))?;
    let dir = wire::open_dir(parent, Class::Io)?;
    let written = write_archive(&dir, name, source, &[(place.tag.as_deref(), image)]);
    written.context(Class::Io, format!("writing the archive {}", path.display()))
}

struct Sink<'t>(BlobSink<'t>);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl LayerSink for Sink<'_> {
    fn publish(self: Box<Self>, sealed: &Sealed) -> io::Result<()> {
        self.0.publish(&sealed.digest, sealed.size).map_err(io::Error::from)
    }
}
