//! What a signer signed before: an image that is published again needs no second signature, and verifiers look at so many
//! only.

use super::{Format, Signer, SignerIdentity, Subject};
use crate::image::Digest;
use crate::publish::attest::Statement;
use crate::publish::referrers::ReferrerSource;
use crate::publish::verify::{Accepted, Found, What, verify};
use crate::store::StoreError;

/// A good signature that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// In which form.
    pub format: Format,
    /// By whom.
    pub signer: SignerIdentity,
    /// Digest of the artifact that it is in.
    pub artifact: Digest,
    /// The tag of that artifact, where it has one.
    pub tag: Option<String>,
}

/// What counts as the same signature.
pub(in crate::publish) enum Same<'a> {
    /// A signature; in the legacy form under the same name, which hosts compare.
    Name,
    /// An attestation of the same statement.
    Statement(&'a Statement),
}

impl Same<'_> {
    fn what(&self) -> What {
        match self {
            Self::Name => What::Signature,
            Self::Statement(statement) => What::Attestation(statement.predicate_type().to_owned()),
        }
    }

    fn is(&self, accepted: &Accepted, subject: &Subject) -> bool {
        match (self, &accepted.found) {
            (Self::Name, Found::Legacy { .. }) => accepted.name.as_ref() == Some(&subject.name),
            (Self::Name, Found::Bundle { .. }) => true,
            (Self::Statement(statement), _) => accepted.statement.as_ref() == Some(*statement),
        }
    }
}

/// What `signer` signed before, in either form: the newest of each. Nothing is taken for such that does not verify, and
/// nothing of a signer whose signatures cannot be verified here.
pub(in crate::publish) fn before(
    source: &dyn ReferrerSource,
    subject: &Subject,
    signer: &dyn Signer,
    same: &Same<'_>,
) -> Result<(Option<Before>, Option<Before>), StoreError> {
    let Some((signatory, root)) = signer.signatory() else { return Ok((None, None)) };
    let verified = verify(source, &subject.descriptor, &same.what(), &signatory, root);
    // What cannot be read is no reason not to sign.
    let accepted = verified.map(|verified| verified.accepted).unwrap_or_default();
    let (mut legacy, mut bundle) = (None, None);
    for one in accepted.iter().filter(|one| same.is(one, subject)) {
        let found = |format, artifact, tag| Some(Before { format, signer: signer.identity(), artifact, tag });
        match &one.found {
            Found::Legacy { tag, .. } => {
                let tagged = source.tagged(tag)?;
                legacy = tagged.and_then(|tagged| found(Format::Legacy, tagged.digest, Some(tag.clone())));
            }
            Found::Bundle { manifest } => bundle = found(Format::Bundle, *manifest, None),
        }
    }
    Ok((legacy, bundle))
}
