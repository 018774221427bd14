//! Data goes to standard output, talk to standard error; JSON is one document with a schema.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::scene::{Run, Scene};

const MOTD: &str = "[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\\n\"\n";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.recipe("recipe.toml", &format!("{MOTD}[output]\nimage = \"oci:out:latest\"\n"));
    scene
}

/// Commands that work in [`scene`], in this order, with the schema of what they print.
const COMMANDS: &[(&str, &[&str])] = &[
    ("lock", &["lock", "--recipe", "recipe.toml"]),
    ("plan", &["plan", "--recipe", "recipe.toml"]),
    ("build", &["--recipe", "recipe.toml"]),
    ("build", &["--recipe", "recipe.toml"]),
    ("lint", &["lint", "oci:out:latest"]),
    ("lints", &["lint", "--list"]),
    ("inspect", &["inspect", "oci:out:latest"]),
    ("tree", &["inspect", "oci:out:latest", "--tree"]),
    ("layer", &["inspect", "oci:out:latest", "--layer", "2"]),
    ("mirror", &["mirror", "oci:out:latest", "oci:copy:latest"]),
    ("fsck", &["fsck", "copy"]),
    ("gc", &["gc", "copy"]),
];

fn with<'a>(words: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    words.iter().chain(more).copied().collect()
}

#[test]
fn json_is_one_document_with_its_schema() {
    let scene = scene();
    for (name, words) in COMMANDS {
        let run = scene.run(&with(words, &["--json"]));
        assert_eq!(run.code, 0, "{words:?}: {run:?}");
        let (schema, value) = run.json();
        assert_eq!(schema, format!("assemble.{name}/1"), "{words:?}");
        assert!(value.as_object().unwrap().len() > 1, "{words:?} says something");
        // Before the words of the command it means the same.
        if words[0] != "--recipe" {
            let run = scene.run(&with(&["--json"], words));
            assert_eq!((run.code, run.json().0), (0, schema), "{words:?}");
        }
    }
}

#[test]
fn quiet_means_data_only() {
    let scene = scene();
    for (name, words) in COMMANDS {
        let talking = scene.run(words);
        let quiet = scene.run(&with(words, &["--quiet"]));
        assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{words:?}");
        assert_eq!(quiet.stdout, talking.stdout, "{words:?}");
        assert!(quiet.stdout.ends_with('\n') || *name == "gc", "{words:?}: {quiet:?}");
        let both = scene.run(&with(words, &["--quiet", "--json"]));
        assert_eq!((both.code, both.stderr.as_str()), (0, ""), "{words:?}");
    }
}

#[test]
fn quiet_does_not_hide_what_is_wrong() {
    let scene = Scene::new();
    scene.recipe("recipe.toml", "[[file]]\npath = \"/usr/bin/gcc\"\ncontent = \"\"\nmode = 0o755\n");
    for more in [&["--quiet"][..], &["--quiet", "--json"]] {
        let run = scene.run(&with(&["-r", "recipe.toml", "-o", "oci:out:x"], more));
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
        assert!(run.stderr.contains("/usr/bin/gcc: a compiler") && run.stderr.contains("\nerror: "), "{run:?}");
    }
}

#[test]
fn a_negative_answer_is_data_too() {
    let scene = Scene::new();
    let run = scene.run(&["lint", "oci:base", "--fatal-warnings", "--json", "--quiet"]);
    assert_eq!(run.code, 1);
    let (schema, value) = run.json();
    assert_eq!((schema.as_str(), &value["passed"]), ("assemble.lint/1", &Value::Bool(false)));
    let layer = scene.image("base").layers().next().map(|(descriptor, _)| descriptor.digest).unwrap();
    fs::remove_file(scene.path("base/blobs/sha256").join(layer.hex())).unwrap();
    let run = scene.run(&["fsck", "base", "--json"]);
    assert_eq!(run.code, 1);
    let (schema, value) = run.json();
    assert_eq!((schema.as_str(), &value["sound"]), ("assemble.fsck/1", &Value::Bool(false)));
}

