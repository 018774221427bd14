//! Packages and files that must not be there.

use super::report::Note;
use super::rules::{PACKAGES, PATHS, PackageRule, PathRule, When};
use super::{LintError, Severity, Subject};
use crate::tree::glob::{self, Pattern};
use crate::tree::{Inode, Kind, TreePath};

/// Why something is forbidden that only the recipe names.
const BY_RECIPE: &str = "forbidden by the recipe";

/// No installed package is on [`PACKAGES`] or on the recipe's list.
pub(super) fn forbidden_packages(subject: &Subject) -> Vec<Note> {
    let Some(packages) = subject.packages else {
        return vec![Note::of("no package database: packages cannot be checked, only files").warning()];
    };
    let asked = subject.input.forbid.packages.iter().map(|name| (name.as_str(), Severity::Fatal, BY_RECIPE));
    let built_in = PACKAGES.iter().map(|PackageRule { name, severity, reason }| (*name, *severity, *reason));
    let rules: Vec<_> = asked.chain(built_in).collect();
    let mut notes = Vec::new();
    for package in packages.packages() {
        if let Some((_, severity, reason)) = rules.iter().find(|(name, ..)| fits(name, &package.name)) {
            notes
                .push(Note::of(format!("{package} is installed: {reason}")).warning_if(*severity == Severity::Warning));
        }
    }
    notes
}

/// Whether a package's name fits that of a rule: `#` stands for digits and dots, else as in a shell.
fn fits(rule: &str, name: &str) -> bool {
    match rule.split_once('#') {
        None => glob::matches(rule.as_bytes(), name.as_bytes()),
        Some((before, after)) => {
            let digits = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            digits.is_some_and(|digits| {
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            })
        }
    }
}

/// No file is at a place of [`PATHS`] or of the recipe's list. One finding a rule, with the first path.
pub(super) fn forbidden_files(subject: &Subject) -> Result<Vec<Note>, LintError> {
    let mut notes = Vec::new();
    for PathRule { path, when, severity, reason } in PATHS {
        notes.extend(check(subject, path, *when, reason)?.map(|note| note.warning_if(*severity == Severity::Warning)));
    }
    for path in &subject.input.forbid.paths {
        notes.extend(check(subject, path, When::Present, BY_RECIPE)?);
    }
    Ok(notes)
}

fn check(subject: &Subject, pattern: &str, when: When, reason: &str) -> Result<Option<Note>, LintError> {
    let pattern = Pattern::new(pattern);
    let stem = pattern.stem();
    let here = subject.tree.get(&stem).map(|inode| (stem.clone(), inode));
    let below = subject.tree.below(&stem).map(|(path, inode)| (path.clone(), inode));
    let counts = |(path, inode): &(TreePath, &Inode)| {
        !inode.is_directory()
            && pattern.matches(path)
            && match when {
                When::Present => true,
                When::Added => subject.was_added(path),
                When::Resolves => {
                    matches!(subject.tree.linked(inode).kind, Kind::Symlink(_))
                        && subject.tree.lookup(path.as_bytes()).is_some()
                }
            }
    };
    let mut found = here.into_iter().chain(below).filter(counts);
    let Some((first, _)) = found.next() else { return Ok(None) };
    let rest = found.count();
    let owner = subject.owner(&first)?;
    let owner = owner.map(|owner| format!(", from {owner}")).unwrap_or_default();
    let others = if rest > 0 { format!(", and {rest} more at {pattern}") } else { String::new() };
    Ok(Some(Note::at(&first, format!("{reason}{owner}{others}"))))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn knows_packages_by_name() {
        for (rule, name, fit) in [
            ("gcc", "gcc", true),
            ("gcc", "gcc-12", false),
            ("gcc-#", "gcc-12", true),
            ("gcc-#", "gcc-12-base", false),
            ("gcc-toolset-#-gcc", "gcc-toolset-14-gcc", true),
            ("gcc-#", "gcc-", false),
            ("linux-headers-*", "linux-headers-6.12.0-amd64", true),
            ("*-dkms", "zfs-dkms", true),
        ] {
            assert_eq!(fits(rule, name), fit, "{rule} {name}");
        }
    }
}
