//! `assemble lock`: pins what a recipe leaves open.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use kmod_stage::build::packages::PackagesWork;
use kmod_stage::build::{BuiltStage, Position, Target, Work, choose, key, request};
use kmod_stage::bundle::{PackageRecord, Reuse};
use kmod_stage::kernel::KernelRelease;
use oci_assemble::image::{Digest, ImageReference};
use oci_assemble::layer::Gate;
use oci_assemble::plan::kernel::{Direction, KernelChoice};
use oci_assemble::plan::lock::{Drift, ImagePin, Lock, Package, PlatformLock, StageLock};
use oci_assemble::plan::step::View;
use oci_assemble::store::{CacheDir, KeptContents};
use serde_json::{Value, json};

use super::build::check_kernel;
use super::plan::merged;
use crate::args::{LockArgs, SourceArgs};
use crate::builders::{self, BuilderSettings, Building, TOOL, Workshop};
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::kernels;
use crate::locks::{self, misfit};
use crate::trusted;
use crate::ui::Ui;
use crate::wire::{self, BlobCache, Job, OpenedImage};
use crate::works;

/// What can be renewed beside stages.
const PARTS: [&str; 4] = ["base", "builder", "kernel", works::PACKAGES];

pub(crate) fn run(args: &LockArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let mut job = wire::read(&args.recipe)?;
    if args.check {
        return check(&job, ui);
    }
    let recipe = job.recipe();
    recipe.available().context(Class::Unavailable, format!("locking {}", recipe.image.name))?;
    let works = works::all(&job)?;
    let renew = Renew::new(args.update.as_deref(), &works)?;
    let old = locks::read(&job)?;
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let wanted = locks::platforms(&job);
    let others = old.iter().flat_map(|lock| &lock.platforms).filter(|(name, _)| kept(&job, &wanted, name));
    let mut platforms: BTreeMap<String, PlatformLock> =
        others.map(|(name, platform)| (name.clone(), platform.clone())).collect();
    let place = Place { source: &args.source, cache: cache.as_ref(), blobs: &blobs, jobs: env::processors(), ui };
    for platform in wanted {
        job.platform = Some(wire::platform(&platform)?);
        let before = old.as_ref().and_then(|lock| lock.platforms.get(&platform));
        platforms.insert(platform, pin(&job, &works, before, &renew, &place)?);
    }
    let compression = wire::compression(&job.recipe().layers).identity();
    let lock = Lock { recipes: locks::recipes(&job), sources: locks::digests(&job)?, compression, platforms };
    let written = old.as_ref() != Some(&lock);
    if written {
        locks::write(&job, &lock)?;
    }
    let changes = old.as_ref().map(|old| changes(old, &lock)).unwrap_or_default();
    let file = locks::place(&job).1.display().to_string();
    if ui.json {
        return ui.document("lock", document(&file, written, &changes, &lock));
    }
    for line in &changes {
        ui.say(line);
    }
    ui.say(if written { "written" } else { "unchanged" });
    ui.data(&file)
}

/// Whether what was locked for a platform that is not locked now stays.
fn kept(job: &Job, wanted: &BTreeSet<String>, platform: &str) -> bool {
    let listed = &job.recipe().image.platforms;
    !wanted.contains(platform) && (listed.is_empty() || listed.iter().any(|own| own.to_string() == platform))
}

fn check(job: &Job, ui: Ui) -> Result<(), Failure> {
    let drift = match locks::read(job)? {
        None => vec![Drift::NoLock],
        Some(lock) => {
            let mut drift = lock.drift(&locks::facts(job, None)?);
            drift.extend(lock.source_drift(&locks::digests(job)?));
            drift
        }
    };
    let file = locks::place(job).1;
    let lines: Vec<String> = drift.iter().map(ToString::to_string).collect();
    let fits = drift.is_empty();
    if ui.json {
        ui.document("lock", json!({ "file": file.display().to_string(), "fits": fits, "drift": lines }))?;
    } else {
        ui.data(&lines.join("\n"))?;
    }
    if fits {
        ui.detail(&format!("{} fits", file.display()));
        return Ok(());
    }
    // The lines are on standard output already.
    Err(misfit(&file, Class::Negative, &job.file, &[]))
}

