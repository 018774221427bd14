//! Where dkms puts modules, whatever dkms.conf says.

/// Distributions by the directory that their dkms uses (`override_dest_module_location` of dkms).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Fedora, RHEL, CentOS Stream and what is like them: `/extra`.
    Fedora,
    /// SUSE: `/updates`.
    Suse,
    /// Debian, Ubuntu, Arch: `/updates/dkms`.
    Debian,
    /// Others: as dkms.conf says.
    Other,
}

impl Distribution {
    /// By `ID` and `ID_LIKE` of os-release(5), as `distro_version` of dkms reads them: what a distribution is like
    /// counts more than what it is, but for Ubuntu.
    pub fn of(id: &str, id_like: Option<&str>) -> Self {
        let like = id_like.filter(|like| !like.is_empty() && id != "ubuntu").unwrap_or(id);
        let starts = |names: &[&str]| names.iter().any(|name| like.starts_with(name));
        if starts(&["fedora", "rhel", "ovm"]) {
            Self::Fedora
        } else if starts(&["sles", "suse", "opensuse"]) {
            Self::Suse
        } else if starts(&["debian", "ubuntu", "arch"]) {
            Self::Debian
        } else {
            Self::Other
        }
    }

    /// The directory, relative to the modules directory of the kernel; `None` where dkms.conf decides.
    pub fn directory(self) -> Option<&'static str> {
        match self {
            Self::Fedora => Some("extra"),
            Self::Suse => Some("updates"),
            Self::Debian => Some("updates/dkms"),
            Self::Other => None,
        }
    }
}
