//! Builder containers as this machine and the recipe want them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kmod_stage::build::packages::PackagesWork;
use kmod_stage::build::{Builder, BuiltStage, LockedKernel, PinnedStage, Start, Work, commands};
use kmod_stage::builder::{ImageId, PodmanArgument, PodmanSettings};
use kmod_stage::bundle::{BundleStore, PackageRecord, Reuse};
use kmod_stage::podman::{Cancel, ImageSource, Podman, RuntimeError, Withheld};
use kmod_stage::private::PrivateDir;
use oci_assemble::image::{Digest, ImageReference};
use oci_assemble::plan::lock::Package;
use oci_assemble::plan::recipe::spec;
use oci_assemble::store::{Layout, Verified};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::SourceArgs;
use crate::bundles;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::locks::Held;
use crate::ui::Ui;
use crate::wire::{self, Job, OpenedImage};
use crate::works;

/// How long one container may run: the slowest module is compiled in a tenth of that on two processors.
const TIMEOUT: Duration = Duration::from_hours(6);

/// How long removing a container may take when a second signal comes.
const IMPATIENT: Duration = Duration::from_secs(10);

/// Name and version of this program.
pub(crate) const TOOL: &str = concat!("assemble ", env!("CARGO_PKG_VERSION"));

/// How builds are run, beside the recipe.
pub(crate) struct BuilderSettings<'a> {
    /// Whether containers run; without them, results that are kept have to do.
    pub(crate) runs: bool,
    /// Cache directory.
    pub(crate) cache: Option<PathBuf>,
    pub(crate) reuse: Reuse,
    pub(crate) workspace: PathBuf,
    pub(crate) jobs: NonZero<usize>,
    pub(crate) source: &'a SourceArgs,
    pub(crate) ui: Ui,
}

/// A builder with the temporary directories that it needs while it is used.
pub(crate) struct Workshop {
    pub(crate) builder: Arc<Builder>,
    _directories: Vec<PrivateDir>,
}

/// The settings of podman: those of the environment first, since they are the machine's, then the recipe's.
pub(crate) fn podman_settings(recipe: &spec::Builder) -> Result<PodmanSettings, Failure> {
    let here = env::podman();
    let words = here.arguments.iter().chain(&recipe.arguments);
    let arguments: Result<Vec<PodmanArgument>, _> = words.map(|word| word.parse()).collect();
    Ok(PodmanSettings {
        program: here.program.unwrap_or_else(|| "podman".into()),
        global: here.global,
        runtime: here.runtime.or_else(|| recipe.runtime.clone()),
        arguments: arguments.context(Class::Usage, "reading the options of podman")?,
    })
}

/// Makes stages that build; the first of them prepares the builder.
pub(crate) struct Builds<'a> {
    job: &'a Job,
    base: &'a OpenedImage,
    /// How stages are carried out; without it they are only planned.
    settings: Option<BuilderSettings<'a>>,
    held: &'a Held,
    workshop: Option<Workshop>,
}

impl<'a> Builds<'a> {
    pub(crate) fn new(
        job: &'a Job,
        base: &'a OpenedImage,
        settings: Option<BuilderSettings<'a>>,
        held: &'a Held,
    ) -> Self {
        Self { job, base, settings, held, workshop: None }
    }

    /// The stage `name`, which does `work`.
    pub(crate) fn stage(&mut self, name: &str, work: Arc<dyn Work>) -> Result<BuiltStage, Failure> {
        let builder = self.builder()?;
        let held = self.held;
        let locked = held.stage(name, &*work);
        let stage = BuiltStage::new(name, work, builder, locked.map(|locked| records(&locked.packages)));
        let stage = match locked.filter(|_| held.strict()) {
            Some(locked) => stage.held_to(locked.key),
            None => stage,
        };
        let earlier = works::earlier(self.job, name)?;
        Ok(stage.behind(earlier).with_commands(self.commands(name, false)?))
    }

    /// How the containers of a stage are called, for plans.
    fn commands(&self, name: &str, chooses: bool) -> Result<Vec<String>, Failure> {
        if self.settings.is_some() {
            return Ok(Vec::new());
        }
        let (settings, epoch) =
            (podman_settings(&self.job.recipe().builder)?, wire::epoch(&self.base.image, self.held.epoch())?);
        let commands = ImageId::of_config(Digest::of(self.base.image.config_bytes()))
            .map(|image| commands(name, chooses, &settings, image, epoch, env::processors(), TIMEOUT));
        let commands = commands.transpose().context(Class::Usage, format!("planning stage {name}"))?;
        Ok(commands.unwrap_or_default())
    }

