//! The lock beside a recipe, held against what the recipe says now.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;

use cap_std::fs::{Dir, OpenOptions};
use kmod_stage::build::{Work, request};
use oci_assemble::image::{Digest, Epoch};
use oci_assemble::plan::kernel::{Direction, KernelChoice};
use oci_assemble::plan::lock::{Drift, Facts, LOCK_MAX, Lock, PlatformFacts, PlatformLock, StageFacts, StageLock};
use oci_assemble::plan::sources::{self, relative};
use oci_assemble::plan::value::{LockPlan, LockState};

use crate::exit::{Class, Context, Failure};
use crate::kernels;
use crate::ui::Ui;
use crate::wire::{self, Job};
use crate::works;

/// Where the lock of a recipe lies: relative to the recipe root, and as the user would name it.
pub(crate) fn place(job: &Job) -> (PathBuf, PathBuf) {
    (job.path.as_path().with_extension("lock"), job.file.with_extension("lock"))
}

/// Reads the lock beside the recipe; `None` when there is none.
pub(crate) fn read(job: &Job) -> Result<Option<Lock>, Failure> {
    let (path, name) = place(job);
    let action = || format!("reading the lock {}", name.display());
    match job.root.symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if !metadata.is_file() => {
            return Err(Failure::new(Class::Usage, format!("the lock {} is not a regular file", name.display())));
        }
        _ => {}
    }
    let file = job.root.open(&path).context(Class::Io, action())?;
    let mut text = String::new();
    // One byte beyond the limit, so that the parser sees that it is too much.
    file.take(LOCK_MAX as u64 + 1).read_to_string(&mut text).context(Class::Io, action())?;
    let lock = Lock::parse(&text).context(Class::Usage, action());
    lock.map(Some).map_err(|failure| {
        failure.hint("restore the file, or remove it and run `assemble lock`, which pins everything anew")
    })
}

/// Puts a lock beside the recipe, in one step.
pub(crate) fn write(job: &Job, lock: &Lock) -> Result<(), Failure> {
    let (path, name) = place(job);
    let part = path.with_extension(format!("lock.{}.part", std::process::id()));
    let root: &Dir = &job.root;
    let put = || -> std::io::Result<()> {
        let mut file = root.open_with(&part, OpenOptions::new().write(true).create_new(true))?;
        file.write_all(lock.render().as_bytes())?;
        file.sync_all()?;
        root.rename(&part, root, &path)
    };
    put().inspect_err(|_| drop(root.remove_file(&part))).context(Class::Io, format!("writing {}", name.display()))
}

/// The recipe files, as locks name them.
pub(crate) fn recipes(job: &Job) -> BTreeMap<String, Digest> {
    let files = job.recipe().sources.iter();
    files.map(|(path, digest)| (relative(&job.path, path), *digest)).collect()
}

/// The files that the recipe names, read and digested, as locks name them.
pub(crate) fn digests(job: &Job) -> Result<BTreeMap<String, Digest>, Failure> {
    let mut found = BTreeMap::new();
    // Sorted, so that the whole of a source comes after its modules and counts.
    for (path, part, _) in sources::sources(job.recipe()) {
        let digest = sources::digest(&job.root, &path, part);
        found.insert(relative(&job.path, &path), digest.context(Class::Usage, format!("reading {path}"))?);
    }
    Ok(found)
}

/// The platforms that the recipe and the arguments ask for.
pub(crate) fn platforms(job: &Job) -> BTreeSet<String> {
    match (&job.platform, &job.recipe().image.platforms[..]) {
        (None, several @ [_, ..]) => several.iter().map(ToString::to_string).collect(),
        _ => [job.platform_name()].into(),
    }
}

