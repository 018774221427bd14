//! Recipes: what people write to say what an image shall be.
//!
//! A recipe is TOML, read strictly: an unknown key is an error with its place and the key that was probably meant.
//! The path from text to value:
//!
//! ```text
//! text ─▶ tree of values with places ─▶ checked against the table of keys ─▶ merged over what it extends
//!      ─▶ consistent as a whole ─▶ Recipe
//! ```
//!
//! * *recipe root*: the directory that files named by a recipe may not leave ([`recipe_root`]).
//! * *place*, [`Origin`]: file, line and column of a value; kept through the merge, so that a merged recipe can say
//!   where each value came from ([`Merged`]).
//!
//! All checks that need only the text happen here, so what follows can rely on the forms that [`spec`]'s comments
//! name. `docs/recipe.md` describes every key; its tables are made from the same table that drives the checks.

mod available;
mod check;
mod consistency;
mod content;
mod document;
mod error;
mod load;
mod merge;
mod one_or_many;
mod path;
mod reference;
mod render;
mod rule;
mod schema;
pub mod spec;
mod stage;
mod tables;
mod text;
mod tree_path;
mod trust;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use available::Unavailable;
pub use document::{KeyPath, Origin};
pub use error::{RecipeError, RecipeFault, Suggestion};
pub use load::{EXTENDS_MAX, Merged, RECIPE_MAX};
pub use path::{RecipePath, RootError, recipe_root};
pub use reference::reference;
pub use rule::ValueFault;
pub use stage::{BuiltModules, Compiled, Dkms, Files, NvidiaOpen, Record, Stage, StageKind, Zfs};
pub use trust::{
    Attestation, Match, Policy, PolicyDefault, Publish, Signature, SignatureFormat, Trust, TrustedSigner, Upgrade,
};

use crate::image::Digest;

/// A recipe, with everything it extends merged in.
///
/// Paths of files are relative to the recipe root. The JSON form reads back as an equal value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Version of the format: 1.
    pub schema: u32,
    /// What the image is called.
    pub image: spec::Image,
    /// What layers are added to.
    pub base: spec::Base,
    /// The kernel that modules are built for.
    #[serde(default)]
    pub kernel: spec::Kernel,
    /// Distribution packages.
    #[serde(default)]
    pub packages: spec::Packages,
    /// What becomes a layer of its own, in order.
    #[serde(default, rename = "stage")]
    pub stages: Vec<Stage>,
    /// Single files.
    #[serde(default, rename = "file")]
    pub files: Vec<spec::File>,
    /// Single symbolic links.
    #[serde(default, rename = "symlink")]
    pub symlinks: Vec<spec::Symlink>,
    /// What goes from the base.
    #[serde(default, rename = "remove")]
    pub removes: Vec<spec::Remove>,
    /// System users.
    #[serde(default, rename = "user")]
    pub users: Vec<spec::User>,
    /// System groups.
    #[serde(default, rename = "group")]
    pub groups: Vec<spec::Group>,
    /// Lines of tmpfiles.d.
    #[serde(default, rename = "tmpfile")]
    pub tmpfiles: Vec<spec::Tmpfile>,
    /// Units.
    #[serde(default)]
    pub services: spec::Services,
    /// Kernel arguments.
    #[serde(default)]
    pub kargs: spec::Kargs,
    /// Kernel modules at run time.
    #[serde(default)]
    pub modules: spec::Modules,
    /// What the image must not have.
    #[serde(default)]
    pub forbid: spec::Forbid,
    /// How the image is cut into layers.
    #[serde(default)]
    pub layers: spec::Layers,
    /// Rules that do not apply.
    #[serde(default)]
    pub lint: spec::Lint,
    /// Where the image is written.
    #[serde(default)]
    pub output: spec::Output,
    /// Where the image is pushed.
    #[serde(default)]
    pub publish: Publish,
    /// Whom the hosts trust.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Statements on vulnerabilities.
    #[serde(default)]
    pub vex: spec::Vex,
    /// The containers that compile and install.
    #[serde(default)]
    pub builder: spec::Builder,
    /// The recipe files it was read from, with the digest of their text.
    #[serde(default)]
    pub sources: BTreeMap<RecipePath, Digest>,
    digest: Digest,
}

impl Recipe {
    /// Reads a recipe that extends no other. `file` is its path relative to the recipe root: paths of files are
    /// relative to it, and messages name it.
    pub fn parse(text: &str, file: &str) -> Result<Self, RecipeError> {
        Merged::parse(text, file).map(|merged| merged.recipe)
    }

    /// The digest of the recipe, all it extends included: over the canonical JSON (sorted keys, no blanks) of its
    /// values and of the digests of its files. What stands in the files that it names does not count.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

#[cfg(test)]
mod tests;
