//! Indexes of layers that nobody here has read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::IndexCache;
use crate::image::Digest;
use crate::layer::{LayerIndex, MergedIndex};

/// A cache that asks for what somebody else says of layers when it does not know one itself.
///
/// Law: what is claimed is for the images that are opened with this value, and is never remembered: a false claim must not
/// outlive them. What files hold is read from the layers all the same, and held against the digests that are claimed.
pub struct ClaimedIndexes<'a, F> {
    known: &'a dyn IndexCache,
    ask: F,
    claims: OnceLock<Mutex<BTreeMap<(Digest, Digest), LayerIndex>>>,
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
        let claims = self.claims.get_or_init(|| {
            let claims = (self.ask)().into_iter().map(|(blob, index)| ((index.diff_id, blob), index));
            Mutex::new(claims.collect())
        });
        // Each layer is asked for once.
        let claim = claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&(*diff_id, *blob))?;
        self.used.store(true, Ordering::Relaxed);
        Some(claim)
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
