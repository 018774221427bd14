//! What a recipe asks for around the image, in words for a plan: whom to believe the base, what hosts believe, where the
//! image goes.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::recipe::spec::{KeySource, LayerMode, Verify};
use super::recipe::{Attestation, Policy, PolicyDefault, Publish, Recipe, Signature, SignatureFormat, TrustedSigner};

/// What a recipe asks for around the image, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outlook {
    /// How the base is checked before anything is built on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verify: Vec<String>,
    /// The signature policy that the image brings for its hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<String>,
    /// How layers are cut, where that is not by appending.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rechunk: Vec<String>,
    /// Where the image goes from the layout, with what is attached to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// What this version cannot carry out: a build refuses the recipe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

impl Outlook {
    /// That of a recipe.
    pub fn of(recipe: &Recipe) -> Self {
        let rechunk = match recipe.layers.mode {
            LayerMode::Append => Vec::new(),
            LayerMode::Full => vec![format!("base and new layers become at most {} layers", recipe.layers.max)],
        };
        Self {
            verify: verify(recipe),
            policy: recipe.policy.as_ref().map(policy).unwrap_or_default(),
            rechunk,
            publish: publish(&recipe.publish, recipe),
            refused: recipe.available().err().iter().map(ToString::to_string).collect(),
        }
    }

    pub(super) fn write(&self, text: &mut String) -> std::fmt::Result {
        let Self { verify, policy, rechunk, publish, refused } = self;
        for (title, lines) in
            [("verify", verify), ("policy", policy), ("rechunk", rechunk), ("publish", publish), ("refused", refused)]
        {
            for (number, line) in lines.iter().enumerate() {
                writeln!(text, "{:<9} {line}", if number == 0 { title } else { "" })?;
            }
        }
        Ok(())
    }
}

fn verify(recipe: &Recipe) -> Vec<String> {
    let base = &recipe.base;
    let signed = base.verify.as_ref().map(|verify| match verify {
        Verify::Key { key } => format!("the base must be signed with the key {key}"),
        Verify::Identity { identity, issuer, .. } => {
            format!("the base must be signed by {identity}, whose identity {issuer} vouches for")
        }
    });
    let mirror = base.mirror.as_ref();
    let mirror = mirror.map(|mirror| format!("{mirror} takes the place of the base where it has the same digest"));
    signed.into_iter().chain(mirror).collect()
}

fn policy(policy: &Policy) -> Vec<String> {
    let default = match policy.default {
        PolicyDefault::Reject => "hosts refuse images that no scope speaks of",
        PolicyDefault::Accept => "hosts accept images that no scope speaks of",
    };
    let accept = policy.accept.iter().map(|scope| format!("{scope}: accepted without a signature"));
    let trust = policy.trust.iter().map(|trust| match &trust.signer {
        TrustedSigner::Key { key } => format!("{}: signed with the key {key}", trust.scope),
        TrustedSigner::Email { email, issuer, .. } => format!("{}: signed by {email} of {issuer}", trust.scope),
    });
    std::iter::once(default.to_owned()).chain(accept).chain(trust).collect()
}

fn publish(publish: &Publish, recipe: &Recipe) -> Vec<String> {
    let Publish { to, tags, sign, format, attest } = publish;
    let mut lines = Vec::new();
    if let Some(to) = to {
        let tags = if tags.is_empty() { String::new() } else { format!(", tags {}", tags.join(" ")) };
        lines.push(format!("{to}{tags}"));
    }
    let form = match format {
        SignatureFormat::Legacy => "as the tag that hosts can enforce",
        SignatureFormat::Bundle => "as a bundle",
        SignatureFormat::Both => "as a bundle and as the tag that hosts can enforce",
    };
    lines.extend(sign.iter().map(|signature| match signature {
        Signature::Keyless(_) => format!("signed by the identity of the pipeline, {form}"),
        Signature::Key(KeySource::File(path)) => format!("signed with the key {path}, {form}"),
        Signature::Key(KeySource::Environment(name)) => format!("signed with the key in the variable {name}, {form}"),
    }));
    lines.extend(attest.iter().map(|attestation| {
        let what = match attestation {
            Attestation::Sbom => "what it is made of (CycloneDX)",
            Attestation::Provenance => "how it was made (SLSA)",
        };
        format!("attested: {what}")
    }));
    lines.extend(recipe.vex.statements.iter().map(|path| format!("attested: the statement on vulnerabilities {path}")));
    lines
}
