//! `assemble --recipe F`: resolve, stage, assemble, lint, write.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

use kmod_stage::bundle::Reuse;
use kmod_stage::kernel::{KernelRelease, Kernels};
use kmod_stage::stage::kernel;
use oci_assemble::image::{Digest, Epoch, Image, ImageReference};
use oci_assemble::inspect::lint::{Forbid, LintInput, LintOptions, LintReport, lint};
use oci_assemble::layer::{Compression, Contents, SealOptions, Sealer, Sources};
use oci_assemble::plan::assemble::{Drafted, draft, seal_layer};
use oci_assemble::plan::recipe::spec::{KernelPin, OwnBootc};
use oci_assemble::plan::recipe::{Publish, Recipe};
use oci_assemble::plan::step::Group;
use oci_assemble::plan::value::resolve;
use oci_assemble::store::dir::HostContents;
use oci_assemble::store::{CacheDir, CacheKind, KeptContents};
use oci_assemble::tree::FileTree;

use super::base::Base;
use super::built::{Built, print, tell};
use super::full::Recut;
use super::lint::image_facts;
use crate::args::{Build, BuildArgs, SourceArgs};
use crate::builders::{BuilderSettings, Building, Builds, TOOL, Workshop};
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::judge::of_build;
use crate::locks::Held;
use crate::output::Output;
use crate::trusted;
use crate::ui::Ui;
use crate::uncompressed::Unpacking;
use crate::wire::{self, BlobCache, Job, OpenedImage, StageSettings};
use crate::works;

/// The annotation that names what a layer of ours holds.
pub(crate) const LAYER_ANNOTATION: &str = "io.assemble.layer";

/// Changes when images of the same inputs do. (2: layers depend on their content alone.)
const FORM: &str = "image 2";

/// How close to the scan an input may have changed, in nanoseconds, for its state to prove anything: file systems date
/// changes by a clock that ticks a few hundred times a second, some only every two seconds.
const CLOCK_GRAIN: i128 = 2_000_000_000;

/// A resolved build: everything but the content.
pub(crate) struct Prepared {
    pub(crate) base: OpenedImage,
    pub(crate) epoch: Epoch,
    pub(crate) groups: Vec<Group>,
    pub(crate) compression: Compression,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) output: ImageReference,
    /// Whether only what is new goes there.
    pub(crate) partial: bool,
    pub(crate) workshop: Option<Workshop>,
}

impl Prepared {
    /// Without `reuse`, builders are only planned.
    #[expect(clippy::too_many_arguments, reason = "what a command line decides")]
    pub(crate) fn new(
        job: &Job,
        source: &SourceArgs,
        cache: Option<&Arc<CacheDir>>,
        blobs: &BlobCache,
        settings: &StageSettings,
        reuse: Option<Reuse>,
        ui: Ui,
        output: Option<&str>,
        held: &Held,
    ) -> Result<Self, Failure> {
        let recipe = job.recipe();
        if reuse.is_some() {
            // A plan says what a build refuses.
            recipe.available().context(Class::Unavailable, format!("preparing {}", recipe.image.name))?;
        }
        let explicit = output.map(wire::reference).transpose()?;
        let output = explicit.or_else(|| recipe.output.image.clone()).ok_or_else(|| {
            Failure::new(Class::Usage, "the recipe does not say where the image goes")
                .hint("give --output oci:DIR:TAG, or set image in the recipe's [output] table")
        })?;
        let base = if reuse.is_some() {
            trusted::open(job, held.base(), held.base_index(), source, cache, blobs, ui)?
        } else {
            // A plan says who must have signed it, for whom it need not be there yet.
            let mut base = wire::pinned(&recipe.base.image, held.base(), job.platform.as_ref(), source, cache, blobs)?;
            base.claims = trusted::claims(job, &base, source, ui);
            base
        };
        if let Some(policy) = &recipe.policy {
            super::policy::warn(policy, ui);
        }
        let builder = reuse.map(|reuse| BuilderSettings {
            runs: true,
            cache: blobs.root(cache),
            reuse,
            workspace: settings.workspace.clone(),
            jobs: settings.jobs,
            source,
            ui,
        });
        let mut builds = Builds::new(job, &base, builder, held);
        let groups = wire::groups(job, settings, &mut builds)?;
        let workshop = builds.finish();
        let epoch = wire::epoch(&base.image, held.epoch())?;
        let labels = labels(recipe, &base);
        let annotations = annotations(recipe, &base);
        let compression = wire::compression(&recipe.layers);
        Ok(Self { base, epoch, groups, compression, labels, annotations, output, partial: false, workshop })
    }
}

