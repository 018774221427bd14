//! Why no kernel could be chosen, and what may help.

use std::fmt;

use super::KernelRelease;

/// Most releases that a hint lists.
const LISTED_MAX: usize = 5;

/// What an exact pin lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// Neither kernel nor kernel-devel is there.
    Both,
    /// The kernel.
    Image,
    /// kernel-devel.
    Devel,
    /// A package that the base's kernel is made of.
    Part(String),
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Both => f.write_str("neither kernel nor kernel-devel is"),
            Self::Image => f.write_str("kernel-devel is, but the kernel is not"),
            Self::Devel => f.write_str("no kernel-devel is"),
            Self::Part(name) => write!(f, "{name} is not"),
        }
    }
}

/// Why no kernel could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The base's kernel is to stay, but modules cannot be built for it.
    #[error("no repository has kernel-devel for {base}, the kernel of the base")]
    NoDevel {
        /// The kernel of the base.
        base: KernelRelease,
        /// Kernels that kernel-devel is there for, newest first.
        there: Vec<KernelRelease>,
        /// The kernel that `pin = "devel"` would take.
        follow: Option<KernelRelease>,
    },
    /// There is no kernel-devel with a kernel.
    #[error("no repository has both a kernel of the base's kind and kernel-devel for it")]
    NothingToFollow {
        /// The kernel of the base.
        base: KernelRelease,
        /// Kernels that kernel-devel is there for, newest first.
        devel: Vec<KernelRelease>,
        /// Kernels that are there, newest first.
        images: Vec<KernelRelease>,
    },
    /// The kernel that the recipe names is not complete.
    #[error("of kernel {pin} {lacking} in the repositories")]
    NotAvailable {
        /// As the recipe has it.
        pin: String,
        /// What is not there.
        lacking: Lacking,
        /// Kernels that are there, newest first.
        images: Vec<KernelRelease>,
        /// Kernels that kernel-devel is there for, newest first.
        devel: Vec<KernelRelease>,
    },
}

impl PinError {
    /// What to do about it, in one line.
    pub fn hint(&self) -> String {
        match self {
            Self::NoDevel { there, follow: Some(follow), .. } => {
                format!("kernel-devel is there for {}; pin = \"devel\" would take {follow}", list(there))
            }
            Self::NoDevel { there, follow: None, .. } => {
                format!(
                    "kernel-devel is there for {}; add the repository that the base was composed of to kernel.repositories",
                    list(there)
                )
            }
            Self::NothingToFollow { devel, images, .. } => format!(
                "kernels are there: {}; kernel-devel is there for {}; add the repository that has the other to kernel.repositories",
                list(images),
                list(devel)
            ),
            Self::NotAvailable { images, devel, .. } => {
                format!("kernels are there: {}; kernel-devel is there for {}", list(images), list(devel))
            }
        }
    }
}

fn list(releases: &[KernelRelease]) -> String {
    let mut names: Vec<String> = releases.iter().take(LISTED_MAX).map(ToString::to_string).collect();
    if releases.len() > LISTED_MAX {
        names.push(format!("and {} more", releases.len() - LISTED_MAX));
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
