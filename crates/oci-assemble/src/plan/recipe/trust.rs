//! `[publish]` and `[policy]`: where an image goes, who signs it, and whom its hosts trust.

use serde::{Deserialize, Serialize};

use super::path::RecipePath;
use super::spec::KeySource;
use crate::image::ImageReference;

/// `[publish]`: where the image is pushed, and what is attached to it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// A repository of a registry, without tag and digest.
    #[serde(with = "super::text::option")]
    pub to: Option<ImageReference>,
    /// Tags with placeholders.
    pub tags: Vec<String>,
    /// Signatures to make.
    pub sign: Vec<Signature>,
    /// Form of the signatures.
    pub format: SignatureFormat,
    /// Attestations to attach.
    pub attest: Vec<Attestation>,
}

/// One signature to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    /// By the identity of the pipeline; always true.
    Keyless(bool),
    /// By a key.
    Key(KeySource),
}

/// How signatures are stored in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureFormat {
    /// The `.sig` tag, which the policy of hosts can enforce.
    Legacy,
    /// The bundle that cosign 3 writes.
    Bundle,
    /// Each of them.
    #[default]
    Both,
}

/// What is said of an image under signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attestation {
    /// What it is made of (`CycloneDX`).
    Sbom,
    /// How it was made (SLSA).
    Provenance,
}

/// `[policy]`: the signature policy of the host.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// What happens to other images.
    pub default: PolicyDefault,
    /// Scopes accepted without signature.
    pub accept: Vec<String>,
    /// Scopes whose images must be signed.
    pub trust: Vec<Trust>,
    /// Upgrades to what a pipeline signed.
    pub upgrade: Option<Upgrade>,
}

/// Upgrades to what an identity signed that the policy of a host cannot name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The image to follow, in a registry, by tag.
    #[serde(with = "super::text")]
    pub image: ImageReference,
    /// Identity in the certificate.
    pub identity: String,
    /// `https://` URL of the issuer.
    pub issuer: String,
    /// The trust root; that of sigstore's public instance when absent.
    #[serde(default)]
    pub root: Option<RecipePath>,
    /// This program for the hosts; the image has it when absent.
    #[serde(default)]
    pub program: Option<RecipePath>,
}

/// What happens to images that no scope speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyDefault {
    /// They are refused.
    #[default]
    Reject,
    /// They are accepted.
    Accept,
}

/// One scope whose images must be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Registry, repository or image.
    pub scope: String,
    /// How far the signed name must be the one that is pulled.
    #[serde(default, rename = "match")]
    pub matching: Match,
    /// By whom.
    #[serde(flatten)]
    pub signer: TrustedSigner,
}

/// How far the signed name must be the one that is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// The same repository.
    #[default]
    Repository,
    /// The same repository and, when a tag is pulled, the same tag.
    Tag,
}

/// Who must have signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TrustedSigner {
    /// The owner of a key.
    Key {
        /// Public key, PEM.
        key: RecipePath,
    },
    /// An e-mail identity. A URI, such as a pipeline's, cannot be named in the policy of a host.
    Email {
        /// The address.
        email: String,
        /// `https://` URL of the issuer.
        issuer: String,
        /// Certificate of the authority.
        authority: RecipePath,
        /// Public key of the transparency log.
        log: RecipePath,
    },
}
