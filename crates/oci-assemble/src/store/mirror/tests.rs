#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::zombie_processes)]
//! Against a registry and a containers-storage of this machine.

use std::fs;
use std::process::Command;

use super::*;
use crate::image::{Digest, Encoding, Image, Index, Layer, MediaType, Mismatch};
use crate::store::scratch::{Registry, Scratch, lacks, open};
use crate::store::{Ambient, BaseImage, Fetch, Layout, StoreError, fsck, resolve, write_archive};
use crate::testing::image::{amd64, docker_image, image};

fn skopeo(arguments: &[&str]) {
    let output = Command::new("skopeo").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn push(scratch: &Scratch, tag: &str, registry: &Registry, rest: &str) {
    let from = format!("oci:{}:{tag}", scratch.0.path().display());
    skopeo(&[
        "copy",
        "--all",
        "--preserve-digests",
        "--dest-tls-verify=false",
        &from,
        &registry.reference(rest).to_string(),
    ]);
}

fn options() -> MirrorOptions {
    let skopeo = SkopeoOptions { insecure: true, ..SkopeoOptions::default() };
    MirrorOptions { skopeo, threads: NonZero::new(3).unwrap(), ..MirrorOptions::default() }
}

fn copy(from: &ImageReference, into: &Scratch, options: &MirrorOptions) -> Result<Mirrored> {
    mirror(from, &Ambient, Layout::write(into.dir()).unwrap(), Some("copy"), options)
}

fn sound(scratch: &Scratch) -> bool {
    fsck(&open(scratch), NonZero::new(2).unwrap()).unwrap().is_sound()
}

/// A layout with an index `t` of two images, gzip layers, one Docker manifest.
fn two_platforms() -> (Scratch, Descriptor) {
    let scratch = Scratch::new();
    let writer = Layout::write(scratch.dir()).unwrap();
    let compressed = |name: &str| {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(name.as_bytes()).unwrap();
        let descriptor = writer.put_bytes(MediaType::layer(Encoding::Gzip), &encoder.finish().unwrap()).unwrap();
        Layer {
            descriptor,
            diff_id: Digest::of(name.as_bytes()),
            uncompressed_size: None,
            history: crate::image::History::of(name),
        }
    };
    let amd = Image::scratch(amd64()).append_all(["a", "b", "c", "d", "e"].map(compressed)).unwrap();
    let arm = Image::scratch("linux/arm64/v8".parse().unwrap()).append_all(["a", "x"].map(compressed)).unwrap();
    let entries = [&amd, &arm].map(|image| writer.put_image(image).unwrap());
    let list = Index { manifests: entries.to_vec(), ..Index::default() };
    let top = writer.put_bytes(MediaType::ImageIndex, &list.to_bytes()).unwrap();
    writer.commit(Some("t"), &top).unwrap();
    (scratch, entries[1].clone())
}

#[test]
fn local_images_are_copied_between_layouts_and_archives() {
    let (scratch, arm) = two_platforms();
    let top = open(&scratch).find(Some("t"), None).unwrap();
    write_archive(&scratch.dir(), "x.tar", &open(&scratch), &[(Some("t"), &top)]).unwrap();
    for from in
        [format!("oci:{}:t", scratch.0.path().display()), format!("oci-archive:{}:t", scratch.path("x.tar").display())]
    {
        let target = Scratch::new();
        let whole = copy(&from.parse().unwrap(), &target, &options()).unwrap();
        assert_eq!(whole.image.digest, top.digest);
        assert!(sound(&target));
        let one = Scratch::new();
        let only = MirrorOptions { platforms: Platforms::Only("linux/arm64".parse().unwrap()), ..options() };
        assert_eq!(copy(&from.parse().unwrap(), &one, &only).unwrap().image.digest, arm.digest);
        assert_eq!(fs::read_dir(one.path("blobs/sha256")).unwrap().count(), 4);
        let other = MirrorOptions { platforms: Platforms::Only("linux/s390x".parse().unwrap()), ..options() };
        assert!(matches!(copy(&from.parse().unwrap(), &one, &other), Err(StoreError::Select(_))));
    }
}

#[test]
fn registries_are_copied_byte_for_byte() {
    if lacks(&["skopeo", "docker-registry"]) {
        return;
    }
    let (scratch, arm) = two_platforms();
    let top = open(&scratch).find(Some("t"), None).unwrap();
    let registry = Registry::start();
    push(&scratch, "t", &registry, "some/image:v1");
    let target = Scratch::new();
    let whole = copy(&registry.reference("some/image:v1"), &target, &options()).unwrap();
    assert_eq!(whole.image.digest, top.digest);
    assert!(sound(&target));
    assert_eq!(open(&target).find(Some("copy"), None).unwrap().digest, top.digest);
    let only = MirrorOptions { platforms: Platforms::Only("linux/arm64".parse().unwrap()), ..options() };
    let one = Scratch::new();
    let by_digest = registry.reference(&format!("some/image:moved@{}", top.digest));
    assert_eq!(copy(&by_digest, &one, &only).unwrap().image.digest, arm.digest);
    assert!(sound(&one));
    // What is there is not fetched again: the registry lost it, and nobody notices.
    fs::remove_dir_all(registry.files.path("data/docker/registry/v2/blobs/sha256")).unwrap();
    let missing = copy(&by_digest, &one, &only).unwrap_err();
    assert!(matches!(&missing, StoreError::Proxy(ProxyError::Refused { .. })), "{missing:?}");
}

#[test]
fn docker_manifests_keep_their_digest() {
    if lacks(&["skopeo", "docker-registry"]) {
        return;
    }
    let scratch = Scratch::new();
    let (manifest, config) = docker_image(&["a", "b"]);
    let writer = Layout::write(scratch.dir()).unwrap();
    for bytes in [&b"a"[..], b"b", &config] {
        writer.put_bytes(MediaType::Empty, bytes).unwrap();
    }
    let descriptor = writer.put_bytes(MediaType::DockerManifest, &manifest).unwrap();
    writer.commit(Some("t"), &descriptor).unwrap();
    let registry = Registry::start();
    // skopeo's directory format takes Docker's manifests as they are.
    let dir = Scratch::new();
    fs::write(dir.path("manifest.json"), &manifest).unwrap();
    fs::write(dir.path("version"), "Directory Transport Version: 1.1\n").unwrap();
    for bytes in [&b"a"[..], b"b", &config] {
        fs::write(dir.path(&Digest::of(bytes).hex()), bytes).unwrap();
    }
    let to = registry.reference("x:t").to_string();
    skopeo(&["copy", "--preserve-digests", "--dest-tls-verify=false", &format!("dir:{}", dir.0.path().display()), &to]);
    let target = Scratch::new();
    let copied = copy(&registry.reference("x:t"), &target, &options()).unwrap();
    assert_eq!((copied.image.digest, copied.image.media_type), (descriptor.digest, MediaType::DockerManifest));
    assert!(sound(&target));
}

#[test]
fn a_base_in_a_registry_is_fetched_as_it_is_read() {
    if lacks(&["skopeo", "docker-registry"]) {
        return;
    }
    let scratch = Scratch::with(&[("t", &["first", "second"])]);
    let registry = Registry::start();
    push(&scratch, "t", &registry, "base:t");
    let cache = Scratch::new();
    let fetch = || Fetch { cache: Layout::write(cache.dir()).unwrap(), client: None, skopeo: options().skopeo };
    let reference = registry.reference("base:t");
    let base = BaseImage::fetch(&reference, Some(&amd64()), &Ambient, fetch()).unwrap();
    let digest = image(&["first", "second"]).digest();
    assert_eq!(base.image.digest(), digest);
    let layer = |position: usize| base.image.manifest().layers[position].clone();
    assert!(!cache.blob(&layer(0).digest).exists(), "nothing is fetched before it is needed");
    assert_eq!(base.blobs.open(&layer(0)).unwrap().read_whole().unwrap(), b"first");
    assert!(cache.blob(&layer(0).digest).exists() && !cache.blob(&layer(1).digest).exists());
    // The tag moves; who pinned it gets what it was, or nothing.
    let pinned = base.pin(&reference);
    push(&Scratch::with(&[("t", &["other"])]), "t", &registry, "base:t");
    assert_ne!(BaseImage::fetch(&reference, None, &Ambient, fetch()).unwrap().image.digest(), digest);
    let again = BaseImage::fetch(&pinned.to_string().parse().unwrap(), None, &Ambient, fetch()).unwrap();
    assert_eq!(again.image.digest(), digest);
    let gone = registry.reference(&format!("base@{}", Digest::of(b"nothing")));
    assert!(BaseImage::fetch(&gone, None, &Ambient, fetch()).is_err());
}

#[test]
fn a_registry_that_gives_other_bytes_is_refused() {
    if lacks(&["skopeo", "docker-registry"]) {
        return;
    }
    let scratch = Scratch::with(&[("t", &["content", "more"])]);
    let registry = Registry::start();
    push(&scratch, "t", &registry, "x:t");
    let digest = Digest::of(b"content");
    let blob = registry.files.path("data/docker/registry/v2/blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    for (bytes, threads) in [("CONTENT", 1), ("content, and some more", 2), ("cont", 3)] {
        fs::write(blob.join("data"), bytes).unwrap();
        let target = Scratch::new();
        let options = MirrorOptions { threads: NonZero::new(threads).unwrap(), ..options() };
        let error = copy(&registry.reference("x:t"), &target, &options).unwrap_err();
        let expected =
            matches!(&error, StoreError::Blob(Mismatch::Digest { .. } | Mismatch::Size { .. }) | StoreError::Proxy(_));
        assert!(expected, "{error:?}");
        assert!(!target.path("index.json").exists() && !target.blob(&digest).exists());
        let left: Vec<_> =
            fs::read_dir(target.path(".assemble")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "only locks are left: {left:?}");
    }
}

#[test]
fn images_of_containers_storage_come_uncompressed() {
    if lacks(&["skopeo"]) {
        return;
    }
    let (scratch, _) = two_platforms();
    let storage = Scratch::new();
    let store = format!("[vfs@{}+{}]", storage.path("root").display(), storage.path("run").display());
    let from = format!("oci:{}:t", scratch.0.path().display());
    let to = format!("containers-storage:{store}localhost/x:t");
    // An image of real tars, because storage unpacks them.
    let tar = {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        builder.append_data(&mut header, "file", &b"hello"[..]).unwrap();
        builder.into_inner().unwrap()
    };
    let writer = Layout::write(scratch.dir()).unwrap();
    let zipped = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    };
    let descriptor = writer.put_bytes(MediaType::layer(Encoding::Gzip), &zipped).unwrap();
    let layer = Layer {
        descriptor,
        diff_id: Digest::of(&tar),
        uncompressed_size: None,
        history: crate::image::History::of("x"),
    };
    let original = Image::scratch(amd64()).with_label("a", "b").append(layer).unwrap();
    let descriptor = writer.put_image(&original).unwrap();
    writer.commit(Some("t"), &descriptor).unwrap();
    skopeo(&["copy", &from, &to]);
    let target = Scratch::new();
    let reference: ImageReference = to.parse().unwrap();
    let copied = copy(&reference, &target, &options()).unwrap();
    let found = resolve(&open(&target), &copied.image, Some(&amd64())).unwrap().image;
    assert_eq!(found.config_bytes(), original.config_bytes());
    assert_eq!(found.manifest().layers, [Descriptor::of(MediaType::layer(Encoding::Plain), &tar)]);
    assert!(sound(&target));
    assert_eq!(copy(&reference, &target, &options()).unwrap().image, copied.image, "the same again");
    let gone: ImageReference = format!("containers-storage:{store}localhost/gone:t").parse().unwrap();
    assert!(matches!(copy(&gone, &target, &options()), Err(StoreError::Proxy(ProxyError::Refused { .. }))));
}

