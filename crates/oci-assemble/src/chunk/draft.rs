//! The layers of a chunking as parts of a tree.

use super::component::Components;
use super::neutral::Refused;
use super::recorded::COMPONENTS;
use super::value::Chunking;
use crate::layer::{LayerDraft, PartError};
use crate::tree::FileTree;

/// Why a tree cannot be cut into layers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The image is of a kind that must stay as it is.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A layer would have something that clients do not take.
    #[error("layer {layer:?} cannot be made")]
    Part {
        /// Name of the layer.
        layer: String,
        /// Why.
        #[source]
        source: PartError,
    },
}

/// The layers of `chunking` as parts of `tree`, lowest first, each with the annotation that names its components.
///
/// Law: merged in any order they are `tree`.
pub fn draft(
    chunking: &Chunking,
    components: &Components,
    tree: &FileTree,
    epoch: i64,
) -> Result<Vec<LayerDraft>, ChunkError> {
    let paths = chunking.paths(components);
    let mut drafts = Vec::with_capacity(chunking.layers.len());
    for (chunk, paths) in chunking.layers.iter().zip(paths) {
        let part = LayerDraft::part(&chunk.name, tree, paths, epoch);
        let draft = part.map_err(|source| ChunkError::Part { layer: chunk.name.clone(), source })?;
        drafts.push(draft.with_annotation(COMPONENTS, &chunk.recorded().to_json()));
    }
    Ok(drafts)
}
