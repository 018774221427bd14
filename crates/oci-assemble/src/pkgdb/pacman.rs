//! pacman's database: a directory a package with the files `desc` and `files` (pacman, `lib/libalpm/be_local.c`).
//!
//! Both are sections: a line `%NAME%`, values a line each, an empty line.

use std::collections::BTreeMap;

use super::package::Listed;
use super::{DbKind, DbLocation, Depth, FileFlag, FileFlags, Package, Packages, PkgDbError};
use crate::layer::{Contents, whole};
use crate::tree::{FileTree, TreePath};

/// The largest file of one package read.
const FILE_MAX: u64 = 64 << 20;

/// What being a backup file means: a copy that was changed stays (`PKGBUILD(5)`, backup).
const BACKUP: [FileFlag; 2] = [FileFlag::Config, FileFlag::NoReplace];

pub(super) fn read(
    tree: &FileTree,
    contents: &dyn Contents,
    at: &DbLocation,
    depth: Depth,
) -> Result<Packages, PkgDbError> {
    let folders: Vec<TreePath> =
        tree.children(&at.path).filter(|(_, inode)| inode.is_directory()).map(|(path, _)| path.clone()).collect();
    let mut found = Vec::new();
    for folder in folders {
        let damaged = |what| PkgDbError::Damaged { path: folder.clone(), what };
        let file = |name: &str| folder.join(name).map_err(|_| damaged("its name is too long"));
        let desc = whole(tree, contents, &file("desc")?, FILE_MAX)?;
        let package = package(&sections(&desc)).ok_or_else(|| damaged("it lacks a name or a version"))?;
        let list = file("files")?;
        let mut paths = Vec::new();
        if depth == Depth::Files && tree.content(&list).is_some() {
            paths = listed(&sections(&whole(tree, contents, &list, FILE_MAX)?));
        }
        found.push((package, paths));
    }
    Ok(Packages::new(DbKind::Pacman, at.path.clone(), tree, found))
}

type Sections<'a> = BTreeMap<&'a [u8], Vec<&'a [u8]>>;

fn sections(bytes: &[u8]) -> Sections<'_> {
    let mut sections = Sections::new();
    let mut open: Option<&[u8]> = None;
    for line in bytes.split(|byte| *byte == b'\n') {
        match line {
            [] => open = None,
            [b'%', name @ .., b'%'] if open.is_none() => {
                open = Some(name);
                sections.entry(name).or_default();
            }
            value => {
                if let Some(values) = open.and_then(|name| sections.get_mut(name)) {
                    values.push(value);
                }
            }
        }
    }
    sections
}

fn package(desc: &Sections<'_>) -> Option<Package> {
    let text = |name: &str| {
        let value = desc.get(name.as_bytes()).and_then(|values| values.first());
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let number = |name| text(name).and_then(|text| text.parse::<u64>().ok());
    let time = |name| number(name).and_then(|time| i64::try_from(time).ok());
    // [epoch:]version-release
    let full = text("VERSION")?;
    let (epoch, rest) = match full.split_once(':') {
        Some((epoch, rest)) => (Some(epoch.parse().ok()?), rest),
        None => (None, full.as_str()),
    };
    let (version, release) = match rest.rsplit_once('-') {
        Some((version, release)) => (version, Some(release.to_owned())),
        None => (rest, None),
    };
    Some(Package {
        name: text("NAME")?,
        epoch,
        version: version.to_owned(),
        release,
        arch: text("ARCH"),
        source: text("BASE"),
        license: text("LICENSE"),
        size: number("SIZE"),
        installed: time("INSTALLDATE"),
        built: time("BUILDDATE"),
        changelog: Vec::new(),
    })
}

/// Paths have no leading slash; directories end in one. Backup files have a checksum behind a tab.
fn listed(files: &Sections<'_>) -> Vec<Listed> {
    let name = |line: &&[u8]| line.split(|byte| *byte == b'\t').next().unwrap_or_default().to_vec();
    let backups: Vec<Vec<u8>> = files.get(&b"BACKUP"[..]).into_iter().flatten().map(name).collect();
    let paths = files.get(&b"FILES"[..]).into_iter().flatten();
    let listed = |path: &&[u8]| {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let backup = backups.iter().any(|backup| backup == path);
        let flags = if backup { BACKUP.into_iter().collect() } else { FileFlags::default() };
        Listed { path: [b"/", path].concat(), flags }
    };
    paths.map(listed).collect()
}
