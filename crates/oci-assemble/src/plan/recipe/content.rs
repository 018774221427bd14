//! The tables that say what is in the image and how it behaves, as values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::path::RecipePath;
use super::spec::KeySource;
use crate::tree::TreePath;

/// `[[file]]`: one file of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it goes.
    #[serde(with = "super::tree_path")]
    pub path: TreePath,
    /// Its bytes.
    #[serde(flatten)]
    pub body: Body,
    /// Permission bits.
    #[serde(default = "plain_file")]
    pub mode: u32,
    /// User.
    #[serde(default)]
    pub owner: Owner,
    /// Group.
    #[serde(default)]
    pub group: Owner,
}

/// Everyone reads, only root writes.
fn plain_file() -> u32 {
    0o644
}

/// Where the bytes of a file come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// The text itself.
    Content(String),
    /// A file below the recipe root.
    Source(RecipePath),
}

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Owner {
    /// By number.
    Id(u32),
    /// By name, looked up in the merged tree.
    Name(String),
}

impl Default for Owner {
    fn default() -> Self {
        Self::Id(0)
    }
}

/// `[[symlink]]`: one symbolic link of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// Where it goes.
    #[serde(with = "super::tree_path")]
    pub path: TreePath,
    /// What it points at.
    pub target: String,
}

/// `[[remove]]`: something of the base that the image shall not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// What goes, with everything below it.
    #[serde(with = "super::tree_path")]
    pub path: TreePath,
}

/// `[[user]]`: a system user.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// Name, by systemd's strict rule.
    pub name: String,
    /// Number.
    pub uid: Option<u32>,
    /// Primary group, by name.
    pub group: Option<String>,
    /// Full name.
    pub description: Option<String>,
    /// Home directory, absolute.
    pub home: Option<String>,
    /// Login shell, absolute.
    pub shell: Option<String>,
    /// Other groups.
    pub groups: Vec<String>,
}

/// `[[group]]`: a system group.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// Name, by systemd's strict rule.
    pub name: String,
    /// Number.
    pub gid: Option<u32>,
}

/// `[[tmpfile]]`: a line of tmpfiles.d(5).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tmpfile {
    /// The line, without its end.
    pub line: String,
}

/// `[services]`: units by name.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Services {
    /// Units to start.
    pub enable: Vec<String>,
    /// Units not to start.
    pub disable: Vec<String>,
    /// Units that nothing may start.
    pub mask: Vec<String>,
}

/// `[kargs]`: kernel arguments.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kargs {
    /// One argument an element, ASCII, blanks only inside quotes.
    pub append: Vec<String>,
    /// Machines they are for, by the names of Rust; all when empty.
    pub match_architectures: Vec<String>,
}

/// `[modules]`: kernel modules at run time.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Modules {
    /// Loaded at boot.
    pub load: Vec<String>,
    /// Options by module.
    pub options: BTreeMap<String, String>,
    /// Not loaded by alias.
    pub blacklist: Vec<String>,
    /// What staged modules are signed with.
    pub sign: Option<ModuleKey>,
}

/// A key that firmware or the kernel knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleKey {
    /// Private key.
    pub key: KeySource,
    /// Certificate.
    pub certificate: RecipePath,
}