/// What the recipe says, without its sources. `epoch` is the date that the user asks for.
pub(crate) fn facts(job: &Job, epoch: Option<Epoch>) -> Result<Facts, Failure> {
    let recipe = job.recipe();
    let stage = |(name, work): (String, std::sync::Arc<dyn Work>)| {
        (name, StageFacts { kind: work.kind().to_owned(), request: request(&*work) })
    };
    Ok(Facts {
        recipes: recipes(job),
        compression: wire::compression(&recipe.layers).identity(),
        platforms: platforms(job),
        platform: PlatformFacts {
            base: recipe.base.image.clone(),
            builder: recipe.builder.image.clone(),
            kernel: kernels::pin(job),
            stages: works::all(job)?.into_iter().map(stage).collect(),
        },
        epoch,
    })
}

/// A recipe's lock, and what of it does not fit.
#[derive(Debug)]
pub(crate) struct Held {
    file: PathBuf,
    recipe: PathBuf,
    platform: String,
    lock: Option<Lock>,
    facts: Facts,
    drift: Vec<Drift>,
    strict: bool,
}

impl Held {
    /// The lock beside the recipe. With `strict`, one that is missing or does not fit is an error. Sources are not read.
    pub(crate) fn new(job: &Job, strict: bool) -> Result<Self, Failure> {
        let lock = read(job)?;
        let facts = facts(job, wire::explicit_epoch()?)?;
        let drift = lock.as_ref().map(|lock| lock.drift(&facts)).unwrap_or_default();
        let (file, recipe) = (place(job).1, job.file.clone());
        let held = Self { file, recipe, platform: job.platform_name(), lock, facts, drift, strict };
        if strict && held.lock.is_none() {
            return Err(Failure::new(Class::Usage, format!("there is no lock {}", held.file.display()))
                .hint(format!("assemble lock --recipe {}", held.recipe.display())));
        }
        held.refuse()?;
        Ok(held)
    }

    /// Reads the sources, and holds them against the lock.
    pub(crate) fn check_sources(&mut self, job: &Job) -> Result<(), Failure> {
        if let Some(lock) = &self.lock {
            self.drift.extend(lock.source_drift(&digests(job)?));
        }
        self.refuse()
    }

    fn refuse(&self) -> Result<(), Failure> {
        if self.strict && !self.fits() {
            Err(misfit(&self.file, Class::Usage, &self.recipe, &self.drift))
        } else {
            Ok(())
        }
    }

    /// Says what does not fit.
    pub(crate) fn warn(&self, ui: Ui) {
        if !self.fits() {
            let drift: Vec<String> = self.drift.iter().map(ToString::to_string).collect();
            let file = self.file.display();
            ui.say(&format!("warning: {file} does not fit, and what fits of it is used: {}", drift.join("; ")));
        }
    }

    /// Whether nothing is known that does not fit; so it is without a lock.
    pub(crate) fn fits(&self) -> bool {
        self.drift.is_empty()
    }

    /// Whether drift is refused.
    pub(crate) fn strict(&self) -> bool {
        self.strict
    }

    /// What decides about refusals and warnings, for the key of a build.
    pub(crate) fn identity(&self) -> String {
        let lock = self.lock.as_ref().map(|lock| Digest::of(lock.render().as_bytes()).to_string());
        format!("{} {}", lock.unwrap_or_default(), self.strict)
    }

    fn platform(&self) -> Option<&PlatformLock> {
        let locked = self.lock.as_ref()?.platforms.get(&self.platform)?;
        (locked.base.image == self.facts.platform.base).then_some(locked)
    }

    /// The base's digest.
    pub(crate) fn base(&self) -> Option<Digest> {
        self.platform().map(|locked| locked.base.digest)
    }

    /// The pinned index that names the base.
    pub(crate) fn base_index(&self) -> Option<Digest> {
        self.platform()?.base.index
    }

    /// The digest of the image that builders start from, where it is not the base.
    pub(crate) fn builder(&self) -> Option<Digest> {
        let pin = self.platform()?.builder.as_ref()?;
        (Some(&pin.image) == self.facts.platform.builder.as_ref()).then_some(pin.digest)
    }

