//! Runs a build: two containers, or none when a bundle of its key is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::Digest;
use oci_assemble::layer::{IndexOptions, whole};
use oci_assemble::plan::step::View;
use oci_assemble::tree::TreePath;

use super::listing::LISTING_MAX;
use super::offers::offers;
use super::script::{self, FETCHED, METADATA, PACKAGES};
use super::{BuildError, Earlier, INPUT, OffersError, Position, Step, Target, Work, fetched, key, render};
use crate::builder::{ContainerName, ContainerSpec, ImageId, LocalImage, Mount, Network, environment};
use crate::bundle::{Bundle, BundleKey, BundleRecord, BundleSource, BundleStore, PackageRecord, Reuse, Staged};
use crate::capture::Export;
use crate::kernel::Offers;
use crate::podman::{Cancel, ContainerRuntime, Finished, ImageSource, RuntimeError};
use crate::private::PrivateDir;

/// What builds share: the runtime, what containers start from, and where results are kept.
pub struct Builder {
    /// Runs containers.
    pub runtime: Box<dyn ContainerRuntime>,
    /// The base of the image: packages are installed on it.
    pub base: Start,
    /// What containers that compile start from, where it is another image.
    pub tools: Option<Start>,
    /// Keeps results.
    pub store: BundleStore,
    /// Where results may come from besides.
    pub sources: Vec<Box<dyn BundleSource>>,
    /// Whether earlier results are used.
    pub reuse: Reuse,
    /// Directory for temporary files: those of one build take the size of its container's file system.
    pub scratch: PathBuf,
    /// Existing directory in which the output of a failed container is left, as `STAGE.log`.
    pub logs: Option<PathBuf>,
    /// Makes names of containers unique on the machine.
    pub suffix: String,
    /// Processes at a time, in containers and here.
    pub jobs: NonZero<usize>,
    /// How long a container may run.
    pub timeout: Duration,
    /// Environment for containers with a network.
    pub proxies: BTreeMap<String, String>,
    /// Name and version of the program: another one may read a result differently.
    pub tool: String,
    /// Ends everything.
    pub cancel: Cancel,
    /// Sees what containers print, while they do.
    pub output: Mutex<Box<dyn Write + Send>>,
    /// What was made so far, by stage.
    pub made: Mutex<BTreeMap<String, Made>>,
}

/// An image that containers start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Where it is.
    pub image: ImageSource,
    /// Digest of its manifest.
    pub digest: Digest,
}

/// A result by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The key of everything that went in.
    pub key: Digest,
    /// Digest of the bundle's manifest.
    pub bundle: Digest,
    /// Whether it was kept from before.
    pub reused: bool,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("runtime", &self.runtime).field("base", &self.base).finish_non_exhaustive()
    }
}

/// What came of a build.
#[derive(Debug)]
pub struct Outcome {
    /// The result.
    pub bundle: Bundle,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
}

/// What a run of the first container left.
struct Fetched<'a> {
    packages: BTreeSet<PackageRecord>,
    notes: Vec<String>,
    image: ImageId,
    _image: Kept<'a>,
}

/// An image of the runtime that is removed with this value.
struct Kept<'a> {
    runtime: &'a dyn ContainerRuntime,
    name: LocalImage,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        // What stays takes room, no more; the next build of the same key replaces it.
        let _ = self.runtime.remove(&self.name);
    }
}

impl Builder {
    /// What the containers of `work` start from. What it changes in the base is only known of the base itself.
    fn start(&self, work: &dyn Work) -> &Start {
        self.tools.as_ref().filter(|_| !work.on_base()).unwrap_or(&self.base)
    }

    /// The key of a result: everything that decides about it.
    pub fn key(
        &self,
        work: &dyn Work,
        position: &Position,
        target: &Target,
        packages: &BTreeSet<PackageRecord>,
    ) -> Result<BundleKey, BuildError> {
        Ok(key(&self.tool, &self.start(work).digest, work, position, target, packages)?)
    }

    /// Which packages a build would use now: runs the container with a network.
    pub fn resolve(
        &self,
        stage: &str,
        work: &dyn Work,
        target: &Target,
    ) -> Result<BTreeSet<PackageRecord>, BuildError> {
        let mut log = io::sink();
        Ok(self.fetch(stage, work, target, None, &mut log)?.packages)
    }

