//! How an image was made: SLSA provenance, version 1 (slsa.dev, "Provenance", `v1`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Predicate;
use crate::image::Digest;

/// The type of predicate.
const TYPE: &str = "https://slsa.dev/provenance/v1";
/// Names this program in attestations.
pub(super) const BUILDER: &str = "urn:assemble";
/// What the parameters mean: the recipe and the platform, with the dependencies that the lock has.
const BUILD_TYPE: &str = "urn:assemble:build:v1";

/// How an image was made.
///
/// Everything in it but [`Run`] is a function of what decides the image's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Path of the recipe below its root.
    pub recipe: String,
    /// Digest of the recipe with all that it extends.
    pub recipe_digest: Digest,
    /// What was built, as OS/ARCH.
    pub platform: String,
    /// The date of the image, in seconds since 1970.
    pub epoch: i64,
    /// Digest of the lock's text, when there is one.
    pub lock: Option<Digest>,
    /// What went in: base, builder images, bundles and other pinned inputs.
    pub dependencies: Vec<Dependency>,
    /// Packages that builders used. There may be a thousand, and the lock has them all: where there is a lock, an
    /// attestation that would be too large for a log leaves them out.
    pub packages: Vec<Dependency>,
    /// Version of this program.
    pub version: String,
    /// Where it was built.
    pub run: Run,
}

/// Something that went into an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// What it is to the image: `base`, `builder`, `bundle zfs`.
    pub name: String,
    /// Where it is from.
    pub uri: String,
    /// What it was.
    pub digest: Digest,
}

/// Where a build ran; the caller takes it from the variables of its CI system.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Run {
    /// URI of the platform that ran it; `None` outside of one.
    pub builder: Option<String>,
    /// URI of this run.
    pub invocation: Option<String>,
    /// Where the recipe comes from: URI of the repository, and its commit (a Git object name).
    pub source: Option<(String, String)>,
}

impl Provenance {
    /// The same without packages; `None` where nothing else says which they were.
    pub fn without_packages(&self) -> Option<Self> {
        self.lock.map(|_| Self { packages: Vec::new(), ..self.clone() })
    }

    /// The predicate.
    pub fn predicate(&self) -> Predicate {
        let mut parameters = json!({
            "recipe": self.recipe,
            "recipeDigest": digest_set(&self.recipe_digest),
            "platform": self.platform,
            "epoch": self.epoch,
        });
        if let (Some(lock), Some(fields)) = (&self.lock, parameters.as_object_mut()) {
            fields.insert("lockDigest".into(), digest_set(lock));
        }
        let mut dependencies: Vec<Value> = Vec::new();
        if let Some((uri, commit)) = &self.run.source {
            let uri = format!("git+{uri}");
            dependencies.push(json!({ "name": "source", "uri": uri, "digest": { "gitCommit": commit } }));
        }
        let mut sorted = [&self.dependencies[..], &self.packages].concat();
        sorted.sort();
        sorted.dedup();
        dependencies.extend(
            sorted.iter().map(|one| json!({ "name": one.name, "uri": one.uri, "digest": digest_set(&one.digest) })),
        );
        let builder = self.run.builder.as_deref().unwrap_or(BUILDER);
        let version = BTreeMap::from([("assemble", self.version.as_str())]);
        let mut details = json!({ "builder": { "id": builder, "version": version } });
        if let (Some(invocation), Some(fields)) = (&self.run.invocation, details.as_object_mut()) {
            fields.insert("metadata".into(), json!({ "invocationId": invocation }));
        }
        let value = json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": parameters,
                "resolvedDependencies": dependencies,
            },
            "runDetails": details,
        });
        Predicate { kind: TYPE.to_owned(), value }
    }
}

fn digest_set(digest: &Digest) -> Value {
    json!({ digest.algorithm(): digest.hex() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::json;

    #[test]
    fn provenance_says_what_went_in() {
        let dependency =
            |name: &str, uri: &str| Dependency { name: name.into(), uri: uri.into(), digest: Digest::Sha256([1; 32]) };
        let provenance = Provenance {
            recipe: "recipes/base-zfs.toml".into(),
            recipe_digest: Digest::Sha256([2; 32]),
            platform: "linux/amd64".into(),
            epoch: 1_700_000_000,
            lock: Some(Digest::Sha256([3; 32])),
            dependencies: vec![
                dependency("bundle zfs", "bundle:zfs"),
                dependency("base", "docker://quay.io/centos-bootc/centos-bootc:stream10"),
            ],
            packages: Vec::new(),
            version: "0.1.0".into(),
            run: Run {
                builder: Some("https://gitlab.com/group/images/-/runners/7".into()),
                invocation: Some("https://gitlab.com/group/images/-/jobs/99".into()),
                source: Some(("https://gitlab.com/group/images".into(), "0".repeat(40))),
            },
        };
        let text = format!("{:#}\n", provenance.predicate().value);
        assert_eq!(text, include_str!("tests/provenance.json"));
        let bare = Provenance { lock: None, run: Run::default(), ..provenance };
        let bare = String::from_utf8_lossy(&json::canonical(&bare.predicate().value)).into_owned();
        assert!(!bare.contains("gitlab") && !bare.contains("lockDigest") && !bare.contains("metadata"), "{bare}");
    }
}
