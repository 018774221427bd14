//! Does OpenZFS support the kernel that it is compiled for?

use oci_assemble::layer::{WholeError, whole};
use oci_assemble::tree::{FileTree, TreePath};

use crate::archive::{ArchiveError, file};
use crate::capture::Export;
use crate::kernel::{KernelRelease, UnsupportedKernel, ZfsKernels};

/// The kind of stages that compile it.
pub(super) const ZFS: &str = "zfs";
/// The package with its sources.
pub(super) const SOURCES: &str = "zfs-dkms";
/// The largest package of sources that is read; real ones have 3 MB.
const PACKAGE_MAX: u64 = 256 << 20;
/// The largest META that is read; real ones have 300 bytes.
const META_MAX: u64 = 1 << 20;

/// Why OpenZFS cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupportError {
    /// It does not support the kernel.
    #[error(transparent)]
    Kernel(#[from] UnsupportedKernel),
    /// The package is damaged.
    #[error("cannot look into {package}")]
    Package {
        /// The file.
        package: TreePath,
        /// What is wrong with it.
        #[source]
        source: ArchiveError,
    },
    /// The package cannot be read.
    #[error(transparent)]
    Read(#[from] WholeError),
}

/// Holds `kernel` against META of the sources among the packages set aside. What is not known, and what is worth a try,
/// is a note.
pub(super) fn supported(fetched: &Export, kernel: &KernelRelease) -> Result<Vec<String>, SupportError> {
    let mut notes = Vec::new();
    for package in packages(&fetched.tree) {
        let bytes = whole(&fetched.tree, &fetched.contents, &package, PACKAGE_MAX)?;
        let meta = file(&bytes, is_meta, META_MAX);
        let meta = meta.map_err(|source| SupportError::Package { package: package.clone(), source })?;
        let name = String::from_utf8_lossy(package.name()).into_owned();
        let Some(meta) = meta else {
            notes.push(format!("{name} does not say which kernels it supports: it has no META"));
            continue;
        };
        match ZfsKernels::parse(&String::from_utf8_lossy(&meta)).map(|kernels| kernels.check(kernel)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.advisory => notes.push(format!(
                "{error}; kernels of enterprise distributions have code of newer ones, so it is worth a try"
            )),
            Ok(Err(error)) => return Err(error.into()),
            Err(error) => notes.push(format!("{name} does not say which kernels it supports: {error}")),
        }
    }
    Ok(notes)
}

fn packages(tree: &FileTree) -> Vec<TreePath> {
    let named = |path: &&TreePath| path.name().starts_with(SOURCES.as_bytes());
    tree.iter().map(|(path, _)| path).filter(named).filter(|path| tree.content(path).is_some()).cloned().collect()
}

fn is_meta(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["usr", "src", directory, "META"] if directory.starts_with("zfs-"))
}

#[cfg(test)]
mod tests;
