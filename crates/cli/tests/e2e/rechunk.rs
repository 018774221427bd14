//! Images cut anew by `rechunk`.

use std::fs;
use std::io::{Read, Write};
use std::num::NonZero;

use oci_assemble::image::{Digest, Encoding, Image};
use oci_assemble::layer::{Compression, LayerDraft, SealOptions, decode, seal};
use oci_assemble::testing::memory::Memory;
use oci_assemble::tree::{Content, FileTree, Inode, Meta, TreeDelta, TreePath};
use serde_json::Value;

use crate::files::{blobs, leftovers, states};
use crate::scene::{HEAD, Scene};

/// The tree of an image, without times, which rechunking may change.
pub(crate) fn tree(scene: &Scene, image: &str) -> FileTree {
    let run = scene.run(&["inspect", "--tree", image]);
    assert_eq!(run.code, 0, "{run:?}");
    let mut tree = FileTree::new();
    for (path, inode) in FileTree::parse(&run.stdout).unwrap().iter() {
        let meta = Meta { mtime: 0, ..inode.meta.clone() };
        tree.insert(path.clone(), Inode { meta, kind: inode.kind.clone() });
    }
    tree
}

fn rechunk(scene: &Scene, more: &[&str]) -> Digest {
    let mut words = vec!["rechunk", "oci:base:latest", "oci:cut:latest", "--max-layers", "6"];
    words.extend(more);
    scene.run(&words).digest()
}

pub(crate) fn layers(image: &Image) -> Vec<Digest> {
    image.layers().map(|(descriptor, _)| descriptor.digest).collect()
}

#[test]
fn rechunking_keeps_the_tree_and_the_configuration() {
    let scene = Scene::new();
    let digest = rechunk(&scene, &[]);
    let (base, cut) = (scene.image("base"), scene.image("cut"));
    assert_eq!(cut.digest(), digest);
    assert_eq!(tree(&scene, "oci:cut"), tree(&scene, "oci:base"));
    assert!(cut.layers().len() > 2 && cut.layers().len() <= 6, "{}", cut.layers().len());
    assert_eq!(cut.config().layer_history().count(), cut.layers().len());
    for (key, value) in &base.config().labels {
        assert_eq!(cut.config().labels.get(key), Some(value));
    }
    assert_eq!(cut.config().created, base.config().created);
    let lint = scene.run(&["lint", "oci:cut"]);
    assert_eq!(lint.code, 0, "{lint:?}");
    assert_eq!(leftovers(&scene.path("cut")), [""; 0]);
}

#[test]
fn threads_and_memory_change_nothing() {
    let scene = Scene::new();
    let plenty = rechunk(&scene, &[]);
    for more in [&["--memory", "192M"][..], &["--memory", "1G", "--jobs", "5"], &["--jobs", "1"]] {
        fs::remove_dir_all(scene.path("cut")).unwrap();
        assert_eq!(rechunk(&scene, more), plenty, "{more:?}");
        // Also where the layers of the base are known by their indexes already, and where they are not.
        fs::remove_dir_all(scene.path("cut")).unwrap();
        fs::remove_dir_all(scene.path("cache")).unwrap();
        assert_eq!(rechunk(&scene, more), plenty, "{more:?}");
    }
}

