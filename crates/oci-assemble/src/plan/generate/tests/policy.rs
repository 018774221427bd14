//! `[policy]` to the files of a host.

use super::*;
use crate::plan::recipe::{Policy, Recipe, RecipePath};

/// The table in `text`.
fn table(text: &str) -> Policy {
    let head = "schema = 1\n[image]\nname = \"host\"\n[base]\nimage = \"oci:x\"\n[policy]\n";
    Recipe::parse(&format!("{head}{text}"), "host.toml").unwrap().policy.unwrap()
}

/// Every source holds its own name.
fn sources(table: &Policy) -> BTreeMap<RecipePath, Content> {
    table.sources().into_iter().map(|path| (path.clone(), Content::of(path.as_str().as_bytes()))).collect()
}

fn made(text: &str, tree: &FileTree) -> Result<TreeDelta, GenerateError> {
    let table = table(text);
    let text = |path: &TreePath| tree.content(path).and_then(text_of);
    policy("host", &table, tree, text, &sources(&table), epoch())
}

/// All files with their whole text.
fn whole(delta: &TreeDelta) -> String {
    let mut text = String::new();
    for (path, inode) in delta.entries() {
        let Kind::File(content) = &inode.kind else { panic!("{path}") };
        text.push_str(&format!("== {path} {:o}\n{}\n", inode.meta.mode, text_of(content).unwrap().trim_end()));
    }
    text
}

const TRUST: &str = "trust = [\n\
    { scope = \"registry.example.com/images\", key = \"keys/host.pub\" },\n\
    { scope = \"registry.example.com/tagged\", key = \"keys/host.pub\", match = \"tag\" },\n\
    { scope = \"ghcr.io/somebody\", email = \"me@example.com\", issuer = \"https://example.com\", authority = \"ca.pem\", log = \"rekor.pub\" },\n\
    ]\n";

#[test]
fn the_files_of_a_policy() {
    let text = format!(
        "accept = [\"quay.io/centos-bootc\", \"registry.example.com:5000/images\"]\n{TRUST}\
         upgrade = {{ image = \"docker://registry.example.com:5000/images/base:latest\", \
         identity = \"https://gitlab.com/it's/here\", issuer = \"https://gitlab.com\", root = \"root.json\", program = \"assemble\" }}\n"
    );
    let delta = made(&text, &FileTree::new()).unwrap();
    let file = format!("{}/src/plan/generate/tests/policy.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, whole(&delta)).unwrap();
    }
    assert_eq!(whole(&delta), std::fs::read_to_string(file).unwrap());
}

#[test]
fn what_is_let_in_is_said() {
    let warnings = |text: &str| table(text).warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(warnings(TRUST), [""; 0]);
    assert_eq!(
        warnings("default = \"accept\"\naccept = [\"quay.io\"]\n"),
        [
            "the policy accepts images of every registry without a signature (policy.default = \"accept\")",
            "the policy accepts everything below quay.io without a signature",
            "the policy demands a signature of no image (policy.trust is empty)",
        ]
    );
}

#[test]
fn a_scope_has_one_file() {
    let other =
        tree(&[("etc/containers/registries.d/base.yaml", "docker:\n  \"registry.example.com/images\":\n    x: y\n")]);
    let error = made(TRUST, &other).unwrap_err();
    assert!(
        matches!(&error, GenerateError::ScopeTaken { scope, .. } if scope == "registry.example.com/images"),
        "{error}"
    );
    let harmless = tree(&[
        ("etc/containers/registries.d/default.yaml", "default-docker:\n  lookaside: x\n"),
        ("etc/containers/registries.d/50-assemble-host.yaml", "docker:\n  registry.example.com/images:\n"),
    ]);
    made(TRUST, &harmless).unwrap();
}

#[test]
fn the_unit_needs_its_program() {
    let text = "accept = [\"r.example.com\"]\nupgrade = { image = \"docker://r.example.com/a:b\", identity = \"i\", issuer = \"https://example.com\" }\n";
    assert!(matches!(made(text, &FileTree::new()), Err(GenerateError::NoVerifier { .. })));
    let with = tree(&[("usr/bin/assemble", "program")]);
    let delta = made(text, &with).unwrap();
    assert!(delta.entries().keys().any(|path| path.to_string() == "/usr/libexec/assemble-verify"));
}

#[test]
fn a_host_that_would_refuse_its_own_updates_is_not_made() {
    let with = tree(&[("usr/bin/assemble", "program")]);
    let upgrade =
        "upgrade = { image = \"docker://r.example.com/a/b:c\", identity = \"i\", issuer = \"https://example.com\" }\n";
    let outcome = |table: &str| made(&format!("{table}\n{upgrade}"), &with);
    for refusing in
        ["", "accept = [\"r.example.com/a/bc\"]", "accept = [\"example.com\"]", "accept = [\"r.example.com/a/b:c\"]"]
    {
        let error = outcome(refusing).unwrap_err();
        assert!(
            matches!(&error, GenerateError::UpgradeRejected { repository } if repository == "r.example.com/a/b"),
            "{refusing}: {error}"
        );
    }
    for letting in [
        "default = \"accept\"",
        "accept = [\"r.example.com\"]",
        "accept = [\"*.example.com\"]",
        "trust = [{ scope = \"r.example.com/a/b\", key = \"k.pub\" }]",
        "trust = [{ scope = \"r.example.com/a\", key = \"k.pub\" }]",
    ] {
        outcome(letting).unwrap();
    }
}
