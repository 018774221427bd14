//! Bases and mirrors that must be signed: verified before anything of them is used.

use std::io::Read;

use oci_assemble::image::{Descriptor, ImageReference};
use oci_assemble::plan::recipe::RecipePath;
use oci_assemble::plan::recipe::spec::Verify;
use oci_assemble::publish::sigstore::{CertifiedIdentity, PublicKey, TrustRoot};
use oci_assemble::publish::verify::{Signatory, What};

use crate::args::SourceArgs;
use crate::cmd::verify::Demanded;
use crate::exit::{Class, Context, Failure};
use crate::signable::Signable;
use crate::ui::Ui;
use crate::wire::Job;

/// The largest key or trust root of a recipe that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Verifies the base of a recipe: the index that its name gave, or the manifest chosen from it, must be signed as
/// `base.verify` says.
pub(crate) fn base(
    job: &Job,
    verify: &Verify,
    reference: &ImageReference,
    candidates: &[Descriptor],
    source: &SourceArgs,
    ui: Ui,
) -> Result<(), Failure> {
    let demanded = match verify {
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
    };
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
