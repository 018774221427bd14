//! Manifests and indexes in a repository: bytes as they are, held against their digests.

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::client::{Answer, Request};
use super::error::{RegistryError, Result};
use super::repository::{Name, Repository};
use crate::image::{Descriptor, Digest, DocumentFault, MAX_MANIFEST, MediaType, json};

/// The digest that a registry says an answer has (distribution-spec, "Pulling manifests").
pub(super) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The subject that a registry took note of (distribution-spec, "Pushing Manifests with Subject").
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// What we can read.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                        application/vnd.docker.distribution.manifest.list.v2+json, \
                        application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or an index as it is in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteManifest {
    /// What it is. Its digest is that of the bytes.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a registry said to a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whether it lists the manifest as a referrer of its subject.
    pub subject: bool,
}

impl Repository {
    /// Reads a manifest; `None` when there is none of that name.
    pub fn manifest(&self, name: Name<'_>) -> Result<Option<RemoteManifest>> {
        let mut request = Request::new(Method::GET, self.place.manifest(&name.text()));
        request.headers.push((ACCEPT, HeaderValue::from_static(ACCEPTED)));
        let Answer { headers, body, .. } = match self.ask(&request, MAX_MANIFEST) {
            Err(error) if error.is_missing() => return Ok(None),
            answer => answer?,
        };
        let media_type = media_type(&headers, &body)
            .map_err(|source| RegistryError::Document { request: request.name(), source })?;
        let mut descriptor = Descriptor::of(media_type, &body);
        if let Name::Digest(expected) = name {
            descriptor.digest = digest(expected, &body);
            self.same(expected, &descriptor.digest.to_string())?;
        }
        self.agrees(&headers, &body)?;
        Ok(Some(RemoteManifest { descriptor, bytes: body }))
    }

    /// What a name stands for now, without its bytes; `None` when it stands for nothing. What a registry only says is
    /// not verified.
    pub fn head(&self, name: Name<'_>) -> Result<Option<Descriptor>> {
        let mut request = Request::new(Method::HEAD, self.place.manifest(&name.text()));
        request.headers.push((ACCEPT, HeaderValue::from_static(ACCEPTED)));
        let headers = match self.ask(&request, 0) {
            Err(error) if error.is_missing() => return Ok(None),
            answer => answer?.headers,
        };
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let said: Option<Digest> = text(DIGEST).and_then(|text| text.parse().ok());
        let size = text(reqwest::header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let kind = text(CONTENT_TYPE).map(|text| MediaType::from(essence(text)));
        match (said, size, kind) {
            (Some(said), Some(size), Some(kind)) => Ok(Some(Descriptor::new(kind, said, size))),
            // Registries need not say it here.
            _ => Ok(self.manifest(name)?.map(|manifest| manifest.descriptor)),
        }
    }

    /// Stores a manifest under its digest, or gives it a tag. Registries refuse one whose blobs or manifests they lack.
    pub fn put_manifest(&self, name: Name<'_>, media_type: &MediaType, bytes: &[u8]) -> Result<Stored> {
        let mut request = Request::new(Method::PUT, self.place.manifest(&name.text()));
        let kind = HeaderValue::from_str(media_type.as_str());
        let kind = kind.map_err(|error| RegistryError::Client { what: "a media type", source: error.into() })?;
        request.headers.push((CONTENT_TYPE, kind));
        request.bytes = Some(bytes);
        let headers = self.ask(&request, MAX_MANIFEST)?.headers;
        self.agrees(&headers, bytes)?;
        Ok(Stored { subject: headers.contains_key(SUBJECT) })
    }

    /// The digest in an answer, if there is one, must be that of the bytes.
    fn agrees(&self, headers: &HeaderMap, bytes: &[u8]) -> Result<()> {
        let Some(said) = headers.get(DIGEST) else { return Ok(()) };
        let said = String::from_utf8_lossy(said.as_bytes()).into_owned();
        let expected = said.parse().map_or_else(|_| Digest::of(bytes), |said| digest(&said, bytes));
        self.same(&expected, &said)
    }

    pub(super) fn same(&self, expected: &Digest, found: &str) -> Result<()> {
        if expected.to_string() == found {
            return Ok(());
        }
        let (host, found) = (self.place.host.clone(), found.chars().take(160).collect());
        Err(RegistryError::Digest { host, expected: Box::new(*expected), found })
    }
}

/// The digest of `bytes` by the algorithm of `like`.
fn digest(like: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = like.hasher();
    hasher.update(bytes);
    hasher.finish()
}

/// A media type without its parameters.
fn essence(text: &str) -> &str {
    text.split(';').next().unwrap_or(text).trim()
}

/// What kind of document came: header and document must not say different things. Without either, its fields say it.
fn media_type(headers: &HeaderMap, bytes: &[u8]) -> std::result::Result<MediaType, crate::image::DocumentError> {
    let fault = |fault| crate::image::DocumentError { document: crate::image::Document::Manifest, fault };
    let value = json::parse(bytes, MAX_MANIFEST).map_err(|error| fault(DocumentFault::Json(error)))?;
    let inside = value.get("mediaType").and_then(serde_json::Value::as_str).map(MediaType::from);
    let outside =
        headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(|text| MediaType::from(essence(text)));
    // Registries that do not know say that it is JSON.
    let outside = outside.filter(|kind| kind.is_manifest() || kind.is_index() || inside.is_none());
    match (inside, outside) {
        (Some(inside), Some(outside)) if inside != outside => {
            let (expected, found) = (outside.to_string(), inside.to_string());
            Err(fault(DocumentFault::MediaType { expected, found }))
        }
        (Some(kind), _) => Ok(kind),
        (None, Some(kind)) if kind.is_manifest() || kind.is_index() => Ok(kind),
        (None, _) if value.get("manifests").is_some() => Ok(MediaType::ImageIndex),
        (None, _) if value.get("layers").is_some() => Ok(MediaType::ImageManifest),
        (None, _) => Err(fault(DocumentFault::Missing { at: "/layers".into() })),
    }
}
