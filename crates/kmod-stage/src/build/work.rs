//! What kinds of builds differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Debug;

use oci_assemble::image::Epoch;
use oci_assemble::plan::step::View;
use oci_assemble::tree::TreeDelta;

use super::{Family, Inputs};
use crate::bundle::{BundleRecord, PackageRecord};
use crate::capture::Export;
use crate::kernel::KernelRelease;

/// What a build is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The tools of the base.
    pub family: Family,
    /// The kernel of the image, when it has one.
    pub kernel: Option<KernelRelease>,
    /// The version of its package, where the package database knows it: one release may have several.
    pub kernel_version: Option<String>,
    /// Architecture, as OCI spells it.
    pub architecture: String,
    /// The date of the image, which programs in the builder take for now.
    pub epoch: Epoch,
}

/// What was made of a container's file system.
#[derive(Debug)]
pub struct Harvest {
    /// What changes; contents are those of the export, or bytes.
    pub delta: TreeDelta,
    /// What is known of it; the caller fills in stage, kind, kernel and builder.
    pub record: BundleRecord,
}

/// Why a container's file system does not give what was built.
pub type HarvestError = Box<dyn Error + Send + Sync>;

/// The containers of a build.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The one with a network; where packages are locked, it fetches exactly those.
    Fetch(Option<&'a BTreeSet<PackageRecord>>),
    /// The one without.
    Build,
}

/// One kind of build, with what its recipe says.
///
/// Laws: scripts are functions of the target and of `locked` alone, without a clock or a random number; `harvest` gives
/// an equal delta for equal export and view.
pub trait Work: Debug + Send + Sync {
    /// The kind, as recipes spell it.
    fn kind(&self) -> &'static str;

    /// What the recipe says, for the plan and the key: name → value.
    fn settings(&self) -> BTreeMap<String, String>;

    /// Files that scripts read.
    fn inputs(&self) -> &Inputs;

    /// Whether its containers start from the base in any case, as what they change in it is the result.
    fn on_base(&self) -> bool {
        false
    }

    /// The script of a container.
    fn script(&self, step: Step<'_>, target: &Target) -> String;

    /// Looks at what the first container has put into [`FETCHED`](super::script::FETCHED), before the second one works
    /// for minutes: notes on it, or why the build would be in vain.
    fn admit(&self, _fetched: &Export, _target: &Target) -> Result<Vec<String>, HarvestError> {
        Ok(Vec::new())
    }

    /// Takes the result out of the second container's file system.
    fn harvest(&self, export: &Export, target: &Target, view: View<'_>) -> Result<Harvest, HarvestError>;
}
