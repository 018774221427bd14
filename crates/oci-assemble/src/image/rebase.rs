//! The same additions on another base.

use std::collections::BTreeMap;

use super::append::{AppendError, Image};
use super::config::Config;
use super::layer::Layer;

/// Why an image cannot be put on another base.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RebaseError {
    /// The image does not begin with the layers of the old base.
    #[error("layer {index} is not that of the old base")]
    OtherBase {
        /// The first layer that differs, from 0 at the bottom.
        index: usize,
    },
    /// A layer is in the new base already.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Image {
    /// Puts what `self` adds to `old` on `new`: layers, and every value of the configuration and the annotations in
    /// which `self` differs from `old`.
    ///
    /// Law: `append(old, x).rebase(old, new) == append(new, x)`, and the same for labels and annotations that differ
    /// from those of `old`.
    pub fn rebase(self, old: &Self, new: &Self) -> Result<Self, RebaseError> {
        let below = old.layers().len();
        for (index, theirs) in old.layers().enumerate() {
            let same = |(descriptor, diff_id): (&super::Descriptor, _)| {
                (descriptor.digest, diff_id) == (theirs.0.digest, theirs.1)
            };
            if !self.layers().nth(index).is_some_and(same) {
                return Err(RebaseError::OtherBase { index });
            }
        }
        let mut rebased = new.clone();
        let mut history = self.config.layer_history().skip(below.max(old.config.layer_history().count()));
        for (descriptor, diff_id) in self.layers().skip(below) {
            let history = history.next().cloned().unwrap_or_default();
            let layer = Layer { descriptor: descriptor.clone(), diff_id: *diff_id, uncompressed_size: None, history };
            rebased = rebased.append(layer)?;
        }
        Ok(rebased.carry(&self, old))
    }

    fn carry(mut self, ours: &Self, old: &Self) -> Self {
        let config = merge_config(&old.config, &ours.config, &self.config);
        let annotations = merge(&old.manifest.annotations, &ours.manifest.annotations, &self.manifest.annotations);
        let rest = merge(&old.manifest.rest, &ours.manifest.rest, &self.manifest.rest);
        let same_config = config == self.config;
        if same_config && annotations == self.manifest.annotations && rest == self.manifest.rest {
            return self;
        }
        self.config = config;
        self.manifest.annotations = annotations;
        self.manifest.rest = rest;
        if same_config { self.resealed_manifest() } else { self.resealed() }
    }
}

/// `new` with the layers it has, and the other values that `ours` changed since `old`.
fn merge_config(old: &Config, ours: &Config, new: &Config) -> Config {
    Config {
        platform: changed(&old.platform, &ours.platform, &new.platform),
        created: changed(&old.created, &ours.created, &new.created),
        labels: merge(&old.labels, &ours.labels, &new.labels),
        exec: merge(&old.exec, &ours.exec, &new.exec),
        diff_ids: new.diff_ids.clone(),
        history: new.history.clone(),
        rest: merge(&old.rest, &ours.rest, &new.rest),
    }
}

fn changed<T: Clone + PartialEq>(old: &T, ours: &T, new: &T) -> T {
    if ours == old { new.clone() } else { ours.clone() }
}

/// `new` with every key that differs between `old` and `ours` as `ours` has it.
fn merge<T: Clone + PartialEq>(
    old: &BTreeMap<String, T>,
    ours: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> BTreeMap<String, T> {
    let mut merged = new.clone();
    for key in old.keys().chain(ours.keys()) {
        match (old.get(key), ours.get(key)) {
            (before, after) if before == after => {}
            (_, Some(value)) => {
                merged.insert(key.clone(), value.clone());
            }
            (_, None) => {
                merged.remove(key);
            }
        }
    }
    merged
}
