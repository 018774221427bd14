//! Recipes, and where images go.

use super::*;

pub(super) const RECIPES: &[Case] = &[
    ("no arguments", |_| {}, &[]),
    ("unknown subcommand", |_| {}, &["bild"]),
    ("unknown option", |_| {}, &["--recpie", "recipe.toml"]),
    ("recipe before a subcommand", motd, &["--recipe", "recipe.toml", "lint", "oci:base"]),
    ("quiet and verbose", motd, &["--recipe", "recipe.toml", "--quiet", "--verbose"]),
    ("missing recipe", |_| {}, BUILD),
    ("recipe is a directory", |scene| fs::create_dir(scene.path("recipe.toml")).unwrap(), BUILD),
    ("recipe outside of the root", motd, &["--recipe", "recipe.toml", "--root", "base"]),
    ("not TOML", |scene| drop(scene.file("recipe.toml", "schema = 1\n[image\n")), BUILD),
    ("unknown key", |scene| replaced(scene, "content", "contents"), BUILD),
    ("wrong type", |scene| replaced(scene, "\"e2e\"", "7"), BUILD),
    ("wrong schema", |scene| replaced(scene, "schema = 1", "schema = 2"), BUILD),
    ("path of the image", |scene| replaced(scene, "/etc/motd", "/var/motd"), BUILD),
    ("above the root", |scene| replaced(scene, "content = \"hello\\n\"", "source = \"../motd\""), BUILD),
    ("absolute source", |scene| replaced(scene, "content = \"hello\\n\"", "source = \"/etc/motd\""), BUILD),
    ("missing source", |scene| replaced(scene, "content = \"hello\\n\"", "source = \"motd\""), BUILD),
    (
        "symlink for a source",
        |scene| {
            replaced(scene, "content = \"hello\\n\"", "source = \"motd\"");
            symlink("/etc/passwd", scene.path("motd")).unwrap();
        },
        BUILD,
    ),
    (
        "symlink out of the root",
        |scene| {
            replaced(scene, "content = \"hello\\n\"", "source = \"link/passwd\"");
            symlink("/etc", scene.path("link")).unwrap();
        },
        BUILD,
    ),
    (
        "extended recipe out of the root",
        |scene| {
            scene.file("recipe.toml", "schema = 1\nextends = \"link/os-release\"\n");
            symlink("/etc", scene.path("link")).unwrap();
        },
        BUILD,
    ),
    (
        "extended recipe that is missing",
        |scene| drop(scene.file("recipe.toml", "schema = 1\nextends = \"none.toml\"\n")),
        BUILD,
    ),
    (
        "missing directory of a stage",
        |scene| scene.recipe("recipe.toml", "[[stage]]\nname = \"tree\"\nkind = \"files\"\nsource = \"tree\"\n"),
        BUILD,
    ),
    (
        "stage that needs a builder, without podman",
        |scene| scene.recipe("recipe.toml", "[[stage]]\nname = \"x\"\nkind = \"dkms\"\npackages = [\"x-dkms\"]\n"),
        BUILD,
    ),
    (
        "content where the system mounts",
        |scene| {
            scene.recipe("recipe.toml", "[[stage]]\nname = \"tree\"\nkind = \"files\"\nsource = \"tree\"\n");
            scene.file("tree/run/x", "");
        },
        BUILD,
    ),
    (
        "removing what is not there",
        |scene| scene.recipe("recipe.toml", "[[remove]]\npath = \"/usr/bin/nothing\"\n"),
        BUILD,
    ),
    (
        "unit that is not there",
        |scene| scene.recipe("recipe.toml", "[services]\nenable = [\"nothing.service\"]\n"),
        BUILD,
    ),
    ("bad platform", motd, &["--recipe", "recipe.toml", "--output", "oci:out:latest", "--platform", "amd64"]),
];

pub(super) const OUTPUTS: &[Case] = &[
    ("no output", motd, &["--recipe", "recipe.toml"]),
    ("output to a registry", motd, &["--recipe", "recipe.toml", "--output", "docker://localhost/x:latest"]),
    ("output to storage", motd, &["--recipe", "recipe.toml", "--output", "containers-storage:localhost/x:latest"]),
    ("output without transport", motd, &["--recipe", "recipe.toml", "--output", "out"]),
    (
        "output by digest",
        motd,
        &[
            "--recipe",
            "recipe.toml",
            "--output",
            "oci:out@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ],
    ),
    ("output is a file", |scene| (motd(scene), scene.file("file", "")).0, &["-r", "recipe.toml", "-o", "oci:file:x"]),
    (
        "output is no layout of ours",
        |scene| (motd(scene), scene.file("odd/oci-layout", "{\"imageLayoutVersion\": \"2.0.0\"}")).0,
        &["-r", "recipe.toml", "-o", "oci:odd:x"],
    ),
    (
        "output with a damaged index",
        |scene| (motd(scene), scene.link_base("odd"), scene.file("odd/index.json", "{")).0,
        &["-r", "recipe.toml", "-o", "oci:odd:x"],
    ),
];
