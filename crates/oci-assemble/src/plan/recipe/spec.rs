//! The tables of a recipe as values. `recipe.md` in the documentation says what each key means; here is what the
//! program gets. Strings have been checked against the form that their comment names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use super::content::{
    Body, File, Group, Kargs, ModuleKey, Modules, Owner, Remove, Services, Symlink, Tmpfile, User,
};
use super::path::RecipePath;
use crate::image::{ImageReference, Platform};

/// `[image]`: what the image is called.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Image {
    /// Short name: lower case, digits and single separators.
    pub name: String,
    /// One line for people.
    pub title: Option<String>,
    /// A sentence.
    pub description: Option<String>,
    /// Version label; the base's when absent.
    pub version: Option<String>,
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What to build for; the base's platform when empty.
    #[serde(with = "super::text::list")]
    pub platforms: Vec<Platform>,
}

/// `[base]`: the image that layers are added to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The image; the path of a layout is relative to the current directory.
    #[serde(with = "super::text")]
    pub image: ImageReference,
    /// A copy.
    #[serde(default, with = "super::text::option")]
    pub mirror: Option<ImageReference>,
    /// Who must have signed it.
    #[serde(default)]
    pub verify: Option<Verify>,
}

/// Who must have signed an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Verify {
    /// The owner of a key.
    Key {
        /// Public key, PEM.
        key: RecipePath,
    },
    /// An identity in a certificate.
    Identity {
        /// E-mail address or URI.
        identity: String,
        /// `https://` URL of the issuer.
        issuer: String,
        /// The trust root; that of sigstore's public instance when absent.
        #[serde(default)]
        root: Option<RecipePath>,
    },
}

/// `[kernel]`: the kernel that modules are built for.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    /// What the kernel follows.
    pub pin: KernelPin,
    /// `.repo` files.
    pub repositories: Vec<RecipePath>,
}

/// What the kernel of an image follows.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum KernelPin {
    /// The kernel of the base image.
    #[default]
    Base,
    /// The newest that kernel-devel is there for.
    Devel,
    /// One release.
    Exact(String),
}

impl From<String> for KernelPin {
    fn from(text: String) -> Self {
        match (text.as_str(), text.strip_prefix('=')) {
            ("devel", _) => Self::Devel,
            (_, Some(release)) => Self::Exact(release.to_owned()),
            _ => Self::Base,
        }
    }
}

impl From<KernelPin> for String {
    fn from(pin: KernelPin) -> Self {
        match pin {
            KernelPin::Base => "base".to_owned(),
            KernelPin::Devel => "devel".to_owned(),
            KernelPin::Exact(release) => format!("={release}"),
        }
    }
}

/// `[packages]`: distribution packages.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Packages {
    /// `.repo` files.
    pub repositories: Vec<RecipePath>,
    /// Packages to be there.
    pub install: Vec<String>,
    /// Packages to be gone.
    pub remove: Vec<String>,
    /// Packages to be there in a version that may be older.
    pub downgrade: Vec<String>,
}

/// Where a private key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum KeySource {
    /// In the environment variable of this name; only the binary reads it.
    Environment(String),
    /// In a file below the recipe root.
    File(String),
}

impl From<String> for KeySource {
    fn from(text: String) -> Self {
        match text.strip_prefix("env:") {
            Some(name) => Self::Environment(name.to_owned()),
            None => Self::File(text),
        }
    }
}

impl From<KeySource> for String {
    fn from(source: KeySource) -> Self {
        match source {
            KeySource::Environment(name) => format!("env:{name}"),
            KeySource::File(path) => path,
        }
    }
}

/// `[forbid]`: what the finished image must not have.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forbid {
    /// Package names.
    pub packages: Vec<String>,
    /// Patterns of paths, for [`Pattern::new`](crate::tree::glob::Pattern::new).
    pub paths: Vec<String>,
}

/// `[layers]`: how the image is cut into layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layers {
    /// Keep the base's layers or not.
    pub mode: LayerMode,
    /// The most layers that rechunking makes.
    pub max: u32,
    /// A map from paths to components, for rechunking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<RecipePath>,
    /// The image whose layers are kept; the one being replaced when absent.
    #[serde(with = "super::text::option", skip_serializing_if = "Option::is_none")]
    pub previous: Option<ImageReference>,
    /// Whether times of installation in rpm's database become those of building, when rechunking.
    #[serde(skip_serializing_if = "is_false")]
    pub normalize_rpmdb: bool,
    /// Algorithm of new layers.
    pub compression: Compression,
    /// Effort.
    pub level: Level,
}

impl Default for Layers {
    /// 64 layers: what images of the rpm-ostree family have, so clients and registries are known to cope.
    fn default() -> Self {
        let (mode, compression, level) = (LayerMode::default(), Compression::default(), Level::default());
        Self { mode, max: 64, components: None, previous: None, normalize_rpmdb: false, compression, level }
    }
}

/// A recipe that says nothing of a later key has the digest that it had before there was the key.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What becomes of the base's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerMode {
    /// They stay, and others follow.
    #[default]
    Append,
    /// All files are distributed over new layers.
    Full,
}

/// Algorithm of new layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// zstd.
    #[default]
    Zstd,
    /// gzip.
    Gzip,
}

/// Effort of the compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For tries.
    Fast,
    /// For builds.
    #[default]
    Default,
    /// For releases.
    Small,
    /// Whatever it takes.
    Max,
}

/// `[lint]`: checks of the finished image.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lint {
    /// Rules that do not apply.
    pub skip: Vec<LintSkip>,
    /// Whether the image's own bootc judges it, too.
    pub bootc: OwnBootc,
}

/// Whether the bootc that an image carries judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnBootc {
    /// Where the image has one, and podman can run it; it is said where that is not so.
    #[default]
    Auto,
    /// An image without one, or a machine that cannot run it, is an error.
    Require,
    /// No.
    Off,
}

/// One rule that does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LintSkip {
    /// Name of the rule.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// `[output]`: where the image is written.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// The image; the path of a layout is relative to the current directory.
    #[serde(with = "super::text::option")]
    pub image: Option<ImageReference>,
}

/// `[vex]`: statements on vulnerabilities.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vex {
    /// `OpenVEX` documents.
    pub statements: Vec<RecipePath>,
}

/// `[builder]`: the containers that compile and install.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Builder {
    /// What builders that compile start from; the base image when absent.
    #[serde(with = "super::text::option")]
    pub image: Option<ImageReference>,
    /// OCI runtime: crun or runc.
    pub runtime: Option<String>,
    /// `--OPTION=VALUE` for podman-run(1), from the list of harmless options.
    pub arguments: Vec<String>,
    /// Repository with results of builders.
    #[serde(with = "super::text::option")]
    pub bundles: Option<ImageReference>,
}
