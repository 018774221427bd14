//! Images that carry an ostree commit in their layers.
//!
//! rpm-ostree writes the commit and its objects into the first layers and names the last of them in the label
//! `ostree.final-diffid`. bootc reads the roles of all layers from that label (bootc, `ostree-ext/src/container/
//! store.rs`): layer 0 is the commit, the layers up to the named one hold objects, the others are ordinary layers.
//! A label that names no layer makes every client refuse the image.

use super::append::Image;
use super::digest::Digest;

/// Names the `diff_id` of the last layer with objects.
pub const FINAL_DIFFID: &str = "ostree.final-diffid";
/// Names the commit.
pub const COMMIT: &str = "ostree.commit";
/// Labels, and annotations copied from them, that are true of particular layers only.
pub const LAYER_LABELS: [&str; 2] = [COMMIT, FINAL_DIFFID];

/// What bootc takes a layer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerRole {
    /// The commit with its directory metadata.
    Commit,
    /// Objects of the commit.
    Objects,
    /// An ordinary layer.
    Derived,
}

/// The label `ostree.final-diffid` is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label {FINAL_DIFFID} says {value:?}, which is the diff_id of no layer")]
pub struct StaleLabel {
    /// The value of the label.
    pub value: String,
}

impl Image {
    /// Whether the first layers hold an ostree commit.
    pub fn is_ostree_encapsulated(&self) -> bool {
        self.config.labels.contains_key(FINAL_DIFFID)
    }

    /// What bootc takes each layer for, from the bottom up.
    pub fn layer_roles(&self) -> Result<Vec<LayerRole>, StaleLabel> {
        let layers = self.config.diff_ids.len();
        let Some(value) = self.config.labels.get(FINAL_DIFFID) else { return Ok(vec![LayerRole::Derived; layers]) };
        let stale = || StaleLabel { value: value.clone() };
        let named: Digest = value.parse().map_err(|_| stale())?;
        let last = self.config.diff_ids.iter().position(|diff_id| *diff_id == named).ok_or_else(stale)?;
        let role = |index| match index {
            0 => LayerRole::Commit,
            _ if index <= last => LayerRole::Objects,
            _ => LayerRole::Derived,
        };
        Ok((0..layers).map(role).collect())
    }
}
