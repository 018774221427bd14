//! Names of images.

use proptest::prelude::*;

use crate::image::*;

fn parse(text: &str) -> Result<ImageReference, ReferenceFault> {
    text.parse().map_err(|error: ReferenceError| error.fault)
}

#[test]
fn ports_tags_and_digests_are_told_apart() {
    let digest = Digest::of(b"");
    let registry = |host: &str, repository: &str, tag: Option<&str>, digest: Option<Digest>| RegistryReference {
        host: host.into(),
        repository: repository.into(),
        tag: tag.map(str::to_owned),
        digest,
    };
    let layout = |path: &str, tag: Option<&str>| LayoutReference {
        path: path.into(),
        tag: tag.map(str::to_owned),
        digest: None,
    };
    let stored = |store: Option<&str>, image| {
        ImageReference::ContainersStorage(StorageReference { store: store.map(str::to_owned), image })
    };
    let table = [
        ("docker://host:5000/name".to_owned(), ImageReference::Registry(registry("host:5000", "name", None, None))),
        ("docker://h.x/a/b__c:v1".into(), ImageReference::Registry(registry("h.x", "a/b__c", Some("v1"), None))),
        ("docker://[::1]:5000/n:t".into(), ImageReference::Registry(registry("[::1]:5000", "n", Some("t"), None))),
        (
            format!("docker://localhost/n:t@{digest}"),
            ImageReference::Registry(registry("localhost", "n", Some("t"), Some(digest))),
        ),
        ("oci:out/base:latest".into(), ImageReference::OciDir(layout("out/base", Some("latest")))),
        ("oci:/a b/c".into(), ImageReference::OciDir(layout("/a b/c", None))),
        ("oci:d:quay.io/x/y:v1".into(), ImageReference::OciDir(layout("d", Some("quay.io/x/y:v1")))),
        ("oci-archive:x.tar:t".into(), ImageReference::OciArchive(layout("x.tar", Some("t")))),
        (
            "containers-storage:localhost/x:t".into(),
            stored(None, StorageImage::Name(registry("localhost", "x", Some("t"), None))),
        ),
        (
            "containers-storage:[vfs@/a/root+/a/run]localhost/x".into(),
            stored(Some("vfs@/a/root+/a/run"), StorageImage::Name(registry("localhost", "x", None, None))),
        ),
        (format!("containers-storage:{}", digest.hex()), stored(None, StorageImage::Id(digest.hex()))),
    ];
    for (text, reference) in table {
        assert_eq!(parse(&text).as_ref(), Ok(&reference), "{text}");
        assert_eq!(reference.to_string(), text);
    }
}

#[test]
fn refuses_what_would_have_to_be_guessed() {
    for (text, fault) in [
        ("quay.io/x/y", ReferenceFault::Transport),
        ("docker:quay.io/x", ReferenceFault::Transport),
        ("docker://fedora:43", ReferenceFault::Host),
        ("docker://library/fedora", ReferenceFault::Host),
        ("docker://-x.y/z", ReferenceFault::Host),
        ("docker://host:0/z", ReferenceFault::Host),
        ("docker://host:65536/z", ReferenceFault::Host),
        ("docker://host:+1/z", ReferenceFault::Host),
        ("docker://[::g]/z", ReferenceFault::Host),
        ("docker://user:pw@h.x/z", ReferenceFault::Digest),
        ("docker://h.x/", ReferenceFault::Repository),
        ("docker://h.x/A", ReferenceFault::Repository),
        ("docker://h.x/a//b", ReferenceFault::Repository),
        ("docker://h.x/../b", ReferenceFault::Repository),
        ("docker://h.x/a___b", ReferenceFault::Repository),
        ("docker://h.x/a:", ReferenceFault::Tag),
        ("docker://h.x/a:.b", ReferenceFault::Tag),
        ("docker://h.x/a:b:c", ReferenceFault::Tag),
        ("docker://h.x/a@sha256:00", ReferenceFault::Digest),
        ("oci:", ReferenceFault::Path),
        ("oci::tag", ReferenceFault::Path),
        ("oci:dir:", ReferenceFault::Tag),
        ("oci:dir:a b", ReferenceFault::Tag),
        ("oci:dir:../x", ReferenceFault::Tag),
        ("containers-storage:[vfs@/a", ReferenceFault::Digest),
        ("containers-storage:[vfs", ReferenceFault::Store),
        ("containers-storage:x", ReferenceFault::Host),
    ] {
        assert_eq!(parse(text), Err(fault), "{text}");
    }
    let long = format!("docker://h.x/a:{}", "t".repeat(129));
    assert_eq!(parse(&long), Err(ReferenceFault::Tag));
}

#[test]
fn pinned_references_need_a_digest() {
    let digest = Digest::of(b"x");
    for text in ["docker://h.x/a:b", "oci:d:t", "oci-archive:f", "containers-storage:[vfs@/a+/b]localhost/c"] {
        assert_eq!(text.parse::<PinnedReference>().unwrap_err().fault, ReferenceFault::Digest, "{text}");
        let pinned = PinnedReference::new(text.parse().unwrap(), digest);
        assert_eq!(pinned.to_string(), format!("{text}@{digest}"));
        assert_eq!(pinned.to_string().parse(), Ok(pinned));
    }
    let other: ImageReference = format!("oci:d@{}", Digest::of(b"old")).parse().unwrap();
    assert_eq!(PinnedReference::new(other, digest).to_string(), format!("oci:d@{digest}"));
}

proptest! {
    #[test]
    fn what_parses_is_shown_as_it_was(text in "(oci:|oci-archive:|docker://|containers-storage:)[a-c.:/@\\[\\]_-]{0,12}") {
        if let Ok(reference) = text.parse::<ImageReference>() {
            prop_assert_eq!(reference.to_string(), text);
        }
    }
}
