//! Libraries that programs need.

use std::collections::{BTreeMap, BTreeSet};

use super::report::Note;
use super::{LintError, Subject};
use crate::elf::{Identity, Libraries, Needed, Resolution};
use crate::tree::{Escaped, TreePath};

/// Every program and library finds what it needs: those that were added, or all when it is not known which were.
///
/// A library may be loaded by a program whose own search path finds more, and a plugin into a process that has its
/// needs loaded already. So programs are resolved first, and what is found on their behalf counts as found; a library
/// that no search path leads to, but that is in the image, is a warning. So is everything when it is not known what was
/// added: bases ship helpers for other machines that nobody starts.
pub(super) fn needed_libraries(subject: &Subject) -> Result<Vec<Note>, LintError> {
    let facts = &subject.facts;
    let unknown = subject.input.added.is_none();
    let mut notes = Vec::new();
    let inspected: BTreeSet<TreePath> = facts.needed.keys().cloned().collect();
    let mut libraries = Libraries::new(subject.tree, &facts.contents)?.inspecting(&inspected);
    let mut elsewhere: BTreeMap<(&[u8], Identity), &TreePath> = BTreeMap::new();
    for (path, identity) in &facts.identities {
        libraries.learn(path.clone(), *identity, None);
        if let Some(identity) = identity {
            elsewhere.insert((path.name(), *identity), path);
        }
    }
    for (path, needed) in &facts.needed {
        match needed {
            Ok(needed) => {
                libraries.learn(path.clone(), Some(needed.identity), Some(needed.clone()));
                elsewhere.insert((path.name(), needed.identity), path);
            }
            Err(why) => notes.push(Note::at(path, why)),
        }
    }
    let found: Vec<_> = facts.needed.iter().filter_map(|(path, needed)| Some((path, needed.as_ref().ok()?))).collect();
    let (programs, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, needed)| needed.interpreter.is_some());
    let mut settled: BTreeMap<(TreePath, Vec<u8>), bool> = BTreeMap::new();
    for (path, needed) in programs.into_iter().chain(others) {
        let resolutions = libraries.resolve(path)?;
        settled.extend(served(&resolutions, &facts.needed).map(|key| (key, true)));
        for resolution in resolutions {
            let key = (resolution.by.clone(), resolution.name.clone());
            let is_new = !settled.contains_key(&key);
            if resolution.found.is_some() {
                settled.insert(key, true);
            } else if is_new {
                settled.insert(key, false);
                let place = elsewhere.get(&(resolution.name.as_slice(), needed.identity));
                let name = Escaped(&resolution.name);
                let value = match place {
                    Some(place) => format!("needs {name}, which is at {place}, where it is not looked for"),
                    None => format!("needs {name}, which is not in the image"),
                };
                notes.push(Note::at(&resolution.by, value).warning_if(place.is_some() || unknown));
            }
        }
    }
    Ok(notes)
}

/// What the libraries of one process need and have, as another object of it, with a search path of its own, got it
/// loaded before: pairs of the library and the name.
fn served<'a>(
    resolutions: &'a [Resolution],
    needed: &'a BTreeMap<TreePath, Result<Needed, String>>,
) -> impl Iterator<Item = (TreePath, Vec<u8>)> + 'a {
    let found = || resolutions.iter().filter_map(|resolution| Some((&resolution.name, resolution.found.as_ref()?)));
    let names: BTreeSet<&Vec<u8>> = found().map(|(name, _)| name).collect();
    found().flat_map(move |(_, library)| {
        let needs = needed.get(library).and_then(|needed| needed.as_ref().ok());
        let needs = needs.into_iter().flat_map(|needed| &needed.needed);
        let had: Vec<_> = needs.filter(|name| names.contains(name)).collect();
        had.into_iter().map(|name| (library.clone(), name.clone()))
    })
}
