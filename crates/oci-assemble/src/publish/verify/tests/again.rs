//! The same image signed again, services that fail for a moment, and more signatures than are looked at.

use super::*;
use crate::publish::attest::{Attestation, Predicate, attest};

#[test]
fn what_is_signed_is_not_signed_again() {
    let image = subject("image");
    let key = SigningKey::generate().unwrap();
    let logged = KeySigner::logged(key.clone(), SERVICES.services(RekorVersion::V1, false), Some(root(&SERVICES)));
    let signers: [Box<dyn Signer>; 3] = [
        Box::new(KeySigner::new(key)),
        Box::new(keyless(&SERVICES, RekorVersion::V1, Some(root(&SERVICES)))),
        Box::new(logged.unwrap()),
    ];
    let attestation =
        |answer: u32| Attestation::Other(Predicate { kind: "https://example.com/p".into(), value: answer.into() });
    for signer in &signers {
        let signers = [signer.as_ref()];
        let source = signed(&image, &signers, Format::Legacy);
        let sign = |image: &Subject, format| sign(image, &signers, format, &source, created()).unwrap();
        // The form that is missing is added, and then nothing is.
        let more = sign(&image, Format::Both);
        assert_eq!((more.proofs.len(), more.before.len(), more.proofs[0].format), (1, 1, Format::Bundle));
        assert_eq!(more.before[0].tag, Some(signature_tag(&image.descriptor.digest)));
        assert_eq!(
            more.before[0].artifact,
            source.tagged(more.before[0].tag.as_ref().unwrap()).unwrap().unwrap().digest
        );
        assert_eq!(more.proofs[0].bundle, Some(more.artifacts[0].manifest.digest));
        source.store(&more.artifacts).unwrap();
        let again = sign(&image, Format::Both);
        assert!(again.proofs.is_empty() && again.artifacts.is_empty() && again.before.len() == 2, "{again:?}");
        // Hosts may compare the name, which only the legacy form has.
        let renamed = Subject { name: NAME.replace("latest", "10"), ..image.clone() };
        let other = sign(&renamed, Format::Both);
        assert_eq!((other.proofs.len(), other.before.len(), other.proofs[0].format), (1, 1, Format::Legacy));

        let attest =
            |answer, format| attest(&image, &attestation(answer), &signers, format, &source, created()).unwrap();
        source.store(&attest(1, Format::Bundle).artifacts).unwrap();
        let more = attest(1, Format::Both);
        assert_eq!((more.proofs.len(), more.before.len(), more.proofs[0].format), (1, 1, Format::Legacy));
        source.store(&more.artifacts).unwrap();
        assert!(attest(1, Format::Both).artifacts.is_empty());
        assert_eq!(attest(2, Format::Both).proofs.len(), 1, "another statement");
    }
}

#[test]
fn what_nobody_can_verify_is_signed_again() {
    let image = subject("image");
    let signer = keyless(&SERVICES, RekorVersion::V1, None);
    let source = signed(&image, &[&signer], Format::Both);
    let again = sign(&image, &[&signer], Format::Both, &source, created()).unwrap();
    assert_eq!((again.proofs.len(), again.before.len()), (2, 0));
}

#[test]
fn each_proof_names_its_own_artifact() {
    let image = subject("image");
    let (first, second) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let signers: [&dyn Signer; 2] = [&KeySigner::new(first), &KeySigner::new(second)];
    let made = sign(&image, &signers, Format::Both, &MemoryReferrers::new(), created()).unwrap();
    let digests: Vec<_> = made.artifacts.iter().map(|artifact| Some(artifact.manifest.digest)).collect();
    let named: Vec<_> = made.proofs.iter().map(|made| (made.legacy, made.bundle)).collect();
    assert_eq!(named, [(digests[0], None), (digests[0], None), (None, digests[1]), (None, digests[2])]);
    assert_ne!(digests[1], digests[2]);
}

#[test]
fn a_log_that_fails_for_a_moment_is_asked_again() {
    let services = Sigstore::start(now).unwrap();
    let image = subject("image");
    let signer = keyless(&services, RekorVersion::V1, Some(root(&services)));
    services.refuses(2);
    let source = signed(&image, &[&signer], Format::Both);
    let by = Signatory::Identity(pipeline());
    let verified = verify(&source, &image.descriptor, &What::Signature, &by, Some(&root(&services))).unwrap();
    assert_eq!(verified.accepted.len(), 2);
    services.answers(false);
    let failed = sign(&image, &[&signer], Format::Both, &MemoryReferrers::new(), created()).unwrap_err();
    assert!(matches!(&failed, SignError::Service(error) if error.is_transient()), "{failed:?}");
}

#[test]
fn the_newest_signatures_are_looked_at() {
    let image = subject("image");
    let old = SigningKey::generate().unwrap();
    let source = MemoryReferrers::new();
    for number in 0..201 {
        let other = Subject { name: format!("{NAME}{number}"), ..image.clone() };
        let made = sign(&other, &[&KeySigner::new(old.clone())], Format::Legacy, &source, created()).unwrap();
        source.store(&made.artifacts).unwrap();
    }
    let new = SigningKey::generate().unwrap();
    let made = sign(&image, &[&KeySigner::new(new.clone())], Format::Both, &source, created()).unwrap();
    source.store(&made.artifacts).unwrap();
    assert_eq!(check(&source, &image, &by_key(&new)).unwrap().accepted.len(), 2);
}