/// What is to be renewed.
struct Renew<'a>(Option<&'a [String]>);

impl<'a> Renew<'a> {
    fn new(parts: Option<&'a [String]>, works: &BTreeMap<String, Arc<dyn Work>>) -> Result<Self, Failure> {
        for word in parts.unwrap_or_default() {
            if !PARTS.contains(&word.as_str()) && !works.contains_key(word) {
                let mut known: Vec<&str> = PARTS.to_vec();
                known.extend(works.keys().map(String::as_str).filter(|name| !PARTS.contains(name)));
                return Err(Failure::new(Class::Usage, format!("there is no {word} to update"))
                    .hint(format!("it is one of {}", known.join(", "))));
            }
        }
        Ok(Self(parts))
    }

    fn has(&self, what: &str) -> bool {
        self.0.is_some_and(|words| words.is_empty() || words.iter().any(|word| word == what))
    }

    /// What is compiled follows the kernel: its headers are among the packages.
    fn stage(&self, name: &str, work: &dyn Work) -> bool {
        self.has(name) || (self.has("kernel") && work.kind() != works::PACKAGES)
    }
}

/// Where images come from and bytes are kept.
struct Place<'a> {
    source: &'a SourceArgs,
    cache: Option<&'a Arc<CacheDir>>,
    blobs: &'a BlobCache,
    jobs: NonZero<usize>,
    ui: Ui,
}

/// Pins one platform: what `before` has and still fits stays.
fn pin(
    job: &Job,
    works: &BTreeMap<String, Arc<dyn Work>>,
    before: Option<&PlatformLock>,
    renew: &Renew<'_>,
    place: &Place<'_>,
) -> Result<PlatformLock, Failure> {
    let recipe = job.recipe();
    let held = |pin: Option<&ImagePin>, wanted: &ImageReference, what| {
        pin.filter(|pin| !renew.has(what) && pin.image == *wanted).map(|pin| pin.digest)
    };
    let base_pin = held(before.map(|before| &before.base), &recipe.base.image, "base");
    let Place { source, cache, blobs, jobs, ui } = *place;
    let index_pin = before.filter(|_| base_pin.is_some()).and_then(|before| before.base.index);
    let base = trusted::open(job, base_pin, index_pin, source, cache, blobs, ui)?;
    let own = before.and_then(|before| before.builder.as_ref());
    let builder_pin = recipe.builder.image.as_ref().and_then(|wanted| held(own, wanted, "builder"));
    let builder = builders::builder_image(job, builder_pin, source, ui)?;
    let builder_lock = recipe.builder.image.clone().zip(builder.as_ref());
    let builder_lock = builder_lock.map(|(image, opened)| ImagePin { image, digest: opened.digest, index: None });
    let epoch = wire::epoch(&base.image, None)?;

    let layers = merged(&base, cache, jobs, Gate::Refuse, ui)?;
    check_kernel(job, layers.tree())?;
    let mut kernel = kernels::kept(job, layers.tree());
    let mut stages = BTreeMap::new();
    if !works.is_empty() {
        let contents = KeptContents::new(&layers, cache.map(|cache| &**cache));
        let architecture = &base.image.config().platform.architecture;
        let tree = layers.tree();
        let view = View { base: tree, tree, contents: &contents, epoch, architecture };
        let target = BuiltStage::target(view).context(Class::Data, format!("looking at {}", base.name))?;
        // Packages are chosen for what is installed already.
        let same = before.filter(|before| before.base.digest == base.digest && before.builder == builder_lock);
        let mut chooser = Chooser { job, base: &base, tools: builder.as_ref(), place, workshop: None };
        let mut after = target.clone();
        let moving = works::packages(job)?.filter(|_| works::moves_kernel(job));
        if let Some(work) = &moving {
            let fits = |before: &&PlatformLock| {
                let asked = before.stages.get(works::PACKAGES).map(|stage| stage.request);
                asked == Some(request(work)) && !renew.has("kernel")
            };
            let old = same.filter(fits).and_then(|before| before.kernel.clone());
            let old = old.filter(|choice| choice.pin == kernels::pin(job));
            let choice = old.map_or_else(|| chooser.kernel(work, &target, view), Ok)?;
            let release = KernelRelease::new(&choice.release).context(Class::Data, "reading the locked kernel")?;
            after.kernel = Some(release);
            if choice.direction != Direction::Keep {
                let image = choice.install.iter().find_map(|package| package.strip_prefix("linux-image-"));
                let version = image.and_then(|package| package.split_once('='));
                after.kernel_version = version.map(|(_, version)| version.to_owned());
            }
            kernel = Some(choice);
        }
        let chosen =
            |choice: Option<&KernelChoice>| choice.map(|choice| (choice.release.clone(), choice.install.clone()));
        // What is made for a stage is part of the key of those behind it.
        let mut keys: BTreeMap<&str, Digest> = BTreeMap::new();
        let order = [works::PACKAGES].into_iter().chain(recipe.stages.iter().map(|stage| stage.name.as_str()));
        for (name, work) in order.filter_map(|name| works.get_key_value(name)) {
            let request = request(&**work);
            let moves = moving.as_ref().zip(kernel.as_ref()).filter(|_| name == works::PACKAGES);
            let (work, target, nothing): (Arc<dyn Work>, _, _) = match moves {
                Some((work, choice)) => {
                    let work = work.with_kernel(choice);
                    let nothing = work.is_empty();
                    (Arc::new(work), &target, nothing)
                }
                None if name == works::PACKAGES => (Arc::clone(work), &target, false),
                None => (Arc::clone(work), &after, false),
            };
            // Packages of the kernel are among them, and what is compiled needs its headers.
            let old = same.filter(|before| chosen(before.kernel.as_ref()) == chosen(kernel.as_ref()));
            let old = old.and_then(|before| before.stages.get(name));
            let old = old.filter(|old| old.kind == work.kind() && old.request == request);
            let packages = match old.filter(|_| !renew.stage(name, &*work)) {
                Some(old) => old.packages.clone(),
                None if nothing => BTreeSet::new(),
                None => chooser.choose(name, &*work, target)?,
            };
            let image = builder.as_ref().filter(|_| !work.on_base()).unwrap_or(&base);
            let locking = || format!("locking the stage {name}");
            let earlier = works::earlier(job, name)?;
            let position = Position::new(name, base.digest, &earlier, |name| keys.get(name).copied());
            let position = position.context(Class::Usage, locking())?;
            let key = key(TOOL, &image.digest, &*work, &position, target, &builders::records(&packages));
            let key = *key.context(Class::Data, locking())?.digest();
            if !nothing {
                keys.insert(name, key);
            }
            stages.insert(name.clone(), StageLock { kind: work.kind().to_owned(), request, key, packages });
        }
    }
    let index = recipe.base.verify.as_ref().and_then(|_| base.index().or(index_pin));
    let base = ImagePin { image: recipe.base.image.clone(), digest: base.digest, index };
    Ok(PlatformLock { base, builder: builder_lock, kernel, epoch, stages })
}

