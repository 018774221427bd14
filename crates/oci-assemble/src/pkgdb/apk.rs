//! apk's database: one text file, `installed`, a stanza a package (apk-tools, `doc/apk-v2.5.scd` and `src/database.c`).
//!
//! A line is a letter, a colon and a value. `F` opens a directory, `R` is a file in it; what else belongs to a path (mode,
//! checksum) follows it and is passed over.

use super::package::Listed;
use super::{DbKind, DbLocation, Depth, Package, Packages, PkgDbError};
use crate::layer::{Contents, whole};
use crate::tree::FileTree;

/// The largest database read: Alpine's whole archive would fit.
const INSTALLED_MAX: u64 = 512 << 20;

pub(super) fn read(
    tree: &FileTree,
    contents: &dyn Contents,
    at: &DbLocation,
    depth: Depth,
) -> Result<Packages, PkgDbError> {
    let bytes = whole(tree, contents, &at.path, INSTALLED_MAX)?;
    let mut found = Vec::new();
    for stanza in stanzas(&bytes) {
        let damaged = PkgDbError::Damaged { path: at.path.clone(), what: "a package lacks a name or a version" };
        let (package, paths) = package(&stanza).ok_or(damaged)?;
        found.push((package, if depth == Depth::Files { paths } else { Vec::new() }));
    }
    Ok(Packages::new(DbKind::Apk, at.path.clone(), tree, found))
}

/// The lines of each stanza, as letter and value; names of files need not be UTF-8.
fn stanzas(bytes: &[u8]) -> Vec<Vec<(u8, &[u8])>> {
    let mut stanzas = vec![Vec::new()];
    for line in bytes.split(|byte| *byte == b'\n') {
        match line {
            [letter, b':', value @ ..] => {
                if let Some(stanza) = stanzas.last_mut() {
                    stanza.push((*letter, value));
                }
            }
            [] => stanzas.push(Vec::new()),
            _ => {}
        }
    }
    stanzas.retain(|stanza| !stanza.is_empty());
    stanzas
}

fn package(stanza: &[(u8, &[u8])]) -> Option<(Package, Vec<Listed>)> {
    let text = |letter: u8| {
        let found = stanza.iter().find(|(found, _)| *found == letter);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let number = |letter| text(letter).and_then(|text| text.parse().ok());
    let full = text(b'V')?;
    // The release is the last part, -rN; a version may have dashes only in front of it.
    let (version, release) = match full.rsplit_once("-r") {
        Some((version, release)) => (version.to_owned(), Some(format!("r{release}"))),
        None => (full, None),
    };
    let package = Package {
        name: text(b'P')?,
        epoch: None,
        version,
        release,
        arch: text(b'A'),
        source: text(b'o'),
        license: text(b'L'),
        size: number(b'I'),
        installed: None,
        built: number(b't').and_then(|time| i64::try_from(time).ok()),
        changelog: Vec::new(),
    };
    let mut folder: &[u8] = b"";
    let mut paths = Vec::new();
    for (letter, value) in stanza {
        match letter {
            b'F' => {
                folder = value;
                if !folder.is_empty() {
                    paths.push(Listed::plain([b"/", folder].concat()));
                }
            }
            b'R' if folder.is_empty() => paths.push(Listed::plain([b"/", *value].concat())),
            b'R' => paths.push(Listed::plain([b"/", folder, b"/", value].concat())),
            _ => {}
        }
    }
    Some((package, paths))
}
