//! Configuration in the way of systemd: drop-in directories and lines of quoted words.

use std::collections::BTreeMap;

use super::{LintError, Subject};
use crate::layer::whole;
use crate::tree::{Kind, TreePath};

/// The largest configuration file read.
pub(super) const CONFIG_MAX: u64 = 4 << 20;

/// The `.conf` files of drop-in directory `name` that are in force: a file in `/etc` or `/run` takes the place of one
/// with the same name in `/usr/lib`, and a link to `/dev/null` masks it (systemd's tmpfiles.d(5), "CONFIGURATION
/// DIRECTORIES AND PRECEDENCE"). In the order of their names.
pub(super) fn drop_ins(subject: &Subject, name: &str) -> Result<Vec<(TreePath, String)>, LintError> {
    let mut chosen: BTreeMap<Vec<u8>, TreePath> = BTreeMap::new();
    for root in ["usr/lib", "run", "etc"] {
        let Some((folder, _)) = subject.tree.lookup(format!("{root}/{name}")) else { continue };
        for (path, inode) in subject.tree.children(&folder).filter(|(path, _)| path.name().ends_with(b".conf")) {
            if !inode.is_directory() {
                chosen.insert(path.name().to_vec(), path.clone());
            }
        }
    }
    let masked = |path: &TreePath| {
        let kind = subject.tree.behind(path).map(|inode| &inode.kind);
        matches!(kind, Some(Kind::Symlink(to)) if **to == *b"/dev/null")
    };
    chosen
        .into_values()
        .filter(|path| !masked(path))
        .map(|path| text(subject, &path).map(|text| (path, text)))
        .collect()
}

/// A file as text; bytes that are not UTF-8 are replaced.
pub(super) fn text(subject: &Subject, path: &TreePath) -> Result<String, LintError> {
    let bytes = whole(subject.tree, &subject.facts.contents, path, CONFIG_MAX)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// As [`text`]; `None` when there is no regular file.
pub(super) fn optional_text(subject: &Subject, path: &str) -> Result<Option<String>, LintError> {
    let found = subject.tree.lookup(path).map(|(found, _)| found).filter(|found| subject.tree.content(found).is_some());
    found.map(|found| text(subject, &found)).transpose()
}

/// Lines that are neither empty nor comments.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Words of a line: separated by white space, quoted with `"` or `'`, with backslash escapes.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match (quote, next) {
            (Some(open), close) if open == close => quote = None,
            (None, '"' | '\'') => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            (_, '\\') => word.get_or_insert_default().extend(escaped(&mut rest)),
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(next),
        }
    }
    words.extend(word);
    words
}

/// What follows a backslash: `\xNN`, the usual letters, or the character itself.
fn escaped(rest: &mut std::str::Chars) -> Option<char> {
    Some(match rest.next()? {
        'n' => '\n',
        't' => '\t',
        's' => ' ',
        'x' => {
            let digits: String = rest.by_ref().take(2).collect();
            char::from(u8::from_str_radix(&digits, 16).ok()?)
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn splits_words_as_systemd_does() {
        for (line, expected) in [
            ("d /var/lib/x 0755 root root -", vec!["d", "/var/lib/x", "0755", "root", "root", "-"]),
            ("u a - \"A B\" '/home dir'", vec!["u", "a", "-", "A B", "/home dir"]),
            (r"d /var/a\x20b\\c", vec!["d", r"/var/a b\c"]),
            ("  ", vec![]),
            ("a \"\"", vec!["a", ""]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
