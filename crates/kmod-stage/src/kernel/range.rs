//! Kernels that OpenZFS supports.
//!
//! The file META of its sources says up to which kernel it was tested (`Linux-Maximum: 6.17` includes every 6.17.x).
//! Its packages conflict with newer ones, but packages that are installed without their dependencies, as for building
//! modules, do not; the build then fails after minutes, or worse, succeeds.

use std::fmt;

use super::KernelRelease;

/// Major and minor number of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinuxVersion(pub u32, pub u32);

impl LinuxVersion {
    /// The numbers that a text such as `6.12` or a release begins with.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, rest) = text.split_once('.')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = |text: &str| text.parse().ok().filter(|_| !text.starts_with('+'));
        Some(Self(number(major)?, number(rest.get(..digits)?)?))
    }
}

impl fmt::Display for LinuxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Kernels that a version of OpenZFS supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZfsKernels {
    /// The version of OpenZFS.
    pub zfs: String,
    /// The oldest.
    pub minimum: LinuxVersion,
    /// The newest.
    pub maximum: LinuxVersion,
}

/// META does not say which kernels are supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("META has no {key}, or none that can be read")]
pub struct MetaError {
    /// The field.
    pub key: &'static str,
}

/// A kernel that OpenZFS does not support.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zfs {zfs} supports kernels {minimum} to {maximum}, not {release}")]
pub struct UnsupportedKernel {
    /// The version of OpenZFS.
    pub zfs: String,
    /// The kernel.
    pub release: KernelRelease,
    /// The oldest that is supported.
    pub minimum: LinuxVersion,
    /// The newest that is supported.
    pub maximum: LinuxVersion,
    /// Whether the number does not tell: kernels of enterprise distributions take code over from newer ones and keep
    /// their number. The build is then worth trying.
    pub advisory: bool,
}

impl UnsupportedKernel {
    /// What to do about it, in one line.
    pub fn hint(&self) -> String {
        match LinuxVersion::parse(self.release.as_str()) {
            Some(version) if version < self.minimum => "take a newer kernel, or an older branch of zfs".to_owned(),
            _ => format!("pin the kernel to {} or older, or raise zfs", self.maximum),
        }
    }
}

impl ZfsKernels {
    /// Reads the text of META.
    pub fn parse(meta: &str) -> Result<Self, MetaError> {
        let value = |key: &'static str| {
            let field = |line: &str| {
                line.split_once(':').filter(|(name, _)| name.trim() == key).map(|(_, v)| v.trim().to_owned())
            };
            meta.lines().find_map(field).ok_or(MetaError { key })
        };
        let version = |key| LinuxVersion::parse(&value(key)?).ok_or(MetaError { key });
        Ok(Self { zfs: value("Version")?, minimum: version("Linux-Minimum")?, maximum: version("Linux-Maximum")? })
    }

    /// Whether `release` is supported. One whose number cannot be read is not.
    pub fn check(&self, release: &KernelRelease) -> Result<(), UnsupportedKernel> {
        let version = LinuxVersion::parse(release.as_str());
        if version.is_some_and(|version| self.minimum <= version && version <= self.maximum) {
            return Ok(());
        }
        Err(UnsupportedKernel {
            zfs: self.zfs.clone(),
            release: release.clone(),
            minimum: self.minimum,
            maximum: self.maximum,
            advisory: is_enterprise(release),
        })
    }
}

/// `.el9`, `.el10_1`: Red Hat's and what is built from the same sources.
fn is_enterprise(release: &KernelRelease) -> bool {
    let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    release.as_str().split('.').any(|word| word.strip_prefix("el").is_some_and(digit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const META: &str = "Meta:          1\nName:          zfs\nBranch:        1.0\nVersion:       2.2.11\nRelease:       1\n\
                        Linux-Maximum: 6.17\nLinux-Minimum: 4.18\n";

    #[test]
    fn kernels_are_held_against_meta() {
        let zfs = ZfsKernels::parse(META).unwrap();
        let expected = ZfsKernels { zfs: "2.2.11".into(), minimum: LinuxVersion(4, 18), maximum: LinuxVersion(6, 17) };
        assert_eq!(zfs, expected);
        for (release, advisory, hint) in [
            ("6.12.0-160.el10.x86_64", None, ""),
            ("6.17.13-300.fc43.x86_64", None, ""),
            ("4.18.0-553.el8.x86_64", None, ""),
            ("6.18.0-1.fc44.x86_64", Some(false), "pin the kernel to 6.17 or older, or raise zfs"),
            ("7.0.0-rc1+", Some(false), "pin the kernel to 6.17 or older, or raise zfs"),
            ("6.18.0-1.el11_0.x86_64", Some(true), "pin the kernel to 6.17 or older, or raise zfs"),
            ("3.10.0-1160.el7.x86_64", Some(true), "take a newer kernel, or an older branch of zfs"),
            ("6-el", Some(false), "pin the kernel to 6.17 or older, or raise zfs"),
        ] {
            let error = zfs.check(&KernelRelease::new(release).unwrap()).err();
            assert_eq!(error.as_ref().map(|error| error.advisory), advisory, "{release}");
            assert_eq!(error.map(|error| error.hint()).unwrap_or_default(), hint, "{release}");
        }
        let error = zfs.check(&KernelRelease::new("6.18.0").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "zfs 2.2.11 supports kernels 4.18 to 6.17, not 6.18.0");
        for (from, to, key) in [
            ("Linux-Maximum: 6.17", "", "Linux-Maximum"),
            ("4.18", "new", "Linux-Minimum"),
            ("4.18", "4.+8", "Linux-Minimum"),
            ("Version:", "Versions:", "Version"),
        ] {
            assert_eq!(ZfsKernels::parse(&META.replace(from, to)), Err(MetaError { key }));
        }
    }
}
