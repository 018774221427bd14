//! Kernel modules as stages of a plan.
//!
//! [`ModulesStage`] brings modules, [`DepmodStage`] indexes all modules of the kernel, behind everything that brings some:
//! each set of modules is a layer, and all indexes together are one. [`SignedStage`] signs the modules of any stage, and
//! [`CertificateStage`] brings the certificate for it.

mod index;
mod kept;
mod modules;
mod sign;

pub use index::{DepmodStage, IndexError};
pub use modules::{ModulesError, ModulesStage};
pub use sign::{CertificateStage, SignedStage, SigningError};

use oci_assemble::tree::FileTree;

use crate::kernel::{KernelRelease, Kernels};

/// An image that has not one kernel, or not the one that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelChoice {
    /// There is no `/usr/lib/modules/*/vmlinuz`.
    #[error("the image has no kernel: no /usr/lib/modules/*/vmlinuz")]
    None,
    /// There are several.
    #[error("the image has several kernels: {}", list(.found))]
    Several {
        /// Their releases.
        found: Vec<KernelRelease>,
    },
    /// There is another than the recipe names.
    #[error("the recipe asks for kernel {expected}, the image has {}", list(.found))]
    Other {
        /// In the recipe.
        expected: String,
        /// In the image.
        found: Vec<KernelRelease>,
    },
}

fn list(releases: &[KernelRelease]) -> String {
    let names: Vec<&str> = releases.iter().map(KernelRelease::as_str).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The one kernel of `tree`; an error when it is not `expected`.
pub fn kernel(tree: &FileTree, expected: Option<&str>) -> Result<KernelRelease, KernelChoice> {
    let mut found = Kernels::find(tree).bootable;
    match expected {
        Some(expected) if found.iter().all(|release| release.as_str() != expected) => {
            Err(KernelChoice::Other { expected: expected.to_owned(), found })
        }
        _ if found.len() > 1 => Err(KernelChoice::Several { found }),
        _ => found.pop().ok_or(KernelChoice::None),
    }
}

#[cfg(test)]
mod tests;
