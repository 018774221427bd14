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
    /// Modules that must come out.
    pub modules: Vec<String>,
}

/// `OpenZFS`; `version` is empty or `=VERSION`.
pub fn zfs(version: &str) -> Kind {
    Kind {
        packages: ByFamily::from(&["zfs-dkms"], &["zfs-dkms"], version),
        userspace: ByFamily::from(&["zfsutils-linux", "zfs-zed"], &["zfs"], version),
        modules: vec!["zfs".into()],
    }
}

/// NVIDIA's open modules with what servers need of the driver: CUDA, management, firmware (without which the open modules
/// do not start), persistence; and the container toolkit where its repository is given. `version` is `=VERSION`, the same
/// for all, as driver, modules and firmware refuse each other otherwise.
pub fn nvidia_open(version: &str, toolkit: Option<&str>, with_toolkit: bool) -> Kind {
    let mut userspace = ByFamily::from(
        &["nvidia-smi", "libcuda1", "libnvidia-ml1", "libnvidia-cfg1", "firmware-nvidia-gsp", "nvidia-alternative"],
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
    let modules = ["nvidia", "nvidia_modeset", "nvidia_uvm", "nvidia_drm"];
    Kind {
        packages: ByFamily::from(&["nvidia-open-kernel-dkms"], &["kmod-nvidia-open-dkms"], version),
        userspace,
        modules: modules.map(str::to_owned).to_vec(),
    }
}
