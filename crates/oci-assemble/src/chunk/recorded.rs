//! The chunking that an image was written with, kept in the image.
//!
//! Each layer's descriptor names its components in an annotation; some tools drop annotations when they push (podman,
//! buildah), so the same stands once more in a label of the configuration. Both are JSON: an object for each layer, with
//! a component's name as key and `[fingerprint, builds, changes]` as value.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordedLayer {
    /// Its components.
    pub components: BTreeMap<String, Record>,
    /// The layer itself, when it is known: a chunking can also come from a file.
    #[serde(skip)]
    pub layer: Option<(Descriptor, Digest)>,
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
    /// one, else the label, if it is of as many layers as there are.
    pub fn of(image: &Image) -> Result<Option<Self>, RecordedError> {
        let annotated: Option<Vec<&String>> =
            image.layers().map(|(descriptor, _)| descriptor.annotations.get(COMPONENTS)).collect();
        let place = |number: usize| format!("the annotation {COMPONENTS} of layer {number}");
        let annotated = annotated.filter(|texts| !texts.is_empty());
        let components: Vec<BTreeMap<String, Record>> = if let Some(texts) = annotated {
            let read = |(number, text): (usize, &String)| {
                serde_json::from_str(text).map_err(|source| RecordedError::Json { place: place(number), source })
            };
            texts.into_iter().enumerate().map(read).collect::<Result<_, _>>()?
        } else {
            let Some(text) = image.config().labels.get(LABEL) else { return Ok(None) };
            let place = format!("the label {LABEL}");
            serde_json::from_str(text).map_err(|source| RecordedError::Json { place, source })?
        };
        if components.len() != image.layers().len() {
            return Ok(None);
        }
        let known = image.layers().map(|(descriptor, diff_id)| Some((descriptor.clone(), *diff_id)));
        let layers = components.into_iter().zip(known).map(|(components, layer)| RecordedLayer { components, layer });
        Self::checked(layers.collect(), "the image").map(Some)
    }

    /// Reads what [`Recorded::to_json`] wrote.
    pub fn parse(text: &str, file: &str) -> Result<Self, RecordedError> {
        let components: Vec<BTreeMap<String, Record>> =
            serde_json::from_str(text).map_err(|source| RecordedError::Json { place: file.to_owned(), source })?;
        let layers = components.into_iter().map(|components| RecordedLayer { components, layer: None });
        Self::checked(layers.collect(), file)
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
        let components: Vec<_> = self.layers.iter().map(|layer| &layer.components).collect();
        json(&components)
    }
}

impl RecordedLayer {
    /// The annotation's text.
    pub fn to_json(&self) -> String {
        json(&self.components)
    }
}

// Maps with keys of text and numbers cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
