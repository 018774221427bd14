//! Why modules could not be indexed.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use oci_assemble::elf::{ElfError, Machine};
use oci_assemble::tree::{PathError, TreePath};

use crate::kernel::KernelRelease;
use crate::module::{Fault, SymversError, relative};
use crate::sandbox::{Rung, SandboxError};

/// Why modules could not be indexed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DepmodError {
    /// The tree has no directory of that kernel.
    #[error("there are no modules of kernel {kernel}")]
    NoKernel {
        /// The kernel asked for.
        kernel: KernelRelease,
    },
    /// A path of the sparse root would be no path.
    #[error("a path below the modules directory is too long")]
    Path(#[from] PathError),
    /// The modules directory holds more than a kernel has, or goes round in circles.
    #[error("{path} has more than {limit} entries below it")]
    TooMany {
        /// The modules directory.
        path: TreePath,
        /// The limit.
        limit: usize,
    },
    /// The bytes of a file of the image could not be had.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: TreePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file could not be written to the private directory.
    #[error("cannot write {path} to the workspace")]
    Write {
        /// The file, relative to the sparse root.
        path: TreePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The private directory could not be made or used.
    #[error("cannot use the workspace {}", path.display())]
    Workspace {
        /// The directory given by the caller.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is larger than is accepted.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: TreePath,
        /// The limit.
        limit: u64,
    },
    /// A module cannot be parsed.
    #[error("{} is no usable kernel module", relative(.path))]
    Module {
        /// The file.
        path: TreePath,
        /// Why not.
        #[source]
        source: ElfError,
    },
    /// The list of what the kernel exports cannot be read.
    #[error("cannot read {path}")]
    Symvers {
        /// The list.
        path: TreePath,
        /// Why not.
        #[source]
        source: SymversError,
    },
    /// The modules do not fit the kernel or each other.
    #[error("{} kernel {kernel}: {}", count(faults), list(faults))]
    Faults {
        /// The kernel.
        kernel: KernelRelease,
        /// What is wrong, in the order of paths; never empty.
        faults: Vec<Fault>,
    },
    /// The image has no depmod.
    #[error("the image has no depmod")]
    NoImageDepmod,
    /// The image's depmod, or a library of it, cannot be used.
    #[error("the image's depmod {path} cannot be used")]
    ImageDepmod {
        /// The program.
        path: TreePath,
        /// Why not.
        #[source]
        source: ElfError,
    },
    /// Libraries of the image's depmod are not in the image.
    #[error("the image's depmod {path} misses {}", missing.join(", "))]
    Libraries {
        /// The program.
        path: TreePath,
        /// Names of the libraries.
        missing: Vec<String>,
    },
    /// The image is for another machine, so its depmod cannot run here.
    #[error("the image's depmod is for {machine}")]
    ForeignMachine {
        /// That machine.
        machine: Machine,
    },
    /// This machine has no depmod of its own.
    #[error("this machine has no depmod")]
    NoHostDepmod,
    /// No sandbox that is good enough could be had.
    #[error("depmod cannot be run: {}", reasons(tried))]
    NoSandbox {
        /// Each rung that was tried, and why it could not be had.
        tried: Vec<(Rung, DepmodError)>,
    },
    /// The sandbox could not be had, or ended the program.
    #[error("running depmod failed")]
    Sandbox(#[from] SandboxError),
    /// depmod reported failure.
    #[error("depmod ended with code {code}: {}", stderr.lines().next().unwrap_or("it said nothing"))]
    Failed {
        /// Its exit code.
        code: i32,
        /// What it said.
        stderr: String,
    },
    /// depmod reported errors, and success: it does so for modules it cannot parse.
    #[error("depmod reported: {line}")]
    Complained {
        /// The first line with an error.
        line: String,
    },
    /// depmod said more than is kept, so an error may be among the rest.
    #[error("depmod wrote more than {limit} bytes to stderr")]
    TooTalkative {
        /// The limit.
        limit: usize,
    },
    /// depmod wrote no index, or something else in its place.
    #[error("depmod left no usable {name}")]
    NoIndex {
        /// Name of the index file.
        name: &'static str,
        /// Why it could not be read, where it is there.
        #[source]
        source: Option<io::Error>,
    },
    /// A module is missing in `modules.dep`.
    #[error("depmod did not index {}", relative(.path))]
    NotIndexed {
        /// The module, relative to the modules directory.
        path: TreePath,
    },
    /// `modules.dep` names a module that is not there.
    #[error("modules.dep names {path}, which is not there")]
    Invented {
        /// What it names, relative to the modules directory.
        path: String,
    },
}

impl DepmodError {
    /// Whether a lower rung may still work: the depmod of this one never ran.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Sandbox(error) => error.is_unavailable(),
            Self::NoImageDepmod
            | Self::ImageDepmod { .. }
            | Self::Libraries { .. }
            | Self::ForeignMachine { .. }
            | Self::NoHostDepmod => true,
            _ => false,
        }
    }
}

/// Every attempt with its whole chain of causes: they are no causes of each other.
fn reasons(tried: &[(Rung, DepmodError)]) -> String {
    let reason = |(rung, error): &(Rung, DepmodError)| {
        let mut text = format!("{rung}: {error}");
        let mut cause = error.source();
        while let Some(next) = cause {
            text.push_str(": ");
            text.push_str(&next.to_string());
            cause = next.source();
        }
        text
    };
    tried.iter().map(reason).collect::<Vec<_>>().join("; ")
}

/// How many are named before the others are only counted.
const NAMED: usize = 5;

fn count(faults: &[Fault]) -> String {
    match faults.len() {
        1 => "a module does not fit".into(),
        several => format!("{several} faults of modules for"),
    }
}

fn list(faults: &[Fault]) -> String {
    let named: Vec<String> = faults.iter().take(NAMED).map(Fault::to_string).collect();
    let rest = faults.len().saturating_sub(NAMED);
    let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    named.join("; ") + &rest
}
