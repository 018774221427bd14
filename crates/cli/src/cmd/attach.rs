//! What a recipe wants attached to a published image: signatures and attestations, before any tag names it.
//!
//! Whatever can be missing (a key, a token, a lock, a document) is looked for before anything is built or sent.

use oci_assemble::image::{Descriptor, Digest, MediaType, Platform, RegistryReference};
use oci_assemble::plan::recipe::spec::KeySource;
use oci_assemble::plan::recipe::{Attestation as Wanted, Recipe, Signature, SignatureFormat};
use oci_assemble::publish::attest::{Attestation, Document, attest, check};
use oci_assemble::publish::referrers::{Place, RegistryReferrers};
use oci_assemble::publish::sign::{Format, Made, Signed, Signer, SignerIdentity, Subject, sign};
use oci_assemble::publish::sigstore::RekorVersion;
use oci_assemble::publish::{Attached, ReferrerStore, Untagged};
use oci_assemble::store::registry::Repository;

use super::sign::{LARGEST, report};
use crate::args::{PublishArgs, RecipeArgs};
use crate::exit::{Class, Context, Failure};
use crate::indexed;
use crate::ui::Ui;
use crate::wire::Job;
use crate::{provenance, signers};

/// As recipes say it.
fn format_of(format: SignatureFormat) -> Format {
    match format {
        SignatureFormat::Legacy => Format::Legacy,
        SignatureFormat::Bundle => Format::Bundle,
        SignatureFormat::Both => Format::Both,
    }
}

/// What will be attached, as far as it is known before the image is.
pub(crate) struct Attaching<'a> {
    args: &'a PublishArgs,
    recipe: &'a Recipe,
    keys: Vec<Box<dyn Signer>>,
    /// How the images are made, in the order of the platforms; empty when the recipe does not want it attested.
    provenance: Vec<Attestation>,
    /// What the image is made of.
    sbom: Option<Document>,
}

impl<'a> Attaching<'a> {
    /// Reads keys and documents; says what is missing.
    pub(crate) fn prepare(
        job: &'a Job,
        platforms: &[Option<Platform>],
        place: &RegistryReference,
        args: &'a PublishArgs,
        ui: Ui,
    ) -> Result<Self, Failure> {
        let recipe = job.recipe();
        let publish = &recipe.publish;
        let format = format_of(publish.format);
        let mut keys: Vec<Box<dyn Signer>> = Vec::new();
        let mut limits: Vec<usize> = Vec::new();
        for signature in &publish.sign {
            match signature {
                Signature::Keyless(_) => {
                    signers::ready_without_key(&args.services, format, ui)?;
                    limits.extend(RekorVersion::from(args.services.log_version).largest_statement());
                }
                Signature::Key(source) => {
                    let key = match source {
                        KeySource::Environment(name) => signers::private_key(&format!("env:{name}"))?,
                        KeySource::File(path) => signers::parse_key(&crate::keys::of_image(&job.root, path)?, path)?,
                    };
                    keys.push(signers::by_key(key, &args.services, ui)?);
                }
            }
        }
        if !publish.attest.is_empty() && publish.sign.is_empty() {
            return Err(Failure::new(Class::Usage, "publish.attest needs somebody who vouches for it")
                .hint("say who signs in publish.sign: { keyless = true }, or { key = \"env:NAME\" }"));
        }
        let sbom = match (&args.sbom, publish.attest.contains(&Wanted::Sbom)) {
            (Some(file), true) => {
                let what = format!("reading {}", file.display());
                Some(Document::parse(&signers::read(file, LARGEST)?).context(Class::Data, what)?)
            }
            (None, true) => {
                return Err(Failure::new(Class::Usage, "publish.attest wants to say what the image is made of")
                    .hint("give the bill of materials with --sbom FILE (CycloneDX or SPDX, JSON)"));
            }
            (Some(_), false) => {
                return Err(Failure::new(Class::Usage, "the recipe does not ask for a bill of materials")
                    .hint("add \"sbom\" to attest in its [publish] table"));
            }
            (None, false) => None,
        };
        let mut attaching = Self { args, recipe, keys, provenance: Vec::new(), sbom };
        if publish.attest.contains(&Wanted::Provenance) {
            // By the platforms that are asked for, as the lock has them: an image's own name of its platform may say more.
            for platform in platforms {
                let platform = platform.as_ref().map(ToString::to_string);
                let args = RecipeArgs { platform, ..args.build.recipe.clone() };
                attaching.provenance.push(Attestation::Provenance(Box::new(provenance::of(&args)?)));
            }
        }
        limits.extend(attaching.keys.iter().filter_map(|key| key.largest_statement()));
        // Any image: what counts is how large the statement on it is.
        let descriptor = Descriptor::of(MediaType::ImageManifest, b"");
        let subject = Subject { descriptor, name: format!("{}/{}", place.host, place.repository) };
        for attestation in &attaching.provenance {
            let fits = check(&subject, attestation, limits.iter().min().copied());
            fits.context(Class::Usage, "attesting how the image is made")?;
        }
        Ok(attaching)
    }

