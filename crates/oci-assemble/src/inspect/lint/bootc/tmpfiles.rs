//! Content of `/var`: applied at the first install only, so tmpfiles.d must make it everywhere else.

use std::collections::BTreeSet;

use super::super::report::Note;
use super::super::{LintError, Subject, config};
use crate::tree::{FileTree, Resolved, TreePath};

/// What tmpfiles.d makes below the root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Made {
    /// Paths that lines make.
    pub(in super::super) paths: BTreeSet<TreePath>,
    /// Paths that are copied with everything below.
    pub(in super::super) copies: BTreeSet<TreePath>,
}

impl Made {
    /// Adds what one file makes (tmpfiles.d(5)): files, directories, subvolumes, links, pipes and devices are made
    /// with the directories above them, `C` copies a whole tree. Lines that only change or remove make nothing.
    pub(in super::super) fn add(&mut self, tree: &FileTree, text: &str) {
        for words in config::lines(text).map(config::words) {
            let [kind, name, ..] = words.as_slice() else { continue };
            let Some(letter) = kind.chars().next().filter(|letter| "fFdDvqQpLcbC".contains(*letter)) else { continue };
            let Some(name) = specifiers(name).filter(|name| name.starts_with('/')) else { continue };
            let place = match tree.resolve_parent(&name) {
                Resolved::Found(place) | Resolved::Missing(place) => place,
                Resolved::Blocked(_) => continue,
            };
            self.paths.extend(place.ancestors());
            if letter == 'C' {
                self.copies.insert(place.clone());
            }
            self.paths.insert(place);
        }
    }

    fn has(&self, path: &TreePath) -> bool {
        self.paths.contains(path) || path.ancestors().any(|above| self.copies.contains(&above))
    }
}

/// The path with the specifiers that are the same on every machine replaced; `None` when it has others.
fn specifiers(text: &str) -> Option<String> {
    let mut path = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '%' {
            path.push(next);
            continue;
        }
        path.push_str(match rest.next()? {
            '%' => "%",
            'S' => "/var/lib",
            'C' => "/var/cache",
            'L' => "/var/log",
            'V' => "/var/tmp",
            'T' => "/tmp",
            't' => "/run",
            _ => return None,
        });
    }
    Some(path)
}

/// Everything below `/var` is made by a line of tmpfiles.d. Of what is not, only the top is named.
pub(in super::super) fn var_tmpfiles(subject: &Subject) -> Result<Vec<Note>, LintError> {
    let mut made = Made::default();
    for (_, text) in config::drop_ins(subject, "tmpfiles.d")? {
        made.add(subject.tree, &text);
    }
    let Ok(var) = TreePath::new("var") else { return Ok(Vec::new()) };
    let mut notes = Vec::new();
    let mut top: Option<&TreePath> = None;
    for (path, inode) in subject.tree.below(&var) {
        if top.is_some_and(|top| path.is_below(top)) || made.has(path) {
            continue;
        }
        let kind = subject.tree.linked(inode).kind.name();
        notes.push(Note::at(path, format!("{kind} without a line in tmpfiles.d")));
        top = Some(path);
    }
    Ok(notes)
}
