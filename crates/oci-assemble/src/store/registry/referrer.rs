//! Manifests about manifests: signatures, attestations, lists of components.

use super::error::{RegistryError, Result};
use super::repository::{Name, Repository};
use crate::image::{Descriptor, Digest, Index, Manifest, MediaType};

impl Repository {
    /// Stores a manifest that has a subject, and sees to it that it is found from there: by the registry where that keeps
    /// the list, else by an entry under the fallback tag, which is read, extended and written. Registries cannot compare
    /// before they write, so two writers of one subject must not run at the same time; that the entry is there is read
    /// back.
    pub fn put_referrer(&self, bytes: &[u8]) -> Result<Descriptor> {
        let request = || format!("the manifest of a referrer of {}", self.place.name());
        let document = |source| RegistryError::Document { request: request(), source };
        let manifest = Manifest::parse(bytes, None).map_err(document)?;
        let subject = manifest.subject.as_ref();
        let subject = subject.ok_or_else(|| RegistryError::Protocol { request: request(), missing: "a subject" })?;
        let own = Descriptor::of(manifest.media_type.clone(), bytes);
        let stored = self.put_manifest(Name::Digest(&own.digest), &own.media_type, bytes)?;
        let entry = entry(own, &manifest);
        if stored.subject {
            return Ok(entry);
        }
        for _ in 0..self.client.options().retry.tries.max(1) {
            let found = self.referrers(&subject.digest)?;
            if found.manifests.iter().any(|listed| listed.digest == entry.digest) {
                return Ok(entry);
            }
            let mut index = self.fallback(&subject.digest)?.unwrap_or_default();
            index.manifests.push(entry.clone());
            let tag = fallback_tag(&subject.digest);
            self.put_manifest(Name::Tag(&tag), &MediaType::ImageIndex, &index.to_bytes())?;
            if found.api {
                // A registry that has the list and does not take the subject in will not find it there either.
                return Ok(entry);
            }
        }
        Err(RegistryError::Protocol {
            request: format!("writing {}", fallback_tag(&subject.digest)),
            missing: "effect",
        })
    }

    /// The index under the fallback tag of a subject.
    pub(super) fn fallback(&self, subject: &Digest) -> Result<Option<Index>> {
        let Some(found) = self.manifest(Name::Tag(&fallback_tag(subject)))? else { return Ok(None) };
        let index = Index::parse(&found.bytes, Some(&found.descriptor.media_type));
        let request = format!("GET {}:{}", self.place.name(), fallback_tag(subject));
        index.map(Some).map_err(|source| RegistryError::Document { request, source })
    }
}

/// The tag under which registries without a list of referrers have it: `sha256-HEX`, cut to what a tag may have
/// (distribution-spec, "Referrers Tag Schema").
pub fn fallback_tag(subject: &Digest) -> String {
    let hex: String = subject.hex().chars().take(64).collect();
    format!("{}-{hex}", subject.algorithm())
}

/// The entry of a referrer in a list: with its artifact type, which for a manifest without one is its configuration's
/// media type, and its annotations.
fn entry(own: Descriptor, manifest: &Manifest) -> Descriptor {
    let mut entry = own;
    let named = manifest.rest.get("artifactType").and_then(serde_json::Value::as_str);
    let artifact = named.unwrap_or_else(|| manifest.config.media_type.as_str()).to_owned();
    entry.rest.insert("artifactType".into(), artifact.into());
    entry.annotations.clone_from(&manifest.annotations);
    entry
}