    /// The stage `name`, which does `work` and moves the kernel to where the recipe pins it.
    pub(crate) fn pinned(&mut self, name: &str, work: PackagesWork) -> Result<PinnedStage, Failure> {
        let held = self.held;
        let locked = held.kernel(self.job)?.zip(held.stage(name, &work)).map(|(choice, locked)| LockedKernel {
            choice: choice.clone(),
            packages: records(&locked.packages),
            key: held.strict().then_some(locked.key),
        });
        let commands = self.commands(name, locked.is_none())?;
        let stage = PinnedStage::new(name, self.job.recipe().kernel.pin.clone(), work, self.builder()?);
        Ok(stage.locked(locked).with_commands(commands))
    }

    fn builder(&mut self) -> Result<Option<Arc<Builder>>, Failure> {
        if let (None, Some(settings)) = (&self.workshop, &self.settings) {
            let other = builder_image(self.job, self.held.builder(), settings.source, settings.ui)?;
            self.workshop = Some(if settings.runs {
                workshop(self.job, self.base, other.as_ref(), settings)?
            } else {
                kept(self.base, other.as_ref(), settings)?
            });
        }
        Ok(self.workshop.as_ref().map(|workshop| Arc::clone(&workshop.builder)))
    }

    /// What has to live as long as the stages are used.
    pub(crate) fn finish(self) -> Option<Workshop> {
        self.workshop
    }
}

/// The image that the recipe names for what is compiled; `None` when that starts from the base as well.
pub(crate) fn builder_image(
    job: &Job,
    digest: Option<Digest>,
    source: &SourceArgs,
    ui: Ui,
) -> Result<Option<OpenedImage>, Failure> {
    let Some(reference) = &job.recipe().builder.image else { return Ok(None) };
    wire::pinned(reference, digest, job.platform.as_ref(), source, None, &wire::BlobCache::new(None, ui)).map(Some)
}

/// Packages of a lock, as builders know them.
pub(crate) fn records(packages: &BTreeSet<Package>) -> BTreeSet<PackageRecord> {
    let record = |package: &Package| PackageRecord {
        name: package.name.clone(),
        version: package.version.clone(),
        arch: Some(package.arch.clone()),
        checksum: Some(package.checksum),
        source: None,
    };
    packages.iter().map(record).collect()
}

/// A builder for images upon `base`, which compiles in containers that start from `tools` where they are given.
pub(crate) fn workshop(
    job: &Job,
    base: &OpenedImage,
    tools: Option<&OpenedImage>,
    settings: &BuilderSettings<'_>,
) -> Result<Workshop, Failure> {
    let mut directories = Vec::new();
    let unavailable = "preparing the builder";
    let podman = Podman::new(podman_settings(&job.recipe().builder)?, settings.workspace.clone());
    let podman = podman.context(Class::Unavailable, unavailable)?;
    let store = if let Some(cache) = settings.cache.as_ref().filter(|_| settings.reuse.keeps()) {
        let path = cache.join("bundles");
        BundleStore::new(wire::make_dir(&path)?, path.display().to_string())
    } else {
        let private = private(&settings.workspace)?;
        let store = BundleStore::new(wire::open_dir(private.path(), Class::Io)?, "the bundles of this run");
        directories.push(private);
        store
    };
    let mut start = |image: &OpenedImage| -> Result<Start, Failure> {
        let (found, directory) = source(image, settings.source, &settings.workspace, settings.jobs)?;
        directories.extend(directory);
        Ok(Start { image: found, digest: image.digest })
    };
    let (base, tools) = (start(base)?, tools.map(&mut start).transpose()?);
    let logs = settings.cache.as_ref().map(|cache| cache.join("logs"));
    let sources = bundles::source(&job.recipe().builder, settings.source, settings.ui)?;
    logs.as_ref().map(|logs| wire::make_dir(logs)).transpose()?;
    let output: Box<dyn Write + Send> =
        if settings.ui.verbose > 0 { Box::new(io::stderr()) } else { Box::new(io::sink()) };
    let builder = Builder {
        runtime: Box::new(podman),
        base,
        tools,
        store,
        sources,
        // Without a place to keep them, results are kept for this run.
        reuse: if settings.reuse.keeps() { settings.reuse } else { Reuse::Rebuild },
        scratch: settings.workspace.clone(),
        logs,
        suffix: std::process::id().to_string(),
        jobs: settings.jobs,
        timeout: TIMEOUT,
        proxies: env::proxies(),
        tool: TOOL.into(),
        cancel: interruptible()?,
        output: Mutex::new(output),
        made: Mutex::default(),
    };
    Ok(Workshop { builder: Arc::new(builder), _directories: directories })
}

