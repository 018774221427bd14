//! Ready-made kinds of stages: which packages OpenZFS and NVIDIA's driver are, by distribution.
//!
//! Package names are those of OpenZFS' own repository and of NVIDIA's CUDA repository for the RPM family, and of Debian's
//! contrib and non-free. Libraries that these packages need and the base lacks are found by what the programs are linked
//! with, so no list here names them (their names change with every branch).

use super::Family;

/// Lists that differ by distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByFamily {
    /// Names in Debian.
    pub debian: Vec<String>,
    /// Names in RPM distributions.
    pub rpm: Vec<String>,
}

impl ByFamily {
    /// The same names everywhere.
    pub fn same(names: &[String]) -> Self {
        Self { debian: names.to_vec(), rpm: names.to_vec() }
    }

    /// Those of a family.
    pub fn of(&self, family: Family) -> &[String] {
        match family {
            Family::Debian => &self.debian,
            Family::Rpm => &self.rpm,
        }
    }

    fn from(debian: &[&str], rpm: &[&str], version: &str) -> Self {
        let exact = |names: &[&str]| names.iter().map(|name| format!("{name}{version}")).collect();
        Self { debian: exact(debian), rpm: exact(rpm) }
    }
}

/// What a ready-made kind installs in the builder, and which files of it go into the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Packages with sources for DKMS.
    pub packages: ByFamily,
    /// Packages whose files go into the image.
    pub userspace: ByFamily,
    /// Modules that must come out, by the names of their files.
    pub modules: ByFamily,
}

/// `OpenZFS` of a release branch such as `2.2`; `version` is `=VERSION` where it is exact. Both package managers take a
/// pattern for a version.
pub fn zfs(branch: &str, version: Option<&str>) -> Kind {
    let newest = format!("={branch}.*");
    let version = version.unwrap_or(&newest);
    Kind {
        packages: ByFamily::from(&["zfs-dkms"], &["zfs-dkms"], version),
        userspace: ByFamily::from(&["zfsutils-linux", "zfs-zed"], &["zfs"], version),
        modules: ByFamily::from(&["zfs"], &["zfs"], ""),
    }
}

/// NVIDIA's open modules with what servers need of the driver: CUDA, management, firmware (without which the open modules
/// do not start), persistence; and the container toolkit where its repository is given. `version` is `=VERSION`, the same
/// for all, as driver, modules and firmware refuse each other otherwise.
///
/// Debian keeps several drivers side by side: its files have other names, and `nvidia-open-kernel-support` has the lines for
/// modprobe that map the usual names to them. `nvidia-modprobe` has a version of its own there.
pub fn nvidia_open(version: &str, toolkit: Option<&str>, with_toolkit: bool) -> Kind {
    let mut userspace = ByFamily::from(
        &[
            "nvidia-smi",
            "libcuda1",
            "libnvidia-ml1",
            "libnvidia-cfg1",
            "libnvidia-ptxjitcompiler1",
            "firmware-nvidia-gsp",
            "nvidia-open-kernel-support",
        ],
        &[
            "nvidia-driver-cuda",
            "nvidia-driver-cuda-libs",
            "nvidia-kmod-common",
            "nvidia-modprobe",
            "nvidia-persistenced",
            "libnvidia-ml",
            "libnvidia-cfg",
            "libnvidia-gpucomp",
        ],
        version,
    );
    userspace.debian.push("nvidia-modprobe".into());
    if with_toolkit {
        let names = [
            "nvidia-container-toolkit",
            "nvidia-container-toolkit-base",
            "libnvidia-container1",
            "libnvidia-container-tools",
        ];
        let toolkit = ByFamily::from(&names, &names, toolkit.unwrap_or_default());
        userspace.debian.extend(toolkit.debian);
        userspace.rpm.extend(toolkit.rpm);
    }
    let modules = |name: &str| ["", "-modeset", "-uvm", "-drm"].map(|part| format!("{name}{part}")).to_vec();
    Kind {
        packages: ByFamily::from(&["nvidia-open-kernel-dkms"], &["kmod-nvidia-open-dkms"], version),
        userspace,
        modules: ByFamily { debian: modules("nvidia-current-open"), rpm: modules("nvidia") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_a_pattern_and_a_version_is_exact() {
        let packages = |kind: &Kind, family| [kind.packages.of(family), kind.userspace.of(family)].concat();
        let branch = zfs("2.2", None);
        assert_eq!(packages(&branch, Family::Rpm), ["zfs-dkms=2.2.*", "zfs=2.2.*"]);
        let exact = zfs("2.2", Some("=2.2.9-1"));
        assert_eq!(packages(&exact, Family::Debian), ["zfs-dkms=2.2.9-1", "zfsutils-linux=2.2.9-1", "zfs-zed=2.2.9-1"]);
        let nvidia = nvidia_open("=3:580.105.08", None, true);
        assert!(packages(&nvidia, Family::Rpm).iter().any(|name| name == "nvidia-container-toolkit"));
        assert!(nvidia.packages.rpm.iter().all(|name| name.ends_with("=3:580.105.08")));
    }
}
