//! Descriptors: what a blob is, its digest and its size.

use std::collections::BTreeMap;

use oci_spec::image as spec;
use serde_json::Value;

use super::digest::{Digest, DigestError};
use super::document::{self, Document, DocumentError, DocumentFault, Fields, MAX_DESCRIPTORS};
use super::media_type::MediaType;
use super::platform::Platform;

/// The annotation that holds a tag in the index of a layout (image-spec, "annotations.md").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A reference to a blob (image-spec, "descriptor.md").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: MediaType,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Annotations of this reference.
    pub annotations: BTreeMap<String, String>,
    /// What the image behind it needs to run.
    pub platform: Option<Platform>,
    /// Other fields (`urls`, `artifactType`, `data`, what is not known), kept as they are.
    pub rest: BTreeMap<String, Value>,
}

impl Descriptor {
    /// A descriptor without annotations.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, annotations: BTreeMap::new(), platform: None, rest: BTreeMap::new() }
    }

    /// The descriptor of `bytes`.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The tag it has in a layout.
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }

    /// Reads a descriptor from a JSON value.
    pub fn from_value(value: Value) -> Result<Self, DocumentError> {
        Fields::new(value, String::new()).and_then(Self::read).map_err(|fault| fault.within(Document::Descriptor))
    }

    /// The JSON value of it.
    pub fn to_value(&self) -> Value {
        let mut map = document::object(&self.rest);
        map.insert("mediaType".into(), self.media_type.as_str().into());
        map.insert("digest".into(), self.digest.to_string().into());
        map.insert("size".into(), self.size.into());
        if !self.annotations.is_empty() {
            map.insert("annotations".into(), document::strings(&self.annotations));
        }
        if let Some(platform) = &self.platform {
            map.insert("platform".into(), platform.to_value());
        }
        Value::Object(map)
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Self, DocumentFault> {
        Ok(Self {
            media_type: fields.required_text("mediaType")?.as_str().into(),
            digest: fields.digest("digest")?,
            size: fields.size("size")?,
            annotations: fields.string_map("annotations")?,
            platform: fields.object("platform")?.map(Platform::read).transpose()?,
            rest: fields.rest()?,
        })
    }

    pub(crate) fn read_all(values: Vec<Value>, at: &str) -> Result<Vec<Self>, DocumentFault> {
        if values.len() > MAX_DESCRIPTORS {
            return Err(DocumentFault::TooManyDescriptors { at: at.to_owned(), found: values.len() });
        }
        let read = |(index, value)| Self::read(Fields::new(value, format!("{at}/{index}"))?);
        values.into_iter().enumerate().map(read).collect()
    }
}

impl TryFrom<&Descriptor> for spec::Descriptor {
    type Error = oci_spec::OciSpecError;

    /// What `oci-spec` has no field for is left out.
    fn try_from(descriptor: &Descriptor) -> Result<Self, Self::Error> {
        let rest = |key: &str| descriptor.rest.get(key);
        let text = |key: &str| rest(key).and_then(Value::as_str).map(str::to_owned);
        let digest = spec::Digest::try_from(descriptor.digest.to_string())?;
        let mut theirs = Self::new((&descriptor.media_type).into(), descriptor.size, digest);
        if !descriptor.annotations.is_empty() {
            theirs.set_annotations(Some(descriptor.annotations.clone().into_iter().collect()));
        }
        theirs.set_platform(descriptor.platform.as_ref().map(spec::Platform::from));
        theirs.set_artifact_type(text("artifactType").as_deref().map(spec::MediaType::from));
        theirs.set_data(text("data"));
        let urls: Option<Vec<String>> = rest("urls")
            .and_then(Value::as_array)
            .and_then(|urls| urls.iter().map(|url| url.as_str().map(str::to_owned)).collect());
        theirs.set_urls(urls);
        Ok(theirs)
    }
}

impl TryFrom<&spec::Descriptor> for Descriptor {
    type Error = DigestError;

    fn try_from(theirs: &spec::Descriptor) -> Result<Self, DigestError> {
        let mut rest = BTreeMap::new();
        let mut keep = |key: &str, value: Option<Value>| value.map(|value| rest.insert(key.to_owned(), value));
        keep("urls", theirs.urls().clone().map(Value::from));
        keep("artifactType", theirs.artifact_type().as_ref().map(|kind| Value::from(kind.as_ref())));
        keep("data", theirs.data().clone().map(Value::from));
        Ok(Self {
            media_type: theirs.media_type().into(),
            digest: theirs.digest().as_ref().parse()?,
            size: theirs.size(),
            annotations: theirs
                .annotations()
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            platform: theirs.platform().as_ref().map(Platform::from),
            rest,
        })
    }
}