/// A builder that runs nothing, and has what is kept of earlier builds on this machine.
fn kept(base: &OpenedImage, tools: Option<&OpenedImage>, settings: &BuilderSettings<'_>) -> Result<Workshop, Failure> {
    let path = settings.cache.as_ref().map(|cache| cache.join("bundles")).filter(|path| path.is_dir());
    let path = path.ok_or_else(|| {
        Failure::of(Class::Unavailable, "no results of stages are kept here yet", RuntimeError::Withheld)
    })?;
    // Nothing starts from it.
    let start = |image: &OpenedImage| Start {
        image: ImageSource::Layout { directory: PathBuf::new(), manifest: image.digest },
        digest: image.digest,
    };
    let builder = Builder {
        runtime: Box::new(Withheld),
        base: start(base),
        tools: tools.map(start),
        store: BundleStore::new(wire::open_dir(&path, Class::Io)?, path.display().to_string()),
        sources: Vec::new(),
        reuse: Reuse::Allow,
        scratch: settings.workspace.clone(),
        logs: None,
        suffix: String::new(),
        jobs: settings.jobs,
        timeout: TIMEOUT,
        proxies: BTreeMap::new(),
        tool: TOOL.into(),
        cancel: Cancel::new(),
        output: Mutex::new(Box::new(io::sink())),
        made: Mutex::default(),
    };
    Ok(Workshop { builder: Arc::new(builder), _directories: Vec::new() })
}

fn private(workspace: &Path) -> Result<PrivateDir, Failure> {
    PrivateDir::new(workspace, "assemble-bundles-").context(Class::Io, "making a temporary directory")
}

/// Where the runtime finds an image that was opened, and the directory that must live as long.
pub(crate) fn source(
    image: &OpenedImage,
    of: &SourceArgs,
    workspace: &Path,
    jobs: NonZero<usize>,
) -> Result<(ImageSource, Option<PrivateDir>), Failure> {
    let reference = wire::reference(&image.name)?;
    let manifest = image.digest;
    match reference {
        ImageReference::OciDir(place) => {
            let directory = std::path::absolute(&place.path);
            let directory = directory.context(Class::Io, format!("finding {}", place.path))?;
            Ok((ImageSource::Layout { directory, manifest }, None))
        }
        ImageReference::Registry(name) => {
            let (authfile, tls_verify) = (of.authfile.clone(), !crate::registry::is_plain(&name.host, of));
            Ok((ImageSource::Registry { name, manifest, authfile, tls_verify }, None))
        }
        ImageReference::ContainersStorage(place) => Ok((ImageSource::Storage { image: place.image, manifest }, None)),
        ImageReference::OciArchive(_) => {
            let private = private(workspace)?;
            let dir = wire::open_dir(private.path(), Class::Io)?;
            let copy = || -> Result<(), oci_assemble::store::StoreError> {
                let transaction = Layout::write_with(dir, Verified::default())?;
                let blobs: Vec<_> = image.image.layers().map(|(descriptor, _)| descriptor.clone()).collect();
                transaction.take_all(&*image.blobs, &blobs, jobs)?;
                let descriptor = transaction.put_image(&image.image)?;
                transaction.commit(None, &descriptor)?;
                Ok(())
            };
            copy().context(Class::Data, format!("unpacking {}", image.name))?;
            Ok((ImageSource::Layout { directory: private.path().to_owned(), manifest }, Some(private)))
        }
    }
}

/// Whether containers run: only then is an interruption more than the end of the process.
static BUILDING: AtomicBool = AtomicBool::new(false);

/// Marks the time in which containers run.
pub(crate) struct Building;

impl Building {
    pub(crate) fn begin() -> Self {
        BUILDING.store(true, Ordering::SeqCst);
        Self
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        BUILDING.store(false, Ordering::SeqCst);
    }
}

/// A value that is cancelled by ctrl-c and by requests to end, so that no container outlives the program.
pub(crate) fn interruptible() -> Result<Cancel, Failure> {
    let cancel = Cancel::new();
    let watched = cancel.clone();
    let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut signals = signals.context(Class::Io, "watching for interruptions")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if BUILDING.load(Ordering::SeqCst) && !watched.is_cancelled() {
                watched.cancel();
            } else {
                // Nobody wants to wait for what the first signal began, but what runs elsewhere must not stay.
                watched.abandon(IMPATIENT);
                // Ends the process as the signal would have.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    });
    Ok(cancel)
}

/// What the environment says about podman.
#[derive(Default)]
pub(crate) struct PodmanHere {
    pub(crate) program: Option<PathBuf>,
    pub(crate) runtime: Option<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) global: Vec<String>,
}
