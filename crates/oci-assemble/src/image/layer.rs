//! A layer that is finished: all that an image has to know of it.

use super::config::History;
use super::descriptor::Descriptor;
use super::digest::Digest;

/// A sealed layer: its blob exists somewhere and does not change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The blob: media type, digest and size as they are stored, with the annotations the manifest shows.
    pub descriptor: Descriptor,
    /// Digest of the tar inside.
    pub diff_id: Digest,
    /// Size of the tar inside in bytes, where it is known.
    pub uncompressed_size: Option<u64>,
    /// Its entry in the history of the image.
    pub history: History,
}
