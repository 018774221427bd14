//! Cutting a tree into layers and writing them, for `rechunk` and for recipes with `layers.mode = "full"`.

use oci_assemble::chunk::{Chunking, ChunkingOptions, ComponentMap, Components, LABEL, check, draft, neutral};
use oci_assemble::image::{Encoding, Epoch, Image};
use oci_assemble::layer::{Compression, Contents, LayerDraft};
use oci_assemble::pkgdb;
use oci_assemble::tree::{FileTree, Inode};
use serde_json::{Value, json};

pub(crate) use self::writing::{WriteOptions, Written, write};
use crate::exit::{Class, Context, Failure};
use crate::previous::Previous;
use crate::ui::{Ui, bytes};

mod writing;

/// Size of a tar header, and of the unit that contents are padded to.
const TAR_BLOCK: u64 = 512;
/// What a compressed byte is expected to be of an uncompressed one, where no image says: zstd on binaries.
const USUAL_RATIO: f64 = 0.35;

/// A tree cut into layers.
pub(crate) struct Cut {
    pub(crate) chunking: Chunking,
    /// The layers as parts of the tree, lowest first.
    pub(crate) drafts: Vec<LayerDraft>,
}

/// What a tree is cut by.
pub(crate) struct CutOptions<'a> {
    pub(crate) max: usize,
    pub(crate) map: &'a ComponentMap,
    pub(crate) previous: Option<&'a Previous>,
    /// The encoding that layers must have to be kept, when that matters.
    pub(crate) encoding: Option<Encoding>,
    pub(crate) epoch: Epoch,
}