/// Labels to set: what bootc asks for, what names the image, the recipe's own last.
fn labels(recipe: &Recipe, base: &OpenedImage) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("containers.bootc".to_owned(), "1".to_owned())]);
    let version = "org.opencontainers.image.version";
    if let Some(own) = &recipe.image.version {
        labels.insert(version.into(), own.clone());
    } else if !base.image.config().labels.contains_key(version) {
        labels.insert(version.into(), recipe.image.name.clone());
    }
    let title = recipe.image.title.as_ref().unwrap_or(&recipe.image.name);
    labels.insert("org.opencontainers.image.title".into(), title.clone());
    let description = recipe.image.description.clone();
    labels.extend(description.map(|text| ("org.opencontainers.image.description".to_owned(), text)));
    labels.extend(recipe.image.labels.clone());
    labels
}

/// Annotations to set: the base by name and digest (image-spec, annotations.md), the recipe's own last.
fn annotations(recipe: &Recipe, base: &OpenedImage) -> BTreeMap<String, String> {
    let mut annotations =
        BTreeMap::from([("org.opencontainers.image.base.digest".to_owned(), base.digest.to_string())]);
    // The name of a local copy says nothing to anybody else.
    if let (ImageReference::Registry(_), Some(name)) =
        (&recipe.base.image, recipe.base.image.to_string().strip_prefix("docker://"))
    {
        annotations.insert("org.opencontainers.image.base.name".into(), name.to_owned());
    }
    annotations.extend(recipe.image.annotations.clone());
    annotations
}

pub(crate) fn run(args: &Build, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let job = wire::load(&args.build.recipe)?;
    let (_, built, cached) = make(&job, &args.build, args.destination.as_deref(), false, &blobs, cache.as_ref(), ui)?;
    print(&built, cached, ui)
}

/// An image that was built to be pushed.
pub(crate) struct Assembled {
    pub(crate) base: OpenedImage,
    pub(crate) image: Digest,
    /// The layout that has what is new.
    pub(crate) output: ImageReference,
    /// Release of its kernel.
    pub(crate) kernel: Option<String>,
}

/// Builds one platform of a recipe to be pushed: what is new goes into the cache, and of the base only what is read.
pub(crate) fn assembled(
    job: &Job,
    args: &BuildArgs,
    blobs: &BlobCache,
    cache: Option<&Arc<CacheDir>>,
    ui: Ui,
) -> Result<Assembled, Failure> {
    let place = format!("oci:{}", blobs.layout(cache)?.display());
    let (prepared, built, _) = make(job, args, Some(&place), true, blobs, cache, ui)?;
    tell(&built, ui);
    Ok(Assembled { base: prepared.base, image: built.image, output: prepared.output, kernel: built.kernel })
}

