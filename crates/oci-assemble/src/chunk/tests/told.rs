//! What leaves a layer of additions, and what a delta tells.

use super::*;
use crate::tree::TreeDelta;

#[test]
fn what_is_generated_leaves_the_layer_of_the_packages() {
    let base = debian();
    let mut delta = TreeDelta::new();
    for at in [
        "usr/bin/new",
        "var/lib/dpkg/status",
        "etc/ld.so.cache",
        "usr/lib/modules/6.1/initramfs.img",
        "etc/new",
        "usr/lib/modules/6.2/vmlinuz",
        "usr/lib/modules/6.2/kernel/fs/new.ko",
        "usr/lib/modules/6.2/extra/own.ko",
    ] {
        delta.insert(path(at), Inode::file(Meta::root_owned(0o644, 1), Content::of(at)));
    }
    delta.insert(path("usr/share/empty"), Inode::directory(Meta::root_owned(0o700, 1)));
    delta.insert(path("usr/bin/link"), Inode { meta: Meta::default(), kind: Kind::Hardlink(path("usr/bin/new")) });
    delta.whiteout(path("usr/local"));
    let draft = crate::layer::LayerDraft::new("packages", &delta, &base, 1).unwrap();
    let whole = base.clone().apply(draft.delta()).unwrap();
    let parts = split(draft, &whole);
    let names: Vec<&str> = parts.iter().map(crate::layer::LayerDraft::name).collect();
    assert_eq!(names, ["packages", "packages: generated", "packages: initramfs", "packages: kernel"]);
    let merged = parts.iter().try_fold(base.clone(), |tree, part| tree.apply(part.delta())).unwrap();
    assert_eq!(merged, whole);
    let files = |part: &crate::layer::LayerDraft| -> Vec<String> {
        let files = part.delta().entries().iter().filter(|(_, inode)| !inode.is_directory());
        files.map(|(path, _)| path.to_string()).collect()
    };
    assert_eq!(files(&parts[0]), ["/etc/new", "/usr/bin/link", "/usr/bin/new", "/usr/lib/modules/6.2/extra/own.ko"]);
    assert_eq!(files(&parts[3]), ["/usr/lib/modules/6.2/kernel/fs/new.ko", "/usr/lib/modules/6.2/vmlinuz"]);
    assert_eq!(files(&parts[1]), ["/etc/ld.so.cache", "/var/lib/dpkg/status"]);
    for part in &parts {
        for path in part.delta().entries().keys() {
            assert!(path.ancestors().all(|above| part.delta().entries().contains_key(&above)), "{path}");
        }
    }
    // Nothing to tell apart: the draft as it is.
    let mut delta = TreeDelta::new();
    delta.insert(path("etc/ld.so.cache"), Inode::file(Meta::default(), Content::of("x")));
    let draft = crate::layer::LayerDraft::new("module-indexes", &delta, &base, 1).unwrap();
    assert_eq!(split(draft.clone(), &whole), [draft]);
}

/// A layer as a delta sees it, with what stands for its tar and its blob.
fn layer(delta: &TreeDelta, tar: &str, blob: &str) -> (crate::image::Descriptor, crate::layer::LayerIndex) {
    let media_type = crate::image::MediaType::layer(crate::image::Encoding::Zstd);
    let index = crate::layer::LayerIndex {
        diff_id: Digest::of(tar.as_bytes()),
        size: 1 << 20,
        delta: delta.clone(),
        offsets: std::collections::BTreeMap::new(),
        violations: crate::layer::Violations::default(),
    };
    (crate::image::Descriptor::of(media_type, blob.as_bytes()), index)
}

