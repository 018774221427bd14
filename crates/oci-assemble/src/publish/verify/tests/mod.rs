//! Signatures that count, and every way in which they must not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod again;
mod attestations;
mod carried;
mod formats;
mod refused;

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::image::{Epoch, Manifest, MediaType};
use crate::publish::ReferrerStore;
use crate::publish::referrers::{Artifact, MemoryReferrers, Place, fetch, signature_tag};
use crate::publish::sign::{Format, KeySigner, KeylessSigner, SignError, Signed, Signer, Subject, sign};
use crate::publish::sigstore::{RekorVersion, SigningKey, Token, TrustRoot};
use crate::testing::sigstore::Sigstore;

const PROJECT: &str = "group/images";
const NAME: &str = "registry.example.com/host-images/base:latest";

static SERVICES: LazyLock<Sigstore> = LazyLock::new(|| Sigstore::start(now).unwrap());

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn created() -> Epoch {
    Epoch::new(1_700_000_000).unwrap()
}

fn subject(content: &str) -> Subject {
    let descriptor = Descriptor::of(MediaType::ImageManifest, content.as_bytes());
    Subject { descriptor, name: NAME.into() }
}

fn root(services: &Sigstore) -> TrustRoot {
    TrustRoot::parse(&services.trusted_root()).unwrap()
}

fn pipeline() -> CertifiedIdentity {
    CertifiedIdentity {
        identity: format!("https://gitlab.com/{PROJECT}//.gitlab-ci.yml@refs/heads/main"),
        issuer: "https://gitlab.com".into(),
    }
}

fn keyless(services: &Sigstore, version: RekorVersion, root: Option<TrustRoot>) -> KeylessSigner {
    // Some services are in the past.
    let token = Token::parse(&services.gitlab_token(PROJECT), Epoch::new(now() - 3600).unwrap()).unwrap();
    KeylessSigner::begin(services.services(version, true), &token, root).unwrap()
}

fn by_key(key: &SigningKey) -> Signatory {
    Signatory::Key { key: key.public().clone(), logged: false }
}

fn stored(signed: &Signed) -> MemoryReferrers {
    let memory = MemoryReferrers::new();
    memory.store(&signed.artifacts).unwrap();
    memory
}

fn signed(subject: &Subject, signers: &[&dyn Signer], format: Format) -> MemoryReferrers {
    stored(&sign(subject, signers, format, &MemoryReferrers::new(), created()).unwrap())
}

fn check(source: &MemoryReferrers, subject: &Subject, by: &Signatory) -> Result<Verified, VerifyError> {
    verify(source, &subject.descriptor, &What::Signature, by, Some(&root(&SERVICES)))
}

/// What is wrong with the only signature that is there.
fn refusal(result: Result<Verified, VerifyError>) -> String {
    match result.unwrap_err() {
        VerifyError::Refused { refused, .. } => {
            let [one] = refused.as_slice() else { panic!("several: {refused:?}") };
            let mut text = one.refusal.to_string();
            let mut error = std::error::Error::source(&one.refusal);
            while let Some(cause) = error {
                text.push_str(&format!(": {cause}"));
                error = cause.source();
            }
            text
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_key_signs_in_both_forms() {
    let key = SigningKey::generate().unwrap();
    let image = subject("image");
    for (format, count) in [(Format::Legacy, 1), (Format::Bundle, 1), (Format::Both, 2)] {
        let source = signed(&image, &[&KeySigner::new(key.clone())], format);
        // No trust root: nothing but the key is believed.
        let verified = verify(&source, &image.descriptor, &What::Signature, &by_key(&key), None).unwrap();
        assert_eq!((verified.digest, verified.accepted.len()), (image.descriptor.digest, count), "{format:?}");
        assert!(verified.refused.is_empty());
        assert!(verified.accepted.iter().all(|one| one.vouched.certified.is_none() && one.vouched.entry.is_none()));
    }
}

#[test]
fn an_identity_signs_with_either_log() {
    let image = subject("image");
    let by = Signatory::Identity(pipeline());
    let first = keyless(&SERVICES, RekorVersion::V1, Some(root(&SERVICES)));
    let verified = check(&signed(&image, &[&first], Format::Both), &image, &by).unwrap();
    assert_eq!(verified.accepted.len(), 2);
    for accepted in &verified.accepted {
        assert_eq!(accepted.vouched.certified, Some(pipeline()));
        assert!(accepted.vouched.entry.as_ref().is_some_and(|entry| entry.index > 0 && entry.time.is_some()));
    }
    assert_eq!(verified.accepted[0].name.as_deref(), Some(NAME));
    let second = keyless(&SERVICES, RekorVersion::V2, Some(root(&SERVICES)));
    let verified = check(&signed(&image, &[&second], Format::Bundle), &image, &by).unwrap();
    assert_eq!(verified.accepted[0].vouched.entry.as_ref().unwrap().time, None, "the second version knows no time");
    let legacy = sign(&image, &[&second], Format::Both, &MemoryReferrers::new(), created());
    assert!(matches!(legacy, Err(SignError::NoPromise)), "{legacy:?}");
}

#[test]
fn a_logged_key_can_be_demanded() {
    let key = SigningKey::generate().unwrap();
    let image = subject("image");
    let logged = Signatory::Key { key: key.public().clone(), logged: true };
    for version in [RekorVersion::V1, RekorVersion::V2] {
        let signer = KeySigner::logged(key.clone(), SERVICES.services(version, true), None).unwrap();
        let source = signed(&image, &[&signer], Format::Both);
        let verified = check(&source, &image, &logged).unwrap();
        let legacy = usize::from(version == RekorVersion::V1);
        assert_eq!(verified.accepted.len(), 1 + legacy, "{version:?}: {:?}", verified.refused);
        assert!(verified.accepted.iter().all(|one| one.vouched.entry.is_some()));
    }
    let bare = signed(&image, &[&KeySigner::new(key)], Format::Legacy);
    assert_eq!(refusal(check(&bare, &image, &logged)), "it has no entry of a transparency log");
}

#[test]
fn signatures_stand_side_by_side_and_earlier_ones_stay() {
    let image = subject("image");
    let (first, second) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let source = signed(&image, &[&KeySigner::new(first.clone())], Format::Legacy);
    let identity = keyless(&SERVICES, RekorVersion::V1, None);
    let host = KeySigner::new(second.clone());
    let more = sign(&image, &[&identity, &host], Format::Legacy, &source, created()).unwrap();
    source.store(&more.artifacts).unwrap();
    for (by, layer) in [(by_key(&first), 0), (Signatory::Identity(pipeline()), 1), (by_key(&second), 2)] {
        let verified = check(&source, &image, &by).unwrap();
        let [accepted] = verified.accepted.as_slice() else { panic!("{verified:?}") };
        let tag = signature_tag(&image.descriptor.digest);
        assert_eq!(accepted.found, Found::Legacy { tag, layer });
        assert_eq!(verified.refused.len(), 2, "the others are reported");
    }
}
