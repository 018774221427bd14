//! Packages, as locks name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::image::Digest;

/// One package file: `NAME VERSION ARCHITECTURE DIGEST`.
///
/// Law: `package.to_string().parse() == Ok(package)`, for fields that are printable ASCII without blanks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Package {
    /// Its name.
    pub name: String,
    /// `[epoch:]version[-release]`.
    pub version: String,
    /// Architecture, as the package manager names it.
    pub arch: String,
    /// Digest of the package file.
    pub checksum: Digest,
}

/// A text that names no package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not NAME VERSION ARCHITECTURE DIGEST")]
pub struct PackageError {
    /// The text, cut to 160 characters.
    pub text: String,
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, arch, checksum } = self;
        write!(f, "{name} {version} {arch} {checksum}")
    }
}

impl FromStr for Package {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, PackageError> {
        let words: Vec<&str> = text.split(' ').collect();
        let plain = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        let package =
            match words[..] {
                [name, version, arch, checksum] if words.iter().all(plain) => checksum.parse().ok().map(|checksum| {
                    Self { name: name.to_owned(), version: version.to_owned(), arch: arch.to_owned(), checksum }
                }),
                _ => None,
            };
        package.ok_or_else(|| PackageError { text: text.chars().take(160).collect() })
    }
}

impl From<Package> for String {
    fn from(package: Package) -> Self {
        package.to_string()
    }
}

impl TryFrom<String> for Package {
    type Error = PackageError;

    fn try_from(text: String) -> Result<Self, PackageError> {
        text.parse()
    }
}
