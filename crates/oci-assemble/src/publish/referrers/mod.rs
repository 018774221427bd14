//! What is attached to an image: where it is stored, and how it is found again.
//!
//! Two ways lead from an image to what is attached to it: a tag made of its digest (the *legacy* form), and manifests
//! that name it as their `subject`, which registries list (distribution-spec, "Listing Referrers"). A registry that
//! does not is given an index under a tag made of the digest, without suffix, by whoever attaches something.
//!
//! Everything that is read here is untrusted: [`fetch`] holds bytes against their descriptor, whatever the source did.

mod layout;
mod memory;
#[cfg(feature = "registry")]
mod registry;

use std::collections::BTreeMap;

pub use layout::LayoutReferrers;
pub use memory::MemoryReferrers;
#[cfg(feature = "registry")]
pub use registry::RegistryReferrers;

use crate::image::{Descriptor, Digest, Index, Manifest, MediaType, Mismatch};
use crate::store::StoreError;

/// The result of asking a source.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The repository of an image, as far as finds what is attached to it.
///
/// Law: `read(d)` gives bytes of `d`'s digest or an error; what `tagged` and `referrers` name can be read.
pub trait ReferrerSource {
    /// The manifest or index under a tag. Costs a request.
    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>>;

    /// Manifests whose subject is `subject`, in the order the repository lists them, those under the fallback tag
    /// among them. Filters nothing: artifact types in listings are often wrong. Costs a request, or several.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>>;

    /// A manifest or blob, which the caller has found to be small enough. Costs a request.
    fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;
}

/// A repository that takes attachments.
///
/// Law: after `store` succeeded, a later [`ReferrerSource`] finds each artifact at its place. What is stored under a
/// tag replaces what the tag named; callers have taken over what was in it.
pub trait ReferrerStore: ReferrerSource {
    /// Stores artifacts: blobs first, then manifests, then what makes them found.
    fn store(&self, artifacts: &[Artifact]) -> Result<()>;
}

/// Something to attach: a manifest with all its blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is found.
    pub place: Place,
    /// The manifest; annotations and artifact type are those that a listing shows.
    pub manifest: Descriptor,
    /// The manifest's bytes.
    pub bytes: Vec<u8>,
    /// Configuration and layers.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// Where an artifact is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under a tag.
    Tag(String),
    /// Among the referrers of this manifest.
    Referrer(Digest),
}

impl Artifact {
    /// An artifact with the manifest's canonical bytes.
    pub fn new(place: Place, manifest: &Manifest, blobs: Vec<(Descriptor, Vec<u8>)>) -> Self {
        let bytes = manifest.to_bytes();
        let mut descriptor = Descriptor::of(manifest.media_type.clone(), &bytes);
        descriptor.annotations.clone_from(&manifest.annotations);
        if let Some(kind) = manifest.rest.get("artifactType") {
            descriptor.rest = BTreeMap::from([("artifactType".to_owned(), kind.clone())]);
        }
        Self { place, manifest: descriptor, bytes, blobs }
    }
}

/// A manifest of one blob about `subject` (image-spec, "manifest.md", guidelines for artifacts).
pub(super) fn referrer<const N: usize>(
    subject: &Descriptor,
    kind: &str,
    bytes: &[u8],
    annotations: [(&str, String); N],
) -> Artifact {
    const EMPTY: &[u8] = b"{}";
    let layer = Descriptor::of(kind.into(), bytes);
    let config = Descriptor::of(MediaType::Empty, EMPTY);
    let mut manifest = Manifest::new(config.clone(), vec![layer.clone()]);
    manifest.rest.insert("artifactType".into(), kind.into());
    manifest.subject = Some(Descriptor::new(subject.media_type.clone(), subject.digest, subject.size));
    manifest.annotations = annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let blobs = vec![(config, EMPTY.to_vec()), (layer, bytes.to_vec())];
    Artifact::new(Place::Referrer(subject.digest), &manifest, blobs)
}

