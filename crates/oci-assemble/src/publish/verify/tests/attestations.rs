//! Statements of other types, and documents too large for a log.

use serde_json::json;

use super::*;
use crate::publish::attest::{
    Attestation, Dependency, Document, Predicate, Provenance, REFERENCE_PREDICATE, Run, attest, check as check_size,
};

fn sbom(components: usize) -> (Vec<u8>, Attestation) {
    let components: Vec<_> = (0..components).map(|number| json!({ "name": format!("package-{number}") })).collect();
    let bytes = json!({ "bomFormat": "CycloneDX", "specVersion": "1.6", "components": components }).to_string();
    let document = Document::parse(bytes.as_bytes()).unwrap();
    (bytes.into_bytes(), Attestation::Document(document))
}

fn attested(image: &Subject, attestation: &Attestation, signer: &dyn Signer, format: Format) -> MemoryReferrers {
    stored(&attest(image, attestation, &[signer], format, &MemoryReferrers::new(), created()).unwrap())
}

#[test]
fn a_bill_of_materials_is_attested_in_every_way() {
    let image = subject("image");
    let (bytes, attestation) = sbom(3);
    let what = What::Attestation("https://cyclonedx.org/bom".into());
    let key = SigningKey::generate().unwrap();
    let signers: [(Box<dyn Signer>, Signatory, Format); 4] = [
        (Box::new(KeySigner::new(key.clone())), by_key(&key), Format::Both),
        (Box::new(keyless(&SERVICES, RekorVersion::V1, None)), Signatory::Identity(pipeline()), Format::Both),
        (Box::new(keyless(&SERVICES, RekorVersion::V2, None)), Signatory::Identity(pipeline()), Format::Bundle),
        (
            Box::new(KeySigner::logged(key.clone(), SERVICES.services(RekorVersion::V1, false), None).unwrap()),
            Signatory::Key { key: key.public().clone(), logged: true },
            Format::Both,
        ),
    ];
    for (signer, by, format) in signers {
        let source = attested(&image, &attestation, signer.as_ref(), format);
        let verified = verify(&source, &image.descriptor, &what, &by, Some(&root(&SERVICES))).unwrap();
        assert_eq!(verified.accepted.len(), if format == Format::Both { 2 } else { 1 }, "{:?}", verified.refused);
        let expected: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for accepted in &verified.accepted {
            assert_eq!(accepted.statement.as_ref().unwrap().predicate().value, expected);
        }
        let other = What::Attestation("https://spdx.dev/Document".into());
        let error = verify(&source, &image.descriptor, &other, &by, Some(&root(&SERVICES))).unwrap_err();
        assert!(matches!(error, VerifyError::Nothing { .. }), "{error}");
    }
}

#[test]
fn a_large_document_is_not_sent_to_a_log() {
    let image = subject("image");
    let (bytes, attestation) = sbom(10_000);
    let digest = Digest::of(&bytes);
    let signer = keyless(&SERVICES, RekorVersion::V1, None);
    let made = attest(&image, &attestation, &[&signer], Format::Both, &MemoryReferrers::new(), created()).unwrap();
    let source = stored(&made);
    let by = Signatory::Identity(pipeline());
    let what = What::Attestation(REFERENCE_PREDICATE.into());
    let verified = verify(&source, &image.descriptor, &what, &by, Some(&root(&SERVICES))).unwrap();
    assert_eq!(verified.accepted.len(), 2);
    let predicate = &verified.accepted[0].statement.as_ref().unwrap().predicate().value;
    let expected = json!({
        "attester": { "id": "urn:assemble" },
        "references": [{
            "downloadLocation": format!("https://registry.example.com/v2/host-images/base/blobs/{digest}"),
            "digest": { "sha256": digest.hex() },
            "mediaType": "application/vnd.cyclonedx+json",
        }],
    });
    assert_eq!(*predicate, expected);
    // The document is there as it was given, among the referrers.
    let listed = source.referrers(&image.descriptor.digest).unwrap();
    let document = Descriptor::new("application/vnd.cyclonedx+json".into(), digest, bytes.len() as u64);
    assert_eq!(fetch(&source, &document, bytes.len()).unwrap(), bytes);
    assert_eq!(listed.len(), 2, "the document and the bundle");
    // A log of the second version is given the digest only, and a key needs no log: the whole document is signed.
    for (signer, by) in [(Box::new(keyless(&SERVICES, RekorVersion::V2, None)) as Box<dyn Signer>, by), {
        let key = SigningKey::generate().unwrap();
        (Box::new(KeySigner::new(key.clone())), by_key(&key))
    }] {
        let source = attested(&image, &attestation, signer.as_ref(), Format::Bundle);
        let what = What::Attestation("https://cyclonedx.org/bom".into());
        verify(&source, &image.descriptor, &what, &by, Some(&root(&SERVICES))).unwrap();
    }
    // What is no document cannot be referred to.
    let other = Predicate { kind: "https://example.com/p".into(), value: json!({ "x": "y".repeat(100_000) }) };
    let signer = keyless(&SERVICES, RekorVersion::V1, None);
    let error =
        attest(&image, &Attestation::Other(other), &[&signer], Format::Both, &MemoryReferrers::new(), created());
    assert_eq!(error.unwrap_err().to_string(), "the statement is larger than the 65536 bytes that the log takes");
}

#[test]
fn the_provenance_of_a_thousand_packages_fits_into_a_log() {
    let image = subject("image");
    let dependency = |name: &str, number: usize| Dependency {
        name: name.to_owned(),
        uri: format!("urn:assemble:package:kernel-devel-{number}:5.14.0-{number}.el10:x86_64"),
        digest: Digest::of(&number.to_be_bytes()),
    };
    let provenance = |lock| Provenance {
        recipe: "recipe.toml".into(),
        recipe_digest: Digest::of(b"recipe"),
        platform: "linux/amd64".into(),
        epoch: 1_700_000_000,
        lock,
        dependencies: vec![dependency("base", 0)],
        packages: (0..1_000).map(|number| dependency("package of stage zfs", number)).collect(),
        version: "0.1.0".into(),
        run: Run::default(),
    };
    let whole = provenance(Some(Digest::of(b"lock")));
    let attestation = Attestation::Provenance(Box::new(whole.clone()));
    let by_pipeline = Signatory::Identity(pipeline());
    let key = SigningKey::generate().unwrap();
    let signers: [(Box<dyn Signer>, Signatory, Option<Provenance>); 2] = [
        (Box::new(keyless(&SERVICES, RekorVersion::V1, None)), by_pipeline, whole.without_packages()),
        (Box::new(KeySigner::new(key.clone())), by_key(&key), Some(whole)),
    ];
    for (signer, by, expected) in signers {
        check_size(&image, &attestation, signer.largest_statement()).unwrap();
        let source = attested(&image, &attestation, signer.as_ref(), Format::Both);
        let what = What::Attestation("https://slsa.dev/provenance/v1".into());
        let verified = verify(&source, &image.descriptor, &what, &by, Some(&root(&SERVICES))).unwrap();
        assert_eq!(verified.accepted.len(), 2);
        assert_eq!(verified.accepted[0].statement.as_ref().unwrap().predicate(), &expected.unwrap().predicate());
    }
    // Without a lock nothing else says which packages they were.
    let unlocked = Attestation::Provenance(Box::new(provenance(None)));
    let error = check_size(&image, &unlocked, RekorVersion::V1.largest_statement()).unwrap_err();
    assert!(matches!(error, SignError::TooLarge { .. }), "{error}");
    check_size(&image, &unlocked, RekorVersion::V2.largest_statement()).unwrap();
}
