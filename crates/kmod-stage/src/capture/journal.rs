//! rpm's database as one file.

use oci_assemble::layer::Contents;
use oci_assemble::pkgdb::{PkgDbError, rpm};
use oci_assemble::tree::{Content, FileTree, Inode, TreeDelta, TreePath};

/// Where rpm's database is in an image; elsewhere it is refused.
const DATABASES: [&str; 2] = ["usr/lib/sysimage/rpm/rpmdb.sqlite", "usr/share/rpm/rpmdb.sqlite"];

/// `delta` with a database of rpm that changed as one file, its write-ahead log applied.
///
/// rpm leaves a log beside the database, and a database that cannot be read without the right to write one: in an image
/// nobody has it. The log stays as an empty file.
pub(super) fn settled(
    mut delta: TreeDelta,
    exported: &FileTree,
    contents: &dyn Contents,
) -> Result<TreeDelta, PkgDbError> {
    for path in DATABASES.into_iter().filter_map(|path| TreePath::new(path).ok()) {
        let Ok(log) = TreePath::new([path.as_bytes(), b"-wal"].concat()) else { continue };
        let logged = exported.content(&log).is_some_and(|log| log.size() > 0);
        let inode = exported.get(&path).filter(|_| exported.content(&path).is_some());
        let Some(inode) = inode.filter(|_| logged || delta.entries().contains_key(&path)) else { continue };
        let bytes = rpm::settled(exported, contents, &path)?;
        delta.insert(path, Inode::file(inode.meta.clone(), Content::of(bytes)));
        if let Some(inode) = exported.get(&log).filter(|_| logged) {
            delta.insert(log, Inode::file(inode.meta.clone(), Content::of("")));
        }
    }
    Ok(delta)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oci_assemble::testing::memory::{Memory, add_file};

    fn tree(database: &[u8], log: &[u8]) -> FileTree {
        let mut tree = FileTree::new();
        add_file(&mut tree, DATABASES[0], 0o644, database);
        add_file(&mut tree, &format!("{}-wal", DATABASES[0]), 0o644, log);
        tree
    }

    #[test]
    fn a_database_that_changed_needs_no_journal() {
        let path = TreePath::new(DATABASES[0]).unwrap();
        // What stands before the page size, then the versions of the format.
        let with = |version: u8| [b"SQLite format 3\0\x10\0".as_slice(), &[version; 2]].concat();
        let (base, after) = (tree(&with(1), b""), tree(&[with(2), b"more".to_vec()].concat(), b""));
        let delta = TreeDelta::between(&base, &after);
        let delta = settled(delta, &after, &Memory::default()).unwrap();
        assert_eq!(delta.entries()[&path].content(), Some(&Content::of([with(1), b"more".to_vec()].concat())));
        // One that is as in the base stays as it is.
        let same = tree(&with(2), b"");
        assert_eq!(settled(TreeDelta::new(), &same, &Memory::default()).unwrap(), TreeDelta::new());
        let error = settled(TreeDelta::new(), &tree(&with(2), b"no log"), &Memory::default()).unwrap_err();
        assert!(error.to_string().contains("write-ahead log"), "{error}");
    }
}