#[test]
fn what_did_not_change_keeps_its_layer_and_its_blob() {
    let scene = Scene::new();
    let first = rechunk(&scene, &[]);
    let before = (states(&scene.path("cut/blobs")), layers(&scene.image("cut")));
    assert_eq!(rechunk(&scene, &[]), first, "nothing changed, so it is the same image");
    assert_eq!(states(&scene.path("cut/blobs")), before.0, "no blob is written again");

    scene.recipe("recipe.toml", "[[file]]\npath = \"/usr/share/added\"\ncontent = \"0123456789\"\n");
    scene.build("recipe.toml", "more");
    let words = ["rechunk", "oci:more:latest", "oci:next:latest", "--max-layers", "6", "--previous", "oci:cut:latest"];
    scene.run(&words).digest();
    let next = layers(&scene.image("next"));
    let new: Vec<_> = next.iter().filter(|digest| !before.1.contains(digest)).collect();
    assert_eq!((new.len(), next.len()), (1, before.1.len()), "one layer for one file");
    assert_eq!(tree(&scene, "oci:next"), tree(&scene, "oci:more"));

    // A record in a file does as well, and without any the plan is another.
    let json = scene.run(&["rechunk", "oci:base:latest", "oci:cut:latest", "--max-layers", "6", "--json"]);
    let (schema, _) = json.json();
    assert_eq!(schema, "assemble.rechunk/1");
    scene.file("record.json", &json.stdout);
    let words = ["rechunk", "oci:more:latest", "oci:again:latest", "--max-layers", "6", "--previous", "record.json"];
    scene.run(&words).digest();
    assert_eq!(layers(&scene.image("again")), next);
}

/// Gives layer `number` of the image in `layout` another blob, of which the configuration knows nothing.
fn swap(scene: &Scene, layout: &str, number: usize, blob: &[u8]) {
    let path = |digest: &Value| {
        let digest = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        scene.path(layout).join("blobs/sha256").join(digest)
    };
    let json = |file: &std::path::Path| -> Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
    let name = |bytes: &[u8]| Value::from(Digest::of(bytes).to_string());
    let mut index = json(&scene.path(layout).join("index.json"));
    let mut manifest = json(&path(&index["manifests"][0]["digest"]));
    (manifest["layers"][number]["digest"], manifest["layers"][number]["size"]) = (name(blob), blob.len().into());
    let manifest = manifest.to_string();
    fs::write(path(&name(blob)), blob).unwrap();
    fs::write(path(&name(manifest.as_bytes())), &manifest).unwrap();
    let entry = &mut index["manifests"][0];
    (entry["digest"], entry["size"]) = (name(manifest.as_bytes()), manifest.len().into());
    fs::write(scene.path(layout).join("index.json"), index.to_string()).unwrap();
}

