//! `assemble rechunk`: the same image, cut into layers by what changes together.

use std::path::Path;

use oci_assemble::chunk::ComponentMap;
use oci_assemble::layer::{Compression, Gate};
use serde_json::json;

use super::plan::merged;
use crate::args::{Compressor, RechunkArgs};
use crate::chunking::{self, Compressing, Cut, CutOptions, WriteOptions};
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::memory::Entries;
use crate::normal::{Normal, Normalizing};
use crate::output::Output;
use crate::previous::{Opening, Previous, Wanted};
use crate::ui::{Ui, bytes};
use crate::uncompressed::{Uncompressed, Unpacking};
use crate::wire::{self, BlobCache, OpenedImage};

pub(crate) fn run(args: &RechunkArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let platform = args.platform.as_deref().map(wire::platform).transpose()?;
    let destination = wire::reference(&args.destination)?;
    let output = Output::new(&destination)?;
    let map = map(args.map.as_deref())?;
    let image =
        wire::image(&wire::reference(&args.source_image)?, platform.as_ref(), &args.source, cache.as_ref(), &blobs)?;
    let platform = &image.image.config().platform;
    let opening = Opening { platform, source: &args.source, cache: cache.as_ref(), blobs: &blobs, ui };
    let previous = Wanted::new(args.previous.as_deref(), vec![destination.clone()]).open(opening)?;
    let compressing = match args.compression {
        None => Compressing::like(previous.as_ref()),
        Some(Compressor::Zstd) => Compressing::all(Compression::DEFAULT),
        Some(Compressor::Gzip) => Compressing::all(Compression::GZIP_DEFAULT),
    };
    let epoch = wire::epoch(&image.image, None)?;
    let options = CutOptions {
        max: usize::try_from(args.max_layers).unwrap_or(usize::MAX),
        map: &map,
        previous: previous.as_ref(),
        encoding: compressing.wanted(),
        epoch,
    };
    let jobs = args.jobs.unwrap_or_else(env::processors);
    let normalizing = Normalizing { wanted: args.normalize_rpmdb, ui };
    if args.dry_run {
        let layers = merged(&image, cache.as_ref(), jobs, Gate::Refuse, ui)?;
        let normal = normalizing.held(layers.tree(), &layers)?;
        let cut = chunking::cut(&image.image, normal.tree(), normal.contents(), &options)?;
        let ratio = chunking::ratio(&image.image, layers.tree());
        return show(&cut, &image, &normal, ratio, previous.as_ref(), ui);
    }
    let unpacking = Unpacking {
        memory: args.memory,
        destination: &destination,
        cache: cache.as_ref(),
        jobs,
        normalizes: args.normalize_rpmdb,
        ui,
    };
    let source = Uncompressed::open(&image, Entries::cut(&image.image), &unpacking)?;
    let held = source.layers();
    let jobs = source.jobs(held.tree().len());
    // The process ends when the image is written: freeing trees entry by entry would cost as much as reading them.
    let normal = std::mem::ManuallyDrop::new(normalizing.held(held.tree(), held)?);
    let cut = std::mem::ManuallyDrop::new(chunking::cut(&image.image, normal.tree(), normal.contents(), &options)?);
    let writing = output.begin(cache.as_ref())?;
    let bar = ui.bar(None, "writing layers");
    let (previous, cache) = (previous.as_ref(), cache.as_deref());
    let options = WriteOptions { previous, compressing, cache, jobs, ui };
    let written = chunking::write(&cut, normal.contents(), &writing, options);
    bar.finish_and_clear();
    let written = written?;
    let mut result = chunking::dress(image.image.clone(), &cut, &written)?;
    if wire::explicit_epoch()?.is_some() {
        result = result.with_created(epoch).with_annotation("org.opencontainers.image.created", epoch.to_string());
    }
    writing.store_own(&result)?.list()?;
    if ui.json {
        let mut value = json!({
            "image": result.digest(),
            "output": destination.to_string(),
            "source": image.digest,
            "previous": previous.and_then(|previous| previous.image.as_ref()).map(|image| image.digest),
            "layers": chunking::layers_json(&cut, &written),
            "record": cut.chunking.recorded().layers,
        });
        normal.note(&mut value);
        return ui.document("rechunk", value);
    }
    chunking::say(&cut, &written, ui);
    ui.say(&format!("wrote {destination}"));
    ui.data(&result.digest().to_string())
}

fn map(path: Option<&Path>) -> Result<ComponentMap, Failure> {
    let Some(path) = path else { return Ok(ComponentMap::default()) };
    let context = || format!("reading the component map {}", path.display());
    let text = std::fs::read_to_string(path).context(Class::Usage, context())?;
    ComponentMap::parse(&text).context(Class::Usage, context())
}

/// What would be written.
fn show(
    cut: &Cut,
    image: &OpenedImage,
    normal: &Normal<'_>,
    ratio: f64,
    previous: Option<&Previous>,
    ui: Ui,
) -> Result<(), Failure> {
    if ui.json {
        let mut value = json!({
            "source": image.digest,
            "previous": previous.and_then(|previous| previous.image.as_ref()).map(|image| image.digest),
            "layers": cut.chunking.layers,
            "expected_download": cut.chunking.expected_download(ratio),
            "record": cut.chunking.recorded().layers,
        });
        normal.note(&mut value);
        return ui.document("rechunk-plan", value);
    }
    chunking::warn(cut, ui);
    ui.data(&cut.chunking.render(ratio, bytes))
}
