//! `prepare-root.conf`: how the root of the booted system is mounted.

use super::super::report::Note;
use super::super::sealed::PREPARE_ROOT;
use super::super::{LintError, Subject, config};
use crate::tree::TreePath;

/// A configuration is there and asks for composefs, or for a root that is thrown away at shutdown.
pub(in super::super) fn baseimage_composefs(subject: &Subject) -> Result<Vec<Note>, LintError> {
    for place in PREPARE_ROOT {
        let Some(text) = config::optional_text(subject, place)? else { continue };
        let set = |section: &str, key: &str| value(&text, section, key);
        let composefs = set("composefs", "enabled")
            .is_some_and(|value| matches!(value, "yes" | "true" | "1" | "maybe" | "signed" | "verity"));
        let transient = set("root", "transient").is_some_and(is_true);
        return Ok(match TreePath::new(place) {
            Ok(path) if !composefs && !transient => vec![Note::at(&path, "composefs is not enabled")],
            _ => Vec::new(),
        });
    }
    Ok(vec![Note::of("no prepare-root.conf: composefs is not enabled")])
}

fn is_true(value: &str) -> bool {
    matches!(value, "yes" | "true" | "1")
}

/// The last value of `key` in `[section]` of a key file of `GLib`.
fn value<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let mut here = false;
    let mut found = None;
    for line in config::lines(text) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name == section;
        } else if here
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            found = Some(value.trim());
        }
    }
    found
}
