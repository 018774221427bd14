#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use super::*;
use std::fs;
use std::os::unix::fs::symlink;

fn kernel() -> KernelRelease {
    KernelRelease::new("6.1").unwrap()
}

/// A workspace with both modules directories, empty.
fn workspace() -> (tempfile::TempDir, Workspace) {
    let above = tempfile::tempdir().unwrap();
    let workspace = Workspace::new(above.path()).unwrap();
    for directory in [MODULES, "lib/modules"] {
        workspace.directory(&TreePath::new(format!("{directory}/6.1")).unwrap()).unwrap();
    }
    (above, workspace)
}

#[test]
fn takes_known_names_from_the_directory_that_has_an_index() {
    for modules in [MODULES, "lib/modules"] {
        let (_above, workspace) = workspace();
        let directory = workspace.path().join(modules).join("6.1");
        for name in ["modules.dep", "modules.dep.bin", "modules.evil", "modules.dep.bin.tmp", "a.ko"] {
            fs::write(directory.join(name), name).unwrap();
        }
        let expected = ["modules.dep", "modules.dep.bin"].map(|name| (name, name.as_bytes().to_vec()));
        assert_eq!(harvest(&workspace, &kernel()).unwrap(), Files::from(expected));
    }
}

#[test]
fn takes_nothing_but_bounded_regular_files() {
    type Plant = fn(&std::path::Path);
    let plants: [(Plant, &str); 5] = [
        (|at| symlink("/etc/passwd", at).unwrap(), "an absolute link"),
        (|at| symlink("modules.dep", at).unwrap(), "a link to itself"),
        (|at| fs::create_dir(at).unwrap(), "a directory"),
        (|at| rustix::fs::mkfifoat(rustix::fs::CWD, at, rustix::fs::Mode::RUSR).unwrap(), "a fifo"),
        (|at| fs::File::create(at).unwrap().set_len(INDEX_MAX + 1).unwrap(), "a file too large"),
    ];
    for (plant, what) in plants {
        let (_above, workspace) = workspace();
        let directory = workspace.path().join(MODULES).join("6.1");
        fs::write(directory.join("modules.alias"), "good").unwrap();
        plant(&directory.join("modules.dep"));
        let found = harvest(&workspace, &kernel());
        assert!(
            matches!(found, Err(DepmodError::NoIndex { name: "modules.dep", source: Some(_) })),
            "{what}: {found:?}"
        );
    }
    let (_above, workspace) = workspace();
    let found = harvest(&workspace, &kernel());
    assert!(matches!(found, Err(DepmodError::NoIndex { name: "modules.dep", source: None })), "{found:?}");
}

#[test]
fn a_modules_directory_that_became_a_link_is_not_entered() {
    let (above, workspace) = workspace();
    let directory = workspace.path().join(MODULES).join("6.1");
    fs::write(above.path().join("modules.dep"), "outside").unwrap();
    fs::remove_dir(&directory).unwrap();
    symlink(above.path(), &directory).unwrap();
    let found = harvest(&workspace, &kernel());
    assert!(matches!(found, Err(DepmodError::NoIndex { source: Some(_), .. })), "{found:?}");
}
