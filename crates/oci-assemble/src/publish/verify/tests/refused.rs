//! What must not count. Each begins with a good signature and changes one thing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::image::json;
use crate::publish::attest::{Attestation, Predicate, attest};
use crate::publish::sigstore::Refusal;

/// The legacy artifact of `source`, with its one layer and the bytes of that changed.
fn with_layer(
    source: &MemoryReferrers,
    image: &Subject,
    change: impl FnOnce(&mut BTreeMap<String, String>, &mut Vec<u8>),
) -> MemoryReferrers {
    let tag = signature_tag(&image.descriptor.digest);
    let tagged = source.tagged(&tag).unwrap().unwrap();
    let manifest = Manifest::parse(&fetch(source, &tagged, 1 << 20).unwrap(), None).unwrap();
    let mut bytes = fetch(source, &manifest.layers[0], 1 << 20).unwrap();
    let mut annotations = manifest.layers[0].annotations.clone();
    change(&mut annotations, &mut bytes);
    let mut layer = Descriptor::of(manifest.layers[0].media_type.clone(), &bytes);
    layer.annotations = annotations;
    let changed = Manifest::new(manifest.config, vec![layer.clone()]);
    let memory = MemoryReferrers::new();
    memory.store(&[Artifact::new(Place::Tag(tag), &changed, vec![(layer, bytes)])]).unwrap();
    memory
}

/// The one bundle of `source`, changed, as a referrer of `image`.
fn with_bundle(source: &MemoryReferrers, image: &Subject, change: impl FnOnce(&mut Value)) -> MemoryReferrers {
    let listed = source.referrers(&image.descriptor.digest).unwrap();
    let mut manifest = Manifest::parse(&fetch(source, &listed[0], 1 << 20).unwrap(), None).unwrap();
    let bytes = fetch(source, &manifest.layers[0], 1 << 20).unwrap();
    let mut bundle: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut bundle);
    let bytes = json::canonical(&bundle);
    let layer = Descriptor::of(manifest.layers[0].media_type.clone(), &bytes);
    manifest.layers = vec![layer.clone()];
    let memory = MemoryReferrers::new();
    let place = Place::Referrer(image.descriptor.digest);
    memory.store(&[Artifact::new(place, &manifest, vec![(layer, bytes)])]).unwrap();
    memory
}

/// What is attached to one image, attached to another.
fn moved(source: &MemoryReferrers, from: &Subject, to: &Subject) -> MemoryReferrers {
    let memory = MemoryReferrers::new();
    let copy = |listed: Descriptor, place: Place| {
        let bytes = fetch(source, &listed, 1 << 20).unwrap();
        let manifest = Manifest::parse(&bytes, None).unwrap();
        let layers = manifest.layers.iter().map(|layer| (layer.clone(), fetch(source, layer, 1 << 20).unwrap()));
        memory.store(&[Artifact::new(place, &manifest, layers.collect())]).unwrap();
    };
    if let Some(tagged) = source.tagged(&signature_tag(&from.descriptor.digest)).unwrap() {
        copy(tagged, Place::Tag(signature_tag(&to.descriptor.digest)));
    }
    for listed in source.referrers(&from.descriptor.digest).unwrap() {
        copy(listed, Place::Referrer(to.descriptor.digest));
    }
    memory
}

fn signed_by_pipeline(image: &Subject, version: RekorVersion, format: Format) -> MemoryReferrers {
    signed(image, &[&keyless(&SERVICES, version, None)], format)
}

#[test]
fn nothing() {
    let key = SigningKey::generate().unwrap();
    let error = check(&MemoryReferrers::new(), &subject("image"), &by_key(&key)).unwrap_err();
    let digest = subject("image").descriptor.digest;
    assert_eq!(error.to_string(), format!("{digest} has no signature"));
}

