//! Bases and mirrors that must be signed: verified before anything of them is used.

use std::io::Read;
use std::sync::Arc;

use oci_assemble::image::{Descriptor, Digest, ImageReference, PinnedReference};
use oci_assemble::plan::recipe::RecipePath;
use oci_assemble::plan::recipe::spec::{self, Verify};
use oci_assemble::publish::sigstore::{CertifiedIdentity, PublicKey, TrustRoot};
use oci_assemble::publish::verify::{Signatory, What};
use oci_assemble::store::CacheDir;
use oci_assemble::store::registry::Access;

use crate::args::SourceArgs;
use crate::cmd::verify::Demanded;
use crate::exit::{Class, Context, Failure};
use crate::indexed::Claims;
use crate::signable::Signable;
use crate::ui::Ui;
use crate::wire::{self, BlobCache, Job, OpenedImage};

/// The largest key or trust root of a recipe that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The base of a recipe: from the mirror that the recipe names, when that has the very image. It is verified, if the recipe says so, before anything of it is used: what has been read by
/// then are its manifest and configuration. `digest` and `index` are what is locked: the manifest, and the index that
/// names it, which may be all that is signed.
pub(crate) fn open(
    job: &Job,
    digest: Option<Digest>,
    index: Option<Digest>,
    source: &SourceArgs,
    cache: Option<&Arc<CacheDir>>,
    blobs: &BlobCache,
    ui: Ui,
) -> Result<OpenedImage, Failure> {
    let spec::Base { image, verify, mirror } = &job.recipe().base;
    let open = |from: &ImageReference, digest| wire::pinned(from, digest, job.platform.as_ref(), source, cache, blobs);
    let original = |digest| open(image, digest).map(|base| (image, base));
    let mut index = index;
    let (from, mut base) = match (mirror, digest) {
        (None, _) => original(digest)?,
        // A digest says what is wanted: the original need not be asked.
        (Some(mirror), Some(digest)) => match open(mirror, Some(digest)) {
            Ok(base) => (mirror, base),
            Err(failure) => {
                without_mirror(mirror, &failure, ui);
                original(Some(digest))?
            }
        },
        (Some(mirror), None) => {
            let (_, base) = original(None)?;
            index = base.index();
            match open(mirror, Some(base.digest)) {
                Ok(copy) => (mirror, copy),
                Err(failure) => {
                    without_mirror(mirror, &failure, ui);
                    (image, base)
                }
            }
        }
    };
    let demanded = verify.as_ref().map(|verify| demanded(job, verify)).transpose()?;
    if let Some(demanded) = &demanded {
        if base.index().is_none()
            && let Some(index) = index.and_then(|index| listing(from, index, base.digest, source, ui))
        {
            base.named.insert(0, index);
        }
        check(demanded, from, &base.named, source, ui)?;
    }
    base.claims = demanded.and_then(|demanded| Claims::of(from, &base, demanded, source, ui));
    Ok(base)
}

/// The index of this digest, where it is there and lists the manifest: then whoever signed it signed the manifest.
fn listing(from: &ImageReference, index: Digest, manifest: Digest, source: &SourceArgs, ui: Ui) -> Option<Descriptor> {
    let reference = PinnedReference::new(from.clone(), index).to_reference();
    let found = Signable::of(&reference, source, Access::Pull, ui).ok()?;
    let lists = found.with_instances().ok()?.iter().any(|instance| instance.digest == manifest);
    lists.then(|| found.descriptor().clone())
}

fn without_mirror(mirror: &ImageReference, failure: &Failure, ui: Ui) {
    let why = failure.to_string();
    let why = why.lines().find_map(|line| line.strip_prefix("  caused by: ")).unwrap_or("it cannot be read");
    ui.say(&format!("note: the base does not come from {mirror}: {why}"));
}

/// What may be said of the layers of a base that a plan has opened, where the plan can tell whom to believe.
pub(crate) fn claims(job: &Job, base: &OpenedImage, source: &SourceArgs, ui: Ui) -> Option<Claims> {
    let spec::Base { image, verify, .. } = &job.recipe().base;
    let demanded = demanded(job, verify.as_ref()?).ok()?;
    Claims::of(image, base, demanded, source, ui)
}

/// Who must have signed the base.
fn demanded(job: &Job, verify: &Verify) -> Result<Demanded, Failure> {
    Ok(match verify {
        Verify::Key { key } => {
            let key = PublicKey::parse(&read(job, key)?);
            let key = key.context(Class::Usage, "reading the public key of base.verify")?;
            Demanded::with(Signatory::Key { key, logged: false }, None)
        }
        Verify::Identity { identity, issuer, root } => {
            let who = CertifiedIdentity { identity: identity.clone(), issuer: issuer.clone() };
            let what = "reading the trust root of base.verify";
            let root = match root {
                None => TrustRoot::public_good().context(Class::Usage, what)?,
                Some(path) => {
                    let text = String::from_utf8(read(job, path)?).context(Class::Usage, what)?;
                    TrustRoot::parse(&text).context(Class::Usage, what)?
                }
            };
            Demanded::with(Signatory::Identity(who), Some(root))
        }
    })
}

/// Verifies the base of a recipe: the index that its name gave, or the manifest chosen from it, must be signed.
fn check(
    demanded: &Demanded,
    reference: &ImageReference,
    candidates: &[Descriptor],
    source: &SourceArgs,
    ui: Ui,
) -> Result<(), Failure> {
    let mut first = None;
    for descriptor in candidates {
        let target = Signable::at(reference, descriptor, source, ui)?;
        match demanded.verify(&target, &What::Signature) {
            Ok(_) => return Ok(()),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    match first {
        None => Err(Failure::new(Class::Usage, "the base names nothing that could be verified")),
        Some(failure) => Err(failure.hint("base.verify of the recipe says who must have signed the base")),
    }
}

fn read(job: &Job, path: &RecipePath) -> Result<Vec<u8>, Failure> {
    let what = || format!("reading {path} of base.verify");
    let mut bytes = Vec::new();
    let file = job.root.open(path.as_path()).context(Class::Usage, what())?;
    file.take(LARGEST).read_to_end(&mut bytes).context(Class::Io, what())?;
    Ok(bytes)
}
