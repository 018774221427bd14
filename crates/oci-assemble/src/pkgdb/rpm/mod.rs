//! rpm's `SQLite` database: table `Packages`, one header blob a package.

mod anew;
mod header;
mod sqlite;
mod times;
mod wal;

pub use header::{Header, HeaderError};
pub use sqlite::distrust;
pub use times::{BuildTimes, normal, with_build_times};

use std::io::Cursor;

use super::package::Listed;
use super::{DbKind, DbLocation, Depth, FileFlags, Package, Packages, PkgDbError};
use crate::layer::{Contents, stream, whole};
use crate::tree::{FileTree, TreePath};

/// The largest database or log read. Real ones have 20 to 150 MB.
const DATABASE_MAX: u64 = 1 << 30;

/// Where a database says which versions of the format writers and readers must know.
const VERSIONS: std::ops::Range<usize> = 18..20;
/// A database with a write-ahead log.
const VERSION_LOG: u8 = 2;
/// One without.
const VERSION_PLAIN: u8 = 1;

/// Tags of a header (`rpmtag.h` of rpm).
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const BUILD_TIME: u32 = 1006;
    pub(super) const INSTALL_TIME: u32 = 1008;
    pub(super) const SIZE: u32 = 1009;
    pub(super) const LICENSE: u32 = 1014;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const FILE_STATES: u32 = 1029;
    pub(super) const OLD_FILE_NAMES: u32 = 1027;
    pub(super) const FILE_FLAGS: u32 = 1037;
    pub(super) const SOURCE: u32 = 1044;
    pub(super) const INSTALL_TRANSACTION: u32 = 1128;
    pub(super) const CHANGELOG_TIME: u32 = 1080;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
    pub(super) const LONG_SIZE: u32 = 5009;
}

/// States of a file that is on the disk or should be: normal, and unknown to old databases. The others are replaced,
/// not installed, on a network share, or of the wrong colour.
const FILE_NORMAL: u64 = 0;

/// The bytes of the `SQLite` database at `path` as one file: the write-ahead log beside it applied, and no log needed to
/// read it (sqlite.org, "Database File Format", 1.3.3: what `PRAGMA journal_mode = DELETE` changes). Without a log, and
/// without the mark of one, they are those of the file.
pub fn settled(tree: &FileTree, contents: &dyn Contents, path: &TreePath) -> Result<Vec<u8>, PkgDbError> {
    let mut bytes = whole(tree, contents, path, DATABASE_MAX)?;
    if let Some(log) = log(tree, path) {
        let frames = whole(tree, contents, &log, DATABASE_MAX)?;
        bytes = wal::applied(bytes, &frames).map_err(|what| PkgDbError::Damaged { path: log, what })?;
    }
    if let Some(versions) = bytes.get_mut(VERSIONS)
        && versions == [VERSION_LOG; 2]
    {
        versions.fill(VERSION_PLAIN);
    }
    Ok(bytes)
}

/// The write-ahead log of the database at `path`, when there is one with something in it.
fn log(tree: &FileTree, path: &TreePath) -> Option<TreePath> {
    let log = TreePath::new([path.as_bytes(), b"-wal"].concat()).ok();
    log.filter(|log| tree.content(log).is_some_and(|content| content.size() > 0))
}

/// Passes the headers of the database at `path` on, in the order of their numbers, the write-ahead log applied.
pub fn headers(
    tree: &FileTree,
    contents: &dyn Contents,
    path: &TreePath,
    mut each: impl FnMut(Header) -> Result<(), PkgDbError>,
) -> Result<(), PkgDbError> {
    let parsed = &mut |blob: Vec<u8>| {
        each(Header::parse(blob).map_err(|error| PkgDbError::Damaged { path: path.clone(), what: error.what })?)
    };
    if log(tree, path).is_some() {
        let bytes = settled(tree, contents, path)?;
        return sqlite::blobs(path, bytes.len(), Cursor::new(bytes), parsed);
    }
    let (size, bytes) = stream(tree, contents, path, DATABASE_MAX)?;
    sqlite::blobs(path, usize::try_from(size).unwrap_or(usize::MAX), bytes, parsed)
}

pub(super) fn read(
    tree: &FileTree,
    contents: &dyn Contents,
    at: &DbLocation,
    depth: Depth,
) -> Result<Packages, PkgDbError> {
    let mut found = Vec::new();
    headers(tree, contents, &at.path, |header| {
        let package = package(&header).ok_or(PkgDbError::Damaged {
            path: at.path.clone(),
            what: "a package lacks its name, version or release",
        })?;
        let paths = if depth == Depth::Files { paths(&header) } else { Some(Vec::new()) };
        let paths = paths.ok_or(PkgDbError::Damaged {
            path: at.path.clone(),
            what: "a package has file names without directories",
        })?;
        found.push((package, paths));
        Ok(())
    })?;
    Ok(Packages::new(DbKind::RpmSqlite, at.path.clone(), tree, found))
}

fn package(header: &Header) -> Option<Package> {
    let number = |tag| header.numbers(tag).first().copied();
    Some(Package {
        name: header.text(tag::NAME)?,
        epoch: number(tag::EPOCH),
        version: header.text(tag::VERSION)?,
        release: Some(header.text(tag::RELEASE)?),
        arch: header.text(tag::ARCH),
        source: header.text(tag::SOURCE).filter(|source| !source.is_empty()),
        license: header.text(tag::LICENSE),
        size: number(tag::LONG_SIZE).or_else(|| number(tag::SIZE)),
        installed: number(tag::INSTALL_TIME).and_then(|time| i64::try_from(time).ok()),
        built: number(tag::BUILD_TIME).and_then(|time| i64::try_from(time).ok()),
        changelog: header
            .numbers(tag::CHANGELOG_TIME)
            .into_iter()
            .filter_map(|time| i64::try_from(time).ok())
            .collect(),
    })
}

/// The files of a package that are on the disk; `None` when the three lists of a header do not fit together.
fn paths(header: &Header) -> Option<Vec<Listed>> {
    let names = header.texts(tag::BASE_NAMES);
    let states = header.numbers(tag::FILE_STATES);
    let flags = header.numbers(tag::FILE_FLAGS);
    let listed = |index: usize, path: Vec<u8>| {
        let flags = flags.get(index).map(|bits| FileFlags::of_rpm(*bits)).unwrap_or_default();
        Listed { path, flags }
    };
    let present = |index: usize| states.get(index).is_none_or(|state| *state == FILE_NORMAL);
    if names.is_empty() {
        let names = header.texts(tag::OLD_FILE_NAMES).into_iter().enumerate();
        return Some(
            names.filter(|(index, _)| present(*index)).map(|(index, name)| listed(index, name.to_vec())).collect(),
        );
    }
    let folders = header.texts(tag::DIR_NAMES);
    let indexes = header.numbers(tag::DIR_INDEXES);
    let mut paths = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let folder = folders.get(usize::try_from(*indexes.get(index)?).ok()?)?;
        if present(index) {
            paths.push(listed(index, [*folder, name].concat()));
        }
    }
    Some(paths)
}