    /// The position of `stage` behind `earlier`, of which those that builders make are made.
    pub fn position(&self, stage: &str, earlier: &[Earlier]) -> Result<Position, BuildError> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Position::new(stage, self.base.digest, earlier, |name| made.get(name).map(|made| made.key))
    }

    /// The result of `work` at `position`: a kept one, or a new one. With `locked` it is made of exactly those packages.
    pub fn run(
        &self,
        position: &Position,
        work: &dyn Work,
        target: &Target,
        view: View<'_>,
        locked: Option<&BTreeSet<PackageRecord>>,
    ) -> Result<Outcome, BuildError> {
        let stage = position.stage.as_str();
        if let Some(packages) = locked {
            let key = self.key(work, position, target, packages)?;
            if let (Some(outcome), _) = self.known(&key) {
                self.note(stage, &key, &outcome, true);
                return Ok(outcome);
            }
        }
        let scratch = PrivateDir::new(&self.scratch, "assemble-build-").map_err(BuildError::Scratch)?;
        let mut log = tempfile::tempfile_in(scratch.path()).map_err(BuildError::Scratch)?;
        let fetched = self.fetch(stage, work, target, locked, &mut log);
        let fetched = fetched.map_err(|error| self.explained(stage, error, &mut log))?;
        if let Some(locked) = locked {
            let differences = differences(locked, &fetched.packages);
            if !differences.is_empty() {
                return Err(BuildError::Drift { differences });
            }
        }
        let key = self.key(work, position, target, &fetched.packages)?;
        let (outcome, mut notes) = if locked.is_some() { (None, Vec::new()) } else { self.known(&key) };
        if let Some(outcome) = outcome {
            self.note(stage, &key, &outcome, true);
            return Ok(outcome);
        }
        notes.extend(fetched.notes.iter().cloned());
        if let Ok(Some(differences)) = self.store.explain(&key, work.kind(), stage)
            && self.reuse.reads()
        {
            notes.extend(differences.iter().take(3).map(|difference| format!("built anew: {difference}")));
        }
        let script = ("build.sh", work.script(Step::Build, target));
        let spec = self.spec(stage, "build", work, &script, fetched.image, Network::None, target, &scratch)?;
        let container = self.container(&spec, &mut log);
        let container =
            container.map_err(failed("building")).map_err(|error| self.explained(stage, error, &mut log))?;
        let file = tempfile::tempfile_in(scratch.path()).map_err(BuildError::Scratch)?;
        let export = Export::save(container.export()?, file, IndexOptions::default())?;
        container.remove()?;
        let harvest = work.harvest(&export, target, view).map_err(BuildError::Harvest)?;
        // No container looks any more.
        if self.cancel.is_cancelled() {
            return Err(RuntimeError::Cancelled.into());
        }
        notes.extend(harvest.record.notes.iter().cloned());
        let record = BundleRecord {
            kind: work.kind().to_owned(),
            stage: stage.to_owned(),
            kernel: target.kernel.as_ref().map(ToString::to_string),
            builder: Some(self.start(work).digest),
            sources: work.inputs().digests(),
            packages: fetched.packages.clone(),
            ..harvest.record
        };
        log.rewind().map_err(BuildError::Scratch)?;
        let sources = &export.contents;
        let staged =
            Staged { key: &key, record: &record, delta: &harvest.delta, contents: sources, log: Some(&mut log) };
        let kept = self.store.keep(staged, self.jobs)?;
        if let Some(before) = kept.before
            && before != kept.bundle.config().content.diff_id
        {
            notes.push(format!("the same inputs gave another result than before, whose diff_id was {before}"));
        }
        let outcome = Outcome { bundle: kept.bundle, notes };
        self.note(stage, &key, &outcome, false);
        Ok(outcome)
    }

    fn note(&self, stage: &str, key: &BundleKey, outcome: &Outcome, reused: bool) {
        let made = Made { key: *key.digest(), bundle: outcome.bundle.manifest().digest, reused };
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(stage.to_owned(), made);
    }

    /// Leaves the output of a container that failed where the user finds it.
    fn explained(&self, stage: &str, mut error: BuildError, output: &mut (impl Read + Seek)) -> BuildError {
        if let (BuildError::Container { log, .. }, Some(logs)) = (&mut error, &self.logs) {
            let path = logs.join(format!("{stage}.log"));
            let mut leave = || -> io::Result<()> {
                output.rewind()?;
                let dir = Dir::open_ambient_dir(logs, ambient_authority())?;
                io::copy(output, &mut dir.create(format!("{stage}.log"))?).map(drop)
            };
            // The last lines are in the error itself.
            if leave().is_ok() {
                *log = Some(path);
            }
        }
        error
    }

    /// A kept result, and what there is to say of damaged ones.
    fn known(&self, key: &BundleKey) -> (Option<Outcome>, Vec<String>) {
        let sources: Vec<&dyn BundleSource> = self.sources.iter().map(|source| &**source).collect();
        let obtained = self.store.obtain(key.digest(), self.reuse, &sources);
        match obtained.bundle {
            Some(bundle) => {
                let mut notes = obtained.notes;
                notes.extend(bundle.config().record.notes.iter().cloned());
                (Some(Outcome { bundle, notes }), Vec::new())
            }
            None => (None, obtained.notes),
        }
    }

    /// Runs the container with a network, and keeps what it fetched as an image for the time of the build.
    fn fetch(
        &self,
        stage: &str,
        work: &dyn Work,
        target: &Target,
        locked: Option<&BTreeSet<PackageRecord>>,
        log: &mut (dyn Write + Send),
    ) -> Result<Fetched<'_>, BuildError> {
        let scratch = PrivateDir::new(&self.scratch, "assemble-fetch-").map_err(BuildError::Scratch)?;
        let image = self.runtime.import(&self.start(work).image, &self.cancel)?;
        let network = Network::Fetch { environment: self.proxies.clone() };
        let script = ("fetch.sh", work.script(Step::Fetch(locked), target));
        let spec = self.spec(stage, "fetch", work, &script, image, network, target, &scratch)?;
        let container = self.container(&spec, log).map_err(failed("fetching packages"))?;
        let files = Self::copied(&*container, FETCHED, &scratch)?;
        let packages = fetched(&Self::listing(&files)?)?;
        let notes = work.admit(&files, target).map_err(BuildError::InVain)?;
        let key = format!("{} {} {}", spec.name, script.1, packages.iter().map(render).collect::<String>());
        let name = LocalImage::toolchain(Digest::of(key.as_bytes()));
        let image = container.commit(&name)?;
        let kept = Kept { runtime: &*self.runtime, name };
        container.remove()?;
        Ok(Fetched { packages, notes, image, _image: kept })
    }

    /// Which kernels the repositories of `work` have now: runs a container with a network.
    pub fn offers(&self, stage: &str, work: &dyn Work, target: &Target) -> Result<Offers, BuildError> {
        let scratch = PrivateDir::new(&self.scratch, "assemble-offers-").map_err(BuildError::Scratch)?;
        let mut log = tempfile::tempfile_in(scratch.path()).map_err(BuildError::Scratch)?;
        let image = self.runtime.import(&self.start(work).image, &self.cancel)?;
        let network = Network::Fetch { environment: self.proxies.clone() };
        let script = ("metadata.sh", script::metadata(target.family));
        let spec = self.spec(stage, "metadata", work, &script, image, network, target, &scratch)?;
        let container = self.container(&spec, &mut log).map_err(failed("fetching metadata of repositories"));
        let container = container.map_err(|error| self.explained(stage, error, &mut log))?;
        let tar = Self::copied(&*container, METADATA, &scratch)?;
        let top = TreePath::new(METADATA.rsplit('/').next().unwrap_or_default()).map_err(OffersError::from)?;
        let offers = offers(target.family, &tar.tree, &tar.contents, &top, &target.architecture)?;
        container.remove()?;
        Ok(offers)
    }

    /// A directory, out of the container; paths begin with its name.
    fn copied(container: &dyn Finished, path: &str, scratch: &PrivateDir) -> Result<Export, BuildError> {
        let file = tempfile::tempfile_in(scratch.path()).map_err(BuildError::Scratch)?;
        Ok(Export::save(container.copy_out(path)?, file, IndexOptions::default())?)
    }

    /// The list of packages.
    fn listing(files: &Export) -> Result<String, BuildError> {
        let text = TreePath::new(PACKAGES).map_err(io::Error::other).and_then(|path| {
            let bytes = whole(&files.tree, &files.contents, &path, LISTING_MAX).map_err(io::Error::other)?;
            String::from_utf8(bytes).map_err(io::Error::other)
        });
        text.map_err(BuildError::NoListing)
    }

    #[expect(clippy::too_many_arguments, reason = "two containers differ in all of them")]
    fn spec(
        &self,
        stage: &str,
        step: &str,
        work: &dyn Work,
        (script, text): &(&str, String),
        image: ImageId,
        network: Network,
        target: &Target,
        scratch: &PrivateDir,
    ) -> Result<ContainerSpec, BuildError> {
        let place = scratch.path().join(step);
        let directory = scratch.open().and_then(|dir| {
            dir.create_dir_all(step)?;
            dir.open_dir(step)
        });
        let mut inputs = work.inputs().clone();
        // Its name is plain.
        let _ = inputs.add(script, text.as_bytes());
        directory.and_then(|dir| inputs.write(&dir)).map_err(BuildError::Scratch)?;
        Ok(ContainerSpec {
            name: ContainerName::new(&format!("{stage}-{step}"), &self.suffix)?,
            image,
            network,
            environment: environment(target.epoch, self.jobs),
            mounts: vec![Mount::new(&place, INPUT)?],
            workdir: "/".into(),
            command: vec!["/bin/sh".into(), format!("{INPUT}/{script}")],
            timeout: self.timeout,
        })
    }

    fn container(
        &self,
        spec: &ContainerSpec,
        log: &mut (dyn Write + Send),
    ) -> Result<Box<dyn Finished + '_>, RuntimeError> {
        self.runtime.run(spec, &mut Both { log, output: &self.output }, &self.cancel)
    }
}

/// Writes to the log, and to who watches.
struct Both<'a> {
    log: &'a mut (dyn Write + Send),
    output: &'a Mutex<Box<dyn Write + Send>>,
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody's terminal may end a build.
        let _ = output.write_all(bytes);
        self.log.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.log.flush()
    }
}

fn failed(step: &'static str) -> impl FnOnce(RuntimeError) -> BuildError {
    move |source| BuildError::Container { step, log: None, source }
}

/// What was locked and what was fetched, where they differ.
fn differences(locked: &BTreeSet<PackageRecord>, fetched: &BTreeSet<PackageRecord>) -> Vec<String> {
    let missing = locked.difference(fetched).map(|package| format!("{} is locked and was not given", render(package)));
    let others = fetched.difference(locked).map(|package| format!("{} is not in the lock", render(package)));
    missing.chain(others).collect()
}
