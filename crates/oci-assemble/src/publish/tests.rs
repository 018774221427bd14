#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
//! Against the registry of the tests, and against distribution.

mod distribution;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::image::{Descriptor, Digest, Encoding, Image, Index, MediaType, RegistryReference};
use crate::store::registry::{Access, Anonymous, Arrival, Client, ClientOptions, Name, Repository, RetryPolicy};
use crate::store::{BlobSource, BlobStore, StoreError};
use crate::testing::blobs::Blobs;
use crate::testing::image::image;
use crate::testing::registry::{Act, Asked, Settings, TestRegistry};

fn client() -> Client {
    let millisecond = Duration::from_millis(1);
    let retry = RetryPolicy { tries: 3, base: millisecond, cap: millisecond, ..RetryPolicy::default() };
    Client::new(ClientOptions { plain_http: true, retry, ..ClientOptions::default() }, Anonymous)
}

fn repository(registry: &TestRegistry, name: &str) -> Repository {
    let reference =
        RegistryReference { host: registry.host().into(), repository: name.into(), tag: None, digest: None };
    Repository::new(&client(), &reference, Access::Push).unwrap()
}

fn scripted(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> TestRegistry {
    TestRegistry::start(Settings { script: Some(Arc::new(script)), ..Settings::default() }).unwrap()
}

/// Everything that images of these layers need, in memory.
fn stored(images: &[&[&str]]) -> (Blobs, Vec<Image>) {
    let memory = Blobs::default();
    let images: Vec<Image> = images.iter().map(|layers| image(layers)).collect();
    for image in &images {
        for (layer, _) in image.layers() {
            // A layer of these images is its name.
            let name = image.config().history.iter().filter_map(|entry| entry.created_by.as_deref());
            let bytes = name
                .filter_map(|text| text.strip_prefix("add "))
                .find(|name| Digest::of(name.as_bytes()) == layer.digest);
            memory.put(layer, &mut bytes.unwrap().as_bytes()).unwrap();
        }
        memory.put(&image.manifest().config, &mut image.config_bytes()).unwrap();
        memory.put(&image.descriptor(), &mut image.manifest_bytes()).unwrap();
    }
    (memory, images)
}

/// An index of all images; what it is.
fn indexed(memory: &Blobs, images: &[Image]) -> Descriptor {
    let index = Index { manifests: images.iter().map(Image::descriptor).collect(), ..Index::default() };
    let bytes = index.to_bytes();
    let descriptor = Descriptor::of(MediaType::ImageIndex, &bytes);
    memory.put(&descriptor, &mut &bytes[..]).unwrap();
    descriptor
}

fn plan(there: &Repository, content: &Content, mounts: &Mounts, tags: &[&str]) -> PushPlan {
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let observed = observe(there, content, &tags).unwrap();
    PushPlan::new(content, &observed, mounts, &tags)
}

fn publish(
    there: &Repository,
    source: &dyn BlobSource,
    top: &Descriptor,
    tags: &[&str],
) -> Result<Receipt, PublishError> {
    let content = Content::gather(source, top)?;
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let observed = observe(there, &content, &tags)?;
    push(there, &content, &PushPlan::new(&content, &observed, &Mounts::new(), &tags), source)?.tag()
}

#[test]
fn an_index_is_pushed_whole_and_the_tag_comes_last() {
    let registry = TestRegistry::start(Settings::default()).unwrap();
    let (memory, images) = stored(&[&["a", "b"], &["a", "c", "d"]]);
    let top = indexed(&memory, &images);
    let there = repository(&registry, "x/y");
    let receipt = publish(&there, &memory, &top, &["latest", "v1", "latest"]).unwrap();
    assert!(registry.is_whole("x/y"));
    let puts: Vec<String> =
        registry.log().iter().filter(|one| one.method == "PUT").map(|one| one.path.clone()).collect();
    let manifests = puts.iter().position(|path| path.contains("/manifests/")).unwrap();
    assert!(puts[..manifests].iter().all(|path| path.contains("/blobs/")) && manifests == 6);
    let expected: Vec<String> = images
        .iter()
        .map(|image| image.digest().to_string())
        .chain([top.digest.to_string(), "latest".into(), "v1".into()])
        .map(|name| format!("/v2/x/y/manifests/{name}"))
        .collect();
    assert_eq!(puts[manifests..], expected);
    assert_eq!(registry.manifest("x/y", "v1").unwrap().0, top.digest.to_string());
    let arrivals: Vec<Arrival> = receipt.blobs.iter().map(|blob| blob.arrival).collect();
    assert_eq!(arrivals, [Arrival::Uploaded; 6]);
    let tags: Vec<(&str, Option<Digest>)> = receipt.tags.iter().map(|tag| (tag.tag.as_str(), tag.from)).collect();
    assert_eq!(tags, [("latest", None), ("v1", None)]);
    let text = serde_json::to_string(&receipt).unwrap();
    assert_eq!(serde_json::from_str::<Receipt>(&text).unwrap(), receipt);

    registry.forget();
    let again = publish(&there, &memory, &top, &["latest", "v1"]).unwrap();
    assert!(registry.log().iter().all(|one| matches!(one.method.as_str(), "HEAD" | "GET")));
    assert_eq!((again.bytes.uploaded, again.bytes.present), (0, receipt.bytes.uploaded));
    assert!(again.tags.iter().all(|tag| tag.from == Some(tag.to) && !tag.raced));
    assert!(again.manifests.iter().all(|manifest| !manifest.pushed));
}

#[test]
fn the_plan_says_what_will_happen() {
    let registry = TestRegistry::start(Settings::default()).unwrap();
    let (memory, images) = stored(&[&["a", "b", "c"]]);
    let there = repository(&registry, "ours");
    let base = repository(&registry, "base");
    let bytes = |name: &str| Descriptor::of(MediaType::layer(Encoding::Plain), name.as_bytes());
    there.upload_blob(&bytes("a"), &memory).unwrap();
    base.upload_blob(&bytes("b"), &memory).unwrap();
    let content = Content::gather(&memory, &images[0].descriptor()).unwrap();
    let mounts = Mounts::from([(bytes("a").digest, vec!["base".into()]), (bytes("b").digest, vec!["base".into()])]);
    let planned = plan(&there, &content, &mounts, &["t"]);
    let actions: Vec<&BlobAction> = planned.blobs.iter().map(|planned| &planned.action).collect();
    let mount = BlobAction::Mount(vec!["base".into()]);
    assert_eq!(actions, [&BlobAction::Upload, &BlobAction::Present, &mount, &BlobAction::Upload]);
    assert!(!planned.is_done());
    assert_eq!(planned.to_value()["blobs"][2]["from"][0], "base");
    let receipt = push(&there, &content, &planned, &memory).unwrap().tag().unwrap();
    let arrivals: Vec<Arrival> = receipt.blobs.iter().map(|blob| blob.arrival).collect();
    assert_eq!(arrivals, [Arrival::Uploaded, Arrival::Present, Arrival::Mounted, Arrival::Uploaded]);
    assert_eq!((receipt.bytes.mounted, receipt.bytes.present, receipt.bytes.saved()), (1, 1, 2));
    assert!(plan(&there, &content, &mounts, &["t"]).is_done());
}

/// Has some blobs at hand and gives no others: what is not there is not needed.
struct Only<'m>(&'m Blobs, BTreeSet<Digest>);

