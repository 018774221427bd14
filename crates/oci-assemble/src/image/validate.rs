//! Whether the blobs of an image are what the image says.

use super::append::Image;
use super::descriptor::Descriptor;
use super::digest::Digest;

/// More layers than Docker's storage drivers and several registries accept.
pub const MANY_LAYERS: usize = 127;

/// What was found in the place of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Digest of the bytes, by the algorithm of the descriptor.
    pub digest: Digest,
    /// Number of bytes.
    pub size: u64,
    /// Digest of the tar inside, of a layer.
    pub diff_id: Option<Digest>,
}

impl Observed {
    /// What `bytes` are, by the algorithm of `descriptor`.
    pub fn of(descriptor: &Descriptor, bytes: &[u8]) -> Self {
        let mut hasher = descriptor.digest.hasher();
        hasher.update(bytes);
        Self { digest: hasher.finish(), size: bytes.len() as u64, diff_id: None }
    }
}

/// One thing about a blob that is not as the image says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The bytes are other ones.
    #[error("blob {expected} has digest {found}")]
    Digest {
        /// What the descriptor says.
        expected: Box<Digest>,
        /// What the bytes have.
        found: Box<Digest>,
    },
    /// There are more or fewer bytes.
    #[error("blob {digest} has {found} bytes, not {expected}")]
    Size {
        /// Which blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What there are.
        found: u64,
    },
    /// The tar inside is another one. Clients trust the `diff_id` and keep the wrong content for ever.
    #[error("layer {digest} has diff_id {found}, not {expected}")]
    DiffId {
        /// The layer's blob.
        digest: Box<Digest>,
        /// What the configuration says.
        expected: Box<Digest>,
        /// What the tar has.
        found: Box<Digest>,
    },
}

/// Something about an image that is legal but makes some clients fail or show the wrong thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageWarning {
    /// More than [`MANY_LAYERS`].
    #[error("{found} layers are more than the {} some clients accept", MANY_LAYERS)]
    ManyLayers {
        /// How many.
        found: usize,
    },
    /// A layer is there twice.
    #[error("layer {second} is the same as layer {first}")]
    RepeatedLayer {
        /// Position of the first, from 0 at the bottom.
        first: usize,
        /// Position of the second.
        second: usize,
    },
    /// The history does not have one entry for each layer.
    #[error("{entries} history entries for {layers} layers")]
    History {
        /// Entries that belong to layers.
        entries: usize,
        /// Layers.
        layers: usize,
    },
}

/// Compares one blob with its descriptor and, for a layer, its `diff_id`.
pub fn compare(descriptor: &Descriptor, diff_id: Option<&Digest>, observed: &Observed) -> Vec<Mismatch> {
    let digest = descriptor.digest;
    let mut mismatches = Vec::new();
    if observed.size != descriptor.size {
        mismatches.push(Mismatch::Size { digest, expected: descriptor.size, found: observed.size });
    }
    if observed.digest != digest {
        mismatches.push(Mismatch::Digest { expected: Box::new(digest), found: Box::new(observed.digest) });
    }
    if let (Some(expected), Some(found)) = (diff_id, observed.diff_id)
        && *expected != found
    {
        let (digest, expected, found) = (Box::new(digest), Box::new(*expected), Box::new(found));
        mismatches.push(Mismatch::DiffId { digest, expected, found });
    }
    mismatches
}

impl Image {
    /// Compares every blob of the image with what `observe` finds in its place. `observe` is told the `diff_id` of a
    /// layer so that it can use the same algorithm; its first error ends the work.
    pub fn validate<E>(
        &self,
        mut observe: impl FnMut(&Descriptor, Option<&Digest>) -> Result<Observed, E>,
    ) -> Result<Vec<Mismatch>, E> {
        let mut mismatches = compare(&self.manifest.config, None, &observe(&self.manifest.config, None)?);
        for (descriptor, diff_id) in self.layers() {
            mismatches.extend(compare(descriptor, Some(diff_id), &observe(descriptor, Some(diff_id))?));
        }
        Ok(mismatches)
    }

    /// What is legal in this image but not well received everywhere.
    pub fn warnings(&self) -> Vec<ImageWarning> {
        let mut warnings = Vec::new();
        let layers = self.layers().len();
        if layers > MANY_LAYERS {
            warnings.push(ImageWarning::ManyLayers { found: layers });
        }
        for (second, one) in self.layers().enumerate() {
            let same = |other: (&Descriptor, &Digest)| other.0.digest == one.0.digest || other.1 == one.1;
            if let Some(first) = self.layers().take(second).position(same) {
                warnings.push(ImageWarning::RepeatedLayer { first, second });
            }
        }
        let entries = self.config.layer_history().count();
        if entries != layers {
            warnings.push(ImageWarning::History { entries, layers });
        }
        warnings
    }
}
