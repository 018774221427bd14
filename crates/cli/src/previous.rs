//! The image before: whose layers are kept where nothing changed.

use std::path::Path;
use std::sync::Arc;

use oci_assemble::chunk::Recorded;
use oci_assemble::image::{Descriptor, Digest, ImageReference, MediaType, Platform};
use oci_assemble::store::CacheDir;
use serde_json::Value;

use crate::args::SourceArgs;
use crate::exit::{Class, Context, Failure};
use crate::ui::Ui;
use crate::wire::{self, BlobCache, OpenedImage};

/// The image before, by which layers are kept.
pub(crate) struct Previous {
    pub(crate) recorded: Recorded,
    /// The image, unless only its record is there.
    pub(crate) image: Option<OpenedImage>,
}

impl Previous {
    /// The blobs of its layers, as far as they are known.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.recorded.layers.iter().filter_map(|layer| layer.layer.as_ref()).map(|(blob, _)| blob)
    }

    /// Whether one of its layers is the blob of this digest.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.blobs().any(|blob| blob.digest == *digest)
    }
}

/// Where the chunking of the image before comes from.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// The image being replaced, under the first of these names that is there, if it says anything.
    Replaced(Vec<ImageReference>),
    /// An image that the recipe names: it may be what this build brings for the first time.
    Recipe(ImageReference),
    /// An image, or a file with a record.
    Named(String),
    /// Nothing is to be kept.
    None,
}

/// How images are opened.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) platform: &'a Platform,
    pub(crate) source: &'a SourceArgs,
    pub(crate) cache: Option<&'a Arc<CacheDir>>,
    pub(crate) blobs: &'a BlobCache,
    pub(crate) ui: Ui,
}

impl Wanted {
    /// What the command line says, or else the image being replaced.
    pub(crate) fn new(named: Option<&str>, replaced: Vec<ImageReference>) -> Self {
        match named {
            None => Self::Replaced(replaced),
            Some("none") => Self::None,
            Some(name) => Self::Named(name.to_owned()),
        }
    }

    /// The image before. One that is not there, or does not say how it was cut, is none: what is made then is the first.
    pub(crate) fn open(self, opening: Opening<'_>) -> Result<Option<Previous>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Replaced(places) => Ok(opening.replaced(&places).and_then(|image| opening.recorded(image))),
            Self::Recipe(place) => Ok(opening.named(&place)?.and_then(|image| opening.recorded(image))),
            Self::Named(name) => match name.parse::<ImageReference>() {
                Ok(place) => opening.named(&place)?.map(of_image).transpose(),
                Err(_) => of_file(&name).map(Some),
            },
        }
    }
}

impl Opening<'_> {
    fn image(self, place: &ImageReference) -> Result<OpenedImage, Failure> {
        wire::image(place, Some(self.platform), self.source, self.cache, self.blobs)
    }

    /// The image under the first of these names, which nobody gave, that is there. It must not keep a build from its end, so
    /// what else is wrong with it is a warning.
    pub(crate) fn replaced(self, places: &[ImageReference]) -> Option<OpenedImage> {
        for place in places {
            match self.image(place) {
                Ok(image) => return Some(image),
                Err(error) if error.is_absent() => {}
                Err(error) => {
                    self.ui.say(&format!("warning: all layers are new, for {place} cannot be read: {error}"));
                    return None;
                }
            }
        }
        None
    }

    /// The image under a name that was given.
    fn named(self, place: &ImageReference) -> Result<Option<OpenedImage>, Failure> {
        match self.image(place) {
            Err(error) if error.is_absent() => {
                self.ui.say(&format!("{place} is not there yet: all layers are new"));
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// The image with its record; says so where it has none.
    fn recorded(self, image: OpenedImage) -> Option<Previous> {
        let recorded = of_image(image);
        if let Err(error) = &recorded {
            self.ui.say(&format!("all layers are new: {error}"));
        }
        recorded.ok()
    }
}

/// The image with its record.
fn of_image(image: OpenedImage) -> Result<Previous, Failure> {
    let name = &image.name;
    let recorded = Recorded::of(&image.image).context(Class::Data, format!("reading how {name} was cut"))?;
    let recorded = recorded.ok_or_else(|| {
        Failure::new(Class::Usage, format!("{name} does not say how its layers were cut"))
            .hint("only images that `assemble rechunk` or a recipe with layers.mode = \"full\" wrote can be followed")
    })?;
    Ok(Previous { recorded, image: Some(image) })
}

fn of_file(name: &str) -> Result<Previous, Failure> {
    let path = Path::new(name);
    let text = std::fs::read_to_string(path).context(Class::Usage, format!("reading the record {name}"))?;
    Ok(Previous { recorded: record(&text, name)?, image: None })
}

/// The record by itself, or in the document that `rechunk --json` prints.
fn record(text: &str, name: &str) -> Result<Recorded, Failure> {
    let context = || format!("reading the record {name}");
    let document: Result<Value, _> = serde_json::from_str(text);
    let document = document.context(Class::Usage, context())?;
    let record = document.get("record").unwrap_or(&document).to_string();
    let mut recorded = Recorded::parse(&record, name).context(Class::Usage, context())?;
    // How layers are stored decides which can be kept.
    let layers = document.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if layers.len() == recorded.layers.len() {
        for (layer, said) in recorded.layers.iter_mut().zip(layers) {
            layer.layer = stored(said);
        }
    }
    Ok(recorded)
}

/// A layer's blob and diff_id, where the document says both.
fn stored(said: &Value) -> Option<(Descriptor, Digest)> {
    let text = |key: &str| said.get(key).and_then(Value::as_str);
    let digest = |key: &str| text(key)?.parse::<Digest>().ok();
    let blob = Descriptor::new(MediaType::from(text("media_type")?), digest("digest")?, said.get("size")?.as_u64()?);
    Some((blob, digest("diff_id")?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use oci_assemble::image::Encoding;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_says_how_layers_are_stored_and_a_bare_record_does_not() {
        let record = json!([{ "one": ["0123456789abcdef", 1, 0] }]);
        let (digest, diff_id) = (Digest::of(b"blob"), Digest::of(b"tar"));
        let layer = json!({
            "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": digest,
            "diff_id": diff_id,
            "size": 4,
        });
        let read = |document: &Value| super::record(&document.to_string(), "file").unwrap().layers.remove(0).layer;
        let (blob, found) = read(&json!({ "record": record, "layers": [layer] })).unwrap();
        assert_eq!((blob.digest, blob.size, found), (digest, 4, diff_id));
        assert_eq!(blob.media_type.encoding(), Some(Encoding::Gzip));
        let mut other = layer.clone();
        other.as_object_mut().unwrap().remove("media_type");
        for document in [
            record.clone(),
            json!({ "record": record }),
            json!({ "record": record, "layers": [layer, layer] }),
            json!({ "record": record, "layers": [other] }),
        ] {
            assert_eq!(read(&document), None, "{document}");
        }
    }
}