/// Builds, or finds what an equal build left before.
fn make(
    job: &Job,
    args: &BuildArgs,
    destination: Option<&str>,
    partial: bool,
    blobs: &BlobCache,
    cache: Option<&Arc<CacheDir>>,
    ui: Ui,
) -> Result<(Prepared, Built, bool), Failure> {
    // Inputs are listed from here on; what changes later than that is noticed by its times.
    let scanned = env::now();
    let jobs = args.jobs.unwrap_or_else(env::processors);
    let settings = StageSettings { sandbox: args.sandbox, workspace: env::temp_dir(), jobs, sign: true };
    let reuse = match (args.rebuild, args.no_cache) {
        (true, _) => Reuse::Rebuild,
        (false, true) => Reuse::Refuse,
        (false, false) => Reuse::Allow,
    };
    let mut held = Held::new(job, args.locked)?;
    let mut prepared = Prepared::new(job, &args.source, cache, blobs, &settings, Some(reuse), ui, destination, &held)?;
    prepared.partial = partial;
    let resolved = resolve(&prepared.groups).context(Class::Usage, "resolving the recipe")?;
    let recut = Recut::new(job, args, &prepared, cache, blobs, ui)?;
    let key = wire::build_key(&[
        TOOL,
        FORM,
        &job.recipe().digest().to_string(),
        &prepared.base.digest.to_string(),
        &prepared.epoch.to_string(),
        &prepared.compression.identity(),
        &resolved.stamp.to_string(),
        &prepared.output.to_string(),
        &held.identity(),
        &recut.as_ref().map(Recut::identity).unwrap_or_default(),
    ]);
    if let Some(cache) = cache.filter(|_| reuse == Reuse::Allow)
        && let Some(built) = known(cache, &key, &prepared)
    {
        ui.detail("nothing changed since this image was built");
        return Ok((prepared, built, true));
    }
    held.check_sources(job)?;
    held.warn(ui);
    let normalizes = recut.as_ref().is_some_and(Recut::normalizes);
    let unpacking = Unpacking { memory: args.memory, destination: &prepared.output, cache, jobs, normalizes, ui };
    let built = assemble(job, &prepared, recut.as_ref(), &unpacking)?;
    if let Some(cache) = cache
        && !built.of_machine
        && held.fits()
        && scanned - resolved.youngest > CLOCK_GRAIN
        && let Ok(text) = serde_json::to_vec(&built)
        && let Err(error) = cache.put(CacheKind::Image, &key, &text)
    {
        ui.detail(&format!("the cache did not take the result: {error}"));
    }
    Ok((prepared, built, false))
}

/// The result of an equal build before, when its image is still where it was put.
fn known(cache: &CacheDir, key: &Digest, prepared: &Prepared) -> Option<Built> {
    let built: Built = serde_json::from_slice(&cache.get(CacheKind::Image, key)?).ok()?;
    output(prepared).ok()?.has(&built.image, &prepared.base.image).then_some(built)
}

fn output(prepared: &Prepared) -> Result<Output, Failure> {
    let output = Output::new(&prepared.output)?;
    Ok(if prepared.partial { output.partial() } else { output })
}

fn assemble(
    job: &Job,
    prepared: &Prepared,
    recut: Option<&Recut>,
    unpacking: &Unpacking<'_>,
) -> Result<Built, Failure> {
    let Unpacking { cache, jobs, ui, .. } = *unpacking;
    let base = Base::open(prepared, recut.is_some(), unpacking)?;
    check_kernel(job, base.tree())?;
    if job.recipe().publish != Publish::default() && !prepared.partial {
        ui.say("[publish] is left to `assemble publish`");
    }
    let root = job.root.try_clone().context(Class::Io, "opening the recipe's directory again")?;
    let host = HostContents::new(root);
    let architecture = &prepared.base.image.config().platform.architecture;
    let bar = ui.bar(None, "staging");
    let kept = KeptContents::new(base.contents(), cache.map(|cache| &**cache));
    // What is at hand needs no cache.
    let files: &dyn Contents = if recut.is_some() { base.contents() } else { &kept };
    let building = Building::begin();
    let drafted = draft(&prepared.groups, base.tree(), &[files, &host], prepared.epoch, architecture);
    drop(building);
    bar.finish_and_clear();
    let drafted = ManuallyDrop::new(drafted.context(Class::Data, format!("assembling {}", job.recipe().image.name))?);
    let mut sources: Vec<&dyn Contents> = vec![files, &host];
    sources.extend(drafted.contents.iter().map(|contents| &**contents as &dyn Contents));
    let sources = Sources::new(sources);

    // The lints come first: an image that does not pass them leaves nothing behind, and costs no compression.
    let mut image = dress(prepared.base.image.clone(), prepared);
    let report = check(job, prepared, &image, &drafted, &base, &sources)?;
    report_findings(&report, ui);
    let hint = "each line says what to change; a finding that is wanted can be skipped in the recipe's [lint] table, \
                with the reason";
    super::lint::verdict(&report, &job.recipe().image.name, hint)?;

    let output = output(prepared)?.begin(cache)?;
    let mut built = Vec::new();
    if let Some(recut) = recut {
        let jobs = base.jobs(drafted.tree.len()).unwrap_or(jobs);
        (image, built) = recut.write(image, &drafted, &sources, prepared, &output, cache, jobs, ui)?;
        let stored = output.store_own(&image)?;
        let bootc = of_build(job.recipe(), prepared.partial, &image, &drafted.tree, &report, &stored, ui)?;
        stored.list()?;
        return Ok(Built::new(&image, prepared, built, &drafted, &report, bootc));
    }
    let sealer = Sealer::new(SealOptions { compression: prepared.compression, threads: jobs });
    for draft in &drafted.drafts {
        let draft = draft.clone().with_annotation(LAYER_ANNOTATION, draft.name());
        let bar = ui.bar(None, &format!("writing layer {}", draft.name()));
        let sink = output.sink()?;
        let layer = seal_layer(&draft, &sources, sink, &sealer);
        bar.finish_and_clear();
        let layer = layer.context(Class::Io, format!("writing the layer {}", draft.name()))?;
        built.push((draft.name().to_owned(), layer.clone()));
        image = image.append(layer).context(Class::Data, "appending the layer")?;
    }
    // Its own bootc can only be asked about a whole image.
    let whole = !prepared.partial || job.recipe().lint.bootc == OwnBootc::Require;
    let stored = if whole { output.store(&prepared.base, &image, jobs)? } else { output.store_own(&image)? };
    let bootc = of_build(job.recipe(), prepared.partial, &image, &drafted.tree, &report, &stored, ui)?;
    stored.list()?;
    Ok(Built::new(&image, prepared, built, &drafted, &report, bootc))
}

