//! Directories in `/var` as lines of tmpfiles.d(5).

use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::tree::{Escaped, FileTree, Inode, Kind, PathError, Resolved, TreePath};

/// First line of the file.
const HEAD: &str = "# What packages have in /var, which images do not carry.\n";

/// The file for what packages of `stage` have in `/var`. A hyphen behind `assemble` is for what recipes say
/// themselves, and a base that was assembled has such a file already.
pub(crate) fn place(tree: &FileTree, stage: &str) -> Result<TreePath, PathError> {
    let file = |number: String| TreePath::new(format!("usr/lib/tmpfiles.d/50-assemble.{stage}{number}.conf"));
    let mut path = file(String::new())?;
    let mut number = 1;
    while tree.get(&path).is_some() {
        path = file(format!("-{number}"))?;
        number += 1;
    }
    Ok(path)
}

/// Names of users and groups by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Users.
    pub users: BTreeMap<u64, String>,
    /// Groups.
    pub groups: BTreeMap<u64, String>,
}

impl Names {
    /// Adds the entries of a passwd(5) and a group(5) text. The first name of a number counts.
    pub fn add(&mut self, passwd: &str, group: &str) {
        for (text, names) in [(passwd, &mut self.users), (group, &mut self.groups)] {
            for line in text.lines() {
                let mut fields = line.split(':');
                let (Some(name), Some(Ok(number))) = (fields.next(), fields.nth(1).map(str::parse)) else { continue };
                if !name.is_empty() && !name.contains(char::is_whitespace) {
                    names.entry(number).or_insert_with(|| name.to_owned());
                }
            }
        }
    }

    fn of(names: &BTreeMap<u64, String>, number: u64) -> String {
        match names.get(&number) {
            Some(name) => name.clone(),
            None if number == 0 => "root".to_owned(),
            None => number.to_string(),
        }
    }
}

/// A file of tmpfiles.d that makes these directories and symlinks; nothing when there are none.
///
/// Owners are named, since numbers of users differ between machines; one without a name keeps its number.
pub fn lines<'a>(state: impl IntoIterator<Item = (&'a TreePath, &'a Inode)>, names: &Names) -> String {
    let mut text = String::new();
    for (path, inode) in state {
        let path = escaped(path.as_bytes());
        match &inode.kind {
            Kind::Directory => {
                let (user, group) = (Names::of(&names.users, inode.meta.uid), Names::of(&names.groups, inode.meta.gid));
                text.push_str(&format!("d /{path} {:04o} {user} {group} -\n", inode.meta.mode & 0o7777));
            }
            Kind::Symlink(target) => text.push_str(&format!("L /{path} - - - - {}\n", escaped(target))),
            _ => {}
        }
    }
    if text.is_empty() { text } else { [HEAD, &text].concat() }
}

/// As tmpfiles.d(5) reads a word: C escapes, quotes and specifiers.
fn escaped(bytes: &[u8]) -> String {
    Escaped(bytes).to_string().replace('%', "%%").replace('"', "\\x22").replace('\'', "\\x27")
}

/// The files of tmpfiles.d that are in force.
pub(crate) fn files(tree: &FileTree) -> Vec<TreePath> {
    in_force(tree, &["etc/tmpfiles.d", "usr/lib/tmpfiles.d"], b".conf")
}

/// The files of systemd's drop-in `folders` that are in force, in the order of their names: a file takes the place of one
/// with the same name in a later folder, and a symlink that leads to no file masks it.
pub(crate) fn in_force(tree: &FileTree, folders: &[&str], ending: &[u8]) -> Vec<TreePath> {
    let mut chosen: BTreeMap<Vec<u8>, TreePath> = BTreeMap::new();
    for folder in folders.iter().rev() {
        let Some((folder, _)) = tree.lookup(folder) else { continue };
        let found = tree.children(&folder).filter(|(path, _)| path.name().ends_with(ending));
        chosen.extend(found.map(|(path, _)| (path.name().to_vec(), path.clone())));
    }
    let is_file =
        |path: &TreePath| tree.lookup(path.as_bytes()).is_some_and(|(found, _)| tree.content(&found).is_some());
    chosen.into_values().filter(is_file).collect()
}

/// The paths that the lines of one file make, with the directories above them, behind the symlinks of `tree`. Lines that
/// only change or remove make nothing; a path that depends on the machine is left out.
pub(crate) fn made(tree: &FileTree, text: &str) -> BTreeSet<TreePath> {
    let mut made = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(path)) = (words.next(), words.next()) else { continue };
        let path = path.trim_matches(['"', '\'']);
        if !kind.starts_with(|letter| "fFdDvqQpLcbC".contains(letter)) || !path.starts_with('/') || path.contains('%') {
            continue;
        }
        let path = oci_assemble::tree::unescape(path).unwrap_or_else(|| path.as_bytes().to_vec());
        if let Resolved::Found(place) | Resolved::Missing(place) = tree.resolve_parent(path) {
            made.extend(place.ancestors());
            made.insert(place);
        }
    }
    made
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oci_assemble::testing::memory::add_file;

    #[test]
    fn the_file_of_a_stage_takes_no_others_place() {
        let mut tree = FileTree::new();
        let next = |tree: &FileTree| place(tree, "zfs").unwrap().to_string();
        add_file(&mut tree, "usr/lib/tmpfiles.d/50-assemble-zfs.conf", 0o644, "of an image that is called so");
        assert_eq!(next(&tree), "/usr/lib/tmpfiles.d/50-assemble.zfs.conf");
        add_file(&mut tree, "usr/lib/tmpfiles.d/50-assemble.zfs.conf", 0o644, "of the base");
        assert_eq!(next(&tree), "/usr/lib/tmpfiles.d/50-assemble.zfs-1.conf");
    }
}
