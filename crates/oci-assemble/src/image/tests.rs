#![allow(clippy::unwrap_used)]
//! The algebra of images, and what is refused of its documents.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::testing::image::{
    amd64, arbitrary_config, arbitrary_descriptor, arbitrary_manifest, arbitrary_platform, docker_image, image, layer,
};

mod documents;
mod references;

/// One change of an image.
#[derive(Clone, Debug)]
enum Change {
    Layer(u8),
    Label(u8),
    Annotation(u8),
    Created(u8),
    Exec(u8),
}

impl Change {
    fn apply(&self, image: Image) -> Image {
        match self {
            Self::Layer(number) => {
                let added = layer(&format!("added {number}"));
                let present = image.clone();
                image.append(added).unwrap_or(present)
            }
            Self::Label(number) => image.with_label(format!("label{}", number % 3), format!("own {number}")),
            Self::Annotation(number) => image.with_annotation(format!("note{}", number % 3), format!("own {number}")),
            Self::Created(number) => image.with_created(Epoch::new(i64::from(*number)).unwrap()),
            Self::Exec(number) => image.with_exec("Cmd", Value::from(vec![number.to_string()])),
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        3 => any::<u8>().prop_map(Change::Layer),
        1 => any::<u8>().prop_map(Change::Label),
        1 => any::<u8>().prop_map(Change::Annotation),
        1 => any::<u8>().prop_map(Change::Created),
        1 => any::<u8>().prop_map(Change::Exec),
    ];
    prop::collection::vec(change, 0..8)
}

/// A base as somebody else wrote it: some with labels, some Docker's, some with too little history.
fn bases() -> impl Strategy<Value = Image> {
    (prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..4), any::<bool>(), 0..3_u8).prop_map(
        |(layers, docker, tint)| {
            if docker {
                let (manifest, config) = docker_image(&layers);
                return Image::parse(&manifest, &config).unwrap();
            }
            let mut base = image(&layers).with_label("base", tint.to_string());
            if tint == 1 {
                base = base.with_label("label0", "from the base").with_annotation("note1", "from the base");
            }
            base
        },
    )
}

fn apply(base: &Image, changes: &[Change]) -> Image {
    changes.iter().fold(base.clone(), |image, change| change.apply(image))
}

proptest! {
    #[test]
    fn documents_are_read_back(manifest in arbitrary_manifest(), config in arbitrary_config()) {
        prop_assert_eq!(Manifest::parse(&manifest.to_bytes(), None).unwrap(), manifest.clone());
        prop_assert_eq!(Config::parse(&config.to_bytes()).unwrap(), config);
        let index = Index { manifests: manifest.layers, annotations: manifest.annotations, ..Index::default() };
        prop_assert_eq!(Index::parse(&index.to_bytes(), None).unwrap(), index);
    }

    #[test]
    fn descriptors_survive_oci_spec(descriptor in arbitrary_descriptor(), platform in arbitrary_platform()) {
        let plain = Descriptor { rest: [].into(), platform: Some(Platform { rest: [].into(), ..platform }), ..descriptor };
        let theirs = oci_spec::image::Descriptor::try_from(&plain).unwrap();
        prop_assert_eq!(Descriptor::try_from(&theirs).unwrap(), plain);
    }

    #[test]
    fn images_are_read_back(base in bases(), changes in changes()) {
        let changed = apply(&base, &changes);
        let again = Image::parse(changed.manifest_bytes(), changed.config_bytes()).unwrap();
        prop_assert_eq!(&again, &changed);
        prop_assert_eq!((again.manifest(), again.config()), (changed.manifest(), changed.config()));
        prop_assert_eq!(changed.digest(), changed.descriptor().digest);
    }

    #[test]
    fn a_sequence_is_appended_one_by_one(base in bases(), split in 0..5_usize) {
        let added: Vec<_> = ["p", "q", "r", "s"].map(layer).into();
        let whole = base.clone().append_all(added.clone()).unwrap();
        let at_once = base.append_all(added[..split.min(4)].to_vec()).unwrap();
        prop_assert_eq!(at_once.append_all(added[split.min(4)..].to_vec()).unwrap(), whole);
    }

    #[test]
    fn order_of_settings_does_not_matter(base in bases(), mut keys in Just(["x", "y", "z", "w"]).prop_shuffle()) {
        let set = |image: Image, key: &&str| image.with_label(*key, *key).with_annotation(*key, *key);
        let shuffled = keys.iter().fold(base.clone(), set);
        keys.sort_unstable();
        prop_assert_eq!(keys.iter().fold(base, set), shuffled);
    }

    #[test]
    fn rebasing_is_making_it_on_the_other_base(old in bases(), new in bases(), changes in changes()) {
        // A value set to what the old base has anyway is no change, and a layer must differ from those of the base:
        // the changes above never make either.
        let rebased = apply(&old, &changes).rebase(&old, &new).unwrap();
        let direct = apply(&new, &changes);
        prop_assert_eq!(rebased.manifest(), direct.manifest());
        prop_assert_eq!(rebased.config(), direct.config());
        prop_assert_eq!(rebased, direct);
    }

    #[test]
    fn setting_it_again_changes_nothing(base in bases(), changes in changes()) {
        let changed = apply(&base, &changes);
        for (name, value) in &changed.config().labels {
            prop_assert_eq!(changed.clone().with_label(name, value), changed.clone());
        }
    }
}

