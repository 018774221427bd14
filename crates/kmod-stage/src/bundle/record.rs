//! What is known of a staged result beside its files.

use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::image::Digest;
use oci_assemble::tree::TreePath;
use serde::{Deserialize, Serialize};

/// Where a staged result comes from and what it holds, as the stage states it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRecord {
    /// Kind of the stage, as recipes spell it.
    pub kind: String,
    /// Name of the stage.
    pub stage: String,
    /// Release of the kernel it is for, when it is for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Manifest digest of the image that the builder ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder: Option<Digest>,
    /// Digests of what was built from (archives, patches, scripts), by name.
    pub sources: BTreeMap<String, Digest>,
    /// Packages that the content comes from, or was built from.
    pub packages: BTreeSet<PackageRecord>,
    /// The kernel modules of the content: all of them, see [`read_modules`](super::read_modules).
    pub modules: BTreeSet<ModuleRecord>,
    /// Files of the packages that were left out, counted by the rule that excluded them.
    pub exclusions: BTreeMap<String, u64>,
    /// Units that the packages ask to have enabled.
    pub services: BTreeSet<String>,
    /// Lines of the packages' systemd preset files, in the order in which they count.
    pub presets: Vec<String>,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRecord {
    /// Its name.
    pub name: String,
    /// `[epoch:]version[-release]`.
    pub version: String,
    /// Architecture, as the package manager names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Digest of the package file, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Digest>,
    /// What the package was built from: file name of the source rpm, or name of the Debian source package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A kernel module of the content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleRecord {
    /// Where it is in the image.
    #[serde(with = "path_text")]
    pub path: TreePath,
    /// The name it has in the kernel.
    pub name: String,
    /// Release and options of the kernel it was built for.
    pub vermagic: String,
    /// Checksum of its sources, when the build recorded one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub srcversion: Option<String>,
    /// Names of the modules it needs, in the order of the file.
    pub depends: Vec<String>,
    /// Digest of the file as it is, compressed or not.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
}

/// Paths as text: a slash in front, and what is not printable escaped (`tree::Escaped`).
mod path_text {
    use oci_assemble::tree::{TreePath, unescape};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(path: &TreePath, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(path)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TreePath, D::Error> {
        let text = String::deserialize(deserializer)?;
        let path = text.strip_prefix('/').and_then(unescape).and_then(|bytes| TreePath::new(bytes).ok());
        path.ok_or_else(|| de::Error::custom(format_args!("{text:?} is no path of an image")))
    }
}
