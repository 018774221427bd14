//! Kernels that repositories have and the base has, out of what a container fetched.

use oci_assemble::layer::{Contents, WholeError, whole};
use oci_assemble::pkgdb::{self, PkgDbError};
use oci_assemble::plan::step::View;
use oci_assemble::tree::{FileTree, Inode, PathError, TreePath};

use super::Family;
use crate::kernel::{BaseKernel, KernelRelease, Offers};
use crate::repository::debian::read_packages;
use crate::repository::repodata::{Repomd, read_primary};
use crate::repository::{LIST_MAX, ROOT_MAX, RepositoryError, decompress};
use crate::version::{PackageVersion, RpmVersion, VersionError};

/// Why it is not known which kernels there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OffersError {
    /// The base has no package database.
    #[error("the base image has no package database: neither dpkg nor rpm says which kernel it is")]
    NoDatabase,
    /// A repository does not have what it has to.
    #[error("repository {repository} has no {what}")]
    Incomplete {
        /// Its name.
        repository: String,
        /// What is missing.
        what: &'static str,
    },
    /// Metadata that make no sense.
    #[error(transparent)]
    Metadata(#[from] RepositoryError),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] WholeError),
    /// A name that no path has.
    #[error(transparent)]
    Name(#[from] PathError),
    /// The base's packages cannot be read.
    #[error(transparent)]
    Packages(#[from] PkgDbError),
    /// The version of an installed package is none.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The kernel of the base is of no package.
    #[error("no installed package is kernel {release} of the base")]
    NoPackage {
        /// The kernel.
        release: KernelRelease,
    },
}

/// The architecture as a family calls it (`rpm --eval %_arch`, `dpkg --print-architecture`).
pub(super) fn architecture(family: Family, oci: &str) -> &str {
    match (family, oci) {
        (Family::Rpm, "amd64") => "x86_64",
        (Family::Rpm, "arm64") => "aarch64",
        (Family::Debian, "386") => "i386",
        (Family::Debian, "arm") => "armhf",
        (Family::Debian, "ppc64le") => "ppc64el",
        (_, other) => other,
    }
}

/// What the repositories whose metadata are below `metadata` in `tree` offer, in the order of their directories.
pub(super) fn offers(
    family: Family,
    tree: &FileTree,
    contents: &dyn Contents,
    metadata: &TreePath,
    oci_architecture: &str,
) -> Result<Offers, OffersError> {
    let mut offers = Offers::new(architecture(family, oci_architecture));
    for (directory, _) in tree.children(metadata).filter(|(_, inode)| Inode::is_directory(inode)) {
        match family {
            Family::Rpm => rpm(tree, contents, directory, &mut offers)?,
            Family::Debian => debian(tree, contents, directory, &mut offers)?,
        }
    }
    Ok(offers)
}

fn rpm(tree: &FileTree, contents: &dyn Contents, directory: &TreePath, offers: &mut Offers) -> Result<(), OffersError> {
    let repository = String::from_utf8_lossy(directory.name()).into_owned();
    let incomplete = |what| OffersError::Incomplete { repository: repository.clone(), what };
    let path = directory.join("repomd.xml")?;
    let repomd = whole(tree, contents, &path, ROOT_MAX)?;
    let repomd = Repomd::parse(&*repomd, &path.to_string())?;
    let primary = repomd.files.get("primary").ok_or_else(|| incomplete("list of packages"))?;
    let name = primary.location.rsplit('/').next().unwrap_or_default();
    let path = directory.join(name)?;
    let bytes = whole(tree, contents, &path, LIST_MAX)?;
    primary.verify(&bytes)?;
    let packages = read_primary(decompress(&bytes, name)?, name, Offers::wanted)?;
    offers.add(&repository, &packages);
    Ok(())
}

/// What apt verified: a list of packages, and what people call where it came from.
fn debian(
    tree: &FileTree,
    contents: &dyn Contents,
    directory: &TreePath,
    offers: &mut Offers,
) -> Result<(), OffersError> {
    let name = whole(tree, contents, &directory.join("name")?, ROOT_MAX)?;
    let repository = String::from_utf8_lossy(&name).trim().to_owned();
    let list = whole(tree, contents, &directory.join("Packages")?, LIST_MAX)?;
    let file = format!("the packages of {repository}");
    let packages = read_packages(decompress(&list, &file)?, &file, Offers::wanted)?;
    offers.add(&repository, &packages);
    Ok(())
}

/// The kernel `release` of the base, as its package database knows it.
pub fn base_kernel(release: &KernelRelease, view: View<'_>) -> Result<BaseKernel, OffersError> {
    let none = || OffersError::NoPackage { release: release.clone() };
    let family = Family::of(view.base).ok_or(OffersError::NoDatabase)?;
    let packages = pkgdb::installed(view.base, view.contents)?.ok_or_else(none)?;
    let kernels =
        || packages.packages().iter().filter(|package| Offers::wanted(&package.name) && !is_devel(&package.name));
    let (version, packages): (PackageVersion, Vec<String>) = match family {
        Family::Debian => {
            let names = [format!("linux-image-{release}"), format!("linux-image-{release}-unsigned")];
            let image = kernels().find(|package| names.contains(&package.name)).ok_or_else(none)?;
            (PackageVersion::parse(&image.evr(), crate::version::Family::Debian)?, vec![image.name.clone()])
        }
        Family::Rpm => {
            let core = kernels().find(|package| is_core(package, release)).ok_or_else(none)?;
            let epoch = core.epoch.and_then(|epoch| u32::try_from(epoch).ok()).unwrap_or_default();
            let version = RpmVersion::new(epoch, &core.version, core.release.as_deref())?;
            let same = |package: &&pkgdb::Package| package.evr() == core.evr();
            (version.into(), kernels().filter(same).map(|package| package.name.clone()).collect())
        }
    };
    Ok(BaseKernel { release: release.clone(), version, packages })
}

/// Whether a package is the image of the kernel `release`: `kernel-core`, `kernel-rt-core`.
fn is_core(package: &pkgdb::Package, release: &KernelRelease) -> bool {
    let rest = release.as_str().strip_prefix(&format!("{}-", package.version)).unwrap_or_default();
    let own = package.release.as_deref().zip(package.arch.as_deref());
    let own = own.map(|(release, arch)| format!("{release}.{arch}"));
    package.name.ends_with("-core") && rest.split('+').next() == own.as_deref()
}

/// Packages to build modules with are no part of a kernel.
fn is_devel(name: &str) -> bool {
    name.ends_with("-devel") || name.starts_with("linux-headers-")
}
