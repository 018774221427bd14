//! `[[stage]]`: what becomes a layer of its own.

use serde::{Deserialize, Serialize};

use super::path::RecipePath;
use crate::tree::TreePath;

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Name, unique in the recipe.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub kind: StageKind,
}

/// What a stage does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StageKind {
    /// Files as they are.
    Files(Files),
    /// Modules that are built already.
    Modules(BuiltModules),
    /// Modules compiled by DKMS.
    Dkms(Dkms),
    /// `OpenZFS`.
    Zfs(Zfs),
    /// NVIDIA's open modules and their driver.
    NvidiaOpen(NvidiaOpen),
}

/// Files as they are, owned by root.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    /// A directory or a tar archive.
    pub source: RecipePath,
    /// The directory of the image they go into.
    #[serde(with = "super::tree_path")]
    pub into: TreePath,
}

/// Modules that are built already.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BuiltModules {
    /// One directory, or `.ko` files.
    #[serde(with = "super::one_or_many")]
    pub source: Vec<RecipePath>,
    /// Kernel release; that of the base when absent.
    pub kernel: Option<String>,
}

/// What all stages that compile in a builder have.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Compiled {
    /// `.repo` files.
    pub repositories: Vec<RecipePath>,
    /// Patches, in order.
    pub patches: Vec<RecipePath>,
    /// Paths of the base that may be replaced.
    #[serde(with = "super::tree_path::list", rename = "override")]
    pub overrides: Vec<TreePath>,
    /// What the package database of the image learns.
    pub record: Record,
}

/// What the package database of the image learns of copied files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// Nothing.
    #[default]
    None,
    /// The packages, as `rpm --justdb` records them.
    Justdb,
}

/// Modules compiled by DKMS.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dkms {
    /// Packages with DKMS sources.
    pub packages: Vec<String>,
    /// Modules that must come out; those of dkms.conf when empty.
    pub modules: Vec<String>,
    /// `=VERSION`.
    pub version: Option<String>,
    /// Packages whose files go into the image.
    pub userspace: Vec<String>,
    /// How it is built.
    #[serde(flatten)]
    pub compiled: Compiled,
}

/// `OpenZFS`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Zfs {
    /// Release branch, such as `2.2`.
    pub branch: String,
    /// `=VERSION`; the newest of the branch when absent.
    pub version: Option<String>,
    /// How it is built.
    #[serde(flatten)]
    pub compiled: Compiled,
}

/// NVIDIA's open modules, driver libraries, firmware and container toolkit.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NvidiaOpen {
    /// `=VERSION` of modules, driver and firmware.
    pub version: String,
    /// `=VERSION` of the container toolkit; the newest when absent.
    pub toolkit: Option<String>,
    /// How it is built.
    #[serde(flatten)]
    pub compiled: Compiled,
}

impl StageKind {
    /// The word that stands for it in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::Modules(_) => "modules",
            Self::Dkms(_) => "dkms",
            Self::Zfs(_) => "zfs",
            Self::NvidiaOpen(_) => "nvidia-open",
        }
    }

    /// What the package database of the image learns of its files.
    pub fn record(&self) -> Record {
        match self {
            Self::Files(_) | Self::Modules(_) => Record::None,
            Self::Dkms(Dkms { compiled, .. })
            | Self::Zfs(Zfs { compiled, .. })
            | Self::NvidiaOpen(NvidiaOpen { compiled, .. }) => compiled.record,
        }
    }
}
