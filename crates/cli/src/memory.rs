//! How a cap on memory is divided when an image is cut anew.

use std::num::NonZero;

use oci_assemble::image::Image;
use oci_assemble::store::layers::ENTRY_MEMORY;

/// Memory of the program itself, in bytes, without what grows with a tree.
const OWN: u64 = 72 << 20;
/// Entries of a tree that are reckoned with at least.
const ENTRIES: u64 = 60_000;
/// What a build takes beside [`ENTRY_MEMORY`] for each entry: the tree before and after its stages. (Measured: 0.54 kB each
/// where 400,000 empty files are the base.)
const BUILT: u64 = 600;
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

/// The entries that memory is needed for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries {
    pub(crate) count: u64,
    /// Bytes for each.
    pub(crate) each: u64,
}

impl Entries {
    /// Of an image that is cut anew as it is.
    pub(crate) fn cut(image: &Image) -> Self {
        Self { count: expected(image), each: ENTRY_MEMORY }
    }

    /// Of the base of a build that is cut anew with what is added.
    pub(crate) fn built(image: &Image) -> Self {
        Self { each: ENTRY_MEMORY + BUILT, ..Self::cut(image) }
    }

    /// The same if there are as many as that.
    pub(crate) fn at_least(self, count: usize) -> Self {
        Self { count: self.count.max(count as u64), ..self }
    }

    /// The least that cutting them takes, whatever the cap.
    pub(crate) fn least(self) -> u64 {
        self.own() + LAYER
    }

    /// Memory of the program with a tree and the drafts of its layers.
    fn own(self) -> u64 {
        OWN + self.count.max(ENTRIES).saturating_mul(self.each)
    }
}

impl Memory {
    /// Divides `cap` bytes for cutting an image of such entries: half of what is left beside the program and its tree may go
    /// to layers in the making.
    pub(crate) fn divide(cap: u64, entries: Entries, jobs: NonZero<usize>) -> Self {
        let left = cap.saturating_sub(entries.own());
        let fit = usize::try_from(left / 2 / LAYER).unwrap_or(usize::MAX);
        let jobs = jobs.min(NonZero::new(fit).unwrap_or(NonZero::<usize>::MIN));
        let making = LAYER.saturating_mul(jobs.get() as u64);
        Self { held: left.saturating_sub(making), jobs }
    }
}

/// Entries that `image` is expected to have, before its layers are read.
fn expected(image: &Image) -> u64 {
    let stored: u64 = image.layers().map(|(descriptor, _)| descriptor.size).sum();
    (stored / ENTRY_BYTES).max(ENTRIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_below_the_cap() {
        let jobs = NonZero::new(4).unwrap_or(NonZero::<usize>::MIN);
        for count in [0, 60_000, 150_000, 400_000] {
            let entries = Entries { count, each: ENTRY_MEMORY };
            for cap in [entries.least(), entries.least() + (100 << 20), 4 << 30] {
                let Memory { held, jobs } = Memory::divide(cap, entries, jobs);
                assert!(entries.own() + held + jobs.get() as u64 * LAYER <= cap, "{entries:?} {cap}");
            }
            let less = Memory::divide(entries.least() - 1, entries, jobs);
            assert_eq!(less, Memory { held: 0, jobs: NonZero::<usize>::MIN });
        }
    }
}
