//! Holds the source against the table of modules in `docs/architecture.md`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const FREE: [&str; 2] = ["testing", "error"];

/// Module → modules it may import, from the rows `| \`name\` | … | \`a\` \`b\` |`.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/architecture.md")).unwrap();
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    text.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            (names(cells[0]).remove(0), names(cells[2]).into_iter().collect())
        })
        .collect()
}

/// The modules that a source text refers to as `crate::NAME`, tests left out.
fn references(text: &str) -> BTreeSet<String> {
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code = production.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>())
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

fn sources(path: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if name != "tests" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let table = table();
    let src = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let mut modules = BTreeSet::new();
    for entry in fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "lib" || FREE.contains(&name.as_str()) {
            continue;
        }
        modules.insert(name.clone());
        let allowed = table.get(&name).unwrap_or_else(|| panic!("module {name} is not in docs/architecture.md"));
        let mut files = Vec::new();
        if path.is_dir() {
            sources(&path, &mut files);
        } else {
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
        for (file, text) in files {
            for reference in references(&text) {
                let known = table.contains_key(&reference);
                assert!(
                    !known || reference == name || allowed.contains(&reference),
                    "{file}: `{name}` must not import `{reference}` (docs/architecture.md)"
                );
            }
        }
    }
    assert_eq!(modules, table.into_keys().collect(), "modules of the source and rows of the table");
}

#[test]
fn the_table_has_no_cycle() {
    let table = table();
    let mut done: BTreeSet<String> = BTreeSet::new();
    while done.len() < table.len() {
        let ready: Vec<String> = table
            .iter()
            .filter(|(name, needs)| !done.contains(*name) && needs.is_subset(&done))
            .map(|(name, _)| name.clone())
            .collect();
        assert!(
            !ready.is_empty(),
            "a cycle among {:?}",
            table.keys().filter(|name| !done.contains(*name)).collect::<Vec<_>>()
        );
        done.extend(ready);
    }
}

#[test]
fn files_stay_short() {
    let mut files = Vec::new();
    for src in ["src", "../kmod-stage/src", "../cli/src"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(src), &mut files);
    }
    for (file, text) in files {
        let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count();
        assert!(production <= 400, "{file} has {production} production lines, the limit is 400");
    }
}
