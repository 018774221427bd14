//! The layers of an image as the one tree they merge to, without the layers' own indexes.
//!
//! What a build needs of its base is the merged tree, where the bytes of its files are, and the rules its layers break.
//! That is kept as one value by the layers' digests: a second build reads one file instead of merging the indexes again.

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::blobs::LayerBlobs;
use super::{ImageLayers, IndexCache, LayerError, LayerFault, ReadOptions, is_sound};
use crate::image::{Descriptor, Digest};
use crate::layer::{Contents, MergedIndex, Violations};
use crate::store::blob::BlobSource;
use crate::tree::{Content, FileTree};

/// An image's layers, merged.
///
/// Law: tree, contents and violations are those of [`ImageLayers`] over the same layers.
pub struct MergedLayers<'a> {
    bytes: LayerBlobs<'a>,
    diff_ids: Vec<Digest>,
    index: MergedIndex,
    read: usize,
}

impl std::fmt::Debug for MergedLayers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergedLayers").field("layers", &self.diff_ids.len()).finish_non_exhaustive()
    }
}

impl<'a> MergedLayers<'a> {
    /// Merges layers, each given with its diff_id; from `cache` as far as that has them.
    pub fn open(
        blobs: &'a dyn BlobSource,
        layers: &[(Descriptor, Digest)],
        cache: &dyn IndexCache,
        options: ReadOptions,
    ) -> Result<Self, LayerError> {
        let diff_ids = layers.iter().map(|(_, diff_id)| *diff_id).collect();
        let key = key(layers);
        let known = cache.get_merged(&key).filter(|index| index.violations.len() == layers.len());
        if let Some(index) = known.filter(|index| index.violations.iter().all(|layer| is_sound(layer, options.gate))) {
            let mut opened = Vec::with_capacity(layers.len());
            for (position, (descriptor, _)) in layers.iter().enumerate() {
                let media_type = || LayerFault::MediaType { media_type: descriptor.media_type.clone() };
                let fault = || LayerError { position, digest: descriptor.digest, fault: media_type() };
                opened.push((descriptor.clone(), descriptor.media_type.encoding().ok_or_else(fault)?));
            }
            return Ok(Self { bytes: LayerBlobs { blobs, layers: opened }, diff_ids, index, read: 0 });
        }
        let all = ImageLayers::open(blobs, layers, cache, options)?;
        let index = MergedIndex::new(all.tree()?, &all.indexes);
        cache.put_merged(&key, &index);
        Ok(Self { bytes: all.bytes, diff_ids, index, read: all.read })
    }

    /// How many layers had to be read because nothing was cached.
    pub fn read(&self) -> usize {
        self.read
    }

    /// All layers merged.
    pub fn tree(&self) -> &FileTree {
        &self.index.tree
    }

    /// The layers, lowest first, each with its diff_id and the rules it breaks.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = (&Descriptor, &Digest, &Violations)> {
        let parts = self.bytes.layers.iter().zip(&self.diff_ids).zip(&self.index.violations);
        parts.map(|(((descriptor, _), diff_id), violations)| (descriptor, diff_id, violations))
    }
}

/// Equal keys mean equal layers: streams by diff_id, and the blobs, whose compression may break rules of its own.
fn key(layers: &[(Descriptor, Digest)]) -> Digest {
    let line = |(descriptor, diff_id): &(Descriptor, Digest)| format!("{diff_id} {}\n", descriptor.digest);
    Digest::of(layers.iter().map(line).collect::<String>().as_bytes())
}

impl Contents for MergedLayers<'_> {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        self.bytes.open(&self.index.places, content)
    }

    fn has(&self, content: &Content) -> bool {
        self.index.places.has(content)
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        self.bytes.visit(&self.index.places, wanted, each)
    }
}
