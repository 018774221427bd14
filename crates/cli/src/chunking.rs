//! Cutting a tree into layers and writing them, for `rechunk` and for recipes with `layers.mode = "full"`.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use oci_assemble::chunk::{
    Chunking, ChunkingOptions, ComponentMap, Components, LABEL, Recorded, check, draft, largest_first, neutral,
};
use oci_assemble::image::{Descriptor, Epoch, History, Image, ImageReference, Layer, Platform};
use oci_assemble::layer::{Compression, Contents, LayerDraft, SealOptions, measure};
use oci_assemble::pkgdb;
use oci_assemble::plan::assemble::seal_layer;
use oci_assemble::store::CacheDir;
use oci_assemble::tree::FileTree;
use serde_json::{Value, json};

use crate::args::SourceArgs;
use crate::cmd::build::LAYER_ANNOTATION;
use crate::exit::{Class, Context, Failure};
use crate::output::Writing;
use crate::ui::{Ui, bytes};
use crate::wire::{self, BlobCache, OpenedImage};

/// Memory of the program itself, of an indexed tree and of its layers' drafts, in bytes: measured on 60,000 files.
const OWN_MEMORY: u64 = 144 << 20;
/// Memory of one layer that is being compressed, in bytes: buffers, and a job of zstd with its window.
const LAYER_MEMORY: u64 = 48 << 20;
/// What a compressed byte is expected to be of an uncompressed one, where no image says: zstd on binaries.
const USUAL_RATIO: f64 = 0.35;

/// How a cap on memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes of uncompressed layers held at most; the others go to a file.
    pub(crate) held: u64,
    /// Layers written at the same time.
    pub(crate) jobs: NonZero<usize>,
}

impl Memory {
    /// Divides `cap` bytes: half of what is left beside the program may go to layers in the making.
    pub(crate) fn divide(cap: u64, jobs: NonZero<usize>) -> Self {
        let left = cap.saturating_sub(OWN_MEMORY);
        let fit = usize::try_from(left / 2 / LAYER_MEMORY).unwrap_or(usize::MAX);
        let jobs = jobs.min(NonZero::new(fit).unwrap_or(NonZero::<usize>::MIN));
        let making = LAYER_MEMORY.saturating_mul(jobs.get() as u64);
        Self { held: left.saturating_sub(making), jobs }
    }
}

/// The image before, by which layers are kept.
pub(crate) struct Previous {
    pub(crate) recorded: Recorded,
    /// The image, unless only its record is there.
    pub(crate) image: Option<OpenedImage>,
}

/// Where the chunking of the image before comes from.
#[derive(Clone, Debug)]
pub(crate) enum Wanted<'a> {
    /// The image being replaced, if there is one and it says anything.
    Replaced(&'a ImageReference),
    /// An image, or a file with a record.
    Named(&'a str),
    /// Nothing is to be kept.
    None,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(named: Option<&'a str>, replaced: &'a ImageReference) -> Self {
        match named {
            None => Self::Replaced(replaced),
            Some("none") => Self::None,
            Some(name) => Self::Named(name),
        }
    }

    pub(crate) fn open(
        self,
        platform: &Platform,
        source: &SourceArgs,
        cache: Option<&Arc<CacheDir>>,
        blobs: &BlobCache,
    ) -> Result<Option<Previous>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Replaced(place) => {
                if !wire::is_local(place) {
                    return Ok(None);
                }
                // Nothing is there yet, or nothing that says how it was cut: both are the first time.
                let Ok(image) = wire::image(place, Some(platform), source, cache, blobs) else { return Ok(None) };
                let recorded = Recorded::of(&image.image).ok().flatten();
                Ok(recorded.map(|recorded| Previous { recorded, image: Some(image) }))
            }
            Self::Named(name) => named(name, platform, source, cache, blobs).map(Some),
        }
    }
}