    /// The date.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.platform().map(|locked| locked.epoch)
    }

    /// What is pinned for a stage that does `work`.
    pub(crate) fn stage(&self, name: &str, work: &dyn Work) -> Option<&StageLock> {
        let asked = StageFacts { kind: work.kind().to_owned(), request: request(work) };
        self.stage_of(name, &asked)
    }

    fn stage_of(&self, name: &str, asked: &StageFacts) -> Option<&StageLock> {
        let platform = self.platform()?;
        let same = platform.builder.as_ref().map(|pin| &pin.image) == self.facts.platform.builder.as_ref();
        let stage = platform.stages.get(name).filter(|_| same && self.kernel_fits(platform, name))?;
        (stage.kind == asked.kind && stage.request == asked.request).then_some(stage)
    }

    /// Whether the kernel that a stage was locked for is that of the build. Where packages bring it, it is chosen again
    /// with them, and everything that is compiled follows.
    fn kernel_fits(&self, platform: &PlatformLock, stage: &str) -> bool {
        let facts = &self.facts.platform;
        let pin = platform.kernel.as_ref().map(|choice| &choice.pin);
        if pin.is_some_and(|pin| *pin != facts.kernel) {
            return false;
        }
        let moved = platform.kernel.as_ref().is_some_and(|choice| choice.direction != Direction::Keep);
        let packages = facts.stages.get(works::PACKAGES).filter(|_| moved && stage != works::PACKAGES);
        packages.is_none_or(|asked| self.stage_of(works::PACKAGES, asked).is_some())
    }

    /// The kernel, where packages bring it and it is locked.
    pub(crate) fn kernel(&self, job: &Job) -> Result<Option<&KernelChoice>, Failure> {
        let Some(packages) = works::packages(job)?.filter(|_| works::moves_kernel(job)) else { return Ok(None) };
        let choice = self.platform().and_then(|locked| locked.kernel.as_ref());
        Ok(choice.filter(|_| self.stage(works::PACKAGES, &packages).is_some()))
    }

    /// What a plan says of the lock.
    pub(crate) fn plan(&self) -> LockPlan {
        let state = match (&self.lock, self.fits()) {
            (None, _) => LockState::Open,
            (Some(_), true) => LockState::Locked,
            (Some(_), false) => LockState::Stale,
        };
        let drift = self.drift.iter().map(ToString::to_string).collect();
        LockPlan { file: self.file.display().to_string(), state, drift }
    }

    /// What a plan says of a stage. Sources must have been checked.
    pub(crate) fn state(&self, job: &Job, stage: &str) -> LockState {
        let Some(lock) = &self.lock else { return LockState::Open };
        let Some(platform) = lock.platforms.get(&self.platform) else { return LockState::Open };
        if let Some(asked) = self.facts.platform.stages.get(stage) {
            return match (platform.stages.contains_key(stage), self.stage_of(stage, asked)) {
                (_, Some(_)) => LockState::Locked,
                (true, None) => LockState::Stale,
                (false, None) => LockState::Open,
            };
        }
        let own: BTreeSet<String> = sources::sources(job.recipe())
            .into_iter()
            .filter(|(_, _, of)| of == stage)
            .map(|(path, _, _)| relative(&job.path, &path))
            .collect();
        let drifted = self.drift.iter().any(|drift| match drift {
            Drift::Source { path, .. } => own.contains(path),
            // Its tables are the recipe.
            Drift::Recipe { .. } => stage == sources::CONFIGURATION,
            Drift::Base { .. } => true,
            _ => false,
        });
        if drifted { LockState::Stale } else { LockState::Locked }
    }
}

/// A lock that does not fit.
pub(crate) fn misfit(lock: &std::path::Path, class: Class, recipe: &std::path::Path, drift: &[Drift]) -> Failure {
    Failure::new(class, format!("{} does not fit {}", lock.display(), recipe.display()))
        .lines(drift.iter().map(ToString::to_string))
        .hint(format!("assemble lock --recipe {}", recipe.display()))
}
