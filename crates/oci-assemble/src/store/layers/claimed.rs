//! Indexes of layers that nobody here has read.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::IndexCache;
use crate::image::Digest;
use crate::layer::{LayerIndex, MergedIndex};

/// A cache that asks for what somebody else says of layers when it does not know one itself.
///
/// Law: what is claimed never becomes what is known of a layer, or of layers merged. What files hold is read from the layers
/// all the same, and held against the digests that are claimed. What is made by claims (an image, the result of a stage) is
/// no better than they are: whoever is asked must be believed like who makes the image.
pub struct ClaimedIndexes<'a, F> {
    known: &'a dyn IndexCache,
    ask: F,
    claims: OnceLock<BTreeMap<(Digest, Digest), LayerIndex>>,
    used: AtomicBool,
}

impl<F> std::fmt::Debug for ClaimedIndexes<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimedIndexes").field("used", &self.used).finish_non_exhaustive()
    }
}

impl<'a, F: Fn() -> Vec<(Digest, LayerIndex)> + Sync> ClaimedIndexes<'a, F> {
    /// The cache `known`, and what `ask` gives: blobs of layers with their indexes. It is asked once, at the first layer that
    /// is not known.
    pub fn new(known: &'a dyn IndexCache, ask: F) -> Self {
        Self { known, ask, claims: OnceLock::new(), used: AtomicBool::new(false) }
    }
}

impl<F: Fn() -> Vec<(Digest, LayerIndex)> + Sync> IndexCache for ClaimedIndexes<'_, F> {
    fn get(&self, diff_id: &Digest, blob: &Digest) -> Option<LayerIndex> {
        if let Some(index) = self.known.get(diff_id, blob) {
            return Some(index);
        }
        let claims = self
            .claims
            .get_or_init(|| (self.ask)().into_iter().map(|(blob, index)| ((index.diff_id, blob), index)).collect());
        let claim = claims.get(&(*diff_id, *blob))?;
        self.used.store(true, Ordering::Relaxed);
        Some(claim.clone())
    }

    fn put(&self, blob: &Digest, index: &LayerIndex) {
        self.known.put(blob, index);
    }

    fn get_merged(&self, key: &Digest) -> Option<MergedIndex> {
        self.known.get_merged(key)
    }

    fn put_merged(&self, key: &Digest, merged: &MergedIndex) {
        if !self.used.load(Ordering::Relaxed) {
            self.known.put_merged(key, merged);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;
    use std::sync::Mutex;

    use super::*;
    use crate::layer::{IndexOptions, MergedIndex, index};
    use crate::tree::FileTree;

    /// Knows what was put, and how often something merged was.
    #[derive(Default)]
    struct Known(Mutex<(BTreeMap<Digest, LayerIndex>, usize)>);

    impl IndexCache for Known {
        fn get(&self, diff_id: &Digest, _: &Digest) -> Option<LayerIndex> {
            self.0.lock().unwrap().0.get(diff_id).cloned()
        }

        fn put(&self, _: &Digest, index: &LayerIndex) {
            self.0.lock().unwrap().0.insert(index.diff_id, index.clone());
        }

        fn put_merged(&self, _: &Digest, _: &MergedIndex) {
            self.0.lock().unwrap().1 += 1;
        }
    }

    #[test]
    fn a_claim_does_not_become_knowledge() {
        thread_local!(static ASKED: RefCell<usize> = const { RefCell::new(0) });
        let one = index(&[0; 1024][..], IndexOptions::default()).unwrap();
        let two = index(&[0; 2048][..], IndexOptions::default()).unwrap();
        let (blob, other) = (Digest::of(b"blob"), Digest::of(b"other"));
        let (known, claim) = (Known::default(), two.clone());
        known.put(&blob, &one);
        let claimed = ClaimedIndexes::new(&known, || {
            ASKED.with_borrow_mut(|asked| *asked += 1);
            vec![(other, claim.clone())]
        });
        let asked = || ASKED.with_borrow(|asked| *asked);
        let merged = MergedIndex::new(FileTree::new(), &[]);
        assert_eq!((claimed.get(&one.diff_id, &blob), asked()), (Some(one), 0));
        claimed.put_merged(&blob, &merged);
        assert_eq!(known.0.lock().unwrap().1, 1, "nothing was claimed yet");
        // As often as it is wanted: an image may have a layer twice.
        for _ in 0..2 {
            assert_eq!(claimed.get(&two.diff_id, &other), Some(two.clone()));
        }
        assert_eq!((claimed.get(&two.diff_id, &blob), asked()), (None, 1));
        claimed.put_merged(&blob, &merged);
        assert_eq!(known.0.lock().unwrap().1, 1, "what claims went into is not kept");
        assert_eq!(known.get(&two.diff_id, &other), None);
    }
}
