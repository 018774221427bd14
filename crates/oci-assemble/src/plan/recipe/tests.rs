//! Recipes as people write them, right and wrong.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod complete;
mod messages;
mod together;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use proptest::prelude::*;

use super::spec::{Body, KernelPin, Layers, Owner};
use super::*;

/// The smallest useful recipe.
const HELLO: &str = r#"schema = 1
[image]
name = "hello"
[base]
image = "oci:base:latest"
[[file]]
path = "/etc/motd"
content = "hello\n"
"#;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The recipes of the project.
const RECIPES: [&str; 10] = [
    "base",
    "base-amd",
    "base-zfs",
    "base-zfs-nvidia",
    "debian-probe",
    "debian-zfs",
    "debian-zfs-nvidia",
    "fedora-base",
    "instance-example",
    "kinoite-tailscale",
];

fn load(name: &str) -> Merged {
    let root = Dir::open_ambient_dir(workspace(), ambient_authority()).unwrap();
    Merged::load(&root, &RecipePath::new(&format!("recipes/{name}.toml")).unwrap())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn reads_the_smallest_recipe() {
    let recipe = Recipe::parse(HELLO, "hello.toml").unwrap();
    assert_eq!(recipe.image, spec::Image { name: "hello".into(), ..Default::default() });
    assert_eq!(recipe.base, spec::Base { image: "oci:base:latest".parse().unwrap(), mirror: None, verify: None });
    let motd = spec::File {
        path: crate::tree::TreePath::new("etc/motd").unwrap(),
        body: Body::Content("hello\n".into()),
        mode: 0o644,
        owner: Owner::Id(0),
        group: Owner::Id(0),
    };
    assert_eq!(recipe.files, [motd]);
    assert_eq!(recipe.layers, Layers::default());
    assert_eq!(recipe.kernel.pin, KernelPin::Base);
}

#[test]
fn reads_the_recipes_of_the_project() {
    let names = RECIPES;
    let mut found: Vec<String> = std::fs::read_dir(workspace().join("recipes"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().unwrap().strip_suffix(".toml").map(Into::into))
        .collect();
    found.sort();
    let mut expected = names.map(String::from);
    expected.sort();
    assert_eq!(found, expected, "a recipe without a test");
    for name in names {
        let merged = load(name);
        assert_eq!(merged.recipe.image.name, name);
        let json = serde_json::to_string(&merged.recipe).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), merged.recipe, "JSON round trip of {name}");
    }
}

#[test]
fn merges_a_chain() {
    let merged = load("base-zfs-nvidia");
    let recipe = &merged.recipe;
    assert_eq!(recipe.image.title.as_deref(), Some("base-zfs with NVIDIA open modules and the container toolkit"));
    assert_eq!(recipe.services.enable.first().map(String::as_str), Some("lm_sensors.service"));
    assert_eq!(recipe.services.enable.last().map(String::as_str), Some("nvidia-cdi-refresh.path"));
    let stages: Vec<_> = recipe.stages.iter().map(|stage| (stage.name.as_str(), stage.kind.name())).collect();
    assert_eq!(stages, [("zfs", "zfs"), ("nvidia", "nvidia-open")]);
    let repositories: Vec<&str> = recipe.packages.repositories.iter().map(RecipePath::as_str).collect();
    assert_eq!(repositories, ["recipes/repos/epel.repo", "recipes/repos/centos-crb.repo"]);
    assert_eq!(
        recipe.sources.keys().map(RecipePath::as_str).collect::<Vec<_>>(),
        ["recipes/base-zfs-nvidia.toml", "recipes/base-zfs.toml", "recipes/base.toml"]
    );
    for (key, file) in [
        ("image.name", "recipes/base-zfs-nvidia.toml"),
        ("stage[zfs].branch", "recipes/base-zfs.toml"),
        ("base.verify.key", "recipes/base.toml"),
        ("image.labels.org.opencontainers.image.licenses", "recipes/base.toml"),
        ("publish.to", "recipes/base-zfs-nvidia.toml"),
    ] {
        let origin = merged.provenance.iter().find(|(path, _)| path.as_str() == key).map(|(_, origin)| &*origin.file);
        assert_eq!(origin, Some(file), "{key}");
    }
}