/// Cuts `tree`, the merged tree of `image`.
pub(crate) fn cut(
    image: &Image,
    tree: &FileTree,
    contents: &dyn Contents,
    options: &CutOptions<'_>,
) -> Result<Cut, Failure> {
    let context = "cutting the image into layers";
    check(image, tree).context(Class::Data, context)?;
    let packages = pkgdb::read_at_once(tree, contents).context(Class::Data, "reading the package database")?;
    let neutral = neutral(tree, packages.as_ref());
    let components = Components::new(&neutral, tree, packages.as_ref(), options.map);
    let previous = options.previous.map(|previous| &previous.recorded);
    let CutOptions { max, encoding, .. } = *options;
    let chunking = Chunking::new(&components, ChunkingOptions { max, packages: packages.as_ref(), previous, encoding });
    let drafts = draft(&chunking, &components, &neutral, options.epoch.seconds()).context(Class::Data, context)?;
    Ok(Cut { chunking, drafts })
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compressing {
    /// New layers.
    pub(crate) new: Compression,
    /// Whether layers of the image before may be compressed otherwise.
    pub(crate) any: bool,
}

impl Compressing {
    /// All layers, as somebody asked for it.
    pub(crate) fn all(compression: Compression) -> Self {
        Self { new: compression, any: false }
    }

    /// As the image before: nobody asked for anything else.
    pub(crate) fn like(previous: Option<&Previous>) -> Self {
        let mut blobs = previous.into_iter().flat_map(Previous::blobs).peekable();
        let known = blobs.peek().is_some();
        let gzip = known && blobs.all(|blob| blob.media_type.encoding() == Some(Encoding::Gzip));
        let new = if gzip { Compression::GZIP_DEFAULT } else { Compression::DEFAULT };
        // Without the image there are no blobs to keep: a layer stays what it was only by being made so again.
        Self { new, any: previous.is_none_or(|previous| previous.image.is_some()) }
    }

    /// The encoding that a layer must have to be kept, when that matters.
    pub(crate) fn wanted(self) -> Option<Encoding> {
        self.new.media_type().encoding().filter(|_| !self.any)
    }
}

/// The image with these layers in the place of its own, and with the record of how they were cut.
pub(crate) fn dress(image: Image, cut: &Cut, written: &[Written]) -> Result<Image, Failure> {
    let layers = written.iter().map(|written| written.layer.clone());
    let bare = image.without_layers().with_label(LABEL, cut.chunking.recorded().to_json());
    bare.append_all(layers).context(Class::Data, "putting the image together")
}

/// What compression left of a byte in `image`, whose layers merge to `tree`: what is not in it says nothing of that.
#[expect(clippy::cast_precision_loss, reason = "an estimate, of less than 2^53 bytes")]
pub(crate) fn ratio(image: &Image, tree: &FileTree) -> f64 {
    let stored: u64 = image.layers().map(|(descriptor, _)| descriptor.size).sum();
    let padded = |inode: &Inode| inode.content().map_or(0, |content| content.size().next_multiple_of(TAR_BLOCK));
    let uncompressed: u64 = neutral(tree, None).iter().map(|(_, inode)| TAR_BLOCK + padded(inode)).sum();
    if uncompressed > 0 && stored < uncompressed { stored as f64 / uncompressed as f64 } else { USUAL_RATIO }
}

/// Written layers as JSON, with what is in each.
pub(crate) fn layers_json(cut: &Cut, written: &[Written]) -> Value {
    let layer = |(chunk, written): (&oci_assemble::chunk::Chunk, &Written)| {
        json!({
            "name": chunk.name,
            "media_type": written.layer.descriptor.media_type.to_string(),
            "digest": written.layer.descriptor.digest,
            "diff_id": written.layer.diff_id,
            "size": written.layer.descriptor.size,
            "uncompressed": written.layer.uncompressed_size,
            "reused": written.reused,
            "components": chunk.components.iter().map(|member| &member.name).collect::<Vec<_>>(),
        })
    };
    cut.chunking.layers.iter().zip(written).map(layer).collect()
}

/// Says where layers are too few to keep small what nothing holds together.
pub(crate) fn warn(cut: &Cut, ui: Ui) {
    let wide: Vec<_> = cut.chunking.layers.iter().filter(|chunk| chunk.is_wide()).collect();
    let Some(widest) = wide.iter().max_by_key(|chunk| chunk.bytes) else { return };
    let (name, size) = (&widest.name, bytes(widest.bytes));
    ui.say(&format!(
        "warning: with {} layers, any change of a small file in {} of them moves more than 8 MB before compression, in {name} \
         {size}; more layers (--max-layers, max in [layers]) make them smaller",
        cut.chunking.layers.len(),
        wide.len()
    ));
}

/// Says what was written.
pub(crate) fn say(cut: &Cut, written: &[Written], ui: Ui) {
    warn(cut, ui);
    for (chunk, written) in cut.chunking.layers.iter().zip(written) {
        let mark = if written.reused { "kept " } else { "layer" };
        let (digest, size) = (written.layer.descriptor.digest, bytes(written.layer.descriptor.size));
        ui.detail(&format!("{mark} {:40} {size:>10} {digest}", chunk.name));
    }
    let new: u64 = written.iter().filter(|layer| !layer.reused).map(|layer| layer.layer.descriptor.size).sum();
    let all: u64 = written.iter().map(|layer| layer.layer.descriptor.size).sum();
    let kept = written.iter().filter(|layer| layer.reused).count();
    ui.say(&format!("{} layers, {kept} kept; {} of {} are new", written.len(), bytes(new), bytes(all)));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use oci_assemble::image::{Descriptor, Digest, History, Layer, MediaType};
    use oci_assemble::testing::memory::add_file;

    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_image_alone() {
        let image = |stored: u64| {
            let descriptor = Descriptor::new(MediaType::layer(Encoding::Zstd), Digest::of(b"blob"), stored);
            let (diff_id, history) = (Digest::of(b"tar"), History::of("x"));
            let layer = Layer { descriptor, diff_id, uncompressed_size: None, history };
            Image::scratch("linux/amd64".parse().unwrap()).append(layer).unwrap()
        };
        let mut tree = FileTree::new();
        add_file(&mut tree, "file", 0o644, "x".repeat(3000));
        // Headers, and six blocks.
        let blocks = tree.iter().count() as u64 + 6;
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        close(ratio(&image(blocks * TAR_BLOCK / 4), &tree), 0.25);
        // An image that is no smaller compressed says nothing.
        close(ratio(&image(blocks * TAR_BLOCK), &tree), USUAL_RATIO);
    }
}
