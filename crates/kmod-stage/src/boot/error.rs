//! Why a boot could not be tried at all. A guest that fails is a report, not an error.

use std::io;
use std::path::PathBuf;

use oci_assemble::elf::ElfError;
use oci_assemble::layer::WholeError;
use oci_assemble::tree::TreePath;

use super::erofs::ErofsError;
use crate::kernel::KernelRelease;

/// Why a boot could not be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// Nothing to boot, or several things.
    #[error("the image has {} kernels: exactly one can be booted", .found.len())]
    Kernels {
        /// The kernels found.
        found: Vec<KernelRelease>,
    },
    /// A machine that cannot be emulated.
    #[error("images for {architecture} cannot be booted: only amd64 and arm64")]
    Architecture {
        /// The image's architecture.
        architecture: String,
    },
    /// The name of a module that is none.
    #[error("{name:?} is no name of a module")]
    ModuleName {
        /// The name.
        name: String,
    },
    /// A program that the check runs is missing in the image.
    #[error("the image has no program {name}")]
    NoProgram {
        /// Its name.
        name: &'static str,
    },
    /// A library of such a program is missing in the image.
    #[error("the image's {program} needs {library}, which the image does not have")]
    NoLibrary {
        /// The program.
        program: TreePath,
        /// The library.
        library: String,
    },
    /// Such a program cannot be understood.
    #[error("the image's {program} cannot run")]
    Program {
        /// The program.
        program: TreePath,
        /// Why.
        #[source]
        source: ElfError,
    },
    /// The kernel cannot read its root disk.
    #[error("kernel {kernel} has no driver {driver}, which the root disk takes")]
    NoDriver {
        /// The kernel.
        kernel: KernelRelease,
        /// The module.
        driver: String,
    },
    /// A file of the image could not be read.
    #[error(transparent)]
    Whole(#[from] WholeError),
    /// The files of the first root could not be read.
    #[error("cannot read the image's files")]
    Contents(#[source] io::Error),
    /// The tree cannot be a root disk.
    #[error("the image's tree cannot be made a root disk")]
    Tree(#[from] ErofsError),
    /// More disks or memory than a machine can have.
    #[error("{number} scratch disks are more than {limit}")]
    Disks {
        /// How many were asked for.
        number: usize,
        /// The limit.
        limit: usize,
    },
    /// The private directory could not be made or written.
    #[error("cannot write {}", .path.display())]
    Workspace {
        /// What was written.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// QEMU could not be started.
    #[error("cannot start {}", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// QEMU could not be watched.
    #[error("cannot watch QEMU")]
    Watch(#[source] io::Error),
    /// QEMU itself failed.
    #[error("QEMU failed ({status}): {stderr}")]
    Qemu {
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// What the console says could not be passed on.
    #[error("cannot write the log")]
    Log(#[source] io::Error),
}
