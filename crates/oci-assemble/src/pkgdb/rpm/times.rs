//! Times of installation in rpm's `SQLite` database, brought to what follows from the packages.
//!
//! rpm notes with each package when it was installed, so a system that is installed anew from the same packages has
//! another database of many megabytes. Who asks for it gets the time at which the package was built instead. rpm-ostree
//! (`rpmdb-normalize`) overwrites the same two numbers, with the date of the source.

use super::anew::{Changed, Fault, HEAD, anew};
use super::{Header, settled, tag};
use crate::layer::Contents;
use crate::pkgdb::{DbKind, PkgDbError, detect};
use crate::tree::{Content, FileTree, Inode, Kind, TreePath};

/// The attribute with a signature of a file's bytes (Linux, `Documentation/security/IMA-templates.rst`).
const SIGNATURE: &[u8] = b"security.ima";

/// What was done to the database of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildTimes {
    /// The database.
    pub path: TreePath,
    /// How many packages had another time of installation.
    pub packages: usize,
    /// How many public keys it has. Each is an entry whose time of building is that of its import, under a digest: it stays.
    pub keys: usize,
}

/// What rpm calls the entries of public keys.
const KEY: &str = "gpg-pubkey";

/// The normal form of the database `bytes`, which is [`settled`], and what was done. `path` is what the database is called.
///
/// `INSTALLTIME` and `INSTALLTID` of each header have its `BUILDTIME`, or 0 where it has none; both lie outside of what
/// digests and signatures are of. The index of the latter follows. All else that rpm reads is as it was.
///
/// Laws: the bytes depend on nothing but the rows, and not on how the file came to have them; the normal form is its own.
/// Anything that rpm does not make, such as a trigger, is [`PkgDbError::Damaged`]. Needs memory for three databases.
pub fn normal(path: &TreePath, bytes: Vec<u8>) -> Result<(Vec<u8>, BuildTimes), PkgDbError> {
    if bytes.len() < HEAD {
        return Err(PkgDbError::Damaged { path: path.clone(), what: "it is too short" });
    }
    let (mut packages, mut keys) = (0, 0);
    let bytes = anew(bytes, &mut |blob| {
        let (changed, differs, is_key) = with_build_time(blob)?;
        packages += usize::from(differs);
        keys += usize::from(is_key);
        Ok(changed)
    });
    let bytes = bytes.map_err(|fault| match fault {
        Fault::Damaged(what) => PkgDbError::Damaged { path: path.clone(), what },
        Fault::Sqlite(source) => PkgDbError::Sqlite { path: path.clone(), source },
    })?;
    Ok((bytes, BuildTimes { path: path.clone(), packages, keys }))
}

/// A header with its time of building as that of installation, whether that differs, and whether it is that of a key.
fn with_build_time(blob: Vec<u8>) -> Result<(Changed, bool, bool), Fault> {
    let mut header = Header::parse(blob).map_err(|error| Fault::Damaged(error.what))?;
    let built = header.numbers(tag::BUILD_TIME).first().copied().unwrap_or(0);
    let built = u32::try_from(built).map_err(|_| Fault::Damaged("a time of building is no 32-bit number"))?;
    let mut set = |tag| header.set(tag, built).map_err(|error| Fault::Damaged(error.what));
    let (time, transaction) = (set(tag::INSTALL_TIME)?, set(tag::INSTALL_TRANSACTION)?);
    let differs = [time, transaction].into_iter().flatten().any(|before| before != built);
    let transaction = transaction.map(|before| (before, built));
    let is_key = header.text(tag::NAME).as_deref() == Some(KEY);
    Ok((Changed { blob: header.into_bytes(), transaction }, differs, is_key))
}

/// `tree` with the [`normal`] form of its live rpm database, and what was done; `None` where it has no such database of
/// the kind [`DbKind::RpmSqlite`].
///
/// The file keeps its metadata and all its names. The write-ahead log and the shared memory beside it are applied and
/// gone. The new bytes are [`Content::Bytes`].
pub fn with_build_times(
    tree: &FileTree,
    contents: &dyn Contents,
) -> Result<Option<(FileTree, BuildTimes)>, PkgDbError> {
    let Some(location) = detect(tree).filter(|location| location.kind == DbKind::RpmSqlite) else { return Ok(None) };
    let path = location.path;
    if let Some(second) = location.second {
        return Err(PkgDbError::Ambiguous { first: path, second });
    }
    let beside = |end: &[u8]| TreePath::new([path.as_bytes(), end].concat()).ok();
    // SQLite would roll it back over what is new.
    if let Some(journal) = beside(b"-journal").filter(|name| tree.content(name).is_some_and(|file| file.size() > 0)) {
        return Err(PkgDbError::Damaged { path: journal, what: "it is the journal of a change that was not finished" });
    }
    let (bytes, done) = normal(&path, settled(tree, contents, &path)?)?;
    let mut result = tree.clone();
    for name in [beside(b"-wal"), beside(b"-shm")].into_iter().flatten().filter(|name| tree.content(name).is_some()) {
        result.remove(&name);
    }
    let content = Content::of(bytes);
    if tree.content(&path).and_then(Content::digest) != content.digest() {
        replace(&mut result, &path, content);
    }
    Ok(Some((result, done)))
}

/// Gives the file that `path` names other bytes under each of its names.
fn replace(tree: &mut FileTree, path: &TreePath, content: Content) {
    let names = tree.names(path);
    let Some((owner, others)) = names.split_first() else { return };
    let Some(mut meta) = tree.get(owner).map(|inode| inode.meta.clone()) else { return };
    meta.xattrs.remove(SIGNATURE);
    tree.insert(owner.clone(), Inode::file(meta.clone(), content));
    for name in others {
        tree.insert(name.clone(), Inode { meta: meta.clone(), kind: Kind::Hardlink(owner.clone()) });
    }
}