#[test]
fn the_json_of_a_build() {
    let scene = scene();
    let run = scene.run(&["--recipe", "recipe.toml", "--json"]);
    let (_, value) = run.json();
    let image = scene.image("out");
    assert_eq!(value["image"], image.digest().to_string());
    assert_eq!(value["base"], scene.image("base").digest().to_string());
    assert_eq!(value["output"], "oci:out:latest");
    assert_eq!(value["cached"], false);
    let (descriptor, diff_id) = image.layers().last().unwrap();
    let layer = &value["layers"][0];
    assert_eq!(value["layers"].as_array().unwrap().len(), 1);
    assert_eq!(layer["digest"], descriptor.digest.to_string());
    assert_eq!(layer["diff_id"], diff_id.to_string());
    assert_eq!(layer["size"], descriptor.size);
    assert_eq!(layer["name"], "configuration");
}

#[test]
fn the_json_of_a_plan_foretells_the_build() {
    let scene = scene();
    let run = scene.run(&["plan", "--recipe", "recipe.toml", "--json"]);
    let (_, plan) = run.json();
    assert!(!scene.path("out").exists(), "a plan writes nothing");
    let names: Vec<&str> =
        plan["layers"].as_array().unwrap().iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["configuration"]);
    assert_eq!(plan["kernel"]["release"], crate::base::KERNEL);
    assert_eq!(plan["kernel"]["direction"], "keep");
    let forecast = |plan: &Value| {
        let layer = &plan["forecast"]["layers"][0];
        assert_eq!(layer["name"], "configuration");
        (layer["digest"].clone(), layer["size"].clone(), layer["kept"].clone(), plan["forecast"]["download"].clone())
    };
    let (digest, size, kept, download) = forecast(&plan);
    assert_eq!((&plan["previous"], kept, &download), (&json!(null), json!(false), &plan["forecast"]["size"]));
    scene.run(&["--recipe", "recipe.toml"]).digest();
    let image = scene.image("out");
    let (layer, _) = image.layers().last().unwrap();
    assert_eq!((&digest, &size), (&json!(layer.digest), &json!(layer.size)));
    // Who has the image has all of it; then a file changes.
    let (_, again) = scene.run(&["plan", "--recipe", "recipe.toml", "--json"]).json();
    assert_eq!(
        (&again["previous"], forecast(&again)),
        (&json!("oci:out:latest"), (digest, size, json!(true), json!(0)))
    );
    let text = fs::read_to_string(scene.path("recipe.toml")).unwrap();
    scene.file("changed.toml", format!("{text}[[file]]\npath = \"/etc/more\"\ncontent = \"more\"\n"));
    let (_, changed) = scene.run(&["plan", "--recipe", "changed.toml", "--json"]).json();
    let (_, size, kept, download) = forecast(&changed);
    assert_eq!((kept, download), (json!(false), size));
    for (key, value) in plan["labels"].as_object().unwrap() {
        assert_eq!(image.config().labels[key], value.as_str().unwrap(), "label {key}");
    }
    for (key, value) in plan["annotations"].as_object().unwrap() {
        assert_eq!(image.manifest().annotations[key], value.as_str().unwrap(), "annotation {key}");
    }
    assert_eq!(plan["base"]["digest"], scene.image("base").digest().to_string());
    let text = scene.run(&["plan", "--recipe", "recipe.toml"]).stdout;
    assert!(text.contains("recipe.toml:7"), "values with their places: {text}");
}

#[test]
fn inspection_shows_the_merged_tree_and_every_layer() {
    let scene = scene();
    scene.run(&["--recipe", "recipe.toml"]).digest();
    let tree = scene.run(&["inspect", "oci:out", "--tree"]).stdout;
    let motd: Vec<&str> = tree.lines().filter(|line| line.starts_with("/etc/motd ")).collect();
    assert_eq!(motd.len(), 1);
    assert!(motd[0].starts_with("/etc/motd file 0644 0:0 0 size=6 sha256:"), "{motd:?}");
    let image = scene.image("out");
    let (descriptor, diff_id) = image.layers().last().unwrap();
    let by_number = scene.run(&["inspect", "oci:out", "--layer", "2"]).stdout;
    assert!(by_number.contains("/etc/motd file") && !by_number.contains("vmlinuz"), "{by_number}");
    for name in [descriptor.digest.to_string(), diff_id.to_string()] {
        assert_eq!(scene.run(&["inspect", "oci:out", "--layer", &name]).stdout, by_number);
    }
    let text = scene.run(&["inspect", "oci:out"]).stdout;
    for line in [format!("digest    {}", image.digest()), format!("kernel    {}", crate::base::KERNEL)] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let (_, value) = scene.run(&["inspect", "oci:out", "--json"]).json();
    assert_eq!(value["layers"].as_array().unwrap().len(), 3);
    assert_eq!(value["layers"][2]["content"], "configuration");
}

