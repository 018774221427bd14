//! Results that a builder container makes: modules that DKMS compiles, packages that the distribution's tools install.
//!
//! A build takes two containers. The first has a network: it chooses packages, downloads them and lists what it got.
//! The list is all that the network decides; with everything else that goes in, it makes the key of the result. The
//! second has no network: it installs what was downloaded, compiles, and leaves a file system that is read natively.
//! When the key is known from a lock and a bundle of that key is kept, no container runs at all.
//!
//! [`Work`] is what kinds of builds differ in; [`BuiltStage`] makes one a step of a plan.

mod check;
mod commands;
pub mod dkms;
mod error;
mod family;
mod initramfs;
mod input;
mod key;
pub mod kinds;
mod listing;
mod offers;
pub mod packages;
mod pairing;
mod pinned;
mod position;
mod replaced;
mod run;
pub mod script;
mod stage;
mod supported;
mod survey;
mod userspace;
mod work;

pub use check::CheckError;
pub use commands::commands;
pub use error::BuildError;
pub use family::Family;
pub use input::{INPUT, InputError, Inputs};
pub use key::{key, request};
pub use listing::{ListingError, fetched, render};
pub use offers::{OffersError, base_kernel};
pub use pairing::PairingError;
pub use pinned::{LockedKernel, PinnedStage, choose};
pub use position::{Digester, Earlier, Position};
pub use replaced::ReplacedError;
pub use run::{Builder, Made, Outcome, Start};
pub use stage::{BuiltStage, Shared};
pub use supported::SupportError;
pub use survey::{Survey, survey};
pub use userspace::UserspaceError;
pub use work::{Harvest, HarvestError, Step, Target, Work};
