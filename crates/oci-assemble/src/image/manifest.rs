//! Image manifests.

use std::collections::BTreeMap;

use serde_json::Value;

use super::descriptor::Descriptor;
use super::document::{self, Document, DocumentError, DocumentFault, Fields, MAX_MANIFEST};
use super::json;
use super::media_type::MediaType;

/// An image manifest (image-spec, "manifest.md"), or Docker's of schema 2, which has the same fields.
///
/// Law: `Manifest::parse(&m.to_bytes(), None)` gives `m` back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// [`MediaType::ImageManifest`] or [`MediaType::DockerManifest`].
    pub media_type: MediaType,
    /// The image configuration, or what an artifact has in its place.
    pub config: Descriptor,
    /// Layers from the bottom up.
    pub layers: Vec<Descriptor>,
    /// Annotations of the image.
    pub annotations: BTreeMap<String, String>,
    /// The manifest this one is about (a signature, a software bill of materials).
    pub subject: Option<Descriptor>,
    /// Other fields (`artifactType`, what is not known), kept as they are.
    pub rest: BTreeMap<String, Value>,
}

impl Manifest {
    /// An OCI manifest without annotations.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            media_type: MediaType::ImageManifest,
            config,
            layers,
            annotations: BTreeMap::new(),
            subject: None,
            rest: BTreeMap::new(),
        }
    }

    /// Reads a manifest. `expected` is the type its descriptor or the registry gave for it: the `mediaType` inside,
    /// which OCI lets absent, must not say something else.
    pub fn parse(bytes: &[u8], expected: Option<&MediaType>) -> Result<Self, DocumentError> {
        read(bytes, expected).map_err(|fault| fault.within(Document::Manifest))
    }

    /// The canonical JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut map = document::object(&self.rest);
        map.insert("schemaVersion".into(), 2.into());
        map.insert("mediaType".into(), self.media_type.as_str().into());
        map.insert("config".into(), self.config.to_value());
        map.insert("layers".into(), self.layers.iter().map(Descriptor::to_value).collect());
        if !self.annotations.is_empty() {
            map.insert("annotations".into(), document::strings(&self.annotations));
        }
        if let Some(subject) = &self.subject {
            map.insert("subject".into(), subject.to_value());
        }
        json::canonical(&Value::Object(map))
    }

    /// The same manifest with OCI's media types in place of Docker's.
    #[must_use]
    pub fn into_oci(mut self) -> Self {
        self.media_type = self.media_type.to_oci();
        self.config.media_type = self.config.media_type.to_oci();
        for layer in &mut self.layers {
            layer.media_type = layer.media_type.clone().to_oci();
        }
        self
    }
}

fn read(bytes: &[u8], expected: Option<&MediaType>) -> Result<Manifest, DocumentFault> {
    let mut fields = Fields::parse(bytes, MAX_MANIFEST)?;
    let media_type = kind(&mut fields, expected, MediaType::is_manifest, &MediaType::ImageManifest)?;
    if fields.has("manifests") {
        return Err(DocumentFault::Ambiguous { first: "layers", second: "manifests" });
    }
    Ok(Manifest {
        media_type,
        config: Descriptor::read(fields.required_object("config")?)?,
        layers: Descriptor::read_all(fields.required_array("layers")?, "/layers")?,
        annotations: fields.string_map("annotations")?,
        subject: fields.object("subject")?.map(Descriptor::read).transpose()?,
        rest: fields.rest()?,
    })
}

/// Checks `schemaVersion` and `mediaType`; `usual` is what a document without one is.
pub(super) fn kind(
    fields: &mut Fields,
    expected: Option<&MediaType>,
    accepts: fn(&MediaType) -> bool,
    usual: &MediaType,
) -> Result<MediaType, DocumentFault> {
    match fields.take("schemaVersion") {
        Some(Value::Number(number)) if number.as_u64() == Some(2) => {}
        Some(other) => return Err(DocumentFault::SchemaVersion { found: other.to_string() }),
        None => return Err(DocumentFault::Missing { at: "/schemaVersion".into() }),
    }
    let inside = fields.text("mediaType")?.map(|text| MediaType::from(text.as_str()));
    let found = inside.as_ref().or(expected).unwrap_or(usual);
    let wanted = expected.unwrap_or(found);
    if found != wanted || !accepts(found) {
        let expected = if accepts(wanted) { wanted } else { usual };
        return Err(DocumentFault::MediaType { expected: expected.to_string(), found: found.to_string() });
    }
    Ok(found.clone())
}