#[test]
fn every_source_file_of_the_recipes_is_there() {
    for name in ["base", "base-zfs-nvidia", "fedora-base", "instance-example"] {
        let recipe = load(name).recipe;
        let mut files = recipe.packages.repositories.clone();
        for stage in &recipe.stages {
            match &stage.kind {
                StageKind::Zfs(zfs) => files.extend(zfs.compiled.repositories.clone()),
                StageKind::NvidiaOpen(nvidia) => files.extend(nvidia.compiled.repositories.clone()),
                _ => {}
            }
        }
        files.extend(recipe.files.iter().filter_map(|file| match &file.body {
            Body::Source(path) => Some(path.clone()),
            Body::Content(_) => None,
        }));
        for file in files {
            assert!(workspace().join(file.as_path()).is_file(), "{name}: {file}");
        }
    }
}

/// A rendered recipe is a recipe: it says the same.
#[test]
fn renders_what_it_read() {
    for name in RECIPES {
        let merged = load(name);
        let mut again = Recipe::parse(&merged.render(), "merged.toml")
            .unwrap_or_else(|error| panic!("{error}\n{}", merged.render()));
        again.sources.clone_from(&merged.recipe.sources);
        again.digest = merged.recipe.digest;
        assert_eq!(again, merged.recipe);
    }
}

#[test]
fn renders_the_place_of_each_value() {
    let texts = BTreeMap::from([
        ("a.toml", "extends = \"b.toml\"\n[image]\nname = \"a\"\n[packages]\ninstall = [\"two\", \"three\"]\n"),
        ("b.toml", "schema = 1\nimage.name = \"b\"\nbase.image = \"oci:b:c\"\npackages.install = [\"one\", \"two\"]\n"),
    ]);
    let read = |path: &RecipePath| Ok(texts.get(path.as_str()).copied().unwrap_or_default().to_owned());
    let merged = Merged::load_with(&RecipePath::new("a.toml").unwrap(), read).unwrap();
    let expected = "\
# Paths are relative to the recipe root.
schema = 1                                                   # b.toml:1

[image]
name = \"a\"                                                   # a.toml:3

[base]
image = \"oci:b:c\"                                            # b.toml:3

[packages]
install = [
  \"one\",                                                     # b.toml:4
  \"two\",                                                     # b.toml:4
  \"three\",                                                   # a.toml:5
]
";
    assert_eq!(merged.render(), expected);
}

#[test]
fn the_digest_covers_every_file() {
    let parse = |text: &str| Recipe::parse(text, "hello.toml").unwrap().digest();
    assert_eq!(parse(HELLO), parse(HELLO));
    assert_ne!(parse(HELLO), parse(&format!("{HELLO}# a comment\n")));
    let with = |parent: &str| {
        let read = |path: &RecipePath| {
            let child = path.as_str() == "child.toml";
            Ok(if child { "extends = \"parent.toml\"\n".to_owned() } else { parent.to_owned() })
        };
        Merged::load_with(&RecipePath::new("child.toml").unwrap(), read).unwrap().recipe.digest()
    };
    assert_eq!(with(HELLO), with(HELLO));
    assert_ne!(with(HELLO), with(&HELLO.replace("hello\\n", "bye\\n")));
}

/// `docs/recipe.md` has the reference that the table of keys gives; `UPDATE_DOCS=1` rewrites it.
#[test]
fn the_documentation_lists_every_key() {
    const BEGIN: &str = "<!-- Made from the table of keys: UPDATE_DOCS=1 cargo test the_documentation -->\n";
    let file = workspace().join("docs/recipe.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once(BEGIN).unwrap();
    let expected = format!("{before}{BEGIN}\n{}", reference());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &expected).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = Recipe::parse(&text, "random.toml");
    }

    /// Lines of real recipes, shuffled and damaged, reach further than random text.
    #[test]
    fn no_damaged_recipe_makes_it_panic(
        picks in prop::collection::vec((0..200_usize, any::<prop::sample::Index>(), prop::option::of(any::<char>())), 0..40),
    ) {
        let all = ["base", "base-zfs", "base-zfs-nvidia", "instance-example", "debian-probe"]
            .map(|name| std::fs::read_to_string(workspace().join(format!("recipes/{name}.toml"))).unwrap())
            .concat();
        let lines: Vec<&str> = all.lines().collect();
        let mut text = String::new();
        for (number, at, damage) in picks {
            let mut line: Vec<char> = lines.get(number % lines.len()).unwrap().chars().collect();
            if let Some(character) = damage && !line.is_empty() {
                let at = at.index(line.len());
                line[at] = character;
            }
            text.extend(line);
            text.push('\n');
        }
        let _ = Recipe::parse(&text, "recipes/random.toml");
    }
}
