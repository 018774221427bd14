//! A partition of the paths of a tree into what changes together.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::files::{large, pieces};
use super::fingerprint::{Above, print, short};
use super::map::ComponentMap;
use super::names::printable;
use super::neutral::TAG;
use super::packing::Class;
use super::place::{Place, place, source_of_compiled};
use crate::image::Hasher;
use crate::pkgdb::{DbKind, Package, Packages};
use crate::tree::{FileTree, Inode, Kind, TreePath};

/// Files from this size on that nothing claims are a component each: with others they would move for nothing.
const LARGE: u64 = 1 << 20;
/// Size of a tar header and of the unit that contents are padded to.
const BLOCK: u64 = 512;

/// What made a path part of its component. The order is that of precedence, for what has names in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The recipe's map.
    Map,
    /// The attribute `user.component`.
    Attribute,
    /// An initial file system: made of many packages, and by far the largest generated file.
    Initramfs,
    /// What depmod writes.
    ModuleIndexes,
    /// The source of a package, with what is compiled from its files.
    Package,
    /// Kernel modules that no package owns.
    Modules,
    /// A kernel that no package owns.
    Kernel,
    /// The database of packages.
    PackageDatabase,
    /// What programs compute from the files of many packages.
    Cache,
    /// `/etc`.
    Configuration,
    /// One large file that nothing owns.
    File,
    /// Small files that nothing owns.
    Files,
}

impl Origin {
    /// What its components may share a layer with.
    pub fn class(self) -> Class {
        match self {
            Self::Files => Class::Files,
            Self::Configuration => Class::Configuration,
            Self::Cache | Self::PackageDatabase => Class::Generated,
            _ => Class::Content,
        }
    }

    /// What the names of its components begin with, and the name where one is enough.
    fn pieces(self) -> (&'static str, &'static str) {
        match self {
            Self::Cache => ("caches", "caches"),
            Self::Configuration => ("etc", "etc"),
            Self::PackageDatabase => ("package-database", "package-database"),
            _ => ("files", "files:/"),
        }
    }
}

/// Paths that change together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its name: the same in the next build. It has no control characters, whatever tags, packages and paths have.
    pub name: String,
    /// Why it is one.
    pub origin: Origin,
    /// Bytes in a tar: headers and padded contents, parents left out.
    pub bytes: u64,
    /// Number of its paths.
    pub paths: usize,
    /// The first 64 bits of a digest over all that clients see of its paths. Only for planning: what decides whether a
    /// layer is the same is its diff_id.
    pub fingerprint: u64,
}

/// All paths of a tree, each in one component. Directories with something below them are in none: layers list them as
/// parents.
///
/// Laws: every path that is no directory, and every empty directory, is in exactly one component; all names of what
/// has several are in one; the components of equal trees are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components {
    list: Vec<Component>,
    of: Vec<(TreePath, usize)>,
    /// A digest of what clients see of each directory, in path order.
    folders: Vec<u64>,
    /// The folders above each component, as indices.
    above: Vec<BTreeSet<usize>>,
}

impl Components {
    /// The components of `tree`. `kept` is the tree before it was made neutral, which still has the tags of files.
    pub fn new(tree: &FileTree, kept: &FileTree, packages: Option<&Packages>, map: &ComponentMap) -> Self {
        let tags = kept.iter().any(|(_, inode)| inode.is_directory() && inode.meta.xattrs.contains_key(TAG));
        let claims =
            Claims { tree, kept, packages, map, kernels: kernels(tree, packages), several: several(tree), tags };
        claims.gather()
    }

    /// The same paths of the same tree under other names, which `name` gives of a path and the name it has.
    pub(super) fn renamed(&self, tree: &FileTree, name: impl Fn(&TreePath, &str) -> String) -> Self {
        let files = self.paths().filter(|(path, _)| tree.get(path).is_some_and(|inode| !inode.kind.is_hardlink()));
        let claim = |(path, index): (&TreePath, usize)| {
            let known = &self.list[index];
            (path.clone(), (known.origin, name(path, &known.name)))
        };
        number(tree, &files.map(claim).collect())
    }

    /// The components, by name.
    pub fn list(&self) -> &[Component] {
        &self.list
    }

    /// Paths in order, each with the index of its component.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = (&TreePath, usize)> {
        self.of.iter().map(|(path, component)| (path, *component))
    }

    /// A digest of the directories that a layer of these components lists: they are in no component, and in each layer.
    pub fn parents(&self, components: impl IntoIterator<Item = usize>) -> u64 {
        let above: BTreeSet<usize> =
            components.into_iter().filter_map(|index| self.above.get(index)).flatten().copied().collect();
        let mut hasher = Hasher::default();
        for digest in above.into_iter().filter_map(|at| self.folders.get(at)) {
            hasher.update(&digest.to_le_bytes());
        }
        short(hasher)
    }

    /// The component of `path`.
    pub fn of(&self, path: &TreePath) -> Option<&Component> {
        let at = self.of.binary_search_by(|(found, _)| found.cmp(path)).ok()?;
        self.list.get(self.of.get(at)?.1)
    }
}

