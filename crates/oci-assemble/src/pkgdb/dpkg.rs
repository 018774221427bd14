//! dpkg's database: text stanzas and lists of files (dpkg-query(1), deb822(5)).

use std::collections::{BTreeMap, BTreeSet};

use super::package::Listed;
use super::{DbKind, DbLocation, Depth, FileFlag, FileFlags, Package, Packages, PkgDbError};
use crate::layer::{Contents, whole};
use crate::tree::{FileTree, TreePath};

/// The largest `status` read: Debian's whole archive would fit.
const STATUS_MAX: u64 = 256 << 20;
/// The largest list of one package read.
const LIST_MAX: u64 = 64 << 20;

/// States in which none of a package's files are on the disk.
const ABSENT: [&str; 2] = ["not-installed", "config-files"];

/// What being a conffile means: a copy that was changed stays.
const CONFFILE: [FileFlag; 2] = [FileFlag::Config, FileFlag::NoReplace];

pub(super) fn read(
    tree: &FileTree,
    contents: &dyn Contents,
    at: &DbLocation,
    depth: Depth,
) -> Result<Packages, PkgDbError> {
    let reader = Reader { tree, contents, depth };
    let found = if at.path.name() == b"status.d" { reader.distroless(&at.path) } else { reader.status(&at.path) }?;
    Ok(Packages::new(DbKind::Dpkg, at.path.clone(), tree, found))
}

struct Reader<'a> {
    tree: &'a FileTree,
    contents: &'a dyn Contents,
    depth: Depth,
}

type Found = Vec<(Package, Vec<Listed>)>;
/// Path → where it went, and the package that keeps the path.
type Diversions = BTreeMap<Vec<u8>, (Vec<u8>, String)>;

