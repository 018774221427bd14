//! What a recipe's tables put into the image, as deltas.
//!
//! Every function is pure: tables, the tree so far and a time for files in, a [`TreeDelta`] out. Generated files belong
//! to root, have mode 0644 and that time, and are named for the image (`50-assemble-NAME`), so that an image built upon
//! another adds its files beside those of the other. Parent directories are left to the draft of the layer.
//!
//! [`configuration`] makes all of it at once.

mod error;
mod files;
mod kargs;
mod modules;
mod policy;
mod services;
mod systemd;

pub use error::GenerateError;
pub use files::{Accounts, files};
pub use kargs::{kargs, module_set_delta, module_set_karg};
pub use modules::modules;
pub use policy::{PolicyWarning, policy};
pub use services::{enable_links, services};
pub use systemd::{sysusers, tmpfiles};

use std::collections::BTreeMap;

use super::recipe::{Recipe, RecipePath};
use crate::image::Epoch;
use crate::tree::{Content, FileTree, Inode, MergeError, Meta, TreeDelta, TreePath};

/// Everything that the tables of `recipe` put into an image whose tree so far is `tree`: single files and links,
/// users, tmpfiles, modules, kernel arguments and services. `sources` has the content of each file that a `[[file]]`
/// names; `text` reads a file of the tree, and gives `None` for what it cannot read as text.
pub fn configuration(
    recipe: &Recipe,
    tree: &FileTree,
    sources: &BTreeMap<RecipePath, Content>,
    text: impl Fn(&Content) -> Option<String>,
    epoch: Epoch,
) -> Result<TreeDelta, GenerateError> {
    let image = recipe.image.name.as_str();
    let base_text = |path: &TreePath| tree.content(path).and_then(&text);
    let accounts = Accounts::of(tree, base_text, recipe);
    let mut delta = files(recipe, tree, sources, &accounts, epoch)?;
    for part in [
        sysusers(image, &recipe.users, &recipe.groups, epoch)?,
        tmpfiles(image, &recipe.tmpfiles, epoch)?,
        modules(image, &recipe.modules, epoch)?,
        kargs(image, &recipe.kargs, epoch)?,
    ] {
        delta = delta.then(&part);
    }
    if let Some(table) = &recipe.policy {
        delta = delta.then(&policy(image, table, tree, base_text, sources, epoch)?);
    }
    // Units and drop-ins may be among the files.
    let merged = tree.clone().apply(&delta).map_err(|source: MergeError| GenerateError::Merge { source })?;
    let merged_text = |path: &TreePath| merged.content(path).and_then(&text);
    Ok(delta.then(&services(&recipe.services, image, &merged, merged_text, epoch)?))
}

/// A delta of one generated file; of nothing when there is no text.
fn generated(path: &str, text: &str, epoch: Epoch) -> Result<TreeDelta, GenerateError> {
    let mut delta = TreeDelta::new();
    if !text.is_empty() {
        let meta = Meta::root_owned(0o644, epoch.seconds());
        delta.insert(tree_path(path)?, Inode::file(meta, Content::of(format!("{HEAD}{text}"))));
    }
    Ok(delta)
}

/// The first line of generated files: they are not to be edited, because the recipe is.
const HEAD: &str = "# Made by assemble from the recipe.\n";

fn tree_path(path: &str) -> Result<TreePath, GenerateError> {
    TreePath::new(path).map_err(|source| GenerateError::Path { source })
}

#[cfg(test)]
mod tests;
