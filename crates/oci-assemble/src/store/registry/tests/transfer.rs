//! Blobs and manifests there and back.

use std::io::Read;

use super::*;
use crate::image::{Digest, Index, Manifest};

#[test]
fn a_blob_comes_back_as_it_went() {
    let registry = open();
    let client = client();
    let there = repository(&client, &registry, "a/b");
    for size in [0, 1, 300_000, 3_000_000] {
        let bytes = noise(size);
        let blob = layer(&bytes);
        assert!(!there.has_blob(&blob).unwrap());
        assert_eq!(there.put_blob(&blob, &[], &Bytes(&bytes)).unwrap(), Arrival::Uploaded);
        assert!(there.has_blob(&blob).unwrap());
        assert_eq!(there.put_blob(&blob, &[], &Bytes(&bytes)).unwrap(), Arrival::Present);
        assert_eq!(there.blob(&blob).unwrap().read_whole().unwrap(), bytes);
    }
    assert_eq!(registry.open_uploads(), 0);
    let uploads = registry.log().into_iter().filter(|one| one.method == "PUT");
    assert!(uploads.into_iter().all(|one| one.header("content-length").is_some()));
}

#[test]
fn a_blob_of_another_repository_is_mounted() {
    let registry = open();
    let client = client();
    let bytes = noise(1000);
    let blob = layer(&bytes);
    repository(&client, &registry, "base").upload_blob(&blob, &Bytes(&bytes)).unwrap();
    let there = repository(&client, &registry, "ours");
    registry.forget();
    let from = ["ours".to_owned(), "elsewhere".to_owned(), "base".to_owned()];
    assert_eq!(there.put_blob(&blob, &from, &Bytes(&bytes)).unwrap(), Arrival::Mounted);
    assert!(registry.log().iter().all(|one| one.method != "PUT" && one.method != "PATCH"));
    assert_eq!(registry.open_uploads(), 0, "the session that another mount was answered with is given up");
}

#[test]
fn what_is_not_its_digest_is_not_sent_whole() {
    let registry = open();
    let client = client();
    let there = repository(&client, &registry, "a");
    let blob = layer(&noise(600_000));
    for wrong in [noise(600_001), noise(599_999), vec![0; 600_000]] {
        let error = there.upload_blob(&blob, &Bytes(&wrong)).unwrap_err();
        assert!(matches!(error, RegistryError::Local { .. }), "{error:?}");
    }
    assert_eq!(registry.blobs("a"), Vec::<String>::new());
}

#[test]
fn manifests_keep_their_bytes() {
    let registry = open();
    let client = client();
    let there = repository(&client, &registry, "a");
    assert_eq!(there.manifest(Name::Tag("x")).unwrap(), None);
    assert_eq!(there.head(Name::Tag("x")).unwrap(), None);
    let config = Descriptor::of(MediaType::Empty, b"{}");
    there.put_blob(&config, &[], &Bytes(b"{}")).unwrap();
    let mut manifest = Manifest::new(config, Vec::new());
    manifest.annotations.insert("k".into(), "v".into());
    // As other programs write it: with white space, and fields in another order.
    let bytes = format!("\n {}\n", String::from_utf8(manifest.to_bytes()).unwrap()).into_bytes();
    let digest = Digest::of(&bytes);
    there.put_manifest(Name::Digest(&digest), &MediaType::ImageManifest, &bytes).unwrap();
    there.put_manifest(Name::Tag("x"), &MediaType::ImageManifest, &bytes).unwrap();
    let expected = RemoteManifest { descriptor: Descriptor::of(MediaType::ImageManifest, &bytes), bytes };
    for name in [Name::Tag("x"), Name::Digest(&digest)] {
        assert_eq!(there.manifest(name).unwrap().as_ref(), Some(&expected));
        assert_eq!(there.head(name).unwrap().as_ref(), Some(&expected.descriptor));
    }
    let dangling =
        Index { manifests: vec![Descriptor::of(MediaType::ImageManifest, b"not there")], ..Index::default() };
    let error = there.put_manifest(Name::Tag("x"), &MediaType::ImageIndex, &dangling.to_bytes()).unwrap_err();
    assert_eq!(error.status(), Some(400));
    assert_eq!(there.manifest(Name::Tag("x")).unwrap(), Some(expected));
}

#[test]
fn documents_that_are_two_things_are_refused() {
    let both = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;
    for (kind, body) in [
        ("application/vnd.oci.image.index.v1+json", &both[..]),
        ("text/html", b"<html>"),
        ("application/vnd.oci.image.index.v1+json", br#"{"manifests":[],"manifests":[]}"#),
    ] {
        let answer = Act::Answer(200, vec![("content-type".into(), kind.into())], body.to_vec());
        let registry = scripted(move |_| answer.clone());
        let error = repository(&client(), &registry, "a").manifest(Name::Tag("x")).unwrap_err();
        assert!(matches!(error, RegistryError::Document { .. }), "{kind}: {error:?}");
    }
}

#[test]
fn a_registry_that_gives_something_else_is_found_out() {
    let bytes = noise(5000);
    let blob = layer(&bytes);
    for (wrong, expected) in [(noise(5001), "5001"), (noise(4999), "4999"), (vec![1; 5000], "sha256:")] {
        let registry = scripted(move |_| Act::Answer(200, Vec::new(), wrong.clone()));
        let client = client();
        let there = repository(&client, &registry, "a");
        let mut seen = Vec::new();
        let error = there.blob(&blob).unwrap().read_to_end(&mut seen).unwrap_err();
        let text = format!("{error:?}");
        assert!(
            text.contains("Size") || text.contains("Digest") || text.contains("all of the blob"),
            "{text} {expected}"
        );
    }
}

#[test]
fn a_blob_goes_through_from_one_registry_to_another() {
    let (from, to) = (open(), open());
    let bytes = noise(2_000_000);
    let blob = layer(&bytes);
    // By one client and by two.
    let client = client();
    for (name, other) in [("a", client.clone()), ("b", super::client())] {
        let source = repository(&client, &from, "source");
        source.put_blob(&blob, &[], &Bytes(&bytes)).unwrap();
        let there = repository(&other, &to, name);
        assert_eq!(there.put_blob(&blob, &[], &source).unwrap(), Arrival::Uploaded);
        assert_eq!(to.blobs(name), [blob.digest.to_string()]);
    }
    // What is lost at the source is no fault of the target's.
    from.lose("source", &blob.digest.to_string());
    let error = repository(&client, &to, "c").put_blob(&blob, &[], &repository(&client, &from, "source")).unwrap_err();
    assert!(matches!(error, RegistryError::Local { .. }), "{error:?}");
}
