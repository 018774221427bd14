//! `assemble sign` and `assemble attest`: make signatures and attestations, and store them beside the image.

use oci_assemble::publish::attest::{Attestation, Document, Predicate, attest};
use oci_assemble::publish::referrers::{Artifact, Place};
use oci_assemble::publish::sign::{Before, Format, Made, Signed, Signer, SignerIdentity, Subject, sign};
use oci_assemble::store::registry::Access;
use serde_json::{Value, json};

use crate::args::{AttestArgs, Attested, RecipeArgs, SignArgs, SignatureForm};
use crate::exit::{Class, Context, Failure};
use crate::provenance;
use crate::signable::Signable;
use crate::signers;
use crate::ui::Ui;

/// The largest file that is attested, in bytes.
pub(super) const LARGEST: u64 = 32 << 20;

impl From<SignatureForm> for Format {
    fn from(form: SignatureForm) -> Self {
        match form {
            SignatureForm::Legacy => Self::Legacy,
            SignatureForm::Bundle => Self::Bundle,
            SignatureForm::Both => Self::Both,
        }
    }
}

pub(crate) fn sign_image(args: &SignArgs, ui: Ui) -> Result<(), Failure> {
    let target = Signable::open(&args.image, &args.source, Access::Push, ui)?;
    let name = target.name(args.name.as_deref())?;
    let signers = signers::open(&args.signers, ui)?;
    let signers: Vec<&dyn Signer> = signers.iter().map(AsRef::as_ref).collect();
    let created = signers::created()?;
    // Hosts look at the instance that they pull, people at what the tag names: each of them is signed.
    let mut all = Vec::new();
    for descriptor in target.with_instances()? {
        let subject = Subject { descriptor, name: name.clone() };
        let what = format!("signing {}", subject.descriptor.digest);
        let signed = sign(&subject, &signers, args.signers.format.into(), target.source(), created);
        let signed = signed.context(Class::Data, what)?;
        target.store(&signed.artifacts)?;
        report(&signed, &subject, ui);
        all.push((subject, signed));
    }
    finish("sign", &target, &all, ui)
}

pub(crate) fn attest_image(args: &AttestArgs, ui: Ui) -> Result<(), Failure> {
    let attestation = attestation(args)?;
    let target = Signable::open(&args.image, &args.source, Access::Push, ui)?;
    let name = target.name(args.name.as_deref())?;
    let signers = signers::open(&args.signers, ui)?;
    let signers: Vec<&dyn Signer> = signers.iter().map(AsRef::as_ref).collect();
    let subject = Subject { descriptor: target.descriptor().clone(), name };
    let created = signers::created()?;
    let what = format!("attesting {}", subject.descriptor.digest);
    let signed = attest(&subject, &attestation, &signers, args.signers.format.into(), target.source(), created);
    let signed = signed.context(Class::Data, what)?;
    target.store(&signed.artifacts)?;
    report(&signed, &subject, ui);
    finish("attest", &target, &[(subject, signed)], ui)
}

fn attestation(args: &AttestArgs) -> Result<Attestation, Failure> {
    let Attested { document, provenance, predicate } = &args.what;
    if let Some(recipe) = provenance {
        let recipe = RecipeArgs { recipe: Some(recipe.clone()), root: None, platform: args.platform.clone() };
        return Ok(Attestation::Provenance(Box::new(provenance::of(&recipe)?)));
    }
    let (file, kind) = match (document, predicate) {
        (Some(file), _) => (file, None),
        (None, Some(file)) => (file, args.kind.as_ref()),
        (None, None) => return Err(Failure::new(Class::Usage, "nothing to attest")),
    };
    let bytes = signers::read(file, LARGEST)?;
    let what = format!("reading {}", file.display());
    let Some(kind) = kind else {
        let document = Document::parse(&bytes).context(Class::Data, what);
        return document
            .map(Attestation::Document)
            .map_err(|failure| failure.hint("other documents are attested with --predicate FILE --type URI"));
    };
    let value: Value = oci_assemble::image::json::parse(&bytes, bytes.len()).context(Class::Data, what)?;
    Ok(Attestation::Other(Predicate { kind: kind.clone(), value }))
}

pub(super) fn report(signed: &Signed, subject: &Subject, ui: Ui) {
    for Made { format, signer, proof, .. } in &signed.proofs {
        let form = match format {
            Format::Legacy => "legacy form",
            Format::Bundle => "bundle",
            Format::Both => "both forms",
        };
        let log = proof.entry().map(|entry| format!(", entry {} of the log", entry.index)).unwrap_or_default();
        ui.say(&format!("{}: {form} by {signer}{log}", subject.descriptor.digest));
    }
    for Before { format, signer, .. } in &signed.before {
        let form = if *format == Format::Legacy { "legacy form" } else { "bundle" };
        ui.say(&format!("{}: {form} by {signer}, signed before", subject.descriptor.digest));
    }
}

fn finish(schema: &str, target: &Signable, all: &[(Subject, Signed)], ui: Ui) -> Result<(), Failure> {
    let digest = target.descriptor().digest;
    if !ui.json {
        return ui.data(&digest.to_string());
    }
    let by = |signer: &SignerIdentity| match signer {
        SignerIdentity::Key(key) => json!({ "key": key.hint() }),
        SignerIdentity::Certified(who) => json!({ "identity": who.identity, "issuer": who.issuer }),
    };
    let form = |format: &Format| format!("{format:?}").to_lowercase();
    let proof = |Made { format, signer, proof, legacy, bundle }: &Made| {
        let entry = proof.entry().map(|entry| json!({ "log": entry.log, "index": entry.index, "time": entry.time }));
        let artifacts: Vec<_> = legacy.iter().chain(bundle).collect();
        json!({ "format": form(format), "by": by(signer), "entry": entry, "artifacts": artifacts })
    };
    let before = |Before { format, signer, artifact, .. }: &Before| json!({ "format": form(format), "by": by(signer), "artifact": artifact });
    let artifact = |artifact: &Artifact| match &artifact.place {
        Place::Tag(tag) => json!({ "digest": artifact.manifest.digest, "tag": tag }),
        Place::Referrer(subject) => json!({ "digest": artifact.manifest.digest, "subject": subject }),
    };
    let images: Vec<Value> = all
        .iter()
        .map(|(subject, signed)| {
            json!({
                "digest": subject.descriptor.digest,
                "name": subject.name,
                "signatures": signed.proofs.iter().map(proof).collect::<Vec<_>>(),
                "before": signed.before.iter().map(before).collect::<Vec<_>>(),
                "artifacts": signed.artifacts.iter().map(artifact).collect::<Vec<_>>(),
            })
        })
        .collect();
    ui.document(schema, json!({ "image": digest, "signed": images }))
}