#[test]
fn blobs_that_are_not_what_is_said_of_them_are_not_kept() {
    let scene = Scene::new();
    let good = rechunk(&scene, &[]);
    let digests = layers(&scene.image("cut"));
    let frame = |bytes: &[u8]| {
        let mut encoder = Compression::Zstd(1).encoder(Vec::new(), std::num::NonZero::<usize>::MIN).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let file = scene.path("cut/blobs/sha256").join(digests[0].hex());
    let mut tar = Vec::new();
    let mut stream = decode(fs::File::open(file).unwrap(), Encoding::Zstd).unwrap();
    stream.read_to_end(&mut tar).unwrap();
    let frames = [frame(&tar[..512]), frame(&tar[512..])].concat();
    for blob in [frame(b"evil"), frames] {
        swap(&scene, "cut", 0, &blob);
        assert_ne!(scene.image("cut").digest(), good);
        let words =
            ["rechunk", "oci:base:latest", "oci:next:latest", "--max-layers", "6", "--previous", "oci:cut:latest"];
        assert_eq!(scene.run(&words).digest(), good);
        assert!(!scene.path("next/blobs/sha256").join(Digest::of(&blob).hex()).exists());
        fs::remove_dir_all(scene.path("next")).unwrap();
    }
}

#[test]
fn the_compression_of_the_image_before_is_kept_unless_another_is_asked_for() {
    let scene = Scene::new();
    let gzip = rechunk(&scene, &["--compression", "gzip"]);
    assert_eq!(rechunk(&scene, &[]), gzip);
    let all = |encoding: Encoding| {
        scene.image("cut").layers().all(|(descriptor, _)| descriptor.media_type.encoding() == Some(encoding))
    };
    assert!(all(Encoding::Gzip));
    let plan = ["rechunk", "oci:base:latest", "oci:cut:latest", "--max-layers", "6", "--dry-run", "--json"];
    assert_eq!(scene.run(&plan).json().1["expected_download"], 0);
    let (_, plan) = scene.run(&[&plan[..], &["--compression", "zstd"]].concat()).json();
    assert!(plan["expected_download"].as_u64().unwrap() > 0, "{plan:#}");
    assert_ne!(rechunk(&scene, &["--compression", "zstd"]), gzip);
    assert!(all(Encoding::Zstd));
}

#[test]
fn an_image_before_that_is_not_there_is_a_fresh_start() {
    let scene = Scene::new();
    let run = scene.run(&["rechunk", "oci:base:latest", "oci:cut:latest", "--previous", "oci:absent:latest"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("oci:absent:latest is not there yet: all layers are new"), "{run:?}");
    // The image being replaced may be one that nobody cut; one that cannot be read is worth a warning.
    let recut = |scene: &Scene| scene.run(&["rechunk", "oci:base:latest", "oci:base:latest", "--max-layers", "6"]);
    let run = recut(&scene);
    assert!(run.code == 0 && run.stderr.contains("oci:base:latest does not say how its layers were cut"), "{run:?}");
    fs::write(scene.path("cut/index.json"), "no index").unwrap();
    let run = scene.run(&["rechunk", "oci:base:latest", "oci:cut:latest", "--dry-run"]);
    assert!(run.stderr.contains("warning: all layers are new, for oci:cut:latest cannot be read"), "{run:?}");
}

/// An image whose files are objects of a repository, and hardlinks to them, is the same tree without the repository.
#[test]
fn an_ostree_base_is_cut_anew() {
    let scene = Scene::new();
    let fixture = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/ostree-base"));
    fs::remove_dir_all(scene.path("base")).unwrap();
    crate::files::copy(fixture, &scene.path("base"));
    let digest = scene.run(&["rechunk", "oci:base", "oci:cut:latest", "--max-layers", "6"]).digest();
    let (base, cut) = (scene.image("base"), scene.image("cut"));
    assert_eq!(cut.digest(), digest);
    for key in ["ostree.commit", "ostree.final-diffid"] {
        assert!(base.config().labels.contains_key(key));
        assert!(!cut.config().labels.contains_key(key) && !cut.manifest().annotations.contains_key(key), "{key}");
    }
    assert_eq!(cut.config().labels.get("containers.bootc"), base.config().labels.get("containers.bootc"));
    assert!(!cut.is_ostree_encapsulated());
    let (mut expected, found) = (tree(&scene, "oci:base"), tree(&scene, "oci:cut"));
    let sysroot = TreePath::new("sysroot").unwrap();
    let objects: Vec<TreePath> = expected.children(&sysroot).map(|(path, _)| path.clone()).collect();
    assert!(!objects.is_empty());
    for path in &objects {
        expected.remove(path);
    }
    assert_eq!(found.dump(), expected.dump());
    assert!(found.iter().any(|(path, inode)| !path.is_below(&sysroot) && inode.content().is_some()));
    // The fixture has a kernel in name only, and nothing else is wrong with it.
    let lint = scene.run(&["lint", "oci:cut", "--skip", "depmod-complete"]);
    assert_eq!(lint.code, 0, "{lint:?}");
}

#[test]
fn a_source_that_cannot_be_read_leaves_no_destination() {
    let scene = Scene::new();
    let digest = layers(&scene.image("base"))[0];
    fs::remove_file(scene.path("base/blobs/sha256").join(digest.hex())).unwrap();
    fs::create_dir(scene.path("old")).unwrap();
    for (output, left) in [("oci:cut:x", None), ("oci:deep/er:x", None), ("oci:old:x", Some("old"))] {
        let run = scene.run(&["rechunk", "oci:base:latest", output]);
        assert_eq!(run.code, 65, "{run:?}");
        assert!(["cut", "deep"].iter().all(|name| !scene.path(name).exists()), "{output}");
        assert!(left.is_none_or(|name| scene.path(name).is_dir()), "what was there before stays");
    }
}

#[test]
fn too_few_layers_for_small_files_are_told() {
    let scene = Scene::new();
    for number in 0..30 {
        scene.file(&format!("tree/{number}"), vec![b'x'; 400_000]);
    }
    scene.recipe(
        "small.toml",
        "[[stage]]\nname = \"s\"\nkind = \"files\"\nsource = \"tree\"\ninto = \"/usr/share/s\"\n",
    );
    scene.build("small.toml", "small");
    for (max, more, told) in [("2", &["--dry-run"][..], true), ("2", &[], true), ("64", &["--dry-run"], false)] {
        let words = ["rechunk", "oci:small:latest", "oci:cut:latest", "--previous", "none", "--max-layers", max];
        let run = scene.run(&[&words[..], more].concat());
        assert_eq!((run.code, run.stderr.contains("moves more than 8 MB before compression")), (0, told), "{run:?}");
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let scene = Scene::new();
    let words = ["rechunk", "oci:base:latest", "oci:cut:latest", "--dry-run"];
    let run = scene.run(&words);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("initramfs") && run.stdout.contains("module-indexes"), "{run:?}");
    assert!(run.stdout.lines().last().unwrap().contains("expected download"), "{run:?}");
    assert!(!scene.path("cut").exists());
    let (schema, value) = scene.run(&[&words[..], &["--json"]].concat()).json();
    assert_eq!(schema, "assemble.rechunk-plan/1");
    assert!(value["layers"].as_array().unwrap().iter().all(|layer| layer["fate"] == "new"));
    rechunk(&scene, &[]);
    let (_, value) = scene.run(&[&words[..], &["--max-layers", "6", "--json"]].concat()).json();
    assert!(value["layers"].as_array().unwrap().iter().all(|layer| layer["fate"] == "kept"), "{value:#}");
    assert_eq!(value["expected_download"], 0);
}

#[test]
fn a_delta_says_what_is_fetched_and_why() {
    let scene = Scene::new();
    rechunk(&scene, &[]);
    let (schema, value) = scene.run(&["delta", "oci:cut", "oci:cut", "--json"]).json();
    assert_eq!((schema.as_str(), &value["download"]), ("assemble.delta/1", &Value::from(0)));
    scene.recipe("recipe.toml", "[[file]]\npath = \"/etc/motd\"\ncontent = \"changed\\n\"\n");
    scene.build("recipe.toml", "more");
    let words = ["rechunk", "oci:more:latest", "oci:next:latest", "--max-layers", "6", "--previous", "oci:cut:latest"];
    scene.run(&words).digest();
    let (_, value) = scene.run(&["delta", "oci:cut", "oci:next", "--json"]).json();
    let fetched: Vec<&Value> =
        value["layers"].as_array().unwrap().iter().filter(|layer| layer["state"] != "shared").collect();
    assert_eq!(fetched.len(), 1, "{value:#}");
    let reason = &fetched[0]["components"][0];
    assert_eq!((&reason["name"], &reason["change"]), (&Value::from("etc"), &Value::from("content")));
    assert_eq!(reason["examples"][0], "/etc/motd");
    let text = scene.run(&["delta", "oci:cut", "oci:next"]);
    assert!(text.stdout.contains("etc: 1 paths: /etc/motd"), "{text:?}");
    assert!(text.stdout.contains("layers shared; download"), "{text:?}");
}

#[test]
fn a_delta_says_what_appended_layers_take_away() {
    let scene = Scene::new();
    let file = "[[file]]\npath = \"/usr/bin/tool\"\ncontent = \"x\"\n";
    scene.recipe("recipe.toml", file);
    scene.build("recipe.toml", "out");
    scene.recipe("recipe.toml", &format!("{file}[[remove]]\npath = \"/usr/share/doc/old\"\n"));
    scene.build("recipe.toml", "less");
    for (words, key) in [(["oci:out", "oci:less"], "removes"), (["oci:less", "oci:out"], "restores")] {
        let words = [&["delta"][..], &words].concat();
        let (_, value) = scene.run(&[&words[..], &["--json"]].concat()).json();
        let layers = value["layers"].as_array().unwrap();
        let fetched: Vec<&Value> = layers.iter().filter(|layer| layer["state"] != "shared").collect();
        let expected = serde_json::json!({"paths": 1, "examples": ["/usr/share/doc/old"]});
        assert!(fetched.len() == 1 && fetched[0][key] == expected, "{value:#}");
        let text = scene.run(&words).stdout;
        let line = text.lines().find(|line| line.trim_start().starts_with(key));
        assert!(line.is_some_and(|line| line.ends_with("1 paths: /usr/share/doc/old")), "{text}");
        assert!(!text.contains("no component changed: other"), "{text}");
    }
}

#[test]
fn tags_of_components_are_read_and_taken_off() {
    let scene = Scene::new();
    let mut inode = Inode::file(Meta::root_owned(0o644, 1), Content::of("x"));
    inode.meta.xattrs.insert(b"user.component".as_slice().into(), b"app\x1b[2J\nforged".as_slice().into());
    let mut delta = TreeDelta::new();
    delta.insert(TreePath::new("app").unwrap(), inode);
    let draft = LayerDraft::new("app", &delta, &FileTree::new(), 1).unwrap();
    let plain = SealOptions { compression: Compression::None, threads: NonZero::<usize>::MIN };
    scene.file("app.tar", seal(&draft, &Memory::default(), Vec::new(), plain).unwrap().1);
    let stage = "[[stage]]\nname = \"app\"\nkind = \"files\"\nsource = \"app.tar\"\ninto = \"/usr/share/app\"\n";
    scene.recipe("append.toml", stage);
    scene.recipe("full.toml", &format!("[layers]\nmode = \"full\"\n{stage}"));
    for name in ["append", "full"] {
        scene.build(&format!("{name}.toml"), name);
        let tree = tree(&scene, &format!("oci:{name}"));
        assert!(tree.at("usr/share/app/app").unwrap().meta.xattrs.is_empty(), "{name}");
    }
    let image = scene.image("full");
    let named = |text: &String| text.contains(r"app\\x1b[2J\\x0aforged");
    assert!(image.layers().any(|(layer, _)| named(&layer.annotations["io.assemble.components"])));
}

#[test]
fn wrong_words_are_named() {
    let scene = Scene::new();
    scene.file("map.toml", "[[component]]\nname = \"x\"\nfiles = [\"/x\"]\n");
    scene.file("record.json", "[{\"bash\": 3}]");
    scene.file("recipe.toml", format!("{HEAD}[layers]\nmode = \"full\"\ncomponents = \"absent.toml\"\n"));
    let to = ["rechunk", "oci:base:latest", "oci:cut:latest"];
    for (words, code, text) in [
        (&["--max-layers", "0"][..], 2, "0 is not in 1..=500"),
        (&["--map", "map.toml"], 2, "line 3 of the component map: unknown field `files`"),
        (&["--previous", "record.json"], 2, "record.json is no record of layers"),
        (&["--previous", "absent.json"], 2, "reading the record absent.json"),
        (&["--previous", "oci:base:latest"], 2, "oci:base:latest does not say how its layers were cut"),
        (&["--memory", "much"], 2, "expected a number"),
        (&["--memory", "191M"], 2, "--memory is 191.00 MiB, and cutting oci:base:latest takes 191.98 MiB"),
    ] {
        let run = scene.run(&[&to[..], words].concat());
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{run:?}");
        assert!(run.stderr.contains(text), "{run:?}");
        assert!(!scene.path("cut").exists() || blobs(&scene.path("cut")).is_empty(), "{words:?}");
    }
    let run = scene.run(&["--recipe", "recipe.toml", "--output", "oci:x:latest"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("absent.toml"), "{run:?}");
    let run = scene.run(&["delta", "oci:base:latest", "oci:absent:latest"]);
    assert_eq!(run.code, 2, "{run:?}");
}