#[test]
fn a_delta_tells_reasons_from_what_is_carried_along() {
    let before = debian();
    let mut after = before.clone();
    add_file(&mut after, "usr/lib/libssl.so", 0o644, "new");
    let mut touched = after.at("usr/bin/bash").unwrap().clone();
    touched.meta.mtime = 77;
    after.insert(path("usr/bin/bash"), touched);
    add_file(&mut after, "opt/new", 0o644, "new");
    let sides = [&before, &after].map(|tree| {
        let packages = pkgdb::read(tree, &Memory::default()).unwrap();
        let (tree, _) = settle(tree, &Memory::default()).unwrap();
        let components = Components::new(&tree, &tree, packages.as_ref(), &map());
        let with = |name: &str, blob: &str| {
            let wanted: BTreeSet<&str> = name.split(' ').collect();
            let paths =
                components.paths().filter(|(_, index)| wanted.contains(components.list()[*index].name.as_str()));
            let draft = crate::layer::LayerDraft::part(name, &tree, paths.map(|(path, _)| path), 0).unwrap();
            layer(draft.delta(), &format!("{:?}", draft.delta()), blob)
        };
        let changed = tree.at("opt/new").is_some();
        let blob = |name: &str| format!("{name}{changed}");
        let layers = vec![
            with("openssl linux", &blob("one")),
            with("bash", &blob("two")),
            with("etc", "the same"),
            with("by-tag", &blob("three")),
            with("files:/", &blob("four")),
        ];
        (tree.clone(), components.clone(), layers)
    });
    let views =
        sides.each_ref().map(|(_, _, layers)| layers.iter().map(|(blob, index)| (blob, index)).collect::<Vec<_>>());
    let side = |at: usize| ImageSide { layers: &views[at], tree: &sides[at].0, components: &sides[at].1 };
    let none = delta(side(0), side(0));
    assert_eq!((none.download, none.components.len()), (0, 0));
    let found = delta(side(0), side(1));
    let told: Vec<(LayerState, Vec<(&str, Change)>)> = found
        .layers
        .iter()
        .map(|layer| (layer.state, layer.components.iter().map(|of| (of.name.as_str(), of.change)).collect()))
        .collect();
    assert_eq!(
        told,
        [
            (LayerState::New, vec![("openssl", Change::Content), ("linux", Change::Carried)]),
            (LayerState::New, vec![("bash", Change::Times)]),
            (LayerState::Shared, vec![]),
            (LayerState::Recompressed, vec![]),
            (LayerState::New, vec![("files:/", Change::Content)]),
        ]
    );
    assert_eq!(found.layers[1].note.as_deref(), Some("only times differ"));
    assert!(found.download_by_diff_id < found.download && found.download < found.total);
    assert!(found.components.values().map(|sum| sum.bytes).sum::<u64>() <= found.download);
    let text = found.render(|bytes| bytes.to_string());
    assert!(text.contains("openssl: 1 paths: /usr/lib/libssl.so\n") && text.contains("linux\n"), "{text}");
    assert!(
        text.ends_with(&format!("1 of 5 layers shared; download {} of {}\n", found.download, found.total)),
        "{text}"
    );
}

/// An image of `tree` cut by `map`, as a delta sees it.
fn cut(
    tree: &FileTree,
    map: &ComponentMap,
) -> (FileTree, Recorded, Vec<(crate::image::Descriptor, crate::layer::LayerIndex)>) {
    let packages = pkgdb::read(tree, &Memory::default()).unwrap();
    let plain = neutral(tree, packages.as_ref());
    let components = Components::new(&plain, tree, packages.as_ref(), map);
    let chunking = Chunking::new(&components, options(3));
    let drafts = draft(&chunking, &components, &plain, 0).unwrap();
    let layers = drafts.iter().map(|draft| {
        let bytes = format!("{:?}", draft.delta());
        layer(draft.delta(), &bytes, &bytes)
    });
    let layers = layers.collect();
    (plain, chunking.recorded(), layers)
}

/// The delta between two trees, whose images are known only by what they say of themselves.
fn told(before: &FileTree, after: &FileTree, map: &ComponentMap) -> Delta {
    let sides = [before, after].map(|tree| {
        let (tree, recorded, layers) = cut(tree, map);
        let packages = pkgdb::read(&tree, &Memory::default()).unwrap();
        let components = Components::new(&tree, &tree, packages.as_ref(), &ComponentMap::default());
        let indexes: Vec<_> = layers.iter().map(|(_, index)| index).collect();
        (components.as_recorded(&tree, &recorded, &indexes), tree, layers)
    });
    let layers =
        sides.each_ref().map(|(.., layers)| layers.iter().map(|(blob, index)| (blob, index)).collect::<Vec<_>>());
    let side = |at: usize| ImageSide { layers: &layers[at], tree: &sides[at].1, components: &sides[at].0 };
    delta(side(0), side(1))
}

#[test]
fn a_delta_names_the_components_that_the_image_was_cut_by() {
    let mut before = debian();
    add_file(&mut before, "opt/agent", 0o644, "old");
    let mut after = before.clone();
    add_file(&mut after, "opt/agent", 0o644, "new");
    let found = told(&before, &after, &map());
    let reasons: Vec<&str> = (found.layers.iter().flat_map(|layer| &layer.components))
        .filter(|component| component.change != Change::Carried)
        .map(|component| component.name.as_str())
        .collect();
    // Two of its names are of no rule here: one by the map, one by a tag that is gone.
    assert_eq!(reasons, ["by-tag or mine"]);
}

#[test]
fn a_delta_tells_of_what_is_gone_and_of_directories() {
    let before = debian();
    let mut after = before.clone();
    after.remove(&path("usr/lib/large"));
    let found = told(&before, &after, &ComponentMap::default());
    let reasons: Vec<(&str, Change)> = (found.layers.iter().flat_map(|layer| &layer.components))
        .filter(|component| component.change != Change::Carried)
        .map(|component| (component.name.as_str(), component.change))
        .collect();
    assert_eq!(reasons, [("file:/usr/lib/large", Change::Removed)], "{found:?}");
    let mut after = before.clone();
    let mut inode = after.at("etc").unwrap().clone();
    inode.meta.mode = 0o700;
    after.insert(path("etc"), inode);
    let found = told(&before, &after, &ComponentMap::default());
    let notes: Vec<&str> = found.layers.iter().filter_map(|layer| layer.note.as_deref()).collect();
    assert_eq!(notes, ["no component changed: directories differ: /etc"], "{found:?}");
}

