//! Do modules and userspace of a driver belong together?
//!
//! OpenZFS' tools talk to the module of their own version, and NVIDIA's libraries and modules refuse each other in different
//! versions, at run time and on the machine of a user. The open modules load firmware of their very version as well.

use oci_assemble::tree::{FileTree, Resolved, TreePath};

use super::supported::ZFS;

/// The kind of stages that compile NVIDIA's modules.
const NVIDIA: &str = "nvidia-open";
/// Where firmware is, behind the symlinks of a merged tree.
const FIRMWARE: [&str; 2] = ["usr/lib/firmware/nvidia", "lib/firmware/nvidia"];

/// What does not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// A package is of another version than the modules.
    #[error("package {package} is of version {version}, but {module} of version {found}: they do not work together")]
    Version {
        /// The package.
        package: String,
        /// Its upstream version.
        version: String,
        /// The module.
        module: TreePath,
        /// The module's version.
        found: String,
    },
    /// The firmware that the modules load is not there.
    #[error(
        "{module} of version {version} needs its firmware in /usr/lib/firmware/nvidia/{version}, which neither the packages nor the base have"
    )]
    Firmware {
        /// The module.
        module: TreePath,
        /// Its version.
        version: String,
    },
}

/// The main module of a driver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Driver<'a> {
    /// Where it is in the image.
    pub(super) path: &'a TreePath,
    /// The version it states.
    pub(super) version: &'a str,
}

/// Holds the packages `userspace` (name and upstream version) and the image so far against a driver of `kind`.
pub(super) fn paired<'a>(
    kind: &str,
    driver: Driver<'_>,
    userspace: impl IntoIterator<Item = (&'a str, &'a str)>,
    image: &FileTree,
) -> Result<(), PairingError> {
    if ![ZFS, NVIDIA].contains(&kind) {
        return Ok(());
    }
    let module = || driver.path.clone();
    let own = upstream(driver.version);
    for (package, version) in userspace {
        if upstream(version) != own {
            let (package, version, found) = (package.to_owned(), version.to_owned(), driver.version.to_owned());
            return Err(PairingError::Version { package, version, module: module(), found });
        }
    }
    let has_files = |place: &&str| match image.resolve(format!("{place}/{own}")) {
        Resolved::Found(directory) => image.below(&directory).any(|(path, _)| image.content(path).is_some()),
        _ => false,
    };
    if kind == NVIDIA && !FIRMWARE.iter().any(has_files) {
        return Err(PairingError::Firmware { module: module(), version: own.to_owned() });
    }
    Ok(())
}

/// A version without what distributions add: `2.2.9-1` and `2.2.9~rc1` are 2.2.9.
fn upstream(version: &str) -> &str {
    version.split(['-', '~', '+']).next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oci_assemble::testing::memory::add_file;

    #[test]
    fn what_does_not_belong_together_is_named() {
        let path = TreePath::new("usr/lib/modules/6.1/extra/zfs.ko").unwrap();
        let zfs = Driver { path: &path, version: "2.2.9-1" };
        let mut image = FileTree::new();
        let own = [("zfs", "2.2.9"), ("zfsutils-linux", "2.2.9+ds")];
        assert_eq!(paired("zfs", zfs, own, &image), Ok(()));
        let error = paired("zfs", zfs, [("zfs", "2.2.10")], &image).unwrap_err();
        assert_eq!(
            error.to_string(),
            "package zfs is of version 2.2.10, but /usr/lib/modules/6.1/extra/zfs.ko of version 2.2.9-1: they do not work together"
        );
        assert_eq!(paired("dkms", zfs, [("zfs", "2.2.10")], &image), Ok(()), "whose versions mean nothing");

        let path = TreePath::new("usr/lib/modules/6.1/extra/nvidia.ko").unwrap();
        let nvidia = Driver { path: &path, version: "580.105.08" };
        let error = paired("nvidia-open", nvidia, [("libcuda1", "580.105.07")], &image).unwrap_err();
        assert!(error.to_string().starts_with("package libcuda1 is of version 580.105.07, but "), "{error}");
        add_file(&mut image, "usr/lib/firmware/nvidia/580.105.07/gsp_ga10x.bin", 0o644, "old");
        let error = paired("nvidia-open", nvidia, [("libcuda1", "580.105.08")], &image).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/usr/lib/modules/6.1/extra/nvidia.ko of version 580.105.08 needs its firmware in \
             /usr/lib/firmware/nvidia/580.105.08, which neither the packages nor the base have"
        );
        add_file(&mut image, "usr/lib/firmware/nvidia/580.105.08/gsp_ga10x.bin", 0o644, "new");
        assert_eq!(paired("nvidia-open", nvidia, [("libcuda1", "580.105.08")], &image), Ok(()));
    }
}
