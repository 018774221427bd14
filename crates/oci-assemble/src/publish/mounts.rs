//! Which blobs another repository of the same registry is known to have.

use std::collections::BTreeMap;

use super::content::Content;
use super::error::Result;
use crate::image::{Digest, ImageReference, Manifest};
use crate::store::registry::{Access, Client, Name, Repository};

/// Blob → repositories of the registry that is pushed to.
pub type Mounts = BTreeMap<Digest, Vec<String>>;

/// The annotations that name the base (image-spec, "annotations.md").
const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// The layers of the images that those in `content` say they were built upon, as far as these live in the registry of
/// `host`: they can be mounted. What annotations say is only a place to look; a blob that is not there is sent instead.
/// Costs a request for each base in that registry, and nothing for others.
pub fn base_mounts(client: &Client, host: &str, content: &Content) -> Result<Mounts> {
    let mut mounts = Mounts::new();
    for document in content.manifests.iter().filter(|document| document.descriptor.media_type.is_manifest()) {
        let Ok(manifest) = Manifest::parse(&document.bytes, Some(&document.descriptor.media_type)) else { continue };
        let annotation = |key: &str| manifest.annotations.get(key);
        let name = annotation(BASE_NAME).and_then(|name| format!("docker://{name}").parse().ok());
        let digest: Option<Digest> = annotation(BASE_DIGEST).and_then(|digest| digest.parse().ok());
        let (Some(ImageReference::Registry(name)), Some(digest)) = (name, digest) else { continue };
        if name.host != host {
            continue;
        }
        let repository = Repository::new(client, &name, Access::Pull)?;
        // Whoever may not read the base has to send its layers.
        let found = match repository.manifest(Name::Digest(&digest)) {
            Ok(found) => found,
            Err(error) if error.is_denied() => None,
            Err(error) => return Err(error.into()),
        };
        let base = found.and_then(|found| Manifest::parse(&found.bytes, None).ok());
        for layer in base.map(|base| base.layers).unwrap_or_default() {
            mounts.entry(layer.digest).or_default().push(repository.name().to_owned());
        }
    }
    Ok(mounts)
}
