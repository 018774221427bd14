//! Names and permissions of added files.

use std::collections::BTreeMap;

use super::Subject;
use super::report::Note;
use crate::tree::{Escaped, TreePath};

/// Set-user-id and set-group-id.
const SETID: u32 = 0o6000;

/// Two names in one directory that differ in case only: legal on Linux, lost when the tree is copied elsewhere. Said
/// of added files.
pub(super) fn case_collisions(subject: &Subject) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut folders: BTreeMap<TreePath, Vec<&TreePath>> = BTreeMap::new();
    for path in subject.input.added.into_iter().flatten().filter(|path| subject.tree.get(path).is_some()) {
        folders.entry(path.parent().unwrap_or_default()).or_default().push(path);
    }
    for (folder, added) in folders {
        let mut folded: BTreeMap<String, Vec<&TreePath>> = BTreeMap::new();
        for (path, _) in subject.tree.children(&folder) {
            folded.entry(fold(path)).or_default().push(path);
        }
        for path in added {
            let others = folded.get(&fold(path)).into_iter().flatten().filter(|other| **other != path);
            notes.extend(
                others.map(|other| Note::at(path, format!("differs from {} in case only", Escaped(other.name())))),
            );
        }
    }
    notes
}

fn fold(path: &TreePath) -> String {
    String::from_utf8_lossy(path.name()).to_lowercase()
}

/// Added files that give whoever runs them more rights.
pub(super) fn setuid_added(subject: &Subject) -> Vec<Note> {
    let mut notes = Vec::new();
    for path in subject.input.added.into_iter().flatten() {
        let Some(inode) = subject.tree.get(path).filter(|_| subject.tree.content(path).is_some()) else { continue };
        if inode.meta.mode & SETID != 0 {
            notes.push(Note::at(
                path,
                format!("mode {:04o}, owner {}:{}", inode.meta.mode, inode.meta.uid, inode.meta.gid),
            ));
        }
        if inode.meta.xattrs.contains_key(b"security.capability".as_slice()) {
            notes.push(Note::at(path, "file capabilities"));
        }
    }
    notes
}