fn named(
    name: &str,
    platform: &Platform,
    source: &SourceArgs,
    cache: Option<&Arc<CacheDir>>,
    blobs: &BlobCache,
) -> Result<Previous, Failure> {
    if name.parse::<ImageReference>().is_err() {
        let path = Path::new(name);
        let text = std::fs::read_to_string(path).context(Class::Usage, format!("reading the record {name}"))?;
        return Ok(Previous { recorded: record(&text, name)?, image: None });
    }
    let image = wire::image(&wire::reference(name)?, Some(platform), source, cache, blobs)?;
    let recorded = Recorded::of(&image.image).context(Class::Data, format!("reading how {name} was cut"))?;
    let recorded = recorded.ok_or_else(|| {
        Failure::new(Class::Usage, format!("{name} does not say how its layers were cut"))
            .hint("only images that `assemble rechunk` or a recipe with layers.mode = \"full\" wrote can be followed")
    })?;
    Ok(Previous { recorded, image: Some(image) })
}

/// The record by itself, or in the document that `rechunk --json` prints.
fn record(text: &str, name: &str) -> Result<Recorded, Failure> {
    let context = || format!("reading the record {name}");
    let document: Result<Value, _> = serde_json::from_str(text);
    let document = document.context(Class::Usage, context())?;
    let record = document.get("record").unwrap_or(&document).to_string();
    Recorded::parse(&record, name).context(Class::Usage, context())
}

/// A tree cut into layers.
pub(crate) struct Cut {
    pub(crate) chunking: Chunking,
    /// The layers as parts of the tree, lowest first.
    pub(crate) drafts: Vec<LayerDraft>,
}

/// What a tree is cut by.
pub(crate) struct CutOptions<'a> {
    pub(crate) max: usize,
    pub(crate) map: &'a ComponentMap,
    pub(crate) previous: Option<&'a Previous>,
    pub(crate) epoch: Epoch,
}

/// Cuts `tree`, the merged tree of `image`.
pub(crate) fn cut(
    image: &Image,
    tree: &FileTree,
    contents: &dyn Contents,
    options: &CutOptions<'_>,
) -> Result<Cut, Failure> {
    let context = "cutting the image into layers";
    check(image, tree).context(Class::Data, context)?;
    let packages = pkgdb::read_at_once(tree, contents).context(Class::Data, "reading the package database")?;
    let neutral = neutral(tree, packages.as_ref());
    let components = Components::new(&neutral, tree, packages.as_ref(), options.map);
    let previous = options.previous.map(|previous| &previous.recorded);
    let chunking =
        Chunking::new(&components, ChunkingOptions { max: options.max, packages: packages.as_ref(), previous });
    let drafts = draft(&chunking, &components, &neutral, options.epoch.seconds()).context(Class::Data, context)?;
    Ok(Cut { chunking, drafts })
}

/// A layer, and whether the image before had its blob.
pub(crate) struct Written {
    pub(crate) layer: Layer,
    pub(crate) reused: bool,
}

/// Writes the layers of `cut`. One that the image before has, by its diff_id, is not compressed again.
pub(crate) fn write(
    cut: &Cut,
    contents: &dyn Contents,
    output: &Writing,
    previous: Option<&Previous>,
    compression: Compression,
    jobs: NonZero<usize>,
) -> Result<Vec<Written>, Failure> {
    let sizes: Vec<u64> = cut.chunking.layers.iter().map(|chunk| chunk.bytes).collect();
    let written = largest_first(&sizes, jobs, |number| {
        let draft = cut.drafts[number].clone().with_annotation(LAYER_ANNOTATION, cut.drafts[number].name());
        let context = || format!("writing the layer {}", draft.name());
        if let Some(layer) = kept(cut, number, &draft, contents, compression).context(Class::Io, context())? {
            return Ok(Written { layer, reused: true });
        }
        // One thread a layer: many are written at the same time, and the bytes are the same for any number.
        let options = SealOptions { compression, threads: NonZero::<usize>::MIN };
        let layer = seal_layer(&draft, contents, output.sink()?, options).context(Class::Io, context())?;
        Ok(Written { layer, reused: false })
    })?;
    let reused: Vec<Descriptor> =
        written.iter().filter(|layer| layer.reused).map(|written| written.layer.descriptor.clone()).collect();
    if let Some(image) = previous.and_then(|previous| previous.image.as_ref()) {
        output.take(&*image.blobs, &reused, jobs)?;
    }
    Ok(written)
}

