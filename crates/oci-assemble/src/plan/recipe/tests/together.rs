//! Recipes that extend one another.

use super::*;

fn load_texts(texts: &[(&str, &str)], path: &str) -> Result<Merged, RecipeError> {
    let texts: BTreeMap<String, String> = texts.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    Merged::load_with(&RecipePath::new(path).unwrap(), |path| {
        texts.get(path.as_str()).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    })
}

const PARENT: &str = r#"schema = 1
image = { name = "parent", labels = { one = "1", two = "2" } }
base = { image = "oci:base:latest", verify = { key = "keys/a.pub" } }
packages.install = ["one", "two"]
stage = [
  { name = "first", kind = "files", source = "first", into = "/opt" },
  { name = "second", kind = "zfs", branch = "2.2" },
]
compression = { level = "small" }
[[file]]
path = "/etc/motd"
content = "parent"
mode = 0o600
[[file]]
path = "/etc/other"
content = "other"
"#;

const CHILD: &str = r#"extends = "../parent/recipe.toml"
image = { name = "child", labels = { two = "II", three = "3" } }
base.verify = { identity = "me@example.com", issuer = "https://example.com" }
packages.install = ["two", "three"]
layers.compression = "gzip"
[[stage]]
name = "first"
kind = "modules"
source = ["a.ko", "../b.ko"]
[[file]]
path = "/etc//motd"
content = "child"
"#;

#[test]
fn tables_merge_and_lists_append() {
    let texts = [("parent/recipe.toml", PARENT), ("child/recipe.toml", CHILD)];
    let recipe = load_texts(&texts, "child/recipe.toml").unwrap().recipe;
    let expected = r#"schema = 1
[image]
name = "child"
labels = { one = "1", two = "II", three = "3" }
[base]
image = "oci:base:latest"
verify = { identity = "me@example.com", issuer = "https://example.com" }
[packages]
install = ["one", "two", "three"]
[[stage]]
name = "first"
kind = "modules"
source = ["child/a.ko", "b.ko"]
[[stage]]
name = "second"
kind = "zfs"
branch = "2.2"
[[file]]
path = "/etc/motd"
content = "child"
[[file]]
path = "/etc/other"
content = "other"
[layers]
compression = "gzip"
level = "small"
"#;
    let mut expected = Recipe::parse(expected, "expected.toml").unwrap();
    expected.sources.clone_from(&recipe.sources);
    expected.digest = recipe.digest;
    assert_eq!(recipe, expected);
}

type Texts<'a> = &'a [(&'a str, &'a str)];

#[test]
fn refuses_what_leads_nowhere() {
    let long: Vec<(String, String)> =
        (0..9).map(|n| (format!("{n}.toml"), format!("extends = \"{}.toml\"\n", n + 1))).collect();
    let long: Vec<(&str, &str)> = long.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let table: [(Texts<'_>, &str, &str); 6] = [
        (&[], "a.toml", "cannot read a.toml"),
        (&[("a.toml", "# head\nextends = \"b.toml\"\n")], "a.toml", "a.toml:2:11: extends: cannot read b.toml"),
        (
            &[("a.toml", "extends = \"../b.toml\"\n")],
            "a.toml",
            "a.toml:1:11: extends: \"../b.toml\" is no path relative to the recipe: it leaves the recipe root",
        ),
        (
            &[("d/a.toml", "extends = \"../b.toml\"\n"), ("b.toml", "extends = \"d/a.toml\"\n")],
            "d/a.toml",
            "b.toml:1:11: extends: recipes extend each other in a circle: d/a.toml -> b.toml -> d/a.toml",
        ),
        (
            &[("a.toml", "extends = \"a.toml\"\n")],
            "a.toml",
            "a.toml:1:11: extends: recipes extend each other in a circle: a.toml -> a.toml",
        ),
        (&long, "0.toml", "7.toml:1:11: extends: more than 8 recipes extend one another"),
    ];
    for (texts, path, message) in table {
        assert_eq!(load_texts(texts, path).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_parent_is_checked_even_where_it_is_overridden() {
    let parent = HELLO.replace("0o644", "").replace("content = \"hello\\n\"", "content = \"x\"\nmode = 0o10000");
    let child = "extends = \"p.toml\"\n[[file]]\npath = \"/etc/motd\"\ncontent = \"y\"\n";
    let error = load_texts(&[("p.toml", &parent), ("c.toml", child)], "c.toml").unwrap_err();
    assert_eq!(
        error.to_string(),
        "p.toml:9:8: file[0].mode: 0o10000 is no mode: a mode has the twelve bits 0o0000 to 0o7777"
    );
}

#[test]
fn files_stay_below_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::create_dir(path.join("root")).unwrap();
    std::fs::write(path.join("outside.toml"), HELLO).unwrap();
    std::fs::write(path.join("root/inside.toml"), HELLO).unwrap();
    std::os::unix::fs::symlink("../outside.toml", path.join("root/out.toml")).unwrap();
    std::os::unix::fs::symlink("inside.toml", path.join("root/in.toml")).unwrap();
    let large = format!("{HELLO}#{}", "x".repeat(usize::try_from(RECIPE_MAX).unwrap()));
    std::fs::write(path.join("root/large.toml"), large).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path.join("root/pipe.toml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let root = Dir::open_ambient_dir(path.join("root"), ambient_authority()).unwrap();
    let load = |name: &str| Merged::load(&root, &RecipePath::new(name).unwrap());
    assert_eq!(load("in.toml").unwrap().recipe.image.name, "hello");
    for name in ["out.toml", "large.toml", "pipe.toml", "missing.toml"] {
        let error = load(name).unwrap_err();
        match *error.fault {
            RecipeFault::Outside { .. } => assert_eq!(name, "out.toml", "{error}"),
            RecipeFault::Read { .. } => assert!(std::error::Error::source(&error).is_some() && name != "out.toml"),
            _ => panic!("{name}: {error}"),
        }
    }
}
