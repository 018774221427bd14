//! Versions of distribution packages, in the order of their package managers.
//!
//! Which kernel is newer is decided by the distribution's own rules, not by text: `6.12.0-99` is older than
//! `6.12.0-160`, and `7.0~rc1` older than `7.0`. Terms: the *epoch* stands before everything else, the *version* is that
//! of the program, the *release* (rpm) or *revision* (Debian) that of its package. Two versions are equal when the
//! package manager takes them for equal, however they are written: `1.0` and `1.00`, `0:1` and `1`.

mod debian;
mod rpm;

use std::cmp::Ordering;
use std::fmt;

pub use debian::DebianVersion;
pub use rpm::RpmVersion;

/// Longest version that is read; the longest of a distribution has some 60 characters.
const VERSION_MAX: usize = 255;

/// Whose packages they are: each family has its own order of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Fedora, CentOS Stream, RHEL.
    Rpm,
    /// Debian, Ubuntu.
    Debian,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rpm => "rpm",
            Self::Debian => "Debian",
        })
    }
}

/// Why a text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {family} version: {fault}")]
pub struct VersionError {
    /// The text, cut to 255 characters.
    pub text: String,
    /// Whose rules it breaks.
    pub family: Family,
    /// Which.
    pub fault: VersionFault,
}

impl VersionError {
    fn new(text: &str, family: Family, fault: VersionFault) -> Self {
        Self { text: text.chars().take(VERSION_MAX).collect(), family, fault }
    }
}

/// What is wrong with the text of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionFault {
    /// Epochs are counted.
    #[error("its epoch is no number up to {}", i32::MAX)]
    Epoch,
    /// Nothing but an epoch or a release.
    #[error("its version is empty")]
    NoVersion,
    /// A dash with nothing behind it.
    #[error("its release is empty")]
    NoRelease,
    /// A character that the packaging rules do not allow there.
    #[error("it contains {0:?}")]
    Character(char),
    /// Longer than a version can be.
    #[error("it is longer than {VERSION_MAX} characters")]
    TooLong,
}

/// A version of either family. Versions of two families have no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageVersion {
    /// Of an rpm package.
    Rpm(RpmVersion),
    /// Of a Debian package.
    Debian(DebianVersion),
}

impl PackageVersion {
    /// Reads a version by the rules of `family`.
    pub fn parse(text: &str, family: Family) -> Result<Self, VersionError> {
        match family {
            Family::Rpm => text.parse().map(Self::Rpm),
            Family::Debian => text.parse().map(Self::Debian),
        }
    }

    /// Whose rules it follows.
    pub fn family(&self) -> Family {
        match self {
            Self::Rpm(_) => Family::Rpm,
            Self::Debian(_) => Family::Debian,
        }
    }
}

impl PartialOrd for PackageVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Rpm(a), Self::Rpm(b)) => Some(a.cmp(b)),
            (Self::Debian(a), Self::Debian(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rpm(version) => version.fmt(f),
            Self::Debian(version) => version.fmt(f),
        }
    }
}

impl From<RpmVersion> for PackageVersion {
    fn from(version: RpmVersion) -> Self {
        Self::Rpm(version)
    }
}

impl From<DebianVersion> for PackageVersion {
    fn from(version: DebianVersion) -> Self {
        Self::Debian(version)
    }
}

/// Takes the epoch, a number of at most 31 bits in either family, off the front.
fn split_epoch(text: &str) -> Result<(u32, &str), VersionFault> {
    let Some((epoch, rest)) = text.split_once(':') else { return Ok((0, text)) };
    let digits = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
    let epoch = if digits { epoch.parse().ok() } else { None };
    epoch.filter(|epoch| i32::try_from(*epoch).is_ok()).map(|epoch| (epoch, rest)).ok_or(VersionFault::Epoch)
}

/// Refuses characters other than letters, digits and those of `also`.
fn characters(text: &str, also: &str) -> Result<(), VersionFault> {
    let strange = text.chars().find(|c| !c.is_ascii_alphanumeric() && !also.contains(*c));
    strange.map_or(Ok(()), |c| Err(VersionFault::Character(c)))
}

#[cfg(test)]
mod tests;
