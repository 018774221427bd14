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
