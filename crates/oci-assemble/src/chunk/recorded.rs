//! The chunking that an image was written with, kept in the image.
//!
//! Each layer's descriptor names its components in an annotation; some tools drop annotations when they push (podman,
//! buildah), so the same stands once more in a label of the configuration. Both are JSON: an object for each layer, with
//! a component's name as key and `[fingerprint, builds, changes]` as value. Under the empty name, which no component has,
//! stands what the layer's parent directories are, with no builds.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::names::printable;
use crate::image::{Descriptor, Digest, Image};

/// The annotation of a layer.
pub const COMPONENTS: &str = "io.assemble.components";
/// The label of an image.
pub const LABEL: &str = "io.assemble.layers";

/// In how many builds a component was looked at, and in how many of them it had changed.
///
/// Beyond [`Seen::WINDOW`] builds both numbers are halved: what happened long ago fades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Builds after the one that brought the component.
    pub builds: u32,
    /// Those in which it changed.
    pub changes: u32,
}

impl Seen {
    /// Builds that count whole.
    pub const WINDOW: u32 = 32;

    /// After one more build.
    #[must_use]
    pub fn after(self, changed: bool) -> Self {
        let Self { mut builds, mut changes } = self;
        if builds >= Self::WINDOW {
            (builds, changes) = (builds / 2, changes / 2);
        }
        Self { builds: builds + 1, changes: changes + u32::from(changed) }
    }
}

/// A component as an image recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// [`Component::fingerprint`](super::Component::fingerprint).
    pub fingerprint: u64,
    /// What was observed.
    pub seen: Seen,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (format!("{:016x}", self.fingerprint), self.seen.builds, self.seen.changes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fingerprint, builds, changes): (String, u32, u32) = Deserialize::deserialize(deserializer)?;
        let parsed = u64::from_str_radix(&fingerprint, 16).ok().filter(|_| fingerprint.len() == 16);
        let fingerprint = parsed.ok_or_else(|| de::Error::custom("a fingerprint has 16 hexadecimal digits"))?;
        if changes > builds || builds > 2 * Seen::WINDOW {
            return Err(de::Error::custom("counts of builds that cannot be"));
        }
        Ok(Self { fingerprint, seen: Seen { builds, changes } })
    }
}

/// A layer as an image recorded it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedLayer {
    /// Its components.
    pub components: BTreeMap<String, Record>,
    /// [`Components::parents`](super::Components::parents), when it was recorded.
    pub parents: Option<u64>,
    /// The layer itself, when it is known: a chunking can also come from a file.
    pub layer: Option<(Descriptor, Digest)>,
}

impl Serialize for RecordedLayer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parents = self.parents.map(|fingerprint| Record { fingerprint, seen: Seen::default() });
        let parents = parents.iter().map(|record| ("", record));
        serializer.collect_map(parents.chain(self.components.iter().map(|(name, record)| (name.as_str(), record))))
    }
}

impl<'de> Deserialize<'de> for RecordedLayer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut components: BTreeMap<String, Record> = Deserialize::deserialize(deserializer)?;
        let parents = components.remove("").map(|record| record.fingerprint);
        // Names of this version are printable; those of others need not be.
        let components = components.into_iter().map(|(name, record)| (printable(name), record)).collect();
        Ok(Self { components, parents, layer: None })
    }
}

/// The chunking of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Lowest layer first; layers of which nothing is recorded are left out.
    pub layers: Vec<RecordedLayer>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordedError {
    /// It is not the JSON that is written here.
    #[error("{place} is no record of layers")]
    Json {
        /// Where it stands: a label, an annotation of a layer, a file.
        place: String,
        /// What the reader said.
        #[source]
        source: serde_json::Error,
    },
    /// One component in two layers.
    #[error("{place} has the component {component:?} in two layers")]
    Twice {
        /// Where it stands.
        place: String,
        /// The component.
        component: String,
    },
}

impl Recorded {
    /// What `image` says of its layers; nothing when it was not cut by this crate. Annotations count where every layer has
    /// one that can be read, else the label, if it is of as many layers as there are.
    pub fn of(image: &Image) -> Result<Option<Self>, RecordedError> {
        let label = || {
            let Some(text) = image.config().labels.get(LABEL) else { return Ok(None) };
            let layers = Self::parse(text, &format!("the label {LABEL}"))?.layers;
            Ok(Some(layers).filter(|layers| layers.len() == image.layers().len()))
        };
        let layers = match Self::annotated(image) {
            Ok(Some(layers)) => Some(layers),
            Ok(None) => label()?,
            // A good label makes up for it; a bad one is the lesser fault.
            Err(error) => Some(label().ok().flatten().ok_or(error)?),
        };
        let Some(mut layers) = layers else { return Ok(None) };
        for (layer, (descriptor, diff_id)) in layers.iter_mut().zip(image.layers()) {
            layer.layer = Some((descriptor.clone(), *diff_id));
        }
        Ok(Some(Self { layers }))
    }

    /// What the annotations say, where every layer has one.
    fn annotated(image: &Image) -> Result<Option<Vec<RecordedLayer>>, RecordedError> {
        let texts: Option<Vec<&String>> =
            image.layers().map(|(descriptor, _)| descriptor.annotations.get(COMPONENTS)).collect();
        let Some(texts) = texts.filter(|texts| !texts.is_empty()) else { return Ok(None) };
        let place = |number: usize| format!("the annotation {COMPONENTS} of layer {number}");
        let read = |(number, text): (usize, &String)| {
            serde_json::from_str(text).map_err(|source| RecordedError::Json { place: place(number), source })
        };
        let layers = texts.into_iter().enumerate().map(read).collect::<Result<Vec<RecordedLayer>, _>>()?;
        Self::checked(layers, "the image").map(|recorded| Some(recorded.layers))
    }

    /// Reads what [`Recorded::to_json`] wrote.
    pub fn parse(text: &str, file: &str) -> Result<Self, RecordedError> {
        let layers: Vec<RecordedLayer> =
            serde_json::from_str(text).map_err(|source| RecordedError::Json { place: file.to_owned(), source })?;
        Self::checked(layers, file)
    }

    fn checked(layers: Vec<RecordedLayer>, place: &str) -> Result<Self, RecordedError> {
        let mut names: Vec<&String> = layers.iter().flat_map(|layer| layer.components.keys()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(RecordedError::Twice { place: place.to_owned(), component: pair[0].clone() }),
            None => Ok(Self { layers }),
        }
    }

    /// The record of one component, wherever it is.
    pub fn get(&self, component: &str) -> Option<&Record> {
        self.layers.iter().find_map(|layer| layer.components.get(component))
    }

    /// The label's text.
    pub fn to_json(&self) -> String {
        json(&self.layers)
    }
}

impl RecordedLayer {
    /// The annotation's text.
    pub fn to_json(&self) -> String {
        json(self)
    }
}

// Maps with keys of text and numbers cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
