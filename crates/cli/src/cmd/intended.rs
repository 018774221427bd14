//! What would be attached to an image, for whoever asks what a push would do.

use oci_assemble::image::{Descriptor, Digest, Manifest};
use oci_assemble::plan::recipe::spec::KeySource;
use oci_assemble::plan::recipe::{Attestation, Recipe, Signature};
use oci_assemble::publish::{Content, Document, PushPlan};
use serde_json::{Value, json};

use crate::args::SignerArgs;
use crate::indexed::is_image;

/// Something that would be attached.
pub(crate) struct Intended {
    /// `signature`, `provenance`, `sbom` or `indexes`.
    kind: &'static str,
    subject: Digest,
    /// By whom it is signed.
    by: Option<String>,
}

impl Intended {
    /// Signatures of everything that is pushed.
    fn signatures(plan: &PushPlan, by: &[String]) -> Vec<Self> {
        let subjects = plan.manifests.iter().map(|planned| planned.manifest.digest);
        subjects.flat_map(|subject| Self::each("signature", subject, by)).collect()
    }

    fn each(kind: &'static str, subject: Digest, by: &[String]) -> impl Iterator<Item = Self> {
        by.iter().map(move |by| Self { kind, subject, by: Some(by.clone()) })
    }

    /// Indexes of the layers of each image of `content`, signed by whoever signs the images themselves.
    pub(crate) fn indexes(content: &Content, others: &[Self]) -> Vec<Self> {
        let image = |document: &Document| {
            Manifest::parse(&document.bytes, Some(&document.descriptor.media_type)).is_ok_and(|read| is_image(&read))
        };
        let images = content.manifests.iter().filter(|document| image(document));
        images
            .flat_map(|image| {
                let subject = image.descriptor.digest;
                let signed = others.iter().filter(|other| other.kind == "signature" && other.subject == subject);
                let by: Vec<Option<String>> = signed.map(|other| other.by.clone()).collect();
                let by = if by.is_empty() { vec![None] } else { by };
                by.into_iter().map(move |by| Self { kind: "indexes", subject, by })
            })
            .collect()
    }

    /// What the arguments sign.
    pub(crate) fn by_arguments(plan: &PushPlan, args: &SignerArgs) -> Vec<Self> {
        let keyless = args.keyless || args.keys.is_empty();
        let by = keyless.then(pipeline).into_iter().chain(args.keys.iter().map(|source| key(source)));
        Self::signatures(plan, &by.collect::<Vec<_>>())
    }

    /// What a recipe attaches to its images.
    pub(crate) fn by_recipe(plan: &PushPlan, recipe: &Recipe, images: &[Descriptor]) -> Vec<Self> {
        let by = recipe.publish.sign.iter().map(|signature| match signature {
            Signature::Keyless(_) => pipeline(),
            Signature::Key(KeySource::Environment(name)) => key(&format!("env:{name}")),
            Signature::Key(KeySource::File(path)) => key(path.as_str()),
        });
        let by: Vec<String> = by.collect();
        let mut all = Self::signatures(plan, &by);
        if recipe.publish.attest.contains(&Attestation::Provenance) {
            all.extend(images.iter().flat_map(|image| Self::each("provenance", image.digest, &by)));
        }
        if recipe.publish.attest.contains(&Attestation::Sbom) {
            all.extend(Self::each("sbom", plan.image.digest, &by));
        }
        all
    }

    /// As a line of a plan.
    pub(crate) fn line(&self) -> String {
        let Self { kind, subject, by } = self;
        match (*kind, by) {
            (kind, None) => format!("  attach {subject}  {kind}\n"),
            ("indexes", Some(by)) => format!("  attach {subject}  indexes, signed by {by}\n"),
            ("signature", Some(by)) => format!("  sign   {subject}  by {by}\n"),
            (kind, Some(by)) => format!("  attest {subject}  {kind} by {by}\n"),
        }
    }

    /// As a part of a plan.
    pub(crate) fn to_value(&self) -> Value {
        json!({ "kind": self.kind, "subject": self.subject, "by": self.by })
    }
}

fn pipeline() -> String {
    "the identity of the pipeline".to_owned()
}

fn key(source: &str) -> String {
    format!("the key {source}")
}