#[test]
fn an_image_that_is_only_read_keeps_its_bytes() {
    let (manifest, config) = docker_image(&["a", "b"]);
    let spaced = [b" ".as_slice(), &manifest].concat();
    let image = Image::parse(&spaced, &config).unwrap();
    assert_eq!((image.manifest_bytes(), image.config_bytes()), (spaced.as_slice(), config.as_slice()));
    let annotated = image.with_annotation("x", "y");
    assert_eq!(annotated.config_bytes(), config, "an annotation does not touch the configuration");
}

#[test]
fn append_keeps_the_base_as_it_is() {
    let (manifest, config) = docker_image(&["a", "b", "c"]);
    let base = Image::parse(&manifest, &config).unwrap();
    let derived = base.clone().append(layer("new")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(derived.config_bytes()),
        format!(
            concat!(
                r#"{{"architecture":"amd64","config":{{"Cmd":["/sbin/init"],"Healthcheck":{{"Test":["NONE"]}}}},"#,
                r#""container_config":{{"Hostname":"x"}},"docker_version":"1","history":[{{"created_by":"first"}},"#,
                r#"{{"created_by":"LABEL x","empty_layer":true}},{{"comment":"not recorded by the base image"}},"#,
                r#"{{"comment":"not recorded by the base image"}},{{"created_by":"add new"}}],"os":"linux","#,
                r#""rootfs":{{"diff_ids":["{}","{}","{}","{}"],"type":"layers"}}}}"#
            ),
            Digest::of(b"a"),
            Digest::of(b"b"),
            Digest::of(b"c"),
            Digest::of(b"new")
        )
    );
    assert_eq!(derived.manifest().media_type, MediaType::ImageManifest);
    assert!(derived.blobs().all(|blob| blob.media_type.as_str().starts_with("application/vnd.oci.image.")));
    let digests = |image: &Image| image.layers().map(|(blob, _)| (blob.digest, blob.size)).collect::<Vec<_>>();
    assert_eq!(digests(&derived)[..3], digests(&base));
}

#[test]
fn refuses_a_layer_twice_and_what_is_no_layer() {
    let base = image(&["a", "b"]);
    let again = base.clone().append(layer("b")).unwrap_err();
    assert_eq!(again, AppendError::Present { digest: Digest::of(b"b"), index: 1 });
    let mut same_tar = layer("a");
    same_tar.descriptor = Descriptor::of(MediaType::layer(Encoding::Gzip), b"packed");
    let error = base.clone().append(same_tar).unwrap_err();
    assert_eq!(error, AppendError::Present { digest: Digest::of(b"packed"), index: 0 });
    let mut config = layer("c");
    config.descriptor.media_type = MediaType::ImageConfig;
    assert!(matches!(base.append(config), Err(AppendError::NotALayer { .. })));
}