/// The tag of signatures in the legacy form.
pub fn signature_tag(subject: &Digest) -> String {
    format!("{}.sig", fallback_tag(subject))
}

/// The tag of attestations in the legacy form.
pub fn attestation_tag(subject: &Digest) -> String {
    format!("{}.att", fallback_tag(subject))
}

/// The tag under which referrers are listed where the registry does not (distribution-spec, "Referrers Tag Schema").
pub fn fallback_tag(subject: &Digest) -> String {
    format!("{}-{}", subject.algorithm(), subject.hex())
}

/// The index of the fallback tag with one more manifest. What it lists already stays; the same manifest is listed once.
#[must_use]
pub fn listed(mut index: Index, entry: &Descriptor) -> Index {
    match index.manifests.iter_mut().find(|old| old.digest == entry.digest) {
        Some(old) => *old = entry.clone(),
        None => index.manifests.push(entry.clone()),
    }
    index
}

/// Reads a manifest or blob of at most `limit` bytes, and holds it against its descriptor.
pub fn fetch(source: &dyn ReferrerSource, descriptor: &Descriptor, limit: usize) -> Result<Vec<u8>> {
    if descriptor.size > limit as u64 {
        return Err(StoreError::TooLarge { digest: descriptor.digest, size: descriptor.size });
    }
    let bytes = source.read(descriptor)?;
    let (expected, found) = (descriptor.size, bytes.len() as u64);
    if expected != found {
        return Err(Mismatch::Size { digest: descriptor.digest, expected, found }.into());
    }
    let mut hasher = descriptor.digest.hasher();
    hasher.update(&bytes);
    let found = hasher.finish();
    if found != descriptor.digest {
        return Err(Mismatch::Digest { expected: Box::new(descriptor.digest), found: Box::new(found) }.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::is_attached;

    #[test]
    fn an_attachment_is_told_from_an_image() {
        let digest = Digest::of(b"image");
        let entry = |tag: &str| {
            let mut entry = Descriptor::of(MediaType::ImageManifest, b"manifest");
            entry.annotations.insert(crate::image::REF_NAME.into(), tag.into());
            entry
        };
        for tag in [signature_tag(&digest), attestation_tag(&digest), fallback_tag(&digest)] {
            assert!(is_attached(&entry(&tag)), "{tag}");
        }
        for tag in ["latest", "sha256-0123.sig", "v1.sig", "sha256", ""] {
            assert!(!is_attached(&entry(tag)), "{tag}");
        }
        let mut typed = Descriptor::of(MediaType::ImageManifest, b"manifest");
        assert!(!is_attached(&typed));
        typed.rest.insert("artifactType".into(), "application/x".into());
        assert!(is_attached(&typed));
    }

    #[test]
    fn a_manifest_is_listed_once() {
        let entry = Descriptor::of(MediaType::ImageManifest, b"one");
        let other = Descriptor::of(MediaType::ImageManifest, b"two");
        let index = listed(listed(listed(Index::default(), &entry), &other), &entry);
        assert_eq!(index.manifests, [entry, other]);
    }

    #[test]
    fn a_source_that_lies_is_found_out() {
        struct Liar;
        impl ReferrerSource for Liar {
            fn tagged(&self, _: &str) -> Result<Option<Descriptor>> {
                Ok(None)
            }
            fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>> {
                Ok(Vec::new())
            }
            fn read(&self, _: &Descriptor) -> Result<Vec<u8>> {
                Ok(b"evil".to_vec())
            }
        }
        let error = |bytes: &[u8], limit| {
            let descriptor = Descriptor::of(MediaType::Empty, bytes);
            fetch(&Liar, &descriptor, limit).unwrap_err()
        };
        assert!(matches!(error(b"good", 9), StoreError::Blob(Mismatch::Digest { .. })));
        assert!(matches!(error(b"longer", 9), StoreError::Blob(Mismatch::Size { .. })));
        assert!(matches!(error(b"evil", 3), StoreError::TooLarge { size: 4, .. }));
    }
}
