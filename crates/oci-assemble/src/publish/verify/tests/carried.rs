//! Attachments that go where the image goes.

use super::*;
use crate::publish::attest::{Attestation, Predicate, attest};
use crate::publish::carry;
use crate::publish::referrers::referrer;

#[test]
fn what_is_attached_goes_along_and_joins_what_is_there() {
    let image = subject("image");
    let digest = image.descriptor.digest;
    let (ours, theirs) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let here = signed(&image, &[&KeySigner::new(ours.clone())], Format::Both);
    let predicate = Predicate { kind: "https://example.com/p".into(), value: 1.into() };
    let signer = KeySigner::new(ours.clone());
    let attested = attest(&image, &Attestation::Other(predicate), &[&signer], Format::Both, &here, created()).unwrap();
    here.store(&attested.artifacts).unwrap();
    // Into a place with nothing, everything goes as it is; the second time nothing is left to do.
    let there = MemoryReferrers::new();
    let kinds = |before| {
        let carried = carry(&here, &there, &digest).unwrap();
        assert!(carried.iter().all(|one| one.before == before), "{carried:?}");
        carried.iter().map(|one| (one.kind, one.format)).collect::<Vec<_>>()
    };
    let expected =
        [("signature", "legacy"), ("attestation", "legacy"), ("signature", "bundle"), ("attestation", "bundle")];
    assert_eq!(kinds(false), expected);
    assert_eq!(kinds(true), expected);
    let tag = signature_tag(&digest);
    assert_eq!(there.tagged(&tag).unwrap().unwrap().digest, here.tagged(&tag).unwrap().unwrap().digest);
    assert_eq!(check(&there, &image, &by_key(&ours)).unwrap().accepted.len(), 2);
    // Somebody else's signatures stay.
    let shared = signed(&image, &[&KeySigner::new(theirs.clone())], Format::Both);
    carry(&here, &shared, &digest).unwrap();
    for key in [&ours, &theirs] {
        assert_eq!(check(&shared, &image, &by_key(key)).unwrap().accepted.len(), 2);
    }
    assert!(carry(&here, &shared, &digest).unwrap().iter().all(|one| one.before));
    assert_eq!(carry(&here, &shared, &subject("other").descriptor.digest).unwrap(), []);
}

#[test]
fn what_is_too_large_to_be_a_signature_stays_behind() {
    let image = subject("image");
    let ours = SigningKey::generate().unwrap();
    let here = signed(&image, &[&KeySigner::new(ours)], Format::Bundle);
    let large = referrer(&image.descriptor, "application/vnd.example.image+disk", &vec![0; (64 << 20) + 1], []);
    here.store(&[large]).unwrap();
    let there = MemoryReferrers::new();
    let carried = carry(&here, &there, &image.descriptor.digest).unwrap();
    let found: Vec<_> = carried.iter().map(|one| (one.kind, one.left)).collect();
    assert_eq!(found, [("signature", false), ("document", true)]);
    assert_eq!(there.referrers(&image.descriptor.digest).unwrap().len(), 1);
}
