//! Kernels that repositories have and the base has, out of what a container fetched.

use oci_assemble::layer::{Contents, WholeError, whole};
use oci_assemble::pkgdb::{self, PkgDbError};
use oci_assemble::plan::step::View;
use oci_assemble::tree::{FileTree, Inode, PathError, TreePath};

use crate::kernel::{BaseKernel, KernelRelease, Offers};
use crate::repository::repodata::{Repomd, read_primary};
use crate::repository::{RepositoryError, decompress};
use crate::version::{RpmVersion, VersionError};

/// The largest `repomd.xml` that is read; real ones have some 10 KB.
const REPOMD_MAX: u64 = 4 << 20;
/// The largest list of packages, compressed; Fedora's has some 20 MB.
const PRIMARY_MAX: u64 = 512 << 20;

/// Why it is not known which kernels there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OffersError {
    /// Only kernels of rpm are chosen.
    #[error("kernels are chosen for images with rpm; this one has {family}")]
    Family {
        /// The tools of the image.
        family: super::Family,
    },
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

/// The architecture as rpm calls it (`rpm --eval %_arch`).
fn architecture(oci: &str) -> &str {
    match oci {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

/// What the repositories whose metadata are below `metadata` in `tree` offer, in the order of their names.
pub(super) fn offers(
    tree: &FileTree,
    contents: &dyn Contents,
    metadata: &TreePath,
    oci_architecture: &str,
) -> Result<Offers, OffersError> {
    let mut offers = Offers::new(architecture(oci_architecture));
    for (directory, _) in tree.children(metadata).filter(|(_, inode)| Inode::is_directory(inode)) {
        let repository = String::from_utf8_lossy(directory.name()).into_owned();
        let incomplete = |what| OffersError::Incomplete { repository: repository.clone(), what };
        let path = directory.join("repomd.xml")?;
        let repomd = whole(tree, contents, &path, REPOMD_MAX)?;
        let repomd = Repomd::parse(&*repomd, &path.to_string())?;
        let primary = repomd.files.get("primary").ok_or_else(|| incomplete("list of packages"))?;
        let name = primary.location.rsplit('/').next().unwrap_or_default();
        let path = directory.join(name)?;
        let bytes = whole(tree, contents, &path, PRIMARY_MAX)?;
        primary.verify(&bytes)?;
        let packages = read_primary(decompress(&bytes, name)?, name, Offers::wanted)?;
        offers.add(&repository, &packages);
    }
    Ok(offers)
}

/// The kernel `release` of the base, as its package database knows it.
pub(super) fn base_kernel(release: &KernelRelease, view: View<'_>) -> Result<BaseKernel, OffersError> {
    let none = || OffersError::NoPackage { release: release.clone() };
    let packages = pkgdb::installed(view.base, view.contents)?.ok_or_else(none)?;
    let kernels =
        || packages.packages().iter().filter(|package| Offers::wanted(&package.name) && !is_devel(&package.name));
    let is_it = |package: &&pkgdb::Package| {
        let own = |rest: &str| rest.strip_prefix(&format!("{}-", package.version)).map(str::to_owned);
        let rest = own(release.as_str()).unwrap_or_default();
        let (own, arch) = (package.release.as_deref().unwrap_or_default(), package.arch.as_deref().unwrap_or_default());
        let text = format!("{own}.{arch}");
        package.name.ends_with("-core") && rest.split('+').next() == Some(&text)
    };
    let core = kernels().find(is_it).ok_or_else(none)?;
    let same = |package: &&pkgdb::Package| package.evr() == core.evr();
    let epoch = core.epoch.and_then(|epoch| u32::try_from(epoch).ok()).unwrap_or_default();
    let version = RpmVersion::new(epoch, &core.version, core.release.as_deref())?.into();
    let names = kernels().filter(same).map(|package| package.name.clone()).collect();
    Ok(BaseKernel { release: release.clone(), version, packages: names })
}

/// Packages to build modules with are no part of a kernel.
fn is_devel(name: &str) -> bool {
    name.ends_with("-devel")
}