/// The delta between two images of these layers, each with a word that stands for how its bytes are written.
fn appended(before: &[(&TreeDelta, &str)], after: &[(&TreeDelta, &str)]) -> Delta {
    let sides = [before, after].map(|layers| {
        let tree = layers.iter().fold(FileTree::new(), |tree, (delta, _)| tree.apply(delta).unwrap());
        let components = Components::new(&tree, &tree, None, &ComponentMap::default());
        let layers = layers.iter().map(|(delta, word)| {
            let tar = format!("{delta:?}{}", word.trim_end_matches("packed"));
            layer(delta, &tar, &format!("{tar}{word}"))
        });
        let layers: Vec<_> = layers.collect();
        (tree, components, layers)
    });
    let views =
        sides.each_ref().map(|(.., layers)| layers.iter().map(|(blob, index)| (blob, index)).collect::<Vec<_>>());
    let side = |at: usize| ImageSide { layers: &views[at], tree: &sides[at].0, components: &sides[at].1 };
    delta(side(0), side(1))
}

#[test]
fn a_delta_tells_what_is_taken_away() {
    let base = TreeDelta::from(&debian());
    let with = |whiteouts: &[&str], opaques: &[&str]| {
        let mut delta = TreeDelta::new();
        delta.insert(path("etc/motd"), Inode::file(Meta::root_owned(0o644, 1), Content::of("x")));
        for at in whiteouts {
            delta.whiteout(path(at));
        }
        for at in opaques {
            delta.opaque(path(at));
        }
        delta
    };
    let told = |before: &TreeDelta, after: &TreeDelta| {
        let found = appended(&[(&base, ""), (before, "")], &[(&base, ""), (after, "")]);
        (found.layers[1].clone(), found.render(|bytes| bytes.to_string()))
    };
    let marked = |paths: usize, examples: &[&str]| {
        Some(MarkedPaths { paths, examples: examples.iter().map(ToString::to_string).collect() })
    };
    let (plain, local) = (with(&[], &[]), with(&["usr/local"], &[]));
    let (layer, text) = told(&plain, &local);
    assert_eq!((&layer.removes, &layer.restores, &layer.note), (&marked(1, &["/usr/local"]), &None, &None));
    assert!(text.contains("\n           removes               1 paths: /usr/local\n"), "{text}");
    assert!(layer.components.iter().all(|component| component.change == Change::Carried), "{layer:?}");
    let value = serde_json::to_value(&layer).unwrap();
    assert_eq!(value["removes"], serde_json::json!({"paths": 1, "examples": ["/usr/local"]}));
    assert_eq!((value.get("restores"), value.get("note")), (None, None));
    // The other way round, what comes back is in a layer that the client has.
    let (layer, text) = told(&local, &plain);
    assert_eq!((&layer.removes, &layer.restores, &layer.note), (&None, &marked(1, &["/usr/local"]), &None));
    assert!(text.contains("\n           restores              1 paths: /usr/local\n"), "{text}");
    // All that is in a directory; what is below it was taken away before, and is no reason.
    let (layer, _) = told(&with(&["usr/lib/large"], &[]), &with(&[], &["usr/lib", "usr/local"]));
    assert_eq!((&layer.removes, &layer.restores), (&marked(2, &["/usr/lib/*", "/usr/local/*"]), &None));
    let (layer, text) = told(&plain, &with(&["usr/lib/a", "usr/lib/b", "usr/lib/c", "usr/lib/d"], &[]));
    assert_eq!(layer.removes, marked(4, &["/usr/lib/a", "/usr/lib/b", "/usr/lib/c"]));
    assert!(text.contains("4 paths: /usr/lib/a /usr/lib/b /usr/lib/c …\n"), "{text}");
}

#[test]
fn a_delta_tells_when_only_the_bytes_of_a_layer_are_others() {
    let mut layer = TreeDelta::new();
    layer.whiteout(path("usr/local"));
    let base = TreeDelta::from(&debian());
    let note = |word: &str| {
        let mut found = appended(&[(&base, ""), (&layer, "")], &[(&base, ""), (&layer, word)]);
        let LayerDelta { state, note, .. } = found.layers.remove(1);
        (state, note.unwrap())
    };
    let (state, told) = note("packed");
    assert_eq!((state, told.as_str()), (LayerState::Recompressed, "the same tar in another compression"));
    let (state, told) = note("another date of the whiteout");
    assert_eq!((state, told.as_str()), (LayerState::New, "nothing changed: the tar says the same in other bytes"));
}