#[test]
fn a_program_that_is_missing_or_talks_too_much_is_an_error() {
    let scratch = Scratch::new();
    let with = |program: &str| {
        let skopeo = SkopeoOptions { program: program.into(), ..SkopeoOptions::default() };
        copy(&"docker://localhost/x:t".parse().unwrap(), &scratch, &MirrorOptions { skopeo, ..options() }).unwrap_err()
    };
    match with("/nonexistent/skopeo") {
        StoreError::Proxy(ProxyError::Start { program, .. }) => {
            assert_eq!(program.display().to_string(), "/nonexistent/skopeo");
        }
        other => panic!("{other:?}"),
    }
    // Not written by this process: what it has open for writing, a process that another test starts has too, for a moment
    // in which nobody can run it.
    let program = |name: &str, text: &str| {
        let (source, path) = (scratch.path("text"), scratch.path(name));
        fs::write(&source, text).unwrap();
        assert!(std::process::Command::new("install").args([&source, &path]).status().unwrap().success());
        path
    };
    let endless = program("endless", "#!/bin/sh\nexec cat /dev/zero\n");
    assert!(matches!(with(endless.to_str().unwrap()), StoreError::Proxy(ProxyError::TooLarge { .. })));
    let html = program("html", "#!/bin/sh\necho '<html>sign in first</html>'\n");
    assert!(matches!(with(html.to_str().unwrap()), StoreError::Document(_)));
}