/// Asks repositories; the first time, it prepares the builder.
struct Chooser<'a> {
    job: &'a Job,
    base: &'a OpenedImage,
    tools: Option<&'a OpenedImage>,
    place: &'a Place<'a>,
    workshop: Option<Workshop>,
}

impl Chooser<'_> {
    fn choose(&mut self, name: &str, work: &dyn Work, target: &Target) -> Result<BTreeSet<Package>, Failure> {
        let workshop = match self.workshop.take() {
            Some(workshop) => workshop,
            None => self.workshop()?,
        };
        let bar = self.place.ui.bar(None, &format!("choosing packages for {name}"));
        let building = Building::begin();
        let found = workshop.builder.resolve(name, work, target);
        drop(building);
        bar.finish_and_clear();
        self.workshop = Some(workshop);
        let found = found.context(Class::Data, format!("choosing the packages of the stage {name}"))?;
        found.into_iter().map(|record| package(name, record)).collect()
    }

    /// Which kernel the repositories give now.
    fn kernel(&mut self, work: &PackagesWork, target: &Target, view: View<'_>) -> Result<KernelChoice, Failure> {
        let workshop = match self.workshop.take() {
            Some(workshop) => workshop,
            None => self.workshop()?,
        };
        let bar = self.place.ui.bar(None, "choosing the kernel");
        let building = Building::begin();
        let pin = &self.job.recipe().kernel.pin;
        let choice = choose(&workshop.builder, works::PACKAGES, pin, work, target, view);
        drop(building);
        bar.finish_and_clear();
        self.workshop = Some(workshop);
        choice.context(Class::Data, "choosing the kernel")
    }

    fn workshop(&self) -> Result<Workshop, Failure> {
        let Place { source, cache, blobs, jobs, ui } = *self.place;
        let settings = BuilderSettings {
            runs: true,
            cache: blobs.root(cache),
            // Nothing is built, so nothing is kept.
            reuse: Reuse::Refuse,
            workspace: env::temp_dir(),
            jobs,
            source,
            ui,
        };
        builders::workshop(self.job, self.base, self.tools, &settings)
    }
}

