//! One program, run where it can do no harm.
//!
//! The program comes from an image that nobody vouched for, or reads files that do. It gets a
//! directory of its own as root (`Rung::Namespaces`, `Rung::Chroot`) or is held to one by the
//! kernel's path rules (`Rung::Landlock`), no network, no environment, no second process, and
//! limits on memory, time and file sizes.
//!
//! Terms: a *rung* is one way to confine, best first; the *policy* says how far down the ladder a
//! caller may be taken. Whether a rung can be had is found out by trying it: the checks that would
//! foresee it (sysctls, security modules, the container's filter) are more than the thing itself.
//!
//! What is left to a hostile program: on `Rung::Landlock` it can learn which paths of the host exist (Landlock does not
//! hide them), on every rung it can fill the writable directory file by file until its time is over.
//!
//! Invariants: a rung is used whole or not at all, a failing step makes the rung unavailable and
//! the program never starts; nothing is allocated between fork and exec (`child`); when `run`
//! returns, no process of the program is left.

mod child;
mod error;
mod policy;
mod prepare;
mod ruleset;
mod run;
mod spec;
mod syscalls;

pub(crate) use child::end_with_parent;
pub use error::{SandboxError, Step};
pub use policy::{Climbed, Rung, SandboxPolicy, climb};
pub use run::{Confinement, Outcome, run};
pub use spec::{Limits, SandboxSpec};