/// Names with an origin, and what is left over.
struct Claims<'a> {
    tree: &'a FileTree,
    kept: &'a FileTree,
    packages: Option<&'a Packages>,
    map: &'a ComponentMap,
    /// Release → component of its kernel.
    kernels: BTreeMap<Vec<u8>, (String, Origin)>,
    /// Whether there is more than one directory of modules: then names of module components carry the release.
    several: bool,
    /// Whether any directory has a tag.
    tags: bool,
}

type Claim = (Origin, String);

impl Claims<'_> {
    fn gather(self) -> Components {
        let mut claimed: BTreeMap<TreePath, Claim> = BTreeMap::new();
        let mut left: BTreeMap<Origin, Vec<(TreePath, u64)>> = BTreeMap::new();
        for (path, inode) in self.tree.iter() {
            let parent = inode.is_directory() && (path.is_root() || self.tree.below(path).next().is_some());
            if parent || inode.kind.is_hardlink() {
                continue;
            }
            let names = self.tree.names(path);
            let best = names.iter().filter_map(|name| self.claim(name, inode)).min();
            let (origin, name) = best.unwrap_or((Origin::Files, String::new()));
            if name.is_empty() {
                left.entry(origin).or_default().push((path.clone(), tar_bytes(inode)));
            } else {
                claimed.insert(path.clone(), (origin, printable(name)));
            }
        }
        for (origin, files) in left {
            let (kind, whole) = origin.pieces();
            let names = pieces(&files, kind, whole);
            claimed.extend(files.into_iter().zip(names).map(|((path, _), name)| (path, (origin, name))));
        }
        number(self.tree, &claimed)
    }

    /// The tag of a path, else of the nearest directory above it.
    fn tag(&self, path: &TreePath) -> Option<String> {
        let of = |path: &TreePath| {
            let tag = self.kept.get(path)?.meta.xattrs.get(TAG)?;
            let name = String::from_utf8_lossy(tag.strip_suffix(b"\0").unwrap_or(tag)).into_owned();
            (!name.is_empty()).then_some(name)
        };
        let inherited = || std::iter::successors(path.parent(), TreePath::parent).find_map(|above| of(&above));
        of(path).or_else(|| self.tags.then(inherited).flatten())
    }

    /// What claims a path. Without a name: the pieces of its kind.
    fn claim(&self, path: &TreePath, inode: &Inode) -> Option<Claim> {
        if let Some(name) = self.map.component(path) {
            return Some((Origin::Map, name.to_owned()));
        }
        if let Some(tag) = self.tag(path) {
            return Some((Origin::Attribute, tag));
        }
        let package = self.packages.and_then(|packages| packages.owner(path));
        let owned = || package.map(|package| (Origin::Package, package.source_name().to_owned()));
        let is_large = inode.content().is_some_and(|content| content.size() >= LARGE);
        match place(path) {
            Place::Initramfs => Some((Origin::Initramfs, "initramfs".into())),
            Place::Index(release) => Some((Origin::ModuleIndexes, self.of_release("module-indexes", release))),
            Place::Cache if is_large => Some((Origin::File, large(path))),
            Place::Cache => Some((Origin::Cache, String::new())),
            Place::Etc if !is_large => Some((Origin::Configuration, String::new())),
            Place::Kernel { release, folder } => owned().or_else(|| Some(self.kernel(path, release, folder))),
            _ => owned()
                .or_else(|| self.of_database(path, is_large))
                .or_else(|| self.compiled(path))
                .or_else(|| is_large.then(|| (Origin::File, large(path)))),
        }
    }

    fn of_release(&self, name: &str, release: &[u8]) -> String {
        if self.several { format!("{name}@{}", String::from_utf8_lossy(release)) } else { name.to_owned() }
    }

    fn kernel(&self, path: &TreePath, release: &[u8], folder: &[u8]) -> Claim {
        if !matches!(folder, b"" | b"kernel") {
            // The stage that brought it, else the directory below `extra` or `updates`, as far as there is one.
            let place = || {
                let set = path.ancestors().nth(5);
                let set = set.map(|set| format!("/{}", String::from_utf8_lossy(set.name()))).unwrap_or_default();
                format!("{}{set}", String::from_utf8_lossy(folder))
            };
            let name = format!("modules/{}", self.map.brought(path).map_or_else(place, str::to_owned));
            return (Origin::Modules, self.of_release(&name, release));
        }
        match self.kernels.get(release) {
            Some((name, origin)) => (*origin, name.clone()),
            None => (Origin::Kernel, self.of_release("kernel", release)),
        }
    }

    /// A file of the package database. What dpkg keeps of one package changes with it.
    fn of_database(&self, path: &TreePath, is_large: bool) -> Option<Claim> {
        let packages = self.packages?;
        let folder = if self.tree.get(&packages.path).is_some_and(Inode::is_directory) {
            packages.path.clone()
        } else {
            packages.path.parent().unwrap_or_default()
        };
        if !path.is_below(&folder) {
            return None;
        }
        if packages.kind == DbKind::Dpkg
            && path.parent().is_some_and(|parent| parent.name() == b"info")
            && let Some(name) = path.name().split(|byte| matches!(byte, b':' | b'.')).next()
            && let Ok(name) = std::str::from_utf8(package_name(path.name()).unwrap_or(name))
            && let Some(package) = packages.named(name).next()
        {
            return Some((Origin::Package, package.source_name().to_owned()));
        }
        if packages.kind == DbKind::Pacman
            && let Some(package) = of_pacman(packages, path)
        {
            return Some((Origin::Package, package.source_name().to_owned()));
        }
        // rpm's is one large file, and small ones beside it.
        let name = if is_large { large(path) } else { String::new() };
        Some((Origin::PackageDatabase, name))
    }

    /// A compiled file is of the package of its source.
    fn compiled(&self, path: &TreePath) -> Option<Claim> {
        let source = source_of_compiled(path)?;
        let owner = self.packages?.owner(&source)?;
        Some((Origin::Package, owner.source_name().to_owned()))
    }
}

