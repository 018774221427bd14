//! `assemble verify`: is an image signed by whom it has to be?

use std::path::Path;

use oci_assemble::publish::sigstore::{CertifiedIdentity, TrustRoot};
use oci_assemble::publish::verify::{Accepted, Signatory, Verified, VerifyError, What, verify};
use oci_assemble::store::registry::Access;
use serde_json::{Value, json};

use crate::args::{SignatoryArgs, VerifyArgs};
use crate::exit::{Class, Failure};
use crate::signable::Signable;
use crate::signers;
use crate::ui::Ui;

pub(crate) fn run(args: &VerifyArgs, ui: Ui) -> Result<(), Failure> {
    let demanded = Demanded::new(&args.signatory)?.ok_or_else(|| {
        Failure::new(Class::Usage, "nothing says who must have signed").hint("give --key, or --identity and --issuer")
    })?;
    let what = args.attestation.clone().map_or(What::Signature, What::Attestation);
    let target = Signable::open(&args.image, &args.source, Access::Pull, ui)?;
    let verified = demanded.verify(&target, &what)?;
    for refused in &verified.refused {
        ui.say(&format!("not accepted: {}: {}", refused.found, line(&refused.refusal)));
    }
    for accepted in &verified.accepted {
        ui.say(&format!("accepted: {}: by {}", accepted.found, who(accepted, &demanded)));
    }
    if ui.json {
        return ui.document("verify", document(&verified));
    }
    ui.data(&verified.digest.to_string())
}

/// Who must have signed, and what is believed.
pub(crate) struct Demanded {
    signatory: Signatory,
    root: Option<TrustRoot>,
}

impl Demanded {
    /// What the arguments demand; `None` when they demand nothing.
    pub(crate) fn new(args: &SignatoryArgs) -> Result<Option<Self>, Failure> {
        let signatory = match (&args.key, &args.identity, &args.issuer) {
            (Some(key), _, _) => Signatory::Key { key: signers::public_key(key)?, logged: args.log },
            (None, Some(identity), Some(issuer)) => {
                Signatory::Identity(CertifiedIdentity { identity: identity.clone(), issuer: issuer.clone() })
            }
            _ => return Ok(None),
        };
        Self::of(signatory, args.trust_root.as_deref()).map(Some)
    }

    pub(crate) fn with(signatory: Signatory, root: Option<TrustRoot>) -> Self {
        Self { signatory, root }
    }

    /// Who must have signed, with the trust root of a file, or sigstore's public one where one is needed.
    fn of(signatory: Signatory, root: Option<&Path>) -> Result<Self, Failure> {
        let needs_root = !matches!(signatory, Signatory::Key { logged: false, .. });
        let root = needs_root.then(|| signers::trust_root(root)).transpose()?;
        Ok(Self { signatory, root })
    }

    /// Verifies what the target names.
    pub(crate) fn verify(&self, target: &Signable, what: &What) -> Result<Verified, Failure> {
        let result = verify(target.source(), target.descriptor(), what, &self.signatory, self.root.as_ref());
        result.map_err(|error| failure(error, target))
    }
}

/// Says of each signature why it is not accepted.
pub(crate) fn failure(error: VerifyError, target: &Signable) -> Failure {
    let lines: Vec<String> = match &error {
        VerifyError::Refused { refused, .. } => {
            refused.iter().map(|one| format!("{}: {}", one.found, line(&one.refusal))).collect()
        }
        _ => Vec::new(),
    };
    Failure::of(Class::Negative, format!("verifying {}", target.reference()), error).lines(lines)
}

/// An error with its causes on one line.
fn line(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn who(accepted: &Accepted, demanded: &Demanded) -> String {
    let by = match (&accepted.vouched.certified, &demanded.signatory) {
        (Some(who), _) => format!("{} ({})", who.identity, who.issuer),
        (None, Signatory::Key { key, .. }) => format!("key {}", key.hint()),
        (None, Signatory::Identity(_)) => String::new(),
    };
    let name = accepted.name.as_ref().map(|name| format!(", as {name}")).unwrap_or_default();
    let log = accepted.vouched.entry.as_ref().map(|entry| format!(", entry {} of the log", entry.index));
    format!("{by}{name}{}", log.unwrap_or_default())
}

fn document(verified: &Verified) -> Value {
    let accepted = |one: &Accepted| {
        let by = one.vouched.certified.as_ref().map(|who| json!({ "identity": who.identity, "issuer": who.issuer }));
        let entry = one
            .vouched
            .entry
            .as_ref()
            .map(|entry| json!({ "log": entry.log, "index": entry.index, "time": entry.time }));
        let statement = one.statement.as_ref();
        let statement =
            statement.map(|one| json!({ "type": one.predicate_type(), "predicate": one.predicate().value }));
        json!({ "found": one.found.to_string(), "by": by, "entry": entry, "name": one.name, "statement": statement })
    };
    let refused: Vec<Value> = verified
        .refused
        .iter()
        .map(|one| json!({ "found": one.found.to_string(), "reason": line(&one.refusal) }))
        .collect();
    json!({
        "image": verified.digest,
        "accepted": verified.accepted.iter().map(accepted).collect::<Vec<_>>(),
        "refused": refused,
    })
}
