//! From groups of stages to drafts of layers, and from drafts to sealed layers.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::step::{Group, StageError, View};
use crate::chunk::split;
use crate::image::{Descriptor, Digest, Epoch, History, Layer};
use crate::layer::{Contents, DraftError, LayerDraft, Sealed, Sealer, Sources, WriteError};
use crate::tree::{FileTree, MergeError, TreeDelta, TreePath};

/// Why an image cannot be assembled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// A stage failed.
    #[error("cannot produce the content of layer {layer:?}")]
    Stage {
        /// The layer.
        layer: String,
        /// The stage.
        #[source]
        source: StageError,
    },
    /// The stages of a layer do not fit together or on the base.
    #[error("the content of layer {layer:?} does not fit on the image")]
    Merge {
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: MergeError,
    },
    /// The content breaks a rule of layers.
    #[error("the content breaks a rule of bootable images")]
    Draft(#[source] DraftError),
    /// A layer could not be written.
    #[error("cannot write layer {layer:?}")]
    Write {
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// The store did not take a blob.
    #[error("cannot store layer {layer:?}")]
    Store {
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Layers described, and the image they make.
pub struct Drafted {
    /// The drafts, lowest first.
    pub drafts: Vec<LayerDraft>,
    /// Base and drafts, merged.
    pub tree: FileTree,
    /// Paths that the drafts bring: no parents, no removals.
    pub added: BTreeSet<TreePath>,
    /// Contents that stages brought with them.
    pub contents: Vec<Box<dyn Contents + Send>>,
    /// What stages had to say, a line each.
    pub notes: Vec<String>,
    /// Whether something of this machine decided: see [`Produced::of_machine`](super::step::Produced::of_machine).
    pub of_machine: bool,
}

impl std::fmt::Debug for Drafted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drafted").field("drafts", &self.drafts).field("notes", &self.notes).finish_non_exhaustive()
    }
}

/// Runs the stages group by group. A group that changes nothing makes no layer; what is generated leaves its layer for one
/// behind it.
pub fn draft(
    groups: &[Group],
    base: &FileTree,
    contents: &[&dyn Contents],
    epoch: Epoch,
    architecture: &str,
) -> Result<Drafted, AssembleError> {
    let mut all = Drafted {
        drafts: Vec::new(),
        tree: base.clone(),
        added: BTreeSet::new(),
        contents: Vec::new(),
        notes: Vec::new(),
        of_machine: false,
    };
    for group in groups {
        let layer = || group.name.clone();
        let merge = |source| AssembleError::Merge { layer: layer(), source };
        let mut delta = TreeDelta::new();
        for stage in &group.stages {
            let tree;
            let so_far = if delta.is_empty() {
                &all.tree
            } else {
                // Through the draft, which follows the base's symlinks: as it stands, `/lib/x` would replace the link `/lib`.
                let draft = LayerDraft::new(&group.name, &delta, &all.tree, epoch.seconds());
                tree = all.tree.clone().apply(draft.map_err(AssembleError::Draft)?.delta()).map_err(merge)?;
                &tree
            };
            let mut sources: Vec<&dyn Contents> = contents.to_vec();
            sources.extend(all.contents.iter().map(|contents| &**contents as &dyn Contents));
            let sources = Sources::new(sources);
            let view = View { base, tree: so_far, contents: &sources, epoch, architecture };
            let produced = stage.produce(view).map_err(|source| AssembleError::Stage { layer: layer(), source })?;
            delta = delta.then(&produced.delta);
            all.contents.extend(produced.contents);
            all.of_machine |= produced.of_machine;
            all.notes.extend(produced.notes.into_iter().map(|note| format!("{}: {note}", stage.name())));
        }
        if delta.is_empty() {
            continue;
        }
        let draft = LayerDraft::new(&group.name, &delta, &all.tree, epoch.seconds()).map_err(AssembleError::Draft)?;
        let new = draft.delta().entries().iter().filter(|(path, inode)| all.tree.get(path) != Some(*inode));
        all.added.extend(new.map(|(path, _)| path.clone()));
        all.tree = all.tree.apply(draft.delta()).map_err(merge)?;
        all.drafts.extend(split(draft, &all.tree));
    }
    Ok(all)
}

/// Takes the bytes of one layer's blob.
pub trait LayerSink: Write + Send {
    /// Keeps what was written under its digest.
    fn publish(self: Box<Self>, sealed: &Sealed) -> io::Result<()>;
}

/// A layer whose blob is written and has no name yet. Dropped, it leaves what its sink leaves, which is nothing.
pub struct Unpublished<'s> {
    /// The layer.
    pub layer: Layer,
    name: String,
    sealed: Sealed,
    sink: Box<dyn LayerSink + 's>,
}

impl std::fmt::Debug for Unpublished<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpublished").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl<'s> Unpublished<'s> {
    /// Seals one draft into `sink`. The history entry is dated by the draft's epoch and names the layer.
    pub fn seal(
        draft: &LayerDraft,
        contents: &dyn Contents,
        sink: Box<dyn LayerSink + 's>,
        writer: &Sealer,
    ) -> Result<Self, AssembleError> {
        let name = draft.name().to_owned();
        let (sealed, sink) = writer
            .seal(draft, contents, sink)
            .map_err(|source| AssembleError::Write { layer: name.clone(), source })?;
        let blob = Descriptor::new(writer.compression().media_type(), sealed.digest, sealed.size);
        let layer = layer_of(draft, blob, sealed.diff_id, sealed.uncompressed);
        Ok(Self { layer, name, sealed, sink })
    }

    /// Gives the blob its name.
    pub fn publish(self) -> Result<Layer, AssembleError> {
        let Self { layer, name, sealed, sink } = self;
        sink.publish(&sealed).map_err(|source| AssembleError::Store { layer: name, source })?;
        Ok(layer)
    }
}

/// Seals one draft into `sink`, as [`Unpublished::seal`] does, and publishes it.
pub fn seal_layer(
    draft: &LayerDraft,
    contents: &dyn Contents,
    sink: Box<dyn LayerSink + '_>,
    writer: &Sealer,
) -> Result<Layer, AssembleError> {
    Unpublished::seal(draft, contents, sink, writer)?.publish()
}

/// The layer of `draft` as this blob, whose tar has the given digest and bytes.
pub fn layer_of(draft: &LayerDraft, blob: Descriptor, diff_id: Digest, uncompressed: u64) -> Layer {
    let descriptor = Descriptor { annotations: draft.annotations().clone(), ..blob };
    let created = Epoch::new(draft.epoch()).map(|epoch| epoch.to_string()).ok();
    let history = History { created, ..History::of(format!("assemble: {}", draft.name())) };
    Layer { descriptor, diff_id, uncompressed_size: Some(uncompressed), history }
}
