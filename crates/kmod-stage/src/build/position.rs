//! Where in an image a result belongs.

use std::fmt;
use std::sync::Arc;

use oci_assemble::image::Digest;

use super::{BuildError, HarvestError};

/// Where in an image a result belongs. What comes before it decides which files are missing in the image, and which are in
/// the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Name of the stage.
    pub stage: String,
    /// Digest of the base's manifest.
    pub base: Digest,
    /// The stages before, in order: the name of each, and the digest of what it brings or of all that decides about it.
    pub before: Vec<(String, Digest)>,
}

/// The digest of what a stage brings that no builder makes; files are read when it is asked for.
pub type Digester = dyn Fn() -> Result<Digest, HarvestError> + Send + Sync;

/// A stage before another one.
#[derive(Clone)]
pub enum Earlier {
    /// One that a builder makes, by its name: the key of its result counts.
    Built(String),
    /// Another one.
    Given(String, Arc<Digester>),
}

impl fmt::Debug for Earlier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Built(name) | Self::Given(name, _)) = self;
        f.debug_tuple("Earlier").field(name).finish()
    }
}

impl Position {
    /// The position of `stage` behind `earlier` on a base, where `made` has the keys of what builders made. A stage that
    /// nothing was made for brings nothing.
    pub fn new(
        stage: &str,
        base: Digest,
        earlier: &[Earlier],
        made: impl Fn(&str) -> Option<Digest>,
    ) -> Result<Self, BuildError> {
        let digest = |earlier: &Earlier| match earlier {
            Earlier::Built(name) => Ok(made(name).map(|key| (name.clone(), key))),
            Earlier::Given(name, digest) => match digest() {
                Ok(digest) => Ok(Some((name.clone(), digest))),
                Err(source) => Err(BuildError::Earlier { stage: name.clone(), source }),
            },
        };
        let before: Result<Vec<_>, _> = earlier.iter().map(digest).filter_map(Result::transpose).collect();
        Ok(Self { stage: stage.to_owned(), base, before: before? })
    }
}