#[test]
fn an_attestation_only() {
    let key = SigningKey::generate().unwrap();
    let image = subject("image");
    let other = Attestation::Other(Predicate { kind: "https://example.com/p".into(), value: json!({}) });
    let signer = KeySigner::new(key.clone());
    let attested = attest(&image, &other, &[&signer], Format::Both, &MemoryReferrers::new(), created()).unwrap();
    let error = check(&stored(&attested), &image, &by_key(&key)).unwrap_err();
    let digest = image.descriptor.digest;
    let expected = format!("{digest} has no signature, only statements of type https://example.com/p");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_signature_of_another_image() {
    let key = SigningKey::generate().unwrap();
    let (image, other) = (subject("image"), subject("other"));
    let (ours, theirs) = (image.descriptor.digest, other.descriptor.digest);
    let expected = format!("it is for [\"{theirs}\"], not for {ours}");
    for format in [Format::Legacy, Format::Bundle] {
        let source = moved(&signed(&other, &[&KeySigner::new(key.clone())], format), &other, &image);
        assert_eq!(refusal(check(&source, &image, &by_key(&key))), expected, "{format:?}");
        let source = moved(&signed_by_pipeline(&other, RekorVersion::V1, format), &other, &image);
        assert_eq!(refusal(check(&source, &image, &Signatory::Identity(pipeline()))), expected, "{format:?}");
    }
}

#[test]
fn another_key() {
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let image = subject("image");
    for format in [Format::Legacy, Format::Bundle] {
        let source = signed(&image, &[&KeySigner::new(other.clone())], format);
        let text = refusal(check(&source, &image, &by_key(&key)));
        assert!(text.starts_with("it is not by the key: "), "{text}");
    }
}

#[test]
fn another_identity_or_issuer() {
    let image = subject("image");
    for (version, format) in
        [(RekorVersion::V1, Format::Legacy), (RekorVersion::V1, Format::Bundle), (RekorVersion::V2, Format::Bundle)]
    {
        let source = signed_by_pipeline(&image, version, format);
        let with = |identity: &str, issuer: &str| {
            let wanted = CertifiedIdentity { identity: identity.into(), issuer: issuer.into() };
            refusal(check(&source, &image, &Signatory::Identity(wanted)))
        };
        let CertifiedIdentity { identity, issuer } = pipeline();
        let longer = format!("{identity}-2");
        assert_eq!(with(&longer, &issuer), format!("it is by {identity:?}, not by {longer:?}"));
        let shorter = &identity[..identity.len() - 1];
        assert_eq!(with(shorter, &issuer), format!("it is by {identity:?}, not by {shorter:?}"));
        let other = "https://gitlab.example.com";
        assert_eq!(
            with(&identity, other),
            format!("its identity was vouched for by \"https://gitlab.com\", not by {other:?}")
        );
    }
}

#[test]
fn a_key_for_an_identity_and_the_other_way() {
    let image = subject("image");
    let key = SigningKey::generate().unwrap();
    for format in [Format::Legacy, Format::Bundle] {
        let source = signed(&image, &[&KeySigner::new(key.clone())], format);
        let text = refusal(check(&source, &image, &Signatory::Identity(pipeline())));
        assert_eq!(text, "it is by a key, not by an identity with a certificate");
        let source = signed_by_pipeline(&image, RekorVersion::V1, format);
        assert!(refusal(check(&source, &image, &by_key(&key))).starts_with("it is not by the key: "));
    }
}

#[test]
fn without_the_entry_of_a_log() {
    let image = subject("image");
    let by = Signatory::Identity(pipeline());
    let legacy = signed_by_pipeline(&image, RekorVersion::V1, Format::Legacy);
    let stripped = with_layer(&legacy, &image, |annotations, _| {
        annotations.remove("dev.sigstore.cosign/bundle").unwrap();
    });
    assert_eq!(refusal(check(&stripped, &image, &by)), "it has no entry of a transparency log");
    for version in [RekorVersion::V1, RekorVersion::V2] {
        let bundle = signed_by_pipeline(&image, version, Format::Bundle);
        let stripped = with_bundle(&bundle, &image, |bundle| {
            bundle["verificationMaterial"]["tlogEntries"] = json!([]);
        });
        assert_eq!(refusal(check(&stripped, &image, &by)), "it has no entry of a transparency log");
        let unproven = with_bundle(&bundle, &image, |bundle| {
            let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
            entry.as_object_mut().unwrap().remove("inclusionProof").unwrap();
            entry.as_object_mut().unwrap().remove("inclusionPromise");
        });
        assert_eq!(refusal(check(&unproven, &image, &by)), "it has no entry of a transparency log");
    }
}

#[test]
fn with_the_entry_of_another_signature() {
    let (image, other) = (subject("image"), subject("other"));
    let by = Signatory::Identity(pipeline());
    let theirs = signed_by_pipeline(&other, RekorVersion::V1, Format::Both);
    let mut log = String::new();
    with_layer(&theirs, &other, |annotations, _| log.clone_from(&annotations["dev.sigstore.cosign/bundle"]));
    let legacy = signed_by_pipeline(&image, RekorVersion::V1, Format::Legacy);
    let foreign = with_layer(&legacy, &image, |annotations, _| {
        annotations.insert("dev.sigstore.cosign/bundle".into(), log);
    });
    let text = refusal(check(&foreign, &image, &by));
    assert!(text.starts_with("its proof does not hold: artifact mismatch"), "{text}");
    for version in [RekorVersion::V1, RekorVersion::V2] {
        let mut entry = Value::Null;
        let theirs = signed_by_pipeline(&other, version, Format::Bundle);
        with_bundle(&theirs, &other, |bundle| entry = bundle["verificationMaterial"]["tlogEntries"][0].clone());
        let bundle = signed_by_pipeline(&image, version, Format::Bundle);
        let foreign = with_bundle(&bundle, &image, |bundle| {
            bundle["verificationMaterial"]["tlogEntries"][0] = entry;
        });
        assert!(refusal(check(&foreign, &image, &by)).starts_with("its proof does not hold: "));
    }
}

#[test]
fn without_a_time_that_anybody_vouches_for() {
    let image = subject("image");
    let bundle = signed_by_pipeline(&image, RekorVersion::V2, Format::Bundle);
    let timeless = with_bundle(&bundle, &image, |bundle| {
        bundle["verificationMaterial"]["timestampVerificationData"] = json!({});
        // A time that nobody signed.
        bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = json!(now().to_string());
    });
    let text = refusal(check(&timeless, &image, &Signatory::Identity(pipeline())));
    assert!(text.contains("no verified timestamp"), "{text}");
}

#[test]
fn made_after_the_certificate_expired() {
    let services = Sigstore::start(|| now() - 3000).unwrap();
    let image = subject("image");
    let legacy = keyless(&services, RekorVersion::V1, None);
    let bundle = keyless(&services, RekorVersion::V2, None);
    services.skew(1200);
    let sources = [signed(&image, &[&legacy], Format::Both), signed(&image, &[&bundle], Format::Bundle)];
    let by = Signatory::Identity(pipeline());
    for source in sources {
        let error = verify(&source, &image.descriptor, &What::Signature, &by, Some(&root(&services))).unwrap_err();
        let VerifyError::Refused { refused, .. } = error else { panic!("{error}") };
        for one in &refused {
            let Refusal::Proof(cause) = &one.refusal else { panic!("{one:?}") };
            let text = cause.to_string();
            assert!(text.contains("xpired") || text.contains("after certificate validity"), "{text}");
        }
    }
}

#[test]
fn by_authorities_that_are_not_believed() {
    let services = Sigstore::start(now).unwrap();
    let image = subject("image");
    let by = Signatory::Identity(pipeline());
    let strangers = keyless(&services, RekorVersion::V1, None);
    for format in [Format::Legacy, Format::Bundle] {
        let text = refusal(check(&signed(&image, &[&strangers], format), &image, &by));
        assert!(text.starts_with("its proof does not hold: "), "{text}");
    }
    // Whoever signs with a trust root notices before anything is stored.
    let wary = keyless(&services, RekorVersion::V1, Some(root(&SERVICES)));
    let refused = sign(&image, &[&wary], Format::Both, &MemoryReferrers::new(), created()).unwrap_err();
    assert!(matches!(refused, SignError::Check(_)), "{refused}");
}

#[test]
fn what_cannot_be_read() {
    let key = SigningKey::generate().unwrap();
    let image = subject("image");
    // Signed by the right key, and still nothing that says which image it is (CVE-2026-39395).
    let payloads = [
        ("", "the payload is not strict JSON"),
        ("{", "the payload is not strict JSON"),
        ("{\"critical\":{}}", "the payload has not the expected fields"),
        ("[]", "the payload has not the expected fields"),
        (
            "{\"critical\":{\"identity\":{\"docker-reference\":\"x\"},\"image\":{\"docker-manifest-digest\":\"sha256:0\"},\
             \"type\":\"cosign container image signature\"},\"optional\":null}",
            "the payload has not the expected fields",
        ),
    ];
    let signer = KeySigner::new(key.clone());
    let source = signed(&image, &[&signer], Format::Legacy);
    for (payload, expected) in payloads {
        let proof = signer.prove(crate::publish::sigstore::Message::Payload(payload.as_bytes())).unwrap();
        let garbled = with_layer(&source, &image, |annotations, bytes| {
            *annotations = proof.annotations().unwrap();
            *bytes = payload.as_bytes().to_vec();
        });
        let text = refusal(check(&garbled, &image, &by_key(&key)));
        assert!(text.starts_with(expected), "{payload}: {text}");
    }
    let statement = format!(
        "{{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[],\"predicateType\":{:?},\"predicate\":{{}}}}",
        crate::publish::sign::SIGNATURE_PREDICATE
    );
    for (statement, expected) in [
        ("{}", "the statement is malformed".to_owned()),
        ("no", "the statement is not strict JSON: not strict JSON".to_owned()),
        (&statement, format!("it is for [], not for {}", image.descriptor.digest)),
    ] {
        let proof = signer.prove(crate::publish::sigstore::Message::Statement(statement.as_bytes())).unwrap();
        let bundle: Value = serde_json::from_slice(&proof.bundle(statement.as_bytes())).unwrap();
        let bundled = signed(&image, &[&signer], Format::Bundle);
        let text = refusal(check(&with_bundle(&bundled, &image, |old| *old = bundle), &image, &by_key(&key)));
        assert!(text.starts_with(&expected), "{statement}: {text}");
    }
}

#[test]
fn parts_that_are_missing_or_damaged() {
    let image = subject("image");
    let key = SigningKey::generate().unwrap();
    let source = signed(&image, &[&KeySigner::new(key.clone())], Format::Both);
    let legacy = |change: &dyn Fn(&mut BTreeMap<String, String>)| {
        let changed = with_layer(&source, &image, |annotations, _| change(annotations));
        refusal(check(&changed, &image, &by_key(&key)))
    };
    let signature = "dev.cosignproject.cosign/signature";
    assert_eq!(legacy(&|annotations| drop(annotations.remove(signature))), format!("{signature} is missing"));
    for value in ["", "%", "AAAA=AAAA"] {
        let text = legacy(&|annotations| drop(annotations.insert(signature.into(), value.into())));
        assert_eq!(text, format!("{signature} is malformed"));
    }
    for (name, value, expected) in [
        ("dev.sigstore.cosign/bundle", "{}", "dev.sigstore.cosign/bundle has not the expected fields"),
        ("dev.sigstore.cosign/bundle", "{", "dev.sigstore.cosign/bundle is not strict JSON"),
        ("dev.sigstore.cosign/certificate", "none", "dev.sigstore.cosign/certificate is malformed"),
    ] {
        let text = legacy(&|annotations| drop(annotations.insert(name.into(), value.into())));
        assert!(text.starts_with(expected), "{text}");
    }
    let payload_changed = with_layer(&source, &image, |_, bytes| bytes.push(b' '));
    assert!(refusal(check(&payload_changed, &image, &by_key(&key))).starts_with("it is not by the key: "));
    let unsigned = with_bundle(&source, &image, |bundle| {
        bundle["dsseEnvelope"]["signatures"] = json!([]);
    });
    let text = refusal(check(&unsigned, &image, &by_key(&key)));
    assert!(
        text.starts_with("the bundle has not the expected fields: DSSE envelope must contain exactly one"),
        "{text}"
    );
    let typed = with_bundle(&source, &image, |bundle| {
        bundle["dsseEnvelope"]["payloadType"] = json!("text/plain");
    });
    assert!(refusal(check(&typed, &image, &by_key(&key))).starts_with("the type of the payload is"));
}

#[test]
fn a_good_one_among_bad_ones_counts_and_the_bad_ones_are_reported() {
    let image = subject("image");
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let bad = KeySigner::new(other);
    let good = KeySigner::new(key.clone());
    let source = signed(&image, &[&bad, &good], Format::Both);
    let verified = check(&source, &image, &by_key(&key)).unwrap();
    assert_eq!((verified.accepted.len(), verified.refused.len()), (2, 2));
}

#[test]
fn identities_without_a_trust_root_and_digests_nobody_knows() {
    let image = subject("image");
    let source = MemoryReferrers::new();
    let by = Signatory::Identity(pipeline());
    let error = verify(&source, &image.descriptor, &What::Signature, &by, None).unwrap_err();
    assert!(matches!(error, VerifyError::NoTrustRoot));
    let descriptor = Descriptor::new(MediaType::ImageManifest, Digest::Sha512([0; 64]), 1);
    let error = verify(&source, &descriptor, &What::Signature, &by, None).unwrap_err();
    assert!(matches!(error, VerifyError::Algorithm { .. }));
    let subject = Subject { descriptor, name: NAME.into() };
    let key = KeySigner::new(SigningKey::generate().unwrap());
    let error = sign(&subject, &[&key], Format::Both, &source, created()).unwrap_err();
    assert!(matches!(error, SignError::Algorithm));
}
