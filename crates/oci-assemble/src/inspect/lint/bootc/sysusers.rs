//! Users and groups that machines installed before will lack.

use std::collections::BTreeSet;

use super::super::report::Note;
use super::super::{LintError, Subject, config};
use crate::tree::TreePath;

/// Users and groups that sysusers.d makes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Declared {
    pub(in super::super) users: BTreeSet<String>,
    pub(in super::super) groups: BTreeSet<String>,
}

impl Declared {
    /// Adds what one file declares (sysusers.d(5)): `u` a user and, unless another is named with the number, a group of the
    /// same name; `g` a group; `m` a membership, which makes both sides.
    pub(in super::super) fn add(&mut self, text: &str) {
        for words in config::lines(text).map(config::words) {
            let [kind, name, rest @ ..] = words.as_slice() else { continue };
            match kind.trim_end_matches('!') {
                "u" => {
                    self.users.insert(name.clone());
                    if !rest.first().is_some_and(|id| id.contains(':')) {
                        self.groups.insert(name.clone());
                    }
                }
                "g" => {
                    self.groups.insert(name.clone());
                }
                "m" => {
                    self.users.insert(name.clone());
                    self.groups.extend(rest.first().cloned());
                }
                _ => {}
            }
        }
    }
}

/// Every entry of `/etc/passwd` and `/etc/group` has a line in sysusers.d.
pub(in super::super) fn sysusers(subject: &Subject) -> Result<Vec<Note>, LintError> {
    let mut declared = Declared::default();
    for (_, text) in config::drop_ins(subject, "sysusers.d")? {
        declared.add(&text);
    }
    let mut notes = Vec::new();
    for (place, known, what) in [("etc/passwd", &declared.users, "user"), ("etc/group", &declared.groups, "group")] {
        let text = config::optional_text(subject, place)?.unwrap_or_default();
        let Ok(path) = TreePath::new(place) else { continue };
        let names = config::lines(&text).filter_map(|line| line.split(':').next());
        let missing = names.filter(|name| !name.is_empty() && !known.contains(*name));
        notes.extend(missing.map(|name| Note::at(&path, format!("{what} {name} has no line in sysusers.d"))));
    }
    Ok(notes)
}