    /// Signs every manifest and attests what the recipe asks for. `instances` are the images, in the order of the platforms,
    /// `indexes` what is attached to them of their layers.
    pub(crate) fn attach<'r>(
        &self,
        place: &RegistryReference,
        instances: &[Descriptor],
        indexes: &[Descriptor],
        untagged: Untagged<'r>,
        ui: Ui,
    ) -> Result<Untagged<'r>, Failure> {
        let publish = &self.recipe.publish;
        if publish.sign.is_empty() {
            indexed::unsigned(indexes, ui);
            return Ok(untagged);
        }
        // Begun as late as can be: its certificate is good for some minutes.
        let keyless = publish.sign.iter().any(|signature| matches!(signature, Signature::Keyless(_)));
        let keyless = if keyless { Some(signers::keyless(&self.args.services, ui)?) } else { None };
        let signers: Vec<&dyn Signer> = keyless.iter().chain(&self.keys).map(AsRef::as_ref).collect();
        let signing = Signing { place, signers: &signers, format: format_of(publish.format), ui };
        let created = signers::created()?;
        let store = RegistryReferrers::new(untagged.repository());
        let mut attached = signing.manifests(&untagged)?;
        attached.extend(signing.sign(&untagged, indexes)?);
        let sbom = self.sbom.clone().map(Attestation::Document);
        let provenance =
            instances.iter().zip(&self.provenance).map(|(image, document)| ("provenance", image, document));
        let documents = untagged.manifests().last().zip(sbom.as_ref()).map(|(top, document)| ("sbom", top, document));
        for (kind, descriptor, document) in provenance.chain(documents) {
            let subject = signing.subject(descriptor, &untagged);
            let what = format!("attesting {}", descriptor.digest);
            let signed =
                attest(&subject, document, &signers, signing.format, &store, created).context(Class::Data, what)?;
            attached.extend(signing.keep(&store, kind, &subject, &signed)?);
        }
        Ok(untagged.attached(attached))
    }
}

/// Who signs what is in a repository, and how that is stored.
pub(super) struct Signing<'s> {
    pub(super) place: &'s RegistryReference,
    pub(super) signers: &'s [&'s dyn Signer],
    pub(super) format: Format,
    pub(super) ui: Ui,
}

impl Signing<'_> {
    /// A manifest by the name that it is pulled by.
    fn subject(&self, descriptor: &Descriptor, untagged: &Untagged<'_>) -> Subject {
        let tag = untagged.tags().next().map(|tag| format!(":{tag}")).unwrap_or_default();
        let name = format!("{}/{}{tag}", self.place.host, self.place.repository);
        Subject { descriptor: descriptor.clone(), name }
    }

    /// Signs every manifest: hosts look at the instance that they pull, people at what the tag names.
    pub(super) fn manifests(&self, untagged: &Untagged<'_>) -> Result<Vec<Attached>, Failure> {
        self.sign(untagged, untagged.manifests())
    }

    /// Signs manifests that are where the image is.
    pub(super) fn sign<'d>(
        &self,
        untagged: &Untagged<'_>,
        manifests: impl IntoIterator<Item = &'d Descriptor>,
    ) -> Result<Vec<Attached>, Failure> {
        let created = signers::created()?;
        let store = RegistryReferrers::new(untagged.repository());
        let mut attached = Vec::new();
        for descriptor in manifests {
            let subject = self.subject(descriptor, untagged);
            let what = format!("signing {}", descriptor.digest);
            let signed = sign(&subject, self.signers, self.format, &store, created).context(Class::Data, what)?;
            attached.extend(self.keep(&store, "signature", &subject, &signed)?);
        }
        Ok(attached)
    }

    /// Stores what was signed, and says so.
    fn keep(
        &self,
        store: &RegistryReferrers<&Repository>,
        kind: &str,
        subject: &Subject,
        signed: &Signed,
    ) -> Result<Vec<Attached>, Failure> {
        let what = || format!("storing what is attached to {}", subject.descriptor.digest);
        store.store(&signed.artifacts).context(Class::Io, what())?;
        report(signed, subject, self.ui);
        Ok(listed(kind, subject, signed))
    }
}

/// What the receipt says of attachments: a line each signature and form.
fn listed(kind: &str, subject: &Subject, signed: &Signed) -> Vec<Attached> {
    let line = |form: &str, digest: Digest, signer: &SignerIdentity| Attached {
        kind: kind.to_owned(),
        format: form.to_owned(),
        subject: subject.descriptor.digest,
        digest,
        tag: None,
        identity: Some(match signer {
            SignerIdentity::Key(key) => key.hint(),
            SignerIdentity::Certified(who) => who.identity.clone(),
        }),
        log_index: None,
        before: false,
    };
    let tag = |digest: Digest| {
        signed.artifacts.iter().find(|artifact| artifact.manifest.digest == digest).and_then(|artifact| match &artifact
            .place
        {
            Place::Tag(tag) => Some(tag.clone()),
            Place::Referrer(_) => None,
        })
    };
    let made = signed.proofs.iter().flat_map(|made: &Made| {
        let log_index = made.proof.entry().map(|entry| entry.index);
        let legacy = made.legacy.map(|digest| ("legacy", digest));
        let bundle = made.bundle.map(|digest| ("bundle", digest));
        let forms = legacy.into_iter().chain(bundle);
        forms.map(move |(form, digest)| Attached { tag: tag(digest), log_index, ..line(form, digest, &made.signer) })
    });
    let before = signed.before.iter().map(|one| {
        let form = if one.format == Format::Legacy { "legacy" } else { "bundle" };
        Attached { tag: one.tag.clone(), before: true, ..line(form, one.artifact, &one.signer) }
    });
    made.chain(before).collect()
}