impl Reader<'_> {
    fn status(&self, status: &TreePath) -> Result<Found, PkgDbError> {
        let folder = status.parent().unwrap_or_default();
        let files = self.depth == Depth::Files;
        let diversions = if files { self.diversions(&folder)? } else { Diversions::new() };
        let text = self.text(status)?;
        let mut found = Found::new();
        for fields in stanzas(&text) {
            let state = fields.get("status").and_then(|words| words.split_whitespace().last()).unwrap_or_default();
            if ABSENT.contains(&state) {
                continue;
            }
            let mut package = package(&fields)
                .ok_or(PkgDbError::Damaged { path: status.clone(), what: "a package lacks a name or a version" })?;
            let arch = package.arch.as_deref().unwrap_or_default();
            let info = |kind: &str| {
                let names = [format!("info/{}:{arch}.{kind}", package.name), format!("info/{}.{kind}", package.name)];
                let mut paths = names.iter().filter_map(|name| folder.join(name).ok());
                paths.find(|path| self.tree.content(path).is_some())
            };
            let (list, conffiles) = (info("list"), info("conffiles"));
            let mut paths = Vec::new();
            if let Some(list) = list {
                package.installed = self.tree.get(&list).map(|inode| inode.meta.mtime);
                let bytes = if files { whole(self.tree, self.contents, &list, LIST_MAX)? } else { Vec::new() };
                let conffiles = if files { self.conffiles(conffiles.as_ref())? } else { BTreeSet::new() };
                let lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"/") && *line != b"/.");
                paths.extend(lines.map(|line| Listed {
                    flags: if conffiles.contains(line) { CONFFILE.into_iter().collect() } else { FileFlags::default() },
                    path: match diversions.get(line) {
                        Some((to, by)) if *by != package.name => to.clone(),
                        _ => line.to_vec(),
                    },
                }));
            }
            found.push((package, paths));
        }
        Ok(found)
    }

    /// One file a package, without states; the files are known from `NAME.md5sums` where that is kept.
    fn distroless(&self, folder: &TreePath) -> Result<Found, PkgDbError> {
        let mut found = Found::new();
        let children: Vec<TreePath> = self.tree.children(folder).map(|(path, _)| path.clone()).collect();
        for file in
            children.iter().filter(|path| !path.name().ends_with(b".md5sums") && self.tree.content(path).is_some())
        {
            for fields in stanzas(&self.text(file)?) {
                let damaged = PkgDbError::Damaged { path: file.clone(), what: "it lacks a name or a version" };
                let sums = [file.as_bytes(), b".md5sums"].concat();
                let mut paths = Vec::new();
                if self.depth == Depth::Files
                    && let Ok(sums) = TreePath::new(sums)
                    && self.tree.content(&sums).is_some()
                {
                    let lines = whole(self.tree, self.contents, &sums, LIST_MAX)?;
                    paths.extend(lines.split(|byte| *byte == b'\n').filter_map(|line| {
                        let name = line.get(32..)?.trim_ascii_start();
                        Some(Listed::plain([b"/".as_slice(), name].concat()))
                    }));
                }
                found.push((package(&fields).ok_or(damaged)?, paths));
            }
        }
        Ok(found)
    }

    /// deb-conffiles(5): a path a line, after words that say what becomes of it.
    fn conffiles(&self, list: Option<&TreePath>) -> Result<BTreeSet<Vec<u8>>, PkgDbError> {
        let Some(list) = list else { return Ok(BTreeSet::new()) };
        let bytes = whole(self.tree, self.contents, list, LIST_MAX)?;
        let path =
            |line: &[u8]| line.iter().position(|byte| *byte == b'/').and_then(|at| line.get(at..).map(Vec::from));
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| path(line.trim_ascii())).collect())
    }

    /// dpkg-divert(1): three lines each.
    fn diversions(&self, folder: &TreePath) -> Result<Diversions, PkgDbError> {
        let Ok(path) = folder.join("diversions") else { return Ok(BTreeMap::new()) };
        if self.tree.content(&path).is_none() {
            return Ok(BTreeMap::new());
        }
        let bytes = whole(self.tree, self.contents, &path, LIST_MAX)?;
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let (triples, _) = lines.as_chunks::<3>();
        let by = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Ok(triples.iter().map(|[from, to, name]| (from.to_vec(), (to.to_vec(), by(name)))).collect())
    }

    fn text(&self, path: &TreePath) -> Result<String, PkgDbError> {
        let bytes = whole(self.tree, self.contents, path, STATUS_MAX)?;
        // Descriptions of old packages are not always UTF-8; names and versions are ASCII.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Stanzas as maps of lower-case names; continuation lines are left out, as no field used here has any.
fn stanzas(text: &str) -> impl Iterator<Item = BTreeMap<String, &str>> {
    text.split("\n\n").map(fields).filter(|fields| !fields.is_empty())
}

fn fields(stanza: &str) -> BTreeMap<String, &str> {
    stanza
        .lines()
        .filter(|line| !line.starts_with([' ', '\t', '#']))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect()
}

fn package(fields: &BTreeMap<String, &str>) -> Option<Package> {
    let text = |name: &str| fields.get(name).map(|value| (*value).to_owned());
    let full = fields.get("version")?;
    let (epoch, rest) = match full.split_once(':') {
        Some((epoch, rest)) => (Some(epoch.parse().ok()?), rest),
        None => (None, *full),
    };
    let (version, release) = match rest.rsplit_once('-') {
        Some((version, release)) => (version, Some(release.to_owned())),
        None => (rest, None),
    };
    let name = text("package")?;
    let source = fields.get("source").and_then(|source| source.split_whitespace().next());
    Some(Package {
        epoch,
        version: version.to_owned(),
        release,
        arch: text("architecture"),
        source: Some(source.unwrap_or(&name).to_owned()),
        license: None,
        size: fields
            .get("installed-size")
            .and_then(|kib| kib.parse::<u64>().ok())
            .and_then(|kib| kib.checked_mul(1024)),
        installed: None,
        built: None,
        changelog: Vec::new(),
        name,
    })
}
