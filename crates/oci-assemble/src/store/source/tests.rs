#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use crate::image::{Index, MediaType};
use crate::store::scratch::{Scratch, open as layout};
use crate::store::{Layout, write_archive};
use crate::testing::image::{amd64, image};

use super::*;

fn open(scratch: &Scratch, reference: &str, platform: Option<&str>) -> Result<BaseImage> {
    let platform = platform.map(|text| text.parse().unwrap());
    BaseImage::open(&reference.parse().unwrap(), platform.as_ref(), &scratch.dir())
}

#[test]
fn layouts_and_archives_are_opened_by_tag_and_digest() {
    let scratch = Scratch::new();
    scratch.dir().create_dir("in").unwrap();
    let inner = || scratch.dir().open_dir("in").unwrap();
    for tag in ["one", "two"] {
        let writer = Layout::write(inner()).unwrap();
        let descriptor = crate::store::scratch::fill(&writer, &[tag]).unwrap();
        writer.commit(Some(tag), &descriptor).unwrap();
    }
    let source = Layout::open(inner()).unwrap();
    let two = source.find(Some("two"), None).unwrap();
    write_archive(&inner(), "x.tar", &source, &[(Some("two"), &two)]).unwrap();
    let digest = image(&["two"]).digest();
    for reference in [
        "oci:in:two".to_owned(),
        format!("oci:in@{digest}"),
        "oci-archive:in/x.tar".into(),
        "oci-archive:in/x.tar:two".into(),
    ] {
        let base = open(&scratch, &reference, Some("linux/amd64")).unwrap();
        assert_eq!(base.image, image(&["two"]), "{reference}");
        let pinned = base.pin(&reference.parse().unwrap());
        assert_eq!(pinned.digest(), digest);
        assert_eq!(open(&scratch, &pinned.to_string(), None).unwrap().image, base.image);
        let layer = base.image.manifest().layers[0].clone();
        assert_eq!(base.blobs.open(&layer).unwrap().read_whole().unwrap(), b"two");
    }
    let refused = |reference: &str, platform| open(&scratch, reference, platform).unwrap_err().to_string();
    assert!(refused("oci:in", None).starts_with("the layout has 2 images"));
    assert!(refused("oci:in:three", None).starts_with("no image three in the layout"));
    assert!(refused(&format!("oci:in:one@{digest}"), None).starts_with("no image one@sha256:"));
    assert_eq!(refused("oci:in:one", Some("linux/arm64")), "the image is for linux/amd64, not for linux/arm64");
    assert_eq!(refused("oci:gone", None), "cannot open gone");
    assert_eq!(refused("oci:../in", None), "cannot open ../in");
    assert_eq!(refused("docker://localhost/x:t", None), "docker://localhost/x:t has to be fetched first");
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let scratch = Scratch::new();
    let writer = Layout::write(scratch.dir()).unwrap();
    let mut entry = crate::store::scratch::fill(&writer, &["a"]).unwrap();
    entry.platform = Some(amd64());
    let arm = Image::scratch("linux/arm64".parse().unwrap());
    let list = Index { manifests: vec![entry.clone(), writer.put_image(&arm).unwrap()], ..Index::default() };
    let top = writer.put_bytes(MediaType::ImageIndex, &list.to_bytes()).unwrap();
    writer.commit(Some("t"), &top).unwrap();
    let base = open(&scratch, "oci:.:t", Some("linux/amd64")).unwrap();
    assert_eq!((base.manifest, base.image), (entry, image(&["a"])));
    assert_eq!(layout(&scratch).find(None, None).unwrap(), base.top);
    assert!(open(&scratch, "oci:.:t", None).is_err(), "which of the two is meant has to be said");
}

#[test]
fn what_is_pinned_is_opened_whatever_tags_name() {
    let scratch = Scratch::new();
    let writer = Layout::write(scratch.dir()).unwrap();
    let mut entry = crate::store::scratch::fill(&writer, &["a"]).unwrap();
    entry.platform = Some(amd64());
    let list = Index { manifests: vec![entry.clone()], ..Index::default() };
    let top = writer.put_bytes(MediaType::ImageIndex, &list.to_bytes()).unwrap();
    writer.commit(Some("t"), &top).unwrap();
    write_archive(&scratch.dir(), "x.tar", &layout(&scratch), &[(Some("t"), &top)]).unwrap();
    let pinned = |reference: &str, digest| PinnedReference::new(reference.parse().unwrap(), digest);
    let open = |pinned: &PinnedReference| BaseImage::open_pinned(pinned, Some(&amd64()), &scratch.dir());
    let moved = Layout::write(scratch.dir()).unwrap();
    let other = crate::store::scratch::fill(&moved, &["b"]).unwrap();
    moved.commit(Some("t"), &other).unwrap();
    for reference in ["oci:.:t", "oci:.", "oci-archive:x.tar:t", "oci:.:gone"] {
        for digest in [entry.digest, top.digest] {
            let base = open(&pinned(reference, digest)).unwrap();
            assert_eq!((base.image, base.manifest.digest), (image(&["a"]), entry.digest), "{reference}");
        }
    }
    let text = |result: Result<BaseImage>| result.unwrap_err().to_string();
    let nothing = crate::image::Digest::of(b"nothing");
    assert!(text(open(&pinned("oci:.:t", nothing))).starts_with("no image sha256:"));
    let layer = other.digest;
    std::fs::write(scratch.blob(&layer), "{}").unwrap();
    assert!(open(&pinned("oci:.:t", layer)).is_err(), "other bytes than the digest says");
}
