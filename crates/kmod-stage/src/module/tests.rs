#![allow(clippy::unwrap_used)]

use super::*;

mod linking;
mod one_form;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn module(name: &str, release: &str, depends: &[&str]) -> Module {
    Module {
        name: name.to_owned(),
        release: release.to_owned(),
        depends: depends.iter().map(|name| (*name).to_owned()).collect(),
        wants: BTreeSet::new(),
        aliases: 0,
        srcversion: None,
        signed: false,
    }
}

#[test]
fn what_an_added_module_wants_and_nobody_has_is_told() {
    let wants = |name: &str, line: &str| Module { wants: wanted(line).collect(), ..module(name, "6.1", &[]) };
    let modules = Modules::from([
        (path("extra/a.ko"), wants("a", "pre: spl b-b post: gone ext4")),
        (path("kernel/b-b.ko"), wants("b_b", "pre: lost")),
    ]);
    let builtins = builtins(b"kernel/fs/ext4/ext4.ko\n");
    let added = BTreeSet::from([path("extra/a.ko")]);
    let expected = ["gone", "spl"].map(|name| (path("extra/a.ko"), name.to_owned()));
    assert_eq!(wishes(&modules, &builtins, &added), expected, "what the base's modules want is the base's affair");
}

#[test]
fn every_fault_names_its_module() {
    let kernel = KernelRelease::new("6.1").unwrap();
    let modules = Modules::from([
        (path("kernel/a.ko"), module("a", "6.1", &["b_b", "ext4"])),
        (path("kernel/b-b.ko"), module("b_b", "6.1", &[])),
        (path("extra/old.ko"), module("old", "6.0", &["gone", "lost"])),
        (path("weak-updates/w.ko"), module("w", "6.0", &[])),
    ]);
    let builtins = builtins(b"kernel/fs/ext4/ext4.ko\nkernel/x-y.ko\nnonsense\n\n");
    assert_eq!(builtins, ["ext4", "x_y"].map(str::to_owned).into());
    assert_eq!(
        faults(&modules, &builtins, &kernel),
        [
            Fault::OtherKernel { path: path("extra/old.ko"), found: "6.0".into(), expected: kernel.clone() },
            Fault::MissingDependency { path: path("extra/old.ko"), needs: "gone".into() },
            Fault::MissingDependency { path: path("extra/old.ko"), needs: "lost".into() },
        ]
    );
    assert_eq!(faults(&modules, &BTreeSet::new(), &kernel)[2], {
        Fault::MissingDependency { path: path("extra/old.ko"), needs: "lost".into() }
    });
    assert!(faults(&Modules::new(), &builtins, &kernel).is_empty());
}

#[test]
fn duplicates_are_grouped_by_name() {
    let modules = Modules::from([
        (path("kernel/a-b.ko"), module("a_b", "6.1", &[])),
        (path("updates/a_b.ko"), module("a_b", "6.1", &[])),
        (path("kernel/c.ko"), module("c", "6.1", &[])),
    ]);
    assert_eq!(duplicates(&modules), [vec![path("kernel/a-b.ko"), path("updates/a_b.ko")]]);
}