/// The kernel that the recipe pins must be the base's.
pub(crate) fn check_kernel(job: &Job, tree: &FileTree) -> Result<(), Failure> {
    let KernelPin::Exact(pin) = &job.recipe().kernel.pin else { return Ok(()) };
    if works::moves_kernel(job) {
        return Ok(());
    }
    // As elsewhere, a pin may leave out the architecture.
    let called = |release: &KernelRelease| {
        let short = release.as_str().rsplit_once(['.', '-']).map(|(short, _)| short);
        release.as_str() == pin || short == Some(pin)
    };
    let own = Kernels::find(tree).bootable.into_iter().find(called);
    let expected = own.as_ref().map_or(pin.as_str(), KernelRelease::as_str);
    kernel(tree, Some(expected)).map(drop).context(Class::Usage, "checking the kernel")
}

/// Sets labels, annotations and the date.
fn dress(mut image: Image, prepared: &Prepared) -> Image {
    for (key, value) in &prepared.labels {
        // Bases repeat their labels as annotations; a repeated value must not outlive the label.
        if image.manifest().annotations.contains_key(key) {
            image = image.with_annotation(key, value);
        }
        image = image.with_label(key, value);
    }
    for (key, value) in &prepared.annotations {
        image = image.with_annotation(key, value);
    }
    // bootc dates the deployment by the annotation, everybody else by the configuration.
    image = image.with_annotation("org.opencontainers.image.created", prepared.epoch.to_string());
    image.with_created(prepared.epoch)
}

/// Checks the drafted tree. Layers of this build keep the rules for streams by construction, so only those of the base are
/// held against them.
fn check(
    job: &Job,
    prepared: &Prepared,
    image: &Image,
    drafted: &Drafted,
    base: &Base<'_>,
    contents: &dyn Contents,
) -> Result<LintReport, Failure> {
    let facts = base.facts(&prepared.base.image);
    let recipe = job.recipe();
    let forbid = Forbid { packages: recipe.forbid.packages.clone(), paths: recipe.forbid.paths.clone() };
    let tree: &FileTree = &drafted.tree;
    let input = LintInput {
        tree,
        contents,
        image: &image_facts(image),
        layers: &facts,
        added: Some(&drafted.added),
        packages: None,
        forbid: &forbid,
    };
    let skip = recipe.lint.skip.iter().map(|skip| (skip.name.clone(), skip.reason.clone())).collect();
    lint(&input, &LintOptions { skip, fatal_warnings: false }).context(Class::Usage, "checking the image")
}

/// What is wrong is told even to who wants no talk: the error alone would not say it.
fn report_findings(report: &LintReport, ui: Ui) {
    let text = report.to_string();
    if report.passed { ui.detail(text.trim_end()) } else { ui.complain(text.trim_end()) }
}