/// Components of what was claimed: hardlinks go with what they link to. Where claims of several origins have one
/// name, as when a tag says `etc`, a catch-all's decides: one new file still changes it.
fn number(tree: &FileTree, claimed: &BTreeMap<TreePath, Claim>) -> Components {
    let mut origins: BTreeMap<&str, Origin> = BTreeMap::new();
    for (origin, name) in claimed.values() {
        let known = origins.entry(name).or_insert(*origin);
        *known = std::cmp::min_by_key(*known, *origin, |origin| (!origin.class().is_catch_all(), *origin));
    }
    let indices: BTreeMap<&str, usize> = origins.keys().enumerate().map(|(index, name)| (*name, index)).collect();
    let empty = |(name, origin): (&&str, &Origin)| Component {
        name: (*name).to_owned(),
        origin: *origin,
        bytes: 0,
        paths: 0,
        fingerprint: 0,
    };
    let mut list: Vec<Component> = origins.iter().map(empty).collect();
    let mut prints: Vec<Hasher> = list.iter().map(|_| Hasher::default()).collect();
    let mut of = Vec::with_capacity(claimed.len());
    let mut above = Above::new(list.len());
    for (path, inode) in tree.iter() {
        if inode.is_directory() {
            above.folder(path, inode);
        }
        let first = match &inode.kind {
            Kind::Hardlink(first) => first,
            _ => path,
        };
        let Some(index) = claimed.get(first).and_then(|(_, name)| indices.get(name.as_str())) else { continue };
        let component = &mut list[*index];
        component.bytes += tar_bytes(inode);
        component.paths += 1;
        print(&mut prints[*index], path, inode);
        above.add(*index, path);
        of.push((path.clone(), *index));
    }
    for (component, hasher) in list.iter_mut().zip(prints) {
        component.fingerprint = short(hasher);
    }
    let Above { folders, of: above, .. } = above;
    Components { list, of, folders, above }
}

/// `NAME[:ARCH].KIND`: the name may have dots, the kind has none.
fn package_name(file: &[u8]) -> Option<&[u8]> {
    let dot = file.iter().rposition(|byte| *byte == b'.')?;
    file[..dot].split(|byte| *byte == b':').next()
}

/// Whether there are modules of more than one kernel release.
fn several(tree: &FileTree) -> bool {
    TreePath::new("usr/lib/modules")
        .is_ok_and(|modules| tree.children(&modules).filter(|(_, inode)| inode.is_directory()).nth(1).is_some())
}

/// The component of each kernel release: that of the package which owns its modules.
fn kernels(tree: &FileTree, packages: Option<&Packages>) -> BTreeMap<Vec<u8>, (String, Origin)> {
    let mut kernels = BTreeMap::new();
    let (Some(packages), Ok(modules)) = (packages, TreePath::new("usr/lib/modules")) else { return kernels };
    for (release, _) in tree.children(&modules).filter(|(_, inode)| inode.is_directory()) {
        let own = |name: &str| release.join(name).ok().and_then(|path| packages.owner(&path));
        let owner = own("modules.builtin").or_else(|| own("modules.order")).or_else(|| {
            let folder = release.join("kernel").ok()?;
            tree.below(&folder).filter(|(_, inode)| !inode.is_directory()).find_map(|(path, _)| packages.owner(path))
        });
        if let Some(package) = owner {
            kernels.insert(release.name().to_vec(), (package.source_name().to_owned(), Origin::Package));
        }
    }
    kernels
}

/// The package of a file in pacman's `local/NAME-VERSION-RELEASE`. Its `desc` is the database's: it has the date of the
/// installation, with which every package would change whenever an image is built.
fn of_pacman<'p>(packages: &'p Packages, path: &TreePath) -> Option<&'p Package> {
    let folder = path.parent().filter(|_| path.name() != b"desc")?;
    let name = std::str::from_utf8(folder.name()).ok()?.rsplitn(3, '-').nth(2)?;
    packages.packages().iter().find(|package| package.name == name)
}

fn tar_bytes(inode: &Inode) -> u64 {
    BLOCK + inode.content().map_or(0, |content| content.size().next_multiple_of(BLOCK))
}