#[test]
fn all_lints_are_listed() {
    let scene = Scene::new();
    let run = scene.run(&["lint", "--list"]);
    let (_, value) = scene.run(&["lint", "--list", "--json"]).json();
    let lints = value["lints"].as_array().unwrap();
    assert_eq!(lints.len(), oci_assemble::inspect::lint::LINTS.len());
    assert_eq!(run.stdout.lines().count(), lints.len());
    for (line, lint) in run.stdout.lines().zip(lints) {
        let (name, about) = (lint["name"].as_str().unwrap(), lint["description"].as_str().unwrap());
        assert!(line.starts_with(name) && line.ends_with(about) && !about.is_empty(), "{line}");
    }
}

/// The program with a terminal for standard error, as `script` gives it.
fn on_a_terminal(scene: &Scene, environment: &[(&str, &str)]) -> String {
    let line = format!("{} -r none.toml", crate::scene::PROGRAM);
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(scene.root()).stdin(Stdio::null());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "xterm");
    command.env("HOME", scene.root()).envs(environment.iter().copied());
    Run::of(&mut command).stdout
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let scene = scene();
    assert!(on_a_terminal(&scene, &[]).starts_with("\x1b[31merror:\x1b[0m "));
    assert!(on_a_terminal(&scene, &[("NO_COLOR", "")]).starts_with("\x1b[31m"), "empty counts as not set");
    let plain = on_a_terminal(&scene, &[("NO_COLOR", "1")]);
    assert!(plain.starts_with("error: ") && !plain.contains('\x1b'), "{plain:?}");
    for (_, words) in COMMANDS {
        for words in [words.to_vec(), with(words, &["--json"]), with(words, &["--verbose"])] {
            let run = Run::of(scene.command(&words).env("TERM", "xterm-256color"));
            assert!(!run.stdout.contains('\x1b') && !run.stderr.contains('\x1b'), "{words:?}: {run:?}");
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let scene = Scene::new();
    let script = "\"$@\" | head -1 >/dev/null; echo ${PIPESTATUS[0]}";
    let run = Run::of(&mut scene.wrapped(&["bash", "-c", script, "bash"], &["inspect", "oci:base", "--tree"]));
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("0\n", ""));
}

#[test]
fn completions_and_the_manual() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = scene.run(&["completions", shell]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert!(run.stdout.contains("no-cache") && run.stdout.contains("mirror"), "{shell}");
    }
    let script = scene.run(&["completions", "bash"]).stdout;
    let path = scene.file("completion", script);
    let checked = Command::new("bash").arg("-n").arg(path).output().unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");

    let page = scene.run(&["man"]);
    assert_eq!((page.code, page.stderr.as_str()), (0, ""));
    for command in ["plan", "lint", "inspect", "boot", "mirror", "push", "publish", "fsck", "gc", "completions", "man"]
    {
        assert!(page.stdout.contains(&format!(".SH ASSEMBLE {}\n", command.to_uppercase())), "{command}");
    }
    let path = scene.file("assemble.1", &page.stdout);
    let rendered = Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(path).output();
    match rendered {
        Ok(rendered) => {
            assert!(rendered.status.success(), "{rendered:?}");
            assert_eq!(String::from_utf8_lossy(&rendered.stderr), "");
            assert!(String::from_utf8_lossy(&rendered.stdout).contains("Threads to use"));
        }
        Err(error) => assert!(std::env::var_os("CI").is_none(), "groff: {error}"),
    }
}

#[test]
fn help_and_version() {
    let scene = Scene::new();
    let help = scene.run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for command in ["plan", "lint", "inspect", "boot", "mirror", "push", "publish", "fsck", "gc", "completions", "man"]
    {
        assert!(help.stdout.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {}", help.stdout);
    }
    let version = scene.run(&["--version"]).stdout;
    assert_eq!(version, format!("assemble {}\n", env!("CARGO_PKG_VERSION")));
}
