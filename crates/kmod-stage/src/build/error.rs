//! Why a build fails.

use std::io;
use std::path::PathBuf;

use oci_assemble::image::Digest;

use crate::builder::SpecError;
use crate::bundle::{BundleError, KeyError};
use crate::capture::ExportError;
use crate::kernel::PinError;
use crate::podman::RuntimeError;

use super::{HarvestError, ListingError, OffersError};

/// Why a build fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The base has no package database, so nothing can be installed.
    #[error("the base image has no package database: neither dpkg nor rpm installs packages there")]
    NoPackages,
    /// The stage was made for a plan only.
    #[error("there is no builder: this is a plan")]
    NoBuilder,
    /// The image has not one kernel.
    #[error("the image does not have exactly one kernel that a pin could move")]
    NoKernel,
    /// It is not known which kernels there are.
    #[error("cannot tell which kernels there are")]
    Offers(#[from] OffersError),
    /// No kernel can be chosen.
    #[error("no kernel can be chosen; {hint}")]
    Pin {
        /// What may help.
        hint: String,
        /// Why.
        #[source]
        source: PinError,
    },
    /// A container failed.
    #[error("{step} failed{}", .log.as_ref().map(|log| format!(", its whole output is in {}", log.display())).unwrap_or_default())]
    Container {
        /// What it was for.
        step: &'static str,
        /// Where its output was left.
        log: Option<PathBuf>,
        /// How it failed.
        #[source]
        source: RuntimeError,
    },
    /// The container runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A container cannot be described.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The list of fetched packages cannot be read.
    #[error("cannot read the list of fetched packages")]
    NoListing(#[source] io::Error),
    /// The list of fetched packages cannot be understood.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// The repositories do not have what the lock says.
    #[error("the repositories gave other packages than the lock names: {}", .differences.join("; "))]
    Drift {
        /// The differences, a package each.
        differences: Vec<String>,
    },
    /// The result would not be the locked one.
    #[error("what goes in is not what was locked: the key is {found}, not {locked}")]
    Unlocked {
        /// Key of the lock.
        locked: Digest,
        /// Key of the build.
        found: Digest,
    },
    /// It is not known what comes before the stage.
    #[error("cannot read what the stage {stage} brings, which comes before")]
    Earlier {
        /// Name of the stage before.
        stage: String,
        /// Why.
        #[source]
        source: HarvestError,
    },
    /// What was fetched cannot become anything.
    #[error("compiling would be in vain")]
    InVain(#[source] HarvestError),
    /// The container's file system cannot be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What was built is not usable.
    #[error("the builder's result cannot be used")]
    Harvest(#[source] HarvestError),
    /// The key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The bundle could not be kept.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Temporary files could not be written.
    #[error("cannot write temporary files")]
    Scratch(#[source] io::Error),
}
