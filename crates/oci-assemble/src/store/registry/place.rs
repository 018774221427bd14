//! A repository as URLs.

use reqwest::Url;

use super::error::{RegistryError, Result};
use crate::image::Digest;

/// Docker Hub as references name it, and where its registry is.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A repository, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The registry as references name it.
    pub(super) host: String,
    /// The registry as it is reached: scheme, host, port, `/v2/`.
    pub(super) base: Url,
    /// The repository.
    pub(super) repository: String,
}

impl Place {
    pub(super) fn new(host: &str, repository: &str, plain_http: bool) -> Result<Self> {
        let scheme = if plain_http { "http" } else { "https" };
        let reached = if host == HUB.0 { HUB.1 } else { host };
        let base = Url::parse(&format!("{scheme}://{reached}/v2/"));
        let base =
            base.map_err(|error| RegistryError::Client { what: "the registry's address", source: error.into() })?;
        // Docker Hub's own images are below `library`, which people leave out.
        let repository = if host == HUB.0 && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.into()
        };
        Ok(Self { host: host.to_owned(), base, repository })
    }

    /// The URL of a resource of the repository. Names, tags and digests have no character that needs escaping.
    fn url(&self, rest: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{rest}", self.repository));
        url
    }

    /// A manifest, by tag or digest.
    pub(super) fn manifest(&self, reference: &str) -> Url {
        self.url(&format!("manifests/{reference}"))
    }

    pub(super) fn blob(&self, digest: &Digest) -> Url {
        self.url(&format!("blobs/{digest}"))
    }

    /// Where uploads begin.
    pub(super) fn uploads(&self) -> Url {
        self.url("blobs/uploads/")
    }

    pub(super) fn tags(&self) -> Url {
        self.url("tags/list")
    }

    pub(super) fn referrers(&self, digest: &Digest) -> Url {
        self.url(&format!("referrers/{digest}"))
    }

    /// For errors.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn docker_hub_is_where_it_is() {
        let tags = |host, repository, plain| Place::new(host, repository, plain).unwrap().tags().to_string();
        assert_eq!(tags("docker.io", "debian", false), "https://registry-1.docker.io/v2/library/debian/tags/list");
        assert_eq!(tags("docker.io", "a/b", false), "https://registry-1.docker.io/v2/a/b/tags/list");
        assert_eq!(tags("[::1]:5000", "a", true), "http://[::1]:5000/v2/a/tags/list");
        assert_eq!(tags("quay.io", "a/b/c", false), "https://quay.io/v2/a/b/c/tags/list");
    }
}