impl BlobSource for Only<'_> {
    fn has(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.1.contains(&descriptor.digest))
    }

    fn open(&self, descriptor: &Descriptor) -> Result<crate::store::VerifiedReader<'_>, StoreError> {
        if self.1.contains(&descriptor.digest) {
            self.0.open(descriptor)
        } else {
            Err(StoreError::Missing { digest: descriptor.digest })
        }
    }
}

#[test]
fn layers_of_a_base_in_the_same_registry_need_not_be_here() {
    let registry = TestRegistry::start(Settings::default()).unwrap();
    let (memory, images) = stored(&[&["a", "b"], &["a", "b", "new"]]);
    let base = publish(&repository(&registry, "base"), &memory, &images[0].descriptor(), &["1"]).unwrap();
    let ours = images[1].clone();
    let ours = ours.with_annotation("org.opencontainers.image.base.name", format!("{}/base:1", registry.host()));
    let ours = ours.with_annotation("org.opencontainers.image.base.digest", base.image.to_string());
    let new = Digest::of(b"new");
    let source = Only(&memory, [new, ours.manifest().config.digest].into());
    memory.put(&ours.manifest().config, &mut ours.config_bytes()).unwrap();
    let content = Content::of_manifest(ours.manifest_bytes().to_vec()).unwrap();
    let there = repository(&registry, "ours");
    let mounts = base_mounts(&client(), registry.host(), &content).unwrap();
    let receipt = push(&there, &content, &plan(&there, &content, &mounts, &["t"]), &source).unwrap().tag().unwrap();
    assert_eq!((receipt.bytes.mounted, registry.is_whole("ours")), (2, true));
    assert_eq!(base_mounts(&client(), "another.example.org", &content).unwrap(), Mounts::new());
    // The base is gone: then its layers would have to be sent, and are not here.
    let other = TestRegistry::start(Settings::default()).unwrap();
    let there = repository(&other, "ours");
    let error = push(&there, &content, &plan(&there, &content, &mounts, &["t"]), &source).unwrap_err();
    assert!(format!("{error:?}").contains("Missing"), "{error:?}");
    assert_eq!(other.manifest("ours", "t"), None);
}

