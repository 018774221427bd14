//! Checks on a finished image: is it one that bootc deploys and that boots into what was meant?
//!
//! [`LINTS`] is the table: name, level, description and function of each. The first part has the names and the meaning
//! of `bootc container lint` (bootc 1.16.9, `lib/src/lints.rs`), judged on the merged tree without extracting it; the
//! second part is what bootc does not look at. All files that lints read are fetched in one pass before any lint runs.
//! A lint that cannot do its work is an error of the run, never a silent pass; what is deliberately not checked is
//! skipped by name with a reason, and the report says so.

mod bootc;
mod config;
mod forbidden;
mod gather;
mod kernel;
mod layers;
mod libraries;
mod modules;
mod names;
mod report;
mod rules;
mod sealed;
mod table;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

pub use gather::wanted;
pub use report::{Finding, LintReport, Severity, Skipped};
pub use rules::{PACKAGES, PATHS, PackageRule, PathRule, When};
pub use table::{LINTS, Lint, Origin};

use crate::elf::ElfError;
use crate::image::Digest;
use crate::layer::{Contents, Violations, WholeError};
use crate::pkgdb::{Packages, PkgDbError};
use crate::tree::{FileTree, TreePath};
use gather::Facts;

/// An image, as far as lints look at it.
#[derive(Clone, Copy)]
pub struct LintInput<'a> {
    /// The merged tree of all layers.
    pub tree: &'a FileTree,
    /// The bytes of its files.
    pub contents: &'a dyn Contents,
    /// Config and manifest.
    pub image: &'a ImageFacts,
    /// Layers from the bottom up.
    pub layers: &'a [LayerFacts],
    /// The paths that were added or changed over the base; `None` when that is not known. Then the libraries and
    /// modules of the whole tree are checked, and what a base may rightfully have is not held against the image.
    pub added: Option<&'a BTreeSet<TreePath>>,
    /// Installed packages, when they were read already; else they are read with the other files.
    pub packages: Option<&'a Packages>,
    /// What the recipe forbids besides the built-in list.
    pub forbid: &'a Forbid,
}

impl std::fmt::Debug for LintInput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LintInput").field("image", &self.image).field("layers", &self.layers).finish_non_exhaustive()
    }
}

/// What lints look at of config and manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// `architecture` of the config.
    pub architecture: String,
    /// `os` of the config.
    pub os: String,
    /// `created` of the config.
    pub created: Option<String>,
    /// Labels of the config.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// What lints look at of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFacts {
    /// Digest of the blob.
    pub digest: Digest,
    /// Digest of the uncompressed stream.
    pub diff_id: Digest,
    /// Media type of its descriptor.
    pub media_type: String,
    /// Rules that its stream breaks.
    pub violations: Violations,
    /// Whether we made it; what a base's layer breaks is only worth a warning.
    pub ours: bool,
}

/// What a recipe forbids, added to [`PACKAGES`] and [`PATHS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forbid {
    /// Names of packages; `*` and `?` stand for anything and for one character.
    pub packages: Vec<String>,
    /// Patterns of paths, as [`Pattern`](crate::tree::glob::Pattern) reads them.
    pub paths: Vec<String>,
}

/// What to run and how to judge it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LintOptions {
    /// Lints left out, each with the reason.
    pub skip: BTreeMap<String, String>,
    /// Whether warnings make the image fail too.
    pub fatal_warnings: bool,
}

/// Why the lints could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LintError {
    /// There is no lint of this name.
    #[error("there is no lint {name:?}{}", .suggestion.map(|near| format!(", did you mean {near:?}?")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name that exists.
        suggestion: Option<&'static str>,
    },
    /// A lint is skipped without saying why.
    #[error("lint {name:?} is skipped without a reason")]
    NoReason {
        /// The lint.
        name: String,
    },
    /// The files could not be fetched.
    #[error("cannot read the files of the image")]
    Fetch(#[source] io::Error),
    /// The files to be read whole are too large together.
    #[error("with {path} the files that lints read have more than {limit} bytes")]
    TooMuch {
        /// The file with which they are.
        path: TreePath,
        /// The limit of all of its kind together, bytes.
        limit: u64,
    },
    /// One file could not be read.
    #[error(transparent)]
    Read(#[from] WholeError),
    /// The linker's configuration or a library could not be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The package database could not be read.
    #[error(transparent)]
    Packages(#[from] PkgDbError),
}

/// The input with what was fetched for it.
struct Subject<'a> {
    input: &'a LintInput<'a>,
    tree: &'a FileTree,
    facts: Facts<'a>,
    /// Without their files, unless it is not known what was added.
    packages: Option<&'a Packages>,
    owners: OnceCell<Option<Packages>>,
}

impl Subject<'_> {
    /// The package that `path` is from, when packages are looked at.
    fn owner(&self, path: &TreePath) -> Result<Option<String>, LintError> {
        let known = self.input.packages.is_some() || self.input.added.is_none();
        if known || self.packages.is_none() {
            return Ok(self.packages.and_then(|packages| packages.owner(path)).map(ToString::to_string));
        }
        if self.owners.get().is_none() {
            let _ = self.owners.set(gather::owners(self.input)?);
        }
        let owners = self.owners.get().and_then(Option::as_ref);
        Ok(owners.and_then(|packages| packages.owner(path)).map(ToString::to_string))
    }

    /// Whether it is known that `path` was added over the base.
    fn was_added(&self, path: &TreePath) -> bool {
        self.input.added.is_some_and(|added| added.contains(path))
    }
}

/// Runs all lints that `options` does not skip.
pub fn lint(input: &LintInput, options: &LintOptions) -> Result<LintReport, LintError> {
    let skipped = skips(options)?;
    let facts = Facts::gather(input)?;
    let asked = input.packages.is_none() && !options.skip.contains_key(table::FORBIDDEN_PACKAGES);
    let depth = if input.added.is_some() { crate::pkgdb::installed } else { crate::pkgdb::read };
    let read = if asked { depth(input.tree, &facts.contents)? } else { None };
    let packages = input.packages.or(read.as_ref());
    let subject = Subject { input, tree: input.tree, facts, packages, owners: OnceCell::new() };
    let mut findings = Vec::new();
    for lint in LINTS.iter().filter(|lint| !options.skip.contains_key(lint.name)) {
        findings.extend(report::findings(lint, &lint.run.call(&subject)?));
    }
    Ok(LintReport::new(findings, skipped, options.fatal_warnings))
}

/// The skipped lints, when all of them exist and have a reason.
fn skips(options: &LintOptions) -> Result<Vec<Skipped>, LintError> {
    let mut skipped = Vec::new();
    for (name, reason) in &options.skip {
        let Some(lint) = LINTS.iter().find(|lint| lint.name == name) else {
            return Err(LintError::Unknown { name: name.clone(), suggestion: nearest(name) });
        };
        if reason.trim().is_empty() {
            return Err(LintError::NoReason { name: name.clone() });
        }
        skipped.push(Skipped { lint: lint.name, reason: reason.clone() });
    }
    Ok(skipped)
}

/// The least likeness of a name worth suggesting (Jaro-Winkler).
const LIKENESS: f64 = 0.75;

fn nearest(name: &str) -> Option<&'static str> {
    let scored = LINTS.iter().map(|lint| (strsim::jaro_winkler(name, lint.name), lint.name));
    scored.filter(|(score, _)| *score >= LIKENESS).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
