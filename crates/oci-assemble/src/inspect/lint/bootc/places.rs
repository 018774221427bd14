//! What stands where in the root.

use super::super::Subject;
use super::super::kernel::releases;
use super::super::report::Note;
use crate::tree::{Escaped, FileTree, Inode, Kind, TreePath};

/// Mount points that every system needs.
const API_DIRECTORIES: [&str; 6] = ["dev", "proc", "run", "sys", "tmp", "var"];
/// A copy of the empty root that base images carry for those who build from scratch.
const REFERENCE_ROOT: &str = "usr/share/doc/bootc/baseimage/base";
/// What `/ostree` must be.
const OSTREE_TARGET: &[u8] = b"sysroot/ostree";
/// The link that systemd-resolved's package leaves in `/run`.
const STUB_RESOLV: &str = "run/systemd/resolve/stub-resolv.conf";

/// A valid path of this program's own text.
fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap_or_default()
}

pub(in super::super) fn api_base_directories(subject: &Subject) -> Vec<Note> {
    API_DIRECTORIES
        .map(path)
        .iter()
        .filter_map(|path| match subject.tree.get(path) {
            None => Some(Note::at(path, "missing mount point")),
            Some(inode) if !inode.is_directory() => Some(Note::at(path, "not a directory")),
            Some(_) => None,
        })
        .collect()
}

pub(in super::super) fn baseimage_root(subject: &Subject) -> Vec<Note> {
    let mut notes = root_shape(subject.tree, &TreePath::root());
    let reference = path(REFERENCE_ROOT);
    if subject.tree.get(&reference).is_some_and(Inode::is_directory) {
        notes.extend(root_shape(subject.tree, &reference));
    }
    notes
}

fn root_shape(tree: &FileTree, root: &TreePath) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Ok(sysroot) = root.join("sysroot")
        && !tree.get(&sysroot).is_some_and(Inode::is_directory)
    {
        notes.push(Note::at(&sysroot, "not a directory"));
    }
    let Ok(ostree) = root.join("ostree") else { return notes };
    match tree.behind(&ostree).map(|inode| &inode.kind) {
        Some(Kind::Symlink(target)) if **target == *OSTREE_TARGET => {}
        Some(Kind::Symlink(target)) => {
            notes.push(Note::at(&ostree, format!("leads to {}, not to sysroot/ostree", Escaped(target))));
        }
        _ => notes.push(Note::at(&ostree, "not a symlink to sysroot/ostree")),
    }
    notes
}

pub(in super::super) fn etc_usretc(subject: &Subject) -> Vec<Note> {
    let (etc, usr_etc) = (path("etc"), path("usr/etc"));
    let both = subject.tree.get(&etc).is_some() && subject.tree.get(&usr_etc).is_some();
    both.then(|| Note::at(&usr_etc, "stands beside /etc, and clients make it themselves")).into_iter().collect()
}

pub(in super::super) fn kernel(subject: &Subject) -> Vec<Note> {
    let kernels: Vec<TreePath> =
        releases(subject.tree).into_iter().filter(|(_, image)| *image).map(|(path, _)| path).collect();
    if kernels.len() > 1 {
        kernels.iter().map(|path| Note::at(path, "one of several kernels")).collect()
    } else {
        Vec::new()
    }
}

pub(in super::super) fn utf8(subject: &Subject) -> Vec<Note> {
    let mut notes = Vec::new();
    for (path, inode) in subject.tree.iter() {
        if std::str::from_utf8(path.name()).is_err() {
            notes.push(Note::at(path, "name is not UTF-8"));
        }
        if let Kind::Symlink(target) = &subject.tree.linked(inode).kind
            && std::str::from_utf8(target).is_err()
        {
            notes.push(Note::at(path, format!("target {} is not UTF-8", Escaped(target))));
        }
    }
    notes
}

pub(in super::super) fn var_run(subject: &Subject) -> Vec<Note> {
    let at = path("var/run");
    let wrong = subject.tree.behind(&at).is_some_and(|inode| !matches!(inode.kind, Kind::Symlink(_)));
    wrong.then(|| Note::at(&at, "not a symlink")).into_iter().collect()
}

pub(in super::super) fn buildah_injected(subject: &Subject) -> Vec<Note> {
    let injected = ["etc/hostname", "etc/resolv.conf"].map(path);
    let empty = injected.iter().filter(|path| subject.tree.content(path).is_some_and(|content| content.size() == 0));
    empty.map(|path| Note::at(path, "empty: a container engine may have left it there")).collect()
}

pub(in super::super) fn nonempty_boot(subject: &Subject) -> Vec<Note> {
    let boot = path("boot");
    if !subject.tree.get(&boot).is_some_and(Inode::is_directory) {
        return vec![Note::at(&boot, "missing directory")];
    }
    let children = subject.tree.children(&boot).filter(|(path, _)| path.name() != b"EFI");
    children.map(|(path, _)| Note::at(path, "hidden on the booted system")).collect()
}

pub(in super::super) fn nonempty_run_tmp(subject: &Subject) -> Vec<Note> {
    let stub = path(STUB_RESOLV);
    let mut notes = Vec::new();
    for folder in ["run", "tmp"].map(path) {
        for (path, inode) in subject.tree.below(&folder) {
            let leads_to_stub = stub == *path || stub.is_below(path);
            let holds_more = inode.is_directory() && subject.tree.children(path).next().is_some();
            if !leads_to_stub && !holds_more {
                notes.push(Note::at(path, "hidden on the booted system"));
            }
        }
    }
    notes
}

pub(in super::super) fn var_log(subject: &Subject) -> Vec<Note> {
    let folder = path("var/log");
    let full = subject
        .tree
        .below(&folder)
        .filter(|(path, _)| subject.tree.content(path).is_some_and(|content| content.size() > 0));
    full.map(|(path, _)| Note::at(path, "a log of the build")).collect::<Vec<_>>()
}