#[test]
fn a_tag_never_names_what_is_not_there() {
    let (memory, images) = stored(&[&["a", "b", "c"]]);
    let (old, olds) = stored(&[&["a"]]);
    let top = images[0].descriptor();
    // The registry dies for good at each request in turn; a run after that ends well.
    let counted = scripted(|_| Act::Serve);
    publish(&repository(&counted, "x"), &old, &olds[0].descriptor(), &["t"]).unwrap();
    counted.forget();
    publish(&repository(&counted, "x"), &memory, &top, &["t"]).unwrap();
    let requests = counted.log().len();
    assert!(requests > 10);
    for fatal in 0..requests {
        let alive = Arc::new(std::sync::atomic::AtomicUsize::new(usize::MAX));
        let left = Arc::clone(&alive);
        let registry = scripted(move |_| {
            use std::sync::atomic::Ordering::Relaxed;
            match left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Act::Serve,
                Err(_) => Act::Reset(0),
            }
        });
        let there = repository(&registry, "x");
        publish(&there, &old, &olds[0].descriptor(), &["t"]).unwrap();
        alive.store(fatal, std::sync::atomic::Ordering::Relaxed);
        let outcome = publish(&there, &memory, &top, &["t"]);
        assert!(registry.is_whole("x"), "after {fatal} of {requests} requests");
        let named = registry.manifest("x", "t").unwrap().0;
        let expected = if outcome.is_ok() { top.digest } else { olds[0].digest() };
        assert!(named == expected.to_string() || named == top.digest.to_string());
        alive.store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
        let receipt = publish(&there, &memory, &top, &["t"]).unwrap();
        assert_eq!(registry.manifest("x", "t").unwrap().0, top.digest.to_string());
        assert!(registry.is_whole("x"));
        assert_eq!(receipt.image, top.digest);
    }
}

#[test]
fn what_was_sent_before_is_not_sent_again() {
    let (memory, images) = stored(&[&["a", "b", "c"]]);
    let registry = scripted(|one| match (one.method.as_str(), one.path.contains("/manifests/sha256")) {
        ("PUT", true) if one.before < 3 => Act::Answer(503, Vec::new(), Vec::new()),
        _ => Act::Serve,
    });
    let there = repository(&registry, "x");
    let top = images[0].descriptor();
    assert!(publish(&there, &memory, &top, &["t"]).is_err());
    let receipt = publish(&there, &memory, &top, &["t"]).unwrap();
    assert_eq!(receipt.bytes.uploaded, 0);
}

#[test]
fn a_tag_that_somebody_moves_meanwhile_is_reported() {
    let registry = TestRegistry::start(Settings::default()).unwrap();
    let (memory, images) = stored(&[&["a"], &["b"]]);
    let there = repository(&registry, "x");
    let content = Content::gather(&memory, &images[0].descriptor()).unwrap();
    let planned = plan(&there, &content, &Mounts::new(), &["t"]);
    let untagged = push(&there, &content, &planned, &memory).unwrap();
    publish(&there, &memory, &images[1].descriptor(), &["t"]).unwrap();
    let receipt = untagged.tag().unwrap();
    let expected = ReceiptTag { tag: "t".into(), from: Some(images[1].digest()), to: images[0].digest(), raced: true };
    assert_eq!(receipt.tags, [expected]);
}

#[test]
fn a_registry_that_tags_something_else_is_found_out() {
    let (memory, images) = stored(&[&["a"], &["b"]]);
    let other = String::from_utf8(images[1].manifest_bytes().to_vec()).unwrap();
    let kind = ("content-type".to_owned(), MediaType::ImageManifest.to_string());
    let answer = Act::Answer(200, vec![kind], other.into_bytes());
    let registry = scripted(move |one| if one.is("GET", "/manifests/t") { answer.clone() } else { Act::Serve });
    let error = publish(&repository(&registry, "x"), &memory, &images[0].descriptor(), &["t"]).unwrap_err();
    assert!(matches!(error, PublishError::Changed { .. }), "{error:?}");
}

#[test]
fn signatures_come_before_the_tag() {
    let registry = TestRegistry::start(Settings::default()).unwrap();
    let (memory, images) = stored(&[&["a"]]);
    let there = repository(&registry, "x");
    let content = Content::gather(&memory, &images[0].descriptor()).unwrap();
    let planned = plan(&there, &content, &Mounts::new(), &["t"]);
    let untagged = push(&there, &content, &planned, &memory).unwrap();
    let subject = untagged.manifests().last().unwrap().digest;
    assert!(there.manifest(Name::Digest(&subject)).unwrap().is_some() && there.tags().unwrap().is_empty());
    let signature = Attached {
        kind: "signature".into(),
        format: "legacy".into(),
        subject,
        digest: Digest::of(b"signature"),
        tag: Some("sha256-x.sig".into()),
        identity: None,
        log_index: Some(7),
        before: false,
    };
    let receipt = untagged.attached([signature.clone()]).tag().unwrap();
    assert_eq!(receipt.attached, [signature]);
}

#[test]
fn what_is_no_tag_and_no_manifest_is_refused_before_anything_is_sent() {
    let registry = TestRegistry::start(Settings::default()).unwrap();
    let (memory, images) = stored(&[&["a"]]);
    let content = Content::gather(&memory, &images[0].descriptor()).unwrap();
    let error = observe(&repository(&registry, "x"), &content, &["-no".to_owned()]).unwrap_err();
    assert!(matches!(error, PublishError::Tag { .. }));
    let odd = Descriptor::of(MediaType::Other("application/x".into()), b"{}");
    assert!(matches!(Content::gather(&memory, &odd), Err(PublishError::Kind { .. })));
    assert_eq!(registry.log(), []);
}
