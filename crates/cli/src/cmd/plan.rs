//! `assemble plan`: what a build would do.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use kmod_stage::build::Family;
use oci_assemble::image::{Descriptor, Digest, Image, Platform};
use oci_assemble::layer::Gate;
use oci_assemble::plan::outlook::Outlook;
use oci_assemble::plan::step::View;
use oci_assemble::plan::value::{BasePlan, Plan, Resolved, resolve};
use oci_assemble::store::layers::{
    ClaimedIndexes, ImageLayers, IndexCache, LayerError, MergedLayers, NoCache, ReadOptions,
};
use oci_assemble::store::{CacheDir, KeptContents};
use serde_json::Value;

use super::build::Prepared;
use super::full::published;
use crate::args::{PlanArgs, Sandbox};
use crate::builders::TOOL;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::forecast::Asked;
use crate::kernels;
use crate::locks::Held;
use crate::ui::Ui;
use crate::wire::{self, BlobCache, Job, OpenedImage, StageSettings};

pub(crate) fn run(args: &PlanArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let job = wire::load(&args.recipe)?;
    let settings =
        StageSettings { sandbox: Sandbox::Auto, workspace: env::temp_dir(), jobs: env::processors(), sign: false };
    let mut held = Held::new(&job, false)?;
    held.check_sources(&job)?;
    // What is only published replaces what is there.
    let recipe = job.recipe();
    let place = recipe.output.image.is_none().then(|| published(recipe).first().map(ToString::to_string)).flatten();
    let place = place.as_deref();
    let prepared = Prepared::new(&job, &args.source, cache.as_ref(), &blobs, &settings, None, ui, place, &held)?;
    let layers = merged(&prepared.base, cache.as_ref(), settings.jobs, Gate::Refuse, ui)?;
    super::build::check_kernel(&job, layers.tree())?;
    let contents = KeptContents::new(&layers, cache.as_deref());
    let tree = layers.tree();
    let architecture = &prepared.base.image.config().platform.architecture;
    let view = View { base: tree, tree, contents: &contents, epoch: prepared.epoch, architecture };
    let plan = plan(&job, &prepared, &held, view)?;
    let asked = Asked {
        job: &job,
        source: &args.source,
        cache: cache.as_ref(),
        blobs: &blobs,
        held: &held,
        prepared: &prepared,
        settings: &settings,
        ui,
    };
    let foreseen = asked.foresee(&layers)?;
    if ui.json {
        let mut plan = serde_json::to_value(&plan).context(Class::Usage, "writing the plan")?;
        if let (Value::Object(plan), Value::Object(foreseen)) = (&mut plan, foreseen.json()) {
            plan.extend(foreseen);
        }
        return ui.document("plan", plan);
    }
    let mut text = plan.render();
    text.push_str(&foreseen.render());
    text.push_str("\n# The recipe, merged; each value with the place it came from.\n");
    text.push_str(&job.merged.render());
    ui.data(&text)
}

/// The layers of an image, each by itself.
pub(crate) fn layers<'a>(
    image: &'a OpenedImage,
    cache: Option<&Arc<CacheDir>>,
    threads: NonZero<usize>,
    gate: Gate,
    ui: Ui,
) -> Result<ImageLayers<'a>, Failure> {
    let layers = read(image, ui, |pairs| {
        ImageLayers::open(&*image.blobs, pairs, index_cache(cache), ReadOptions { gate, threads })
    })?;
    say_read(layers.read(), image, ui);
    Ok(layers)
}

/// The layers of an image, merged.
pub(crate) fn merged<'a>(
    image: &'a OpenedImage,
    cache: Option<&Arc<CacheDir>>,
    threads: NonZero<usize>,
    gate: Gate,
    ui: Ui,
) -> Result<MergedLayers<'a>, Failure> {
    let known = index_cache(cache);
    let claimed = image.claims.as_ref().map(|claims| ClaimedIndexes::new(known, || claims.ask()));
    let indexes: &dyn IndexCache = claimed.as_ref().map_or(known, |claimed| claimed);
    let layers =
        read(image, ui, |pairs| MergedLayers::open(&*image.blobs, pairs, indexes, ReadOptions { gate, threads }))?;
    say_read(layers.read(), image, ui);
    Ok(layers)
}

fn read<T>(
    image: &OpenedImage,
    ui: Ui,
    open: impl FnOnce(&[(Descriptor, Digest)]) -> Result<T, LayerError>,
) -> Result<T, Failure> {
    let pairs: Vec<_> = image.image.layers().map(|(descriptor, diff_id)| (descriptor.clone(), *diff_id)).collect();
    let bar = ui.bar(None, "reading layers");
    let layers = open(&pairs);
    bar.finish_and_clear();
    layers.context(Class::Data, format!("reading the layers of {}", image.name))
}

fn say_read(read: usize, image: &OpenedImage, ui: Ui) {
    ui.detail(&format!("{read} of {} layers read, the others known by their indexes", image.image.layers().len()));
}

/// The cache of indexes, which may be none.
pub(crate) fn index_cache(cache: Option<&Arc<CacheDir>>) -> &dyn IndexCache {
    match cache {
        Some(cache) => &**cache,
        None => &NoCache,
    }
}

/// The plan of a prepared build.
fn plan(job: &Job, prepared: &Prepared, held: &Held, view: View<'_>) -> Result<Plan, Failure> {
    let recipe = job.recipe();
    let family = Family::of(view.base);
    let Resolved { mut layers, .. } = resolve(&prepared.groups).context(Class::Usage, "resolving the recipe")?;
    for stage in layers.iter_mut().flat_map(|layer| &mut layer.stages) {
        stage.lock = held.state(job, &stage.name);
        stage.inputs.retain(|name, _| !is_foreign(name, family));
    }
    let base = &prepared.base.image;
    Ok(Plan {
        tool: TOOL.into(),
        recipe: recipe.digest(),
        image: recipe.image.name.clone(),
        base: base_plan(&prepared.base, base),
        kernel: kernels::plan(job, held, view)?,
        epoch: prepared.epoch,
        compression: prepared.compression.identity(),
        lock: held.plan(),
        layers,
        labels: prepared.labels.clone(),
        annotations: prepared.annotations.clone(),
        output: prepared.output.to_string(),
        outlook: Outlook::of(recipe),
    })
}

/// Whether an input is for package managers that the base does not have.
fn is_foreign(input: &str, family: Option<Family>) -> bool {
    [Family::Debian, Family::Rpm]
        .into_iter()
        .any(|other| Some(other) != family && input.ends_with(&format!(".{other}")))
}

fn base_plan(opened: &OpenedImage, base: &Image) -> BasePlan {
    let platform: &Platform = &base.config().platform;
    BasePlan {
        reference: opened.name.clone(),
        digest: opened.digest,
        platform: platform.to_string(),
        layers: base.layers().len(),
        bytes: base.layers().map(|(descriptor, _)| descriptor.size).sum(),
    }
}