/// The layer of the image before that draft `number` is, when it is.
fn kept(
    cut: &Cut,
    number: usize,
    draft: &LayerDraft,
    contents: &dyn Contents,
    compression: Compression,
) -> Result<Option<Layer>, oci_assemble::layer::WriteError> {
    let Some((blob, diff_id)) = &cut.chunking.layers[number].before else { return Ok(None) };
    // Who asks for another compressor wants its bytes.
    if blob.media_type.encoding() != compression.media_type().encoding() {
        return Ok(None);
    }
    let (found, uncompressed) = measure(draft, contents)?;
    if found != *diff_id {
        return Ok(None);
    }
    let descriptor = Descriptor {
        annotations: draft.annotations().clone(),
        ..Descriptor::new(compression.media_type(), blob.digest, blob.size)
    };
    let created = Epoch::new(draft.epoch()).map(|epoch| epoch.to_string()).ok();
    let history = History { created, ..History::of(format!("assemble: {}", draft.name())) };
    Ok(Some(Layer { descriptor, diff_id: found, uncompressed_size: Some(uncompressed), history }))
}

/// The image with these layers in the place of its own, and with the record of how they were cut.
pub(crate) fn dress(image: Image, cut: &Cut, written: &[Written]) -> Result<Image, Failure> {
    let layers = written.iter().map(|written| written.layer.clone());
    let bare = image.without_layers().with_label(LABEL, cut.chunking.recorded().to_json());
    bare.append_all(layers).context(Class::Data, "putting the image together")
}

/// What compression left of a byte in `image`, whose streams have `uncompressed` bytes.
#[expect(clippy::cast_precision_loss, reason = "an estimate, of less than 2^53 bytes")]
pub(crate) fn ratio(image: &Image, uncompressed: Option<u64>) -> f64 {
    let stored: u64 = image.layers().map(|(descriptor, _)| descriptor.size).sum();
    match uncompressed {
        Some(uncompressed) if uncompressed > 0 && stored < uncompressed => stored as f64 / uncompressed as f64,
        _ => USUAL_RATIO,
    }
}

/// Written layers as JSON, with what is in each.
pub(crate) fn layers_json(cut: &Cut, written: &[Written]) -> Value {
    let layer = |(chunk, written): (&oci_assemble::chunk::Chunk, &Written)| {
        json!({
            "name": chunk.name,
            "digest": written.layer.descriptor.digest,
            "diff_id": written.layer.diff_id,
            "size": written.layer.descriptor.size,
            "uncompressed": written.layer.uncompressed_size,
            "reused": written.reused,
            "components": chunk.components.iter().map(|member| &member.name).collect::<Vec<_>>(),
        })
    };
    cut.chunking.layers.iter().zip(written).map(layer).collect()
}

/// Says what was written.
pub(crate) fn say(cut: &Cut, written: &[Written], ui: Ui) {
    for (chunk, written) in cut.chunking.layers.iter().zip(written) {
        let mark = if written.reused { "kept " } else { "layer" };
        let (digest, size) = (written.layer.descriptor.digest, bytes(written.layer.descriptor.size));
        ui.detail(&format!("{mark} {:40} {size:>10} {digest}", chunk.name));
    }
    let new: u64 = written.iter().filter(|layer| !layer.reused).map(|layer| layer.layer.descriptor.size).sum();
    let all: u64 = written.iter().map(|layer| layer.layer.descriptor.size).sum();
    let kept = written.iter().filter(|layer| layer.reused).count();
    ui.say(&format!("{} layers, {kept} kept; {} of {} are new", written.len(), bytes(new), bytes(all)));
}
