//! Recipes with `layers.mode = "full"`: base and additions, cut together.

use std::fs;

use crate::rechunk::{layers, tree};
use crate::scene::Scene;

#[test]
fn a_recipe_can_cut_the_whole_image() {
    let scene = Scene::new();
    let recipe = |text: &str| {
        let layers =
            "[output]\nimage = \"oci:full:latest\"\n[layers]\nmode = \"full\"\nmax = 6\ncomponents = \"map.toml\"\n";
        scene.recipe("full.toml", &format!("{layers}[[file]]\npath = \"/usr/share/own/text\"\ncontent = \"{text}\"\n"));
    };
    scene.file("map.toml", "[[component]]\nname = \"own\"\npaths = [\"/usr/share/own/**\"]\n");
    recipe("one");
    let plan = scene.run(&["plan", "-r", "full.toml"]);
    assert!(plan.code == 0 && plan.stdout.contains("# Base and additions, cut into layers."), "{plan:?}");
    assert!(plan.stdout.contains("6 layers, 0 kept; expected download about"), "{plan:?}");
    let first = scene.build("full.toml", "full");
    let image = scene.image("full");
    assert!(image.layers().len() <= 6);
    let base = layers(&scene.image("base"));
    assert!(layers(&image).iter().all(|digest| !base.contains(digest)));
    assert!(image.layers().any(|(layer, _)| layer.annotations["io.assemble.components"].contains("\"own\"")));
    let text = tree(&scene, "oci:full");
    scene.recipe("append.toml", "[[file]]\npath = \"/usr/share/own/text\"\ncontent = \"one\"\n");
    scene.build("append.toml", "appended");
    assert_eq!(text, tree(&scene, "oci:appended"));
    assert_eq!(scene.run(&["lint", "oci:full"]).code, 0);
    // The image being replaced is what layers are kept of.
    assert_eq!(scene.build("full.toml", "full"), first);
    let (_, plan) = scene.run(&["plan", "-r", "full.toml", "--json"]).json();
    assert!(plan["cut"]["layers"].as_array().unwrap().iter().any(|layer| layer["fate"] == "kept"), "{plan:#}");
    let before = layers(&image);
    recipe("two");
    scene.build("full.toml", "full");
    let after = layers(&scene.image("full"));
    assert_eq!(after.iter().filter(|digest| !before.contains(digest)).count(), 1);
    let fresh = scene.run(&["-r", "full.toml", "-o", "oci:fresh:latest", "--previous", "none", "--json"]).json().1;
    assert_eq!(fresh["layers"].as_array().unwrap().len(), scene.image("fresh").layers().len());
    let refused = scene.run(&["-r", "append.toml", "-o", "oci:x:latest", "--previous", "none"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--previous is for recipes with layers.mode = \"full\""), "{refused:?}");
}

#[test]
fn a_plan_expects_of_what_is_added_what_compression_left_of_the_base() {
    let scene = Scene::new();
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    scene.file("noise", noise.take(400_000).flatten().collect::<Vec<u8>>());
    let output = "[output]\nimage = \"oci:full:latest\"\n[layers]\nmode = \"full\"\n";
    scene.recipe("full.toml", &format!("{output}[[file]]\npath = \"/usr/noise\"\nsource = \"noise\"\n"));
    let (_, plan) = scene.run(&["plan", "-r", "full.toml", "--json"]).json();
    let stored: u64 = scene.image("base").layers().map(|(descriptor, _)| descriptor.size).sum();
    assert!(plan["cut"]["expected_download"].as_u64().unwrap() > stored, "{stored}: {plan:#}");
}

#[test]
fn memory_and_what_is_cached_change_nothing() {
    let scene = Scene::new();
    let layers = "[output]\nimage = \"oci:full:latest\"\n[layers]\nmode = \"full\"\n";
    scene.recipe("full.toml", &format!("{layers}[[file]]\npath = \"/usr/share/own/text\"\ncontent = \"one\"\n"));
    let build = |more: &[&str]| scene.run(&[&["-r", "full.toml", "--previous", "none"], more].concat());
    let plenty = build(&[]).digest();
    for more in [&["--memory", "227M"][..], &["--memory", "1G", "--jobs", "5"], &["--jobs", "1"]] {
        for known in ["full", "cache"] {
            fs::remove_dir_all(scene.path(known)).unwrap();
            assert_eq!(build(&[more, &["--no-cache"]].concat()).digest(), plenty, "{more:?} without {known}");
        }
    }
    fs::remove_dir_all(scene.path("full")).unwrap();
    let small = build(&["--memory", "226M", "--no-cache"]);
    assert_eq!((small.code, small.stdout.as_str()), (2, ""), "{small:?}");
    assert!(small.stderr.contains("--memory is 226.00 MiB, and cutting oci:base:latest takes 226.32 MiB"), "{small:?}");
    // What is refused, and what does not pass the lints, leaves no empty destination.
    scene.recipe("bad.toml", &format!("{layers}[[file]]\npath = \"/usr/lib/bootc/kargs.d/x.toml\"\ncontent = \"x\"\n"));
    let bad = scene.run(&["-r", "bad.toml"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(!scene.path("full").exists());
    scene.recipe("append.toml", "[[file]]\npath = \"/usr/share/own/text\"\ncontent = \"one\"\n");
    let refused = scene.run(&["-r", "append.toml", "-o", "oci:x:latest", "--memory", "1G"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--memory is for recipes with layers.mode = \"full\""), "{refused:?}");
}
