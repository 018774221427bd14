//! Tags and referrers.

use super::*;
use crate::image::Index;
use crate::image::{Digest, Manifest};

fn registry(referrers: bool, page: Option<usize>) -> TestRegistry {
    TestRegistry::start(Settings { referrers, page, ..Settings::default() }).unwrap()
}

/// Stores the empty blob and a manifest with it, under a tag; what it is.
fn image(there: &Repository, tag: &str) -> Descriptor {
    let config = Descriptor::of(MediaType::Empty, b"{}");
    there.put_blob(&config, &[], &Bytes(b"{}")).unwrap();
    let bytes = Manifest::new(config, Vec::new()).to_bytes();
    there.put_manifest(Name::Tag(tag), &MediaType::ImageManifest, &bytes).unwrap();
    Descriptor::of(MediaType::ImageManifest, &bytes)
}

/// A manifest about another.
fn about(subject: &Descriptor, number: usize) -> Vec<u8> {
    let mut manifest = Manifest::new(Descriptor::of(MediaType::Empty, b"{}"), Vec::new());
    manifest.subject = Some(subject.clone());
    manifest.annotations.insert("number".into(), number.to_string());
    manifest.rest.insert("artifactType".into(), "application/x.test".into());
    manifest.to_bytes()
}

#[test]
fn tags_come_page_by_page() {
    for page in [None, Some(1), Some(2), Some(5)] {
        let registry = registry(false, page);
        let client = client();
        let there = repository(&client, &registry, "a");
        assert_eq!(there.tags().unwrap(), Vec::<String>::new());
        for tag in ["c", "a", "b"] {
            image(&there, tag);
        }
        assert_eq!(there.tags().unwrap(), ["a", "b", "c"]);
    }
}

#[test]
fn referrers_are_found_with_and_without_the_registrys_list() {
    for (api, page) in [(true, None), (true, Some(1)), (false, None)] {
        let registry = registry(api, page);
        let client = client();
        let there = repository(&client, &registry, "a");
        let subject = image(&there, "x");
        assert_eq!(there.referrers(&subject.digest).unwrap(), Referrers { manifests: vec![], api });
        let mut expected: Vec<Digest> = Vec::new();
        for number in [0, 1, 2, 1] {
            let bytes = about(&subject, number);
            let entry = there.put_referrer(&bytes).unwrap();
            assert_eq!(entry.rest["artifactType"], "application/x.test");
            assert_eq!(entry.annotations["number"], number.to_string());
            if !expected.contains(&entry.digest) {
                expected.push(entry.digest);
            }
        }
        let found = there.referrers(&subject.digest).unwrap();
        let mut digests: Vec<Digest> = found.manifests.iter().map(|entry| entry.digest).collect();
        digests.sort();
        expected.sort();
        assert_eq!((digests, found.api), (expected, api), "page {page:?}");
        assert_eq!(there.tags().unwrap().contains(&fallback_tag(&subject.digest)), !api);
        if !api {
            let (_, index) = registry.manifest("a", &fallback_tag(&subject.digest)).unwrap();
            let index = Index::parse(&index, None).unwrap();
            assert!(index.manifests.iter().all(|entry| entry.rest["artifactType"] == "application/x.test"));
        }
    }
}

#[test]
fn something_else_in_the_place_of_the_list_is_passed_over() {
    let html = Act::Answer(200, vec![("content-type".into(), "text/html".into())], b"<html>".to_vec());
    let registry = scripted(move |one| if one.path.contains("/referrers/") { html.clone() } else { Act::Serve });
    let client = client();
    let there = repository(&client, &registry, "a");
    let subject = image(&there, "x");
    let entry = there.put_referrer(&about(&subject, 1)).unwrap();
    assert_eq!(there.referrers(&subject.digest).unwrap(), Referrers { manifests: vec![entry], api: false });
}

#[test]
fn a_next_page_elsewhere_is_not_asked_for() {
    let thief = open();
    let link = format!("<http://{}/v2/a/tags/list>; rel=\"next\"", thief.host());
    let registry =
        scripted(move |one| if one.is("GET", "/tags/list") { Act::With("link", link.clone()) } else { Act::Serve });
    let client = client();
    let there = repository(&client, &registry, "a");
    image(&there, "x");
    let error = there.tags().unwrap_err();
    assert!(matches!(error, RegistryError::Origin { what: "list", .. }), "{error:?}");
    assert_eq!(thief.log(), []);
}

#[test]
fn a_list_without_end_ends() {
    let registry = scripted(|one| {
        if one.is("GET", "/tags/list") {
            Act::With("link", "</v2/a/tags/list?from=0>; rel=\"next\"".into())
        } else {
            Act::Serve
        }
    });
    let client = client();
    let there = repository(&client, &registry, "a");
    image(&there, "x");
    assert!(matches!(there.tags(), Err(RegistryError::Protocol { missing: "an end", .. })));
}