fn package(stage: &str, record: PackageRecord) -> Result<Package, Failure> {
    let PackageRecord { name, version, arch, checksum, .. } = record;
    match (arch, checksum) {
        (Some(arch), Some(checksum)) => Ok(Package { name, version, arch, checksum }),
        _ => Err(Failure::new(Class::Data, format!("stage {stage}: the package {name} has no checksum to be held to"))),
    }
}

/// What is pinned otherwise than before, a line each.
fn changes(old: &Lock, new: &Lock) -> Vec<String> {
    let mut lines = Vec::new();
    for (platform, new) in &new.platforms {
        let Some(old) = old.platforms.get(platform) else {
            lines.push(format!("{platform}: new"));
            continue;
        };
        let mut say = |text: String| lines.push(format!("{platform}: {text}"));
        let digest = |pin: Option<&ImagePin>| pin.map_or_else(|| "none".to_owned(), |pin| pin.digest.to_string());
        for (name, old, new) in
            [("base", Some(&old.base), Some(&new.base)), ("builder", old.builder.as_ref(), new.builder.as_ref())]
        {
            if old.map(|pin| pin.digest) != new.map(|pin| pin.digest) {
                say(format!("{name} {} -> {}", digest(old), digest(new)));
            }
        }
        let release = |lock: &PlatformLock| lock.kernel.as_ref().map_or("none", |choice| &choice.release).to_owned();
        if release(old) != release(new) {
            let why = new.kernel.as_ref().map(|choice| format!(" ({})", choice.reason)).unwrap_or_default();
            say(format!("kernel {} -> {}{why}", release(old), release(new)));
        }
        let names: BTreeSet<&String> = old.stages.keys().chain(new.stages.keys()).collect();
        for name in names {
            let packages = |lock: &PlatformLock| lock.stages.get(name).map(|stage| stage.packages.clone());
            let (old, new) = (packages(old).unwrap_or_default(), packages(new).unwrap_or_default());
            new.difference(&old).for_each(|package| say(format!("{name} + {package}")));
            old.difference(&new).for_each(|package| say(format!("{name} - {package}")));
        }
    }
    let gone = old.platforms.keys().filter(|platform| !new.platforms.contains_key(*platform));
    lines.extend(gone.map(|platform| format!("{platform}: gone")));
    lines
}

fn document(file: &str, written: bool, changes: &[String], lock: &Lock) -> Value {
    let pin = |ImagePin { image, digest, index }: &ImagePin| {
        let mut value = json!({ "image": image.to_string(), "digest": digest });
        if let Some(index) = index {
            value["index"] = json!(index);
        }
        value
    };
    let stage = |StageLock { kind, request, key, packages }: &StageLock| json!({ "kind": kind, "request": request, "key": key, "packages": packages });
    let platform = |platform: &PlatformLock| {
        let stages: BTreeMap<_, _> = platform.stages.iter().map(|(name, own)| (name, stage(own))).collect();
        json!({
            "base": pin(&platform.base),
            "builder": platform.builder.as_ref().map(pin),
            "kernel": platform.kernel,
            "epoch": platform.epoch.seconds(),
            "stages": stages,
        })
    };
    let platforms: BTreeMap<_, _> = lock.platforms.iter().map(|(name, own)| (name, platform(own))).collect();
    let digests = |digests: &BTreeMap<String, Digest>| json!(digests);
    json!({
        "file": file,
        "written": written,
        "changes": changes,
        "recipe": lock.recipe(),
        "recipes": digests(&lock.recipes),
        "sources": digests(&lock.sources),
        "compression": lock.compression,
        "platforms": platforms,
    })
}
