//! The last stage of every recipe: what its tables put into the image.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cap_std::fs::Dir;

use super::files::pin;
use super::generate::{GenerateError, configuration, module_set_delta};
use super::recipe::spec::{self, Body};
use super::recipe::{Policy, Recipe, RecipePath};
use super::step::{Pinned, Produced, Stage, StageError, View};
use crate::elf::is_module_name;
use crate::image::{Digest, Epoch, Hasher};
use crate::layer::Contents;
use crate::store::dir::{DirError, HostContents, file};
use crate::tree::{Content, FileTree, Inode, Meta, TreeDelta, TreePath};

/// Where kernels have their modules.
const MODULES: &str = "usr/lib/modules";
/// Where the files are that [`configuration`] may read: units, what registries are asked for, and accounts.
const READ: [&str; 6] = [
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "etc/containers/registries.d",
    "etc",
    "usr/lib",
];
/// How many of them are read whole.
const WHOLE: usize = 4;
/// Text files of a system are smaller than this, in bytes.
const TEXT_MAX: u64 = 1 << 20;

/// The tables of a recipe as a stage.
#[derive(Debug)]
pub struct ConfigurationStage {
    recipe: Recipe,
    root: Dir,
}

/// Why the configuration cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// A table does not fit the image.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A file of the recipe cannot be used.
    #[error(transparent)]
    Source(#[from] DirError),
    /// A file of the image could not be read.
    #[error("cannot read files of the image")]
    Read(#[source] io::Error),
}

impl ConfigurationStage {
    /// The tables of `recipe`, whose files lie below `root`.
    pub fn new(recipe: Recipe, root: Dir) -> Self {
        Self { recipe, root }
    }

    fn sources(&self) -> Result<BTreeMap<RecipePath, Content>, DirError> {
        let named = self.recipe.files.iter().filter_map(|file| match &file.body {
            Body::Source(path) => Some(path),
            Body::Content(_) => None,
        });
        let policy = self.recipe.policy.iter().flat_map(Policy::sources);
        named.chain(policy).map(|path| Ok((path.clone(), Content::OnDisk(file(&self.root, path.as_path())?)))).collect()
    }

    /// Whether the configuration depends on units or accounts of the image.
    fn reads(&self) -> bool {
        let spec::Services { enable, disable, mask } = &self.recipe.services;
        let named = |owner: &spec::Owner| matches!(owner, spec::Owner::Name(_));
        let units = [enable, disable, mask].iter().any(|units| !units.is_empty());
        units
            || self.recipe.policy.is_some()
            || self.recipe.files.iter().any(|file| named(&file.owner) || named(&file.group))
    }

    fn delta(&self, view: View<'_>) -> Result<TreeDelta, ConfigurationError> {
        let texts = if self.reads() { texts(view).map_err(ConfigurationError::Read)? } else { BTreeMap::new() };
        let text = |content: &Content| texts.get(content).cloned();
        let delta = configuration(&self.recipe, view.tree, &self.sources()?, text, Epoch::UNDATED)?;
        let modules = added_modules(view).map_err(ConfigurationError::Read)?;
        if modules.is_empty() {
            return Ok(delta);
        }
        Ok(delta.then(&module_set_delta(&modules, Epoch::UNDATED)?))
    }
}

impl Stage for ConfigurationStage {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn kind(&self) -> &'static str {
        "configuration"
    }

    fn resolve(&self) -> Result<Pinned, StageError> {
        let mut delta = TreeDelta::new();
        for (path, content) in self.sources().map_err(|error| self.failed(error))? {
            let place = TreePath::new(path.as_str()).map_err(|error| self.failed(error))?;
            delta.insert(place, Inode::file(Meta::default(), content));
        }
        let mut pinned = pin(&delta);
        pinned.inputs.insert("recipe".into(), self.recipe.digest().to_string());
        pinned.stamp = Digest::of(format!("{} {}", pinned.stamp, self.recipe.digest()).as_bytes());
        Ok(pinned)
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        let delta = self.delta(view).map_err(|error| self.failed(error))?;
        let root = self.root.try_clone().map_err(|error| self.failed(error))?;
        Ok(Produced { delta, contents: Some(Box::new(HostContents::new(root))), ..Produced::default() })
    }
}

/// Units and account files of the tree, read in one pass over the layers that hold them.
fn texts(view: View<'_>) -> io::Result<BTreeMap<Content, String>> {
    let mut wanted = BTreeSet::new();
    for (number, folder) in READ.iter().enumerate() {
        let Some((folder, _)) = view.tree.lookup(folder) else { continue };
        let whole = number < WHOLE;
        let found = view.tree.below(&folder).filter(|(path, _)| whole || is_account_file(path, &folder));
        wanted
            .extend(found.filter_map(|(path, _)| view.tree.content(path)).filter(|content| content.size() <= TEXT_MAX));
    }
    let wanted = wanted.into_iter().cloned().collect();
    let mut texts = BTreeMap::new();
    view.contents.visit(&wanted, &mut |content, bytes| {
        let mut text = Vec::new();
        bytes.read_to_end(&mut text)?;
        texts.extend(String::from_utf8(text).ok().map(|text| (content.clone(), text)));
        Ok(())
    })?;
    Ok(texts)
}

fn is_account_file(path: &TreePath, folder: &TreePath) -> bool {
    path.parent().as_ref() == Some(folder) && matches!(path.name(), b"passwd" | b"group")
}

/// The modules that the base does not have, by path.
fn added_modules(view: View<'_>) -> io::Result<BTreeMap<TreePath, Digest>> {
    let Ok(folder) = TreePath::new(MODULES) else { return Ok(BTreeMap::new()) };
    let added = |path: &TreePath, tree: &FileTree| is_module_name(path.name()) && view.base.get(path) != tree.get(path);
    let modules = view.tree.below(&folder).filter(|(path, _)| added(path, view.tree));
    modules
        .filter_map(|(path, _)| Some((path, view.tree.content(path)?)))
        .map(|(path, content)| Ok((path.clone(), digest(content, view.contents)?)))
        .collect()
}

fn digest(content: &Content, contents: &dyn Contents) -> io::Result<Digest> {
    if let Some(digest) = content.digest() {
        return Ok(digest);
    }
    let mut hasher = Hasher::default();
    io::copy(&mut io::BufReader::with_capacity(1 << 18, contents.open(content)?), &mut hasher)?;
    Ok(hasher.finish())
}
