//! Image indexes: manifests for several platforms, or the list of images in a layout.

use std::collections::BTreeMap;

use serde_json::Value;

use super::descriptor::Descriptor;
use super::document::{self, Document, DocumentError, DocumentFault, Fields, MAX_MANIFEST};
use super::json;
use super::manifest::kind;
use super::media_type::MediaType;
use super::platform::Platform;

/// An image index (image-spec, "image-index.md"), or Docker's manifest list, which has the same fields.
///
/// Law: `Index::parse(&i.to_bytes(), None)` gives `i` back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// [`MediaType::ImageIndex`] or [`MediaType::DockerManifestList`].
    pub media_type: MediaType,
    /// Manifests, and other indexes, in the order they stand.
    pub manifests: Vec<Descriptor>,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// Other fields (`subject`, `artifactType`, what is not known), kept as they are.
    pub rest: BTreeMap<String, Value>,
}

/// No manifest, or several, for a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The index has nothing for it.
    #[error("no image for {wanted} among {offered:?}")]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// Several entries fit equally well.
    #[error("{found} images for {wanted}")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// How many there are.
        found: usize,
    },
}

impl Default for Index {
    fn default() -> Self {
        Self {
            media_type: MediaType::ImageIndex,
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
            rest: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Reads an index. `expected` is the type its descriptor or the registry gave for it.
    pub fn parse(bytes: &[u8], expected: Option<&MediaType>) -> Result<Self, DocumentError> {
        read(bytes, expected).map_err(|fault| fault.within(Document::Index))
    }

    /// The canonical JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut map = document::object(&self.rest);
        map.insert("schemaVersion".into(), 2.into());
        map.insert("mediaType".into(), self.media_type.as_str().into());
        map.insert("manifests".into(), self.manifests.iter().map(Descriptor::to_value).collect());
        if !self.annotations.is_empty() {
            map.insert("annotations".into(), document::strings(&self.annotations));
        }
        json::canonical(&Value::Object(map))
    }

    /// The one manifest for `wanted`. An entry that spells out the wanted variant goes before one that leaves it out.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, SelectError> {
        let offers = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|offered| offered.satisfies(wanted));
        let mut fitting: Vec<&Descriptor> = self.manifests.iter().filter(offers).collect();
        let exact = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|own| own.variant == wanted.variant);
        if fitting.iter().any(exact) {
            fitting.retain(exact);
        }
        fitting.dedup_by_key(|entry| entry.digest);
        match fitting[..] {
            [one] => Ok(one),
            [] => Err(SelectError::NoPlatform { wanted: wanted.to_string(), offered: self.platforms() }),
            _ => Err(SelectError::Ambiguous { wanted: wanted.to_string(), found: fitting.len() }),
        }
    }

    fn platforms(&self) -> Vec<String> {
        let shown = |entry: &Descriptor| entry.platform.as_ref().map_or("(none)".into(), Platform::to_string);
        self.manifests.iter().map(shown).collect()
    }
}

fn read(bytes: &[u8], expected: Option<&MediaType>) -> Result<Index, DocumentFault> {
    let mut fields = Fields::parse(bytes, MAX_MANIFEST)?;
    let media_type = kind(&mut fields, expected, MediaType::is_index, &MediaType::ImageIndex)?;
    for second in ["layers", "config"] {
        if fields.has(second) {
            return Err(DocumentFault::Ambiguous { first: "manifests", second });
        }
    }
    Ok(Index {
        media_type,
        manifests: Descriptor::read_all(fields.required_array("manifests")?, "/manifests")?,
        annotations: fields.string_map("annotations")?,
        rest: fields.rest()?,
    })
}
