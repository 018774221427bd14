//! Packages together with the kernel that a recipe pins.

use std::collections::BTreeSet;
use std::sync::Arc;

use oci_assemble::image::Digest;
use oci_assemble::plan::kernel::{Direction, KernelChoice};
use oci_assemble::plan::recipe::spec::KernelPin;
use oci_assemble::plan::step::{Pinned, Produced, Stage, StageError, View};

use super::offers::base_kernel;
use super::packages::PackagesWork;
use super::script::{NewKernel, Request};
use super::{BuildError, Builder, BuiltStage, Target, Work};
use crate::bundle::PackageRecord;
use crate::kernel::decide;

/// What a lock holds of such a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedKernel {
    /// The kernel.
    pub choice: KernelChoice,
    /// The packages, those of the kernel among them.
    pub packages: BTreeSet<PackageRecord>,
    /// The key of the result, where another one is to be refused.
    pub key: Option<Digest>,
}

/// The stage of `[packages]` where the kernel follows a pin: which kernel it is, is decided by a lock, or by what
/// repositories have when the stage is built, and everything is installed in one run of the package manager.
#[derive(Debug)]
pub struct PinnedStage {
    name: String,
    pin: KernelPin,
    work: PackagesWork,
    builder: Option<Arc<Builder>>,
    locked: Option<LockedKernel>,
    /// For plans: how its containers are called.
    commands: Vec<String>,
}

/// Which kernel the repositories of `work` give an image with `pin`: runs a container.
pub fn choose(
    builder: &Builder,
    name: &str,
    pin: &KernelPin,
    work: &PackagesWork,
    target: &Target,
    view: View<'_>,
) -> Result<KernelChoice, BuildError> {
    let release = target.kernel.as_ref().ok_or(BuildError::NoKernel)?;
    let base = base_kernel(release, view)?;
    let offers = builder.offers(name, work, target)?;
    let decision = decide(pin, &base, &offers);
    let decision = decision.map_err(|error| BuildError::Pin { hint: error.hint(), source: error })?;
    Ok(decision.choice(pin))
}

impl PackagesWork {
    /// The work together with the packages of the kernel that was chosen.
    #[must_use]
    pub fn with_kernel(&self, choice: &KernelChoice) -> Self {
        let name = |package: &String| package.split_once('=').map_or(package.as_str(), |(name, _)| name).to_owned();
        let kernel = (choice.direction != Direction::Keep)
            .then(|| NewKernel { release: choice.release.clone(), replaced: choice.remove.iter().map(name).collect() });
        let install = self.request.install.iter().chain(&choice.install).cloned().collect();
        let request = Request { install, kernel, ..self.request.clone() };
        Self { request, ..self.clone() }
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.request == Request::default()
    }
}

impl PinnedStage {
    /// The stage `name`; without a builder it is only for plans.
    pub fn new(name: &str, pin: KernelPin, work: PackagesWork, builder: Option<Arc<Builder>>) -> Self {
        Self { name: name.to_owned(), pin, work, builder, locked: None, commands: Vec::new() }
    }

    /// The same with the kernel and the packages of a lock.
    #[must_use]
    pub fn locked(self, locked: Option<LockedKernel>) -> Self {
        Self { locked, ..self }
    }

    /// With how its containers are called, for plans.
    #[must_use]
    pub fn with_commands(self, commands: Vec<String>) -> Self {
        Self { commands, ..self }
    }

    fn choice(&self, view: View<'_>) -> Result<KernelChoice, BuildError> {
        if let Some(locked) = &self.locked {
            return Ok(locked.choice.clone());
        }
        let builder = self.builder.as_ref().ok_or(BuildError::NoBuilder)?;
        choose(builder, &self.name, &self.pin, &self.work, &BuiltStage::target(view)?, view)
    }

    fn built(&self, work: PackagesWork) -> BuiltStage {
        let packages = self.locked.as_ref().map(|locked| locked.packages.clone());
        let stage = BuiltStage::new(&self.name, Arc::new(work), self.builder.clone(), packages);
        match self.locked.as_ref().and_then(|locked| locked.key) {
            Some(key) => stage.held_to(key),
            None => stage,
        }
    }
}

impl Stage for PinnedStage {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        self.work.kind()
    }

    fn resolve(&self) -> Result<Pinned, StageError> {
        let mut pinned = self.built(self.work.clone()).resolve()?;
        let pin = String::from(self.pin.clone());
        let choice = self.locked.as_ref().map(|locked| &locked.choice);
        let text = choice.map_or_else(
            || format!("{pin}: chosen by what repositories have"),
            |choice| format!("{pin}: {}, locked", choice.release),
        );
        pinned.stamp = Digest::of(format!("{} kernel {pin} {choice:?}", pinned.stamp).as_bytes());
        pinned.inputs.insert("kernel.pin".into(), text);
        pinned.commands.clone_from(&self.commands);
        Ok(pinned)
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        let choice = self.choice(view).map_err(|error| self.failed(error))?;
        let work = self.work.with_kernel(&choice);
        let mut produced = if work.is_empty() {
            Produced { of_machine: self.locked.is_none(), ..Produced::default() }
        } else {
            self.built(work).produce(view)?
        };
        produced.notes.insert(0, choice.reason);
        Ok(produced)
    }
}
