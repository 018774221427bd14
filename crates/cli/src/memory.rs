//! How a cap on memory is divided when an image is cut anew.

use std::num::NonZero;

use oci_assemble::image::Image;
use oci_assemble::store::layers::ENTRY_MEMORY;

/// Memory of the program itself, in bytes, without what grows with a tree.
const OWN: u64 = 72 << 20;
/// Entries of a tree that are reckoned with at least.
const ENTRIES: u64 = 60_000;
/// Compressed bytes for each entry of a tree: before layers are read, the number of entries is only guessed.
const ENTRY_BYTES: u64 = 10 << 10;
/// Memory of one layer that is being compressed, in bytes: buffers, and a job of zstd with its window.
const LAYER: u64 = 48 << 20;

/// How a cap on memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes of uncompressed layers held at most; the others go to a file.
    pub(crate) held: u64,
    /// Layers written at the same time.
    pub(crate) jobs: NonZero<usize>,
}

impl Memory {
    /// Divides `cap` bytes for cutting an image of so many entries: half of what is left beside the program and its tree may
    /// go to layers in the making.
    pub(crate) fn divide(cap: u64, entries: u64, jobs: NonZero<usize>) -> Self {
        let left = cap.saturating_sub(own(entries));
        let fit = usize::try_from(left / 2 / LAYER).unwrap_or(usize::MAX);
        let jobs = jobs.min(NonZero::new(fit).unwrap_or(NonZero::<usize>::MIN));
        let making = LAYER.saturating_mul(jobs.get() as u64);
        Self { held: left.saturating_sub(making), jobs }
    }
}

/// The least that cutting an image of so many entries takes, whatever the cap.
pub(crate) fn least(entries: u64) -> u64 {
    own(entries) + LAYER
}

/// Entries that `image` is expected to have, before its layers are read.
pub(crate) fn expected_entries(image: &Image) -> u64 {
    let stored: u64 = image.layers().map(|(descriptor, _)| descriptor.size).sum();
    (stored / ENTRY_BYTES).max(ENTRIES)
}

/// Memory of the program with a tree and the drafts of its layers.
fn own(entries: u64) -> u64 {
    OWN + entries.max(ENTRIES).saturating_mul(ENTRY_MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_below_the_cap() {
        let jobs = NonZero::new(4).unwrap_or(NonZero::<usize>::MIN);
        for entries in [0, 60_000, 150_000, 400_000] {
            for cap in [least(entries), least(entries) + (100 << 20), 4 << 30] {
                let Memory { held, jobs } = Memory::divide(cap, entries, jobs);
                assert!(own(entries) + held + jobs.get() as u64 * LAYER <= cap, "{entries} {cap}");
            }
        }
        assert_eq!(Memory::divide(least(0) - 1, 0, jobs), Memory { held: 0, jobs: NonZero::<usize>::MIN });
    }
}
