//! Packages together with the kernel that a recipe pins.

use std::sync::Arc;

use oci_assemble::plan::recipe::spec::KernelPin;
use oci_assemble::plan::step::{Pinned, Produced, Stage, StageError, View};

use super::offers::base_kernel;
use super::packages::PackagesWork;
use super::script::Request;
use super::{BuildError, Builder, BuiltStage, Work};
use crate::kernel::{Direction, KernelDecision, decide};

/// The stage of `[packages]` where the kernel follows a pin: which kernel it is, is decided by what repositories have
/// when the stage is built, and everything is installed in one run of the package manager.
#[derive(Debug)]
pub struct PinnedStage {
    name: String,
    pin: KernelPin,
    work: PackagesWork,
    builder: Option<Arc<Builder>>,
}

impl PinnedStage {
    /// The stage `name`; without a builder it is only for plans.
    pub fn new(name: &str, pin: KernelPin, work: PackagesWork, builder: Option<Arc<Builder>>) -> Self {
        Self { name: name.to_owned(), pin, work, builder }
    }

    fn decision(&self, view: View<'_>) -> Result<KernelDecision, BuildError> {
        let target = BuiltStage::target(view)?;
        let builder = self.builder.as_ref().ok_or(BuildError::NoBuilder)?;
        let release = target.kernel.as_ref().ok_or(BuildError::NoKernel)?;
        let base = base_kernel(release, view)?;
        let offers = builder.offers(&self.name, &self.work, &target)?;
        decide(&self.pin, &base, &offers).map_err(|error| BuildError::Pin { hint: error.hint(), source: error })
    }

    /// The work with the packages of the kernel that was decided for.
    fn decided(&self, decision: &KernelDecision) -> PackagesWork {
        let moves = decision.direction != Direction::Keep;
        let kernel = decision.install.iter().map(|package| format!("{}={}", package.name, package.version));
        let install = self.work.request.install.iter().cloned().chain(kernel).collect();
        let request = Request { install, replace_kernel: moves, ..self.work.request.clone() };
        PackagesWork { request, ..self.work.clone() }
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
        let work: Arc<dyn Work> = Arc::new(self.work.clone());
        let mut pinned = BuiltStage::new(&self.name, work, None, None).resolve()?;
        let pin = String::from(self.pin.clone());
        pinned.stamp = oci_assemble::image::Digest::of(format!("{} kernel {pin}", pinned.stamp).as_bytes());
        pinned.inputs.insert("kernel.pin".into(), format!("{pin}: chosen at build time, by what repositories have"));
        Ok(pinned)
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        let decision = self.decision(view).map_err(|error| self.failed(error))?;
        let work = self.decided(&decision);
        let mut produced = if work.request == Request::default() {
            Produced { of_machine: true, ..Produced::default() }
        } else {
            BuiltStage::new(&self.name, Arc::new(work), self.builder.clone(), None).produce(view)?
        };
        produced.notes.insert(0, decision.reason);
        Ok(produced)
    }
}
