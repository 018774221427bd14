//! Writing the layers of a cut: taken from the image before where that has them, sealed where it does not.

use std::num::NonZero;

use oci_assemble::chunk::{Chunk, largest_first};
use oci_assemble::image::{Descriptor, Digest, Encoding, Image, Layer, MediaType};
use oci_assemble::layer::{Contents, LayerDraft, SealOptions, Sealer, measure};
use oci_assemble::plan::assemble::{Unpublished, layer_of};
use oci_assemble::store::{CacheDir, Unpacked};

use super::{Compressing, Cut};
use crate::cmd::build::LAYER_ANNOTATION;
use crate::exit::{Class, Context, Failure};
use crate::output::Writing;
use crate::previous::Previous;
use crate::ui::Ui;
use crate::wire::OpenedImage;

/// A layer, and whether the image before had its blob.
pub(crate) struct Written {
    pub(crate) layer: Layer,
    pub(crate) reused: bool,
}

/// How layers are written.
#[derive(Clone, Copy)]
pub(crate) struct WriteOptions<'a> {
    pub(crate) previous: Option<&'a Previous>,
    pub(crate) compressing: Compressing,
    pub(crate) cache: Option<&'a CacheDir>,
    /// Layers written at the same time.
    pub(crate) jobs: NonZero<usize>,
    pub(crate) ui: Ui,
}

/// Writes the layers of `cut`. One that the image before has, by its diff_id, stays the blob it is there.
pub(crate) fn write(
    cut: &Cut,
    contents: &dyn Contents,
    output: &Writing,
    options: WriteOptions<'_>,
) -> Result<Vec<Written>, Failure> {
    let sizes: Vec<u64> = cut.chunking.layers.iter().map(|chunk| chunk.bytes).collect();
    // One thread a layer: many are written at the same time, and the bytes are the same for any number.
    let sealing = SealOptions { compression: options.compressing.new, threads: NonZero::<usize>::MIN };
    let writer = Writer {
        contents,
        output,
        image: options.previous.and_then(|previous| previous.image.as_ref()),
        unpacked: Unpacked::new(options.cache),
        sealer: Sealer::new(sealing),
        options,
    };
    largest_first(&sizes, options.jobs, |number| {
        let draft = cut.drafts[number].clone().with_annotation(LAYER_ANNOTATION, cut.drafts[number].name());
        writer.layer(&cut.chunking.layers[number], &draft)
    })
}

struct Writer<'a> {
    contents: &'a dyn Contents,
    output: &'a Writing,
    image: Option<&'a OpenedImage>,
    unpacked: Unpacked<'a>,
    sealer: Sealer,
    options: WriteOptions<'a>,
}

impl Writer<'_> {
    fn layer(&self, chunk: &Chunk, draft: &LayerDraft) -> Result<Written, Failure> {
        let mut tried = None;
        if let Some((blob, diff_id)) = &chunk.before
            && let Some(image) = self.image
            && let Some(layer) = self.kept(blob, diff_id, draft).context(Class::Io, context(draft))?
        {
            if self.takes(image, &layer, draft)? {
                return Ok(Written { layer, reused: true });
            }
            tried = Some(blob.digest);
        }
        let sealed = Unpublished::seal(draft, self.contents, self.output.sink()?, &self.sealer);
        let sealed = sealed.context(Class::Io, context(draft))?;
        // Components may have other names now. That is known only here: most layers are new, and looking at each before it
        // is sealed would cost more than sealing a few in vain.
        if let Some(image) = self.image
            && let Some(blob) = stored(&image.image, &sealed.layer, self.options.compressing.wanted())
            && tried != Some(blob.digest)
        {
            let layer = Layer {
                descriptor: Descriptor { annotations: draft.annotations().clone(), ..plain(blob) },
                ..sealed.layer.clone()
            };
            if self.takes(image, &layer, draft)? {
                return Ok(Written { layer, reused: true });
            }
        }
        let layer = sealed.publish().context(Class::Io, context(draft))?;
        self.unpacked.remember(&layer.descriptor, &layer.diff_id);
        let reused = self.options.previous.is_some_and(|previous| previous.has(&layer.descriptor.digest));
        Ok(Written { layer, reused })
    }

    /// The layer of the image before that `draft` is, when it is what that image says of it.
    fn kept(
        &self,
        blob: &Descriptor,
        diff_id: &Digest,
        draft: &LayerDraft,
    ) -> Result<Option<Layer>, oci_assemble::layer::WriteError> {
        if !is_wanted(blob, self.options.compressing.wanted()) {
            return Ok(None);
        }
        let (found, uncompressed) = measure(draft, self.contents)?;
        Ok((found == *diff_id).then(|| layer_of(draft, plain(blob), found, uncompressed)))
    }

    /// Takes the blob of a layer of the image before; `false` when that has none which is what is said of it.
    fn takes(&self, image: &OpenedImage, layer: &Layer, draft: &LayerDraft) -> Result<bool, Failure> {
        let blob = &layer.descriptor;
        // A configuration may lie of its layers, and a blob be one that not everybody unpacks to its end. What is known of
        // a digest says nothing of the file, which may be damaged by now.
        let holds = self.unpacked.holds(&*image.blobs, blob, &layer.diff_id).context(Class::Data, context(draft))?;
        let taken = holds && self.output.take_sound(&*image.blobs, blob)?;
        if !taken {
            let (name, digest) = (&image.name, blob.digest);
            let text = format!("warning: {name} has no sound blob {digest}: the layer {} is made again", draft.name());
            self.options.ui.say(&text);
        }
        Ok(taken)
    }
}

/// Whether a layer may be stored like this: who asks for another compressor wants its bytes.
fn is_wanted(blob: &Descriptor, wanted: Option<Encoding>) -> bool {
    blob.media_type.encoding().is_some_and(|encoding| wanted.is_none_or(|wanted| wanted == encoding))
}

/// A blob with nothing said of it but what it is; that it may be withheld counted for the image before.
fn plain(blob: &Descriptor) -> Descriptor {
    let media_type = blob.media_type.encoding().map_or_else(|| blob.media_type.clone(), MediaType::layer);
    Descriptor::new(media_type, blob.digest, blob.size)
}

/// What the image before stores the stream of `sealed` as, where that is another blob, and may be one.
fn stored<'a>(before: &'a Image, sealed: &Layer, wanted: Option<Encoding>) -> Option<&'a Descriptor> {
    if before.layers().any(|(blob, _)| blob.digest == sealed.descriptor.digest) {
        return None;
    }
    let same = |(blob, diff_id): &(&Descriptor, &Digest)| **diff_id == sealed.diff_id && is_wanted(blob, wanted);
    before.layers().find(same).map(|(blob, _)| blob)
}

fn context(draft: &LayerDraft) -> String {
    format!("writing the layer {}", draft.name())
}
