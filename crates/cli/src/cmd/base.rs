//! The base of a build, read as that build needs it.

use std::mem::ManuallyDrop;
use std::num::NonZero;

use oci_assemble::image::Image;
use oci_assemble::inspect::lint::LayerFacts;
use oci_assemble::layer::{Contents, Gate, Violations};
use oci_assemble::store::layers::MergedLayers;
use oci_assemble::tree::FileTree;

use super::build::Prepared;
use super::plan::merged;
use crate::exit::Failure;
use crate::memory::Entries;
use crate::uncompressed::{Uncompressed, Unpacking};

/// The layers of a base.
pub(crate) enum Base<'a> {
    /// They stay what they are: their indexes are read, and of their files what is asked for.
    // The process ends when the image is written: freeing the tree entry by entry would cost as much as reading it.
    Merged(ManuallyDrop<MergedLayers<'a>>),
    /// They are cut anew: all their bytes are needed, and each layer is decompressed once.
    Uncompressed(Uncompressed),
}

impl<'a> Base<'a> {
    /// Reads the base; `cut` when its layers do not stay.
    pub(crate) fn open(prepared: &'a Prepared, cut: bool, unpacking: &Unpacking<'_>) -> Result<Self, Failure> {
        let base = &prepared.base;
        if cut {
            return Uncompressed::open(base, Entries::built(&base.image), unpacking).map(Self::Uncompressed);
        }
        let layers = merged(base, unpacking.cache, unpacking.jobs, Gate::Refuse, unpacking.ui)?;
        Ok(Self::Merged(ManuallyDrop::new(layers)))
    }

    pub(crate) fn tree(&self) -> &FileTree {
        match self {
            Self::Merged(layers) => layers.tree(),
            Self::Uncompressed(source) => source.layers().tree(),
        }
    }

    /// The bytes of its files.
    pub(crate) fn contents(&self) -> &dyn Contents {
        match self {
            Self::Merged(layers) => &**layers,
            Self::Uncompressed(source) => source.layers(),
        }
    }

    /// Layers that may be written at the same time for an image of so many entries, where memory decides that.
    pub(crate) fn jobs(&self, entries: usize) -> Option<NonZero<usize>> {
        match self {
            Self::Merged(_) => None,
            Self::Uncompressed(source) => Some(source.jobs(entries)),
        }
    }

    /// What is known of its layers, which are those of `image`.
    pub(crate) fn facts(&self, image: &Image) -> Vec<LayerFacts> {
        let violations: Vec<&Violations> = match self {
            Self::Merged(layers) => layers.layers().map(|(_, _, violations)| violations).collect(),
            Self::Uncompressed(source) => source.layers().violations().iter().collect(),
        };
        let facts = image.layers().zip(violations).map(|((descriptor, diff_id), violations)| LayerFacts {
            digest: descriptor.digest,
            diff_id: *diff_id,
            media_type: descriptor.media_type.to_string(),
            violations: violations.clone(),
            ours: false,
        });
        facts.collect()
    }
}