#[test]
fn refuses_another_base() {
    let (old, new) = (image(&["a", "b"]), image(&["c"]));
    let other = image(&["a", "x", "y"]);
    assert_eq!(other.rebase(&old, &new), Err(RebaseError::OtherBase { index: 1 }));
    assert_eq!(image(&["a"]).rebase(&old, &new), Err(RebaseError::OtherBase { index: 1 }));
    let present = image(&["a", "b", "c"]).rebase(&old, &new);
    assert_eq!(present, Err(RebaseError::Append(AppendError::Present { digest: Digest::of(b"c"), index: 0 })));
}

#[test]
fn layers_have_the_roles_bootc_gives_them() {
    let base = image(&["commit", "objects", "more"]);
    assert_eq!(base.layer_roles().unwrap(), [LayerRole::Derived; 3]);
    let ostree = base.with_label(ostree::FINAL_DIFFID, Digest::of(b"objects").to_string());
    assert!(ostree.is_ostree_encapsulated());
    assert_eq!(ostree.layer_roles().unwrap(), [LayerRole::Commit, LayerRole::Objects, LayerRole::Derived]);
    let flat = ostree.clone().with_label("containers.bootc", "1").without_layers();
    assert!(!flat.is_ostree_encapsulated() && flat.layers().len() == 0);
    assert_eq!(flat.config().labels.len(), 1);
    for value in ["sha256:no", &Digest::of(b"gone").to_string()] {
        let error = ostree.clone().with_label(ostree::FINAL_DIFFID, value).layer_roles().unwrap_err();
        assert_eq!(error.value, value);
    }
}

#[test]
fn validation_names_each_blob_that_differs() {
    let good = image(&["a", "bb"]);
    let name =
        |descriptor: &Descriptor| if descriptor.digest == Digest::of(b"a") { b"a".to_vec() } else { b"bb".to_vec() };
    let honest = |descriptor: &Descriptor, diff_id: Option<&Digest>| {
        let bytes = if diff_id.is_some() { name(descriptor) } else { good.config_bytes().to_vec() };
        Ok::<_, ()>(Observed { diff_id: diff_id.map(|_| Digest::of(&bytes)), ..Observed::of(descriptor, &bytes) })
    };
    assert_eq!(good.validate(honest), Ok(vec![]));
    let swapped = |descriptor: &Descriptor, diff_id: Option<&Digest>| {
        let honest = honest(descriptor, diff_id)?;
        let a = descriptor.digest == Digest::of(b"a");
        Ok::<_, ()>(if a {
            Observed::of(descriptor, b"cc")
        } else {
            Observed { diff_id: diff_id.map(|_| Digest::of(b"d")), ..honest }
        })
    };
    assert_eq!(
        good.validate(swapped),
        Ok(vec![
            Mismatch::Size { digest: Digest::of(b"a"), expected: 1, found: 2 },
            Mismatch::Digest { expected: Box::new(Digest::of(b"a")), found: Box::new(Digest::of(b"cc")) },
            Mismatch::DiffId {
                digest: Box::new(Digest::of(b"bb")),
                expected: Box::new(Digest::of(b"bb")),
                found: Box::new(Digest::of(b"d"))
            },
        ])
    );
}

#[test]
fn warns_of_what_some_clients_do_not_like() {
    let names: Vec<String> = (0..128).map(|number| number.to_string()).collect();
    let many = image(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(many.warnings(), [ImageWarning::ManyLayers { found: 128 }]);
    let (manifest, config) = docker_image(&["a", "b", "a"]);
    let docker = Image::parse(&manifest, &config).unwrap();
    let expected =
        [ImageWarning::RepeatedLayer { first: 0, second: 2 }, ImageWarning::History { entries: 1, layers: 3 }];
    assert_eq!(docker.warnings(), expected);
    assert_eq!(Image::scratch(amd64()).warnings(), []);
}
