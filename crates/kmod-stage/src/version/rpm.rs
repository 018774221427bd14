//! `[EPOCH:]VERSION[-RELEASE]` as rpm has it (rpm-version(7)).
//!
//! The order is that of the crate `rpm-version`. Its types are not used: they accept any text, split it at the first
//! dash where rpm splits at the last, and take for unequal what their order takes for equal.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use rpm_version::Evr;

use super::{Family, VERSION_MAX, VersionError, VersionFault, characters, split_epoch};

/// What rpmbuild allows in versions and releases beside letters and digits (`ALLOWED_CHARS_VERREL`).
const ALLOWED: &str = "._+~^";

/// The version of an rpm package.
///
/// Laws: `rpm.vercmp` of rpm's Lua gives the same order; `version.to_string().parse() == Ok(version)`.
#[derive(Clone, Debug)]
pub struct RpmVersion {
    epoch: u32,
    version: String,
    release: Option<String>,
}

impl RpmVersion {
    /// From its parts, as metadata of repositories has them; `release` is missing in some requirements only.
    pub fn new(epoch: u32, version: &str, release: Option<&str>) -> Result<Self, VersionError> {
        let whole = || format!("{epoch}:{version}-{}", release.unwrap_or_default());
        let refuse = |fault| VersionError::new(&whole(), Family::Rpm, fault);
        if i32::try_from(epoch).is_err() {
            return Err(refuse(VersionFault::Epoch));
        }
        if whole().len() > VERSION_MAX {
            return Err(refuse(VersionFault::TooLong));
        }
        if version.is_empty() {
            return Err(refuse(VersionFault::NoVersion));
        }
        if release == Some("") {
            return Err(refuse(VersionFault::NoRelease));
        }
        characters(version, ALLOWED).and_then(|()| characters(release.unwrap_or_default(), ALLOWED)).map_err(refuse)?;
        Ok(Self { epoch, version: version.to_owned(), release: release.map(str::to_owned) })
    }

    /// The epoch; 0 where none was given.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The version of the program.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The release of the package.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }
}

/// The order of two versions or two releases.
fn compare(a: &str, b: &str) -> Ordering {
    Evr::new("", a, "").cmp(&Evr::new("", b, ""))
}

impl Ord for RpmVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let releases = || match (&self.release, &other.release) {
            (Some(a), Some(b)) => compare(a, b),
            // rpm sorts a missing release first.
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        let versions = || compare(&self.version, &other.version);
        self.epoch.cmp(&other.epoch).then_with(versions).then_with(releases)
    }
}

impl PartialOrd for RpmVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RpmVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RpmVersion {}

impl FromStr for RpmVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, rest) = split_epoch(text).map_err(|fault| VersionError::new(text, Family::Rpm, fault))?;
        let (version, release) = rest.rsplit_once('-').map_or((rest, None), |(v, r)| (v, Some(r)));
        Self::new(epoch, version, release).map_err(|error| VersionError::new(text, Family::Rpm, error.fault))
    }
}

impl fmt::Display for RpmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch != 0 {
            write!(f, "{}:", self.epoch)?;
        }
        f.write_str(&self.version)?;
        self.release.iter().try_for_each(|release| write!(f, "-{release}"))
    }
}
