#![allow(clippy::unwrap_used)]

use super::*;
use crate::module::Module;
use crate::sandbox::{Confinement, Rung};

fn said(code: i32, stderr: &str, stderr_truncated: bool) -> Outcome {
    let confinement = Confinement { rung: Rung::Namespaces, landlock: None };
    Outcome { code, stderr: stderr.into(), stderr_truncated, confinement }
}

fn judged(outcome: &Outcome) -> Result<(), DepmodError> {
    super::outcome(outcome, 10, Path::new("/tmp/w"))
}

#[test]
fn success_is_not_believed() {
    assert!(judged(&said(0, "", false)).is_ok());
    assert!(judged(&said(0, "depmod: WARNING: needs unknown symbol depmod: ERROR\n", false)).is_ok());
    match judged(&said(0, "depmod: WARNING: a\ndepmod: ERROR: failed to load /tmp/w/lib/x.ko\n", false)) {
        Err(DepmodError::Complained { line }) => assert_eq!(line, "depmod: ERROR: failed to load /lib/x.ko"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(judged(&said(0, "", true)), Err(DepmodError::TooTalkative { limit: 10 })));
    assert!(matches!(judged(&said(1, "no space", false)), Err(DepmodError::Failed { code: 1, .. })));
}

#[test]
fn the_index_and_the_modules_agree() {
    let module = |name: &str| Module {
        name: name.to_owned(),
        release: String::new(),
        depends: Vec::new(),
        wants: BTreeSet::new(),
        aliases: 0,
        srcversion: None,
        signed: false,
    };
    let modules: Modules = [("kernel/a.ko", "a"), ("extra/a.ko", "a"), ("kernel/b-b.ko.xz", "b_b")]
        .into_iter()
        .map(|(path, name)| (TreePath::new(path).unwrap(), module(name)))
        .collect();
    let indexed = |dep: &str| index(&Files::from([("modules.dep", dep.as_bytes().to_vec())]), &modules);
    assert!(indexed("extra/a.ko:\nkernel/b-b.ko.xz: extra/a.ko\n").is_ok());
    match indexed("extra/a.ko:\n") {
        Err(DepmodError::NotIndexed { path }) => assert_eq!(path.to_string(), "/kernel/b-b.ko.xz"),
        other => panic!("{other:?}"),
    }
    match indexed("extra/a.ko:\nkernel/b-b.ko.xz:\nkernel/c.ko:\n") {
        Err(DepmodError::Invented { path }) => assert_eq!(path, "kernel/c.ko"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(indexed(""), Err(DepmodError::NotIndexed { .. })));
    assert!(index(&Files::new(), &Modules::new()).is_ok());
}
