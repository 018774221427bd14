//! Against distribution, the registry that many others are made of.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::Layout;
use crate::store::scratch::{Registry, Scratch, lacks};

fn at(registry: &Registry, name: &str) -> Repository {
    let reference =
        RegistryReference { host: registry.address.clone(), repository: name.into(), tag: None, digest: None };
    Repository::new(&client(), &reference, Access::Push).unwrap()
}

/// A layout of an index of two images that share a layer; one layer is large.
fn layout(scratch: &Scratch) -> (Layout, Descriptor) {
    let writer = Layout::write(scratch.dir()).unwrap();
    let layer = |name: &str, size: usize| {
        let bytes: Vec<u8> = name.bytes().cycle().take(size).collect();
        let descriptor = writer.put_bytes(MediaType::layer(Encoding::Plain), &bytes).unwrap();
        let diff_id = descriptor.digest;
        crate::image::Layer { descriptor, diff_id, uncompressed_size: None, history: crate::image::History::of(name) }
    };
    let (shared, large) = (layer("shared", 100_000), layer("large", 20_000_000));
    let platforms = ["linux/amd64", "linux/arm64/v8"].map(|text| Image::scratch(text.parse().unwrap()));
    let [one, two] = platforms;
    let one = one.append_all([shared.clone(), large]).unwrap();
    let two = two.append_all([shared, layer("two", 1000)]).unwrap();
    let entries = [one, two].map(|image| writer.put_image(&image.with_annotation("kept", "yes")).unwrap());
    let index = Index { manifests: entries.to_vec(), ..Index::default() };
    let top = writer.put_bytes(MediaType::ImageIndex, &index.to_bytes()).unwrap();
    writer.commit(Some("t"), &top).unwrap();
    (Layout::open(scratch.dir()).unwrap(), top)
}

/// Everything of an image can be read from a repository.
fn is_whole(there: &Repository, top: &Descriptor) -> bool {
    let Ok(content) = Content::gather(there, top) else { return false };
    content.blobs.iter().all(|blob| {
        there.blob(blob).is_ok_and(|mut reader| {
            std::io::copy(&mut reader, &mut std::io::sink()).is_ok_and(|read| read == blob.size)
        })
    })
}

#[test]
fn distribution_gets_an_index_and_nothing_twice() {
    if lacks(&["docker-registry"]) {
        return;
    }
    let (registry, scratch) = (Registry::start(), Scratch::new());
    let (layout, top) = layout(&scratch);
    let there = at(&registry, "some/where");
    let receipt = publish(&there, &layout, &top, &["one", "two"]).unwrap();
    assert_eq!((receipt.blobs.len(), receipt.manifests.len(), receipt.tags.len()), (5, 3, 2));
    assert_eq!(there.tags().unwrap(), ["one", "two"]);
    assert!(is_whole(&there, &top));
    assert_eq!(there.head(Name::Tag("two")).unwrap().unwrap().digest, top.digest);
    let again = publish(&there, &layout, &top, &["one", "two"]).unwrap();
    assert_eq!(again.bytes.uploaded, 0);
    // From one repository to another of the same registry nothing goes through us.
    let other = at(&registry, "else/where");
    let content = Content::gather(&there, &top).unwrap();
    let mounts = content.blobs.iter().map(|blob| (blob.digest, vec!["some/where".to_owned()])).collect();
    let receipt = push(&other, &content, &plan(&other, &content, &mounts, &["x"]), &there).unwrap().tag().unwrap();
    assert_eq!((receipt.bytes.uploaded, receipt.bytes.mounted), (0, again.bytes.present));
    assert!(is_whole(&other, &top));
    // It has no list of referrers.
    let about = {
        let mut manifest = crate::image::Manifest::new(content.blobs[0].clone(), Vec::new());
        manifest.subject = Some(top.clone());
        manifest.to_bytes()
    };
    let entry = other.put_referrer(&about).unwrap();
    let found = other.referrers(&top.digest).unwrap();
    assert_eq!((found.manifests, found.api), (vec![entry], false));
}

#[test]
fn a_registry_that_is_killed_and_restarted_gets_the_rest() {
    if lacks(&["docker-registry"]) {
        return;
    }
    let scratch = Scratch::new();
    let (layout, top) = layout(&scratch);
    for wait in [0, 3, 10, 30, 60, 120] {
        let mut registry = Registry::start();
        let there = at(&registry, "a");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let pushing = scope.spawn(|| {
                let outcome = publish(&there, &layout, &top, &["t"]);
                done.store(true, Ordering::Relaxed);
                outcome.map(drop)
            });
            std::thread::sleep(Duration::from_millis(wait));
            registry.kill();
            let _ = pushing.join().unwrap();
        });
        assert!(done.load(Ordering::Relaxed), "it ends");
        registry.restart();
        if let Some(named) = there.head(Name::Tag("t")).unwrap() {
            assert!(named.digest == top.digest && is_whole(&there, &top), "killed after {wait} ms");
        }
        publish(&there, &layout, &top, &["t"]).unwrap();
        assert!(is_whole(&there, &top), "killed after {wait} ms");
    }
}

#[test]
fn tls_is_spoken_to_who_has_the_right_certificate() {
    if lacks(&["docker-registry", "openssl"]) {
        return;
    }
    let (registry, scratch) = (Registry::start_tls(), Scratch::new());
    let (layout, top) = layout(&scratch);
    let certificate = std::fs::read(registry.files.path("cert.pem")).unwrap();
    let reference =
        RegistryReference { host: registry.address.clone(), repository: "a".into(), tag: None, digest: None };
    let there = |roots: Vec<Vec<u8>>, plain_http| {
        let client = Client::new(ClientOptions { plain_http, roots, ..ClientOptions::default() }, Anonymous);
        Repository::new(&client, &reference, Access::Push).unwrap()
    };
    publish(&there(vec![certificate.clone()], false), &layout, &top, &["t"]).unwrap();
    assert!(is_whole(&there(vec![certificate], false), &top));
    // A certificate that nobody vouches for, and a registry that wants TLS, will do so the next time, too.
    let begun = std::time::Instant::now();
    let error = there(Vec::new(), false).tags().unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    assert!(there(Vec::new(), true).tags().is_err());
    assert!(begun.elapsed() < Duration::from_secs(2));
}
