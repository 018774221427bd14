//! Stages: what produces the content of layers.
//!
//! A stage is *resolved* first: its inputs are listed and pinned. Then it *produces* a delta from the tree that stands
//! so far. Stages that share a group end up in one layer (kernel modules with their indexes must).

use std::collections::BTreeMap;
use std::error::Error;

use crate::image::{Digest, Epoch};
use crate::layer::Contents;
use crate::tree::{FileTree, TreeDelta};

/// What a stage sees of the image so far.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The base alone.
    pub base: &'a FileTree,
    /// Base and earlier stages, merged.
    pub tree: &'a FileTree,
    /// The bytes of its files.
    pub contents: &'a dyn Contents,
    /// The date of the image. What stages make is dated [`Epoch::UNDATED`], so that layers depend on content alone.
    pub epoch: Epoch,
    /// Architecture of the image, as OCI spells it (`amd64`).
    pub architecture: &'a str,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("inodes", &self.tree.len()).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// A stage's inputs, listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// What goes in, for people and for the plan: `files` → `3`, `kernel` → `6.1.0`.
    pub inputs: BTreeMap<String, String>,
    /// Digest over the state of every input on this machine, without reading contents. Equal stamps mean equal output.
    pub stamp: Digest,
    /// Programs that will run, as a shell would be told, for the plan.
    pub commands: Vec<String>,
    /// Youngest modification time among the inputs, nanoseconds since 1970: a stamp taken within the clock's grain of it
    /// does not prove that nothing changes any more.
    pub youngest: i128,
}

/// What a stage gives.
#[derive(Default)]
pub struct Produced {
    /// What changes.
    pub delta: TreeDelta,
    /// The bytes of its files, where the view's contents do not have them.
    pub contents: Option<Box<dyn Contents + Send>>,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
    /// Whether something of this machine decided, which no key names: the result must not be taken for that of another.
    pub of_machine: bool,
}

impl std::fmt::Debug for Produced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Produced").field("delta", &self.delta).field("notes", &self.notes).finish_non_exhaustive()
    }
}

/// A stage that failed.
#[derive(Debug, thiserror::Error)]
#[error("stage {stage:?} ({kind})")]
pub struct StageError {
    /// Name of the stage.
    pub stage: String,
    /// Its kind.
    pub kind: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// One source of an image's content.
///
/// Law: `produce` depends on what `resolve` pinned and on the view alone; equal stamps and equal views give equal deltas.
pub trait Stage {
    /// Its name in the recipe.
    fn name(&self) -> &str;

    /// Its kind, as recipes spell it.
    fn kind(&self) -> &'static str;

    /// Lists the inputs. Costs a look at each, reads none.
    fn resolve(&self) -> Result<Pinned, StageError>;

    /// Produces the delta.
    fn produce(&self, view: View<'_>) -> Result<Produced, StageError>;

    /// Wraps an error of this stage.
    fn failed(&self, source: impl Error + Send + Sync + 'static) -> StageError
    where
        Self: Sized,
    {
        StageError { stage: self.name().to_owned(), kind: self.kind(), source: Box::new(source) }
    }
}

/// Stages whose deltas become one layer.
pub struct Group {
    /// Name of the layer.
    pub name: String,
    /// Stages in order; each sees what those before it produced.
    pub stages: Vec<Box<dyn Stage>>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stages: Vec<&str> = self.stages.iter().map(|stage| stage.name()).collect();
        f.debug_struct("Group").field("name", &self.name).field("stages", &stages).finish()
    }
}
