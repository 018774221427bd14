//! Fetches what lints read, in one pass over the layers.
//!
//! Of programs and modules only what they say of themselves is kept, of libraries that were there before only their
//! machine, so a whole image fits into little memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use super::config::CONFIG_MAX;
use super::modules::INDEX_MAX;
use super::{LintError, LintInput};
use crate::elf::{self, ELF_MAX, Identity, MODULE_MAX, Modinfo, Needed};
use crate::layer::Contents;
use crate::pkgdb;
use crate::tree::{Content, FileTree, TreePath};

/// Directories whose files are read whole.
const FOLDERS: [&str; 8] = [
    "usr/lib/bootc/kargs.d",
    "usr/lib/tmpfiles.d",
    "etc/tmpfiles.d",
    "run/tmpfiles.d",
    "usr/lib/sysusers.d",
    "etc/sysusers.d",
    "run/sysusers.d",
    "etc/ld.so.conf.d",
];
/// Files that are read whole.
const FILES: [&str; 5] =
    ["etc/passwd", "etc/group", "etc/ld.so.conf", "usr/lib/ostree/prepare-root.conf", "etc/ostree/prepare-root.conf"];
/// The largest file of a package database, the limit of its reader.
const DATABASE_MAX: u64 = 1 << 30;
/// The most bytes of all configuration that are kept in memory: a layer of 112 KiB can hold gigabytes of zeros. Real
/// images have less than 4 MiB of it, and as much of module indices.
const CONFIGS_MAX: u64 = 256 << 20;
/// The most bytes of a package database, all its files together: that of a desktop has less than a fifth of it.
const DATABASES_MAX: u64 = 1 << 30;
/// An ELF file is no shorter than its header.
const ELF_MIN: u64 = 52;
/// Bytes that tell the machine of an ELF file.
const IDENTITY_BYTES: u64 = 64;

/// The most memory that is set aside for a file before its bytes are seen.
const RESERVE_MAX: usize = 64 << 20;

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    /// All bytes.
    Whole(Kept),
    /// What a program or library needs.
    Needed,
    /// The machine of a library.
    Identity,
    /// What a module says of itself.
    Module,
}

/// What a file is read whole for: each has its own budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    /// Configuration and the indices of modules.
    Config,
    /// The package database.
    Packages,
}

/// What a module says of itself, as far as lints ask.
#[derive(Clone, Debug)]
pub(super) struct ModuleFact {
    pub(super) release: String,
    pub(super) identity: Identity,
}

/// What was read.
pub(super) struct Facts<'a> {
    /// The files read whole; any other is opened where the input has it.
    pub(super) contents: Fetched<'a>,
    /// Programs and libraries to be checked; `Err` says why one is damaged. Other files are not in it.
    pub(super) needed: BTreeMap<TreePath, Result<Needed, String>>,
    /// Libraries of the base; `None` for what is no ELF file.
    pub(super) identities: BTreeMap<TreePath, Option<Identity>>,
    /// Modules to be checked; `Err` says why one is damaged.
    pub(super) modules: BTreeMap<TreePath, Result<ModuleFact, String>>,
}

/// Contents of which some are in memory.
pub(super) struct Fetched<'a> {
    whole: BTreeMap<Content, Vec<u8>>,
    rest: &'a dyn Contents,
}

impl Contents for Fetched<'_> {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        match self.whole.get(content) {
            Some(bytes) => Ok(Box::new(bytes.as_slice())),
            None => self.rest.open(content),
        }
    }
}

/// The files whose bytes [`lint`](super::lint) reads, for a caller that fetches them together with others. Of
/// libraries that were not added, the first 64 bytes are enough.
pub fn wanted(tree: &FileTree, added: Option<&BTreeSet<TreePath>>) -> BTreeSet<TreePath> {
    wants(tree, added, true).into_iter().map(|(path, _)| path).collect()
}

fn wants(tree: &FileTree, added: Option<&BTreeSet<TreePath>>, packages: bool) -> BTreeSet<(TreePath, Want)> {
    let mut wants = BTreeSet::new();
    // What is larger than its reader allows is left for the reader to refuse.
    let mut whole = |path: &TreePath, kept, limit| {
        if let Some((found, _)) = tree.lookup(path.as_bytes())
            && tree.content(&found).is_some_and(|content| content.size() <= limit)
        {
            wants.insert((found, Want::Whole(kept)));
        }
    };
    for folder in FOLDERS.iter().filter_map(|folder| tree.lookup(folder)) {
        tree.children(&folder.0).for_each(|(path, _)| whole(path, Kept::Config, CONFIG_MAX));
    }
    FILES.iter().filter_map(|file| TreePath::new(file).ok()).for_each(|path| whole(&path, Kept::Config, CONFIG_MAX));
    for (release, _) in super::kernel::releases(tree) {
        release.join("modules.dep").iter().for_each(|path| whole(path, Kept::Config, INDEX_MAX));
    }
    if let Some(location) = pkgdb::detect(tree).filter(|_| packages) {
        // Who owns a file is asked for a finding only, which a finished build seldom has.
        let files = if added.is_some() { pkgdb::main_files } else { pkgdb::files };
        for path in &files(tree, &location) {
            whole(path, Kept::Packages, DATABASE_MAX);
        }
    }
    let inspected = |path: &TreePath| added.is_none_or(|added| added.contains(path));
    let programs = || tree.iter().filter(|(path, _)| is_visible(path) && tree.content(path).is_some());
    let mut any = false;
    for (path, inode) in programs().filter(|(path, _)| inspected(path)) {
        let large = tree.content(path).is_some_and(|content| content.size() >= ELF_MIN);
        if super::kernel::is_module(path) {
            wants.insert((path.clone(), Want::Module));
        } else if large && (inode.meta.mode & 0o111 != 0 || is_library(path.name())) {
            wants.insert((path.clone(), Want::Needed));
            any = true;
        }
    }
    if any {
        let libraries = programs().filter(|(path, _)| !inspected(path) && is_library(path.name()));
        wants.extend(libraries.map(|(path, _)| (path.clone(), Want::Identity)));
    }
    wants
}

/// Whether the files that are read whole fit into memory. A content that is in several places is kept once.
fn affordable(tree: &FileTree, wants: &BTreeSet<(TreePath, Want)>) -> Result<(), LintError> {
    let mut counted = BTreeSet::new();
    let mut sums = BTreeMap::<Kept, u64>::new();
    for (path, want) in wants {
        let (Want::Whole(kept), Some(content)) = (want, tree.content(path)) else { continue };
        if counted.insert(content) {
            let sum = sums.entry(*kept).or_default();
            *sum = sum.saturating_add(content.size());
            let limit = if *kept == Kept::Config { CONFIGS_MAX } else { DATABASES_MAX };
            if *sum > limit {
                return Err(LintError::TooMuch { path: path.clone(), limit });
            }
        }
    }
    Ok(())
}

/// Whether the booted system sees the file there: the object store of ostree holds the same files again.
fn is_visible(path: &TreePath) -> bool {
    !path.as_bytes().starts_with(b"sysroot/")
}

/// `libx.so`, `libx.so.1`, `ld-linux-x86-64.so.2`.
fn is_library(name: &[u8]) -> bool {
    let ends = name.windows(3).enumerate().filter(|(_, part)| *part == b".so").map(|(at, _)| at + 3);
    ends.into_iter().any(|end| name.get(end).is_none_or(|next| *next == b'.'))
}

/// The package database with all its file lists, fetched in one pass.
pub(super) fn owners(input: &LintInput) -> Result<Option<pkgdb::Packages>, LintError> {
    let files = pkgdb::detect(input.tree).map(|location| pkgdb::files(input.tree, &location)).unwrap_or_default();
    let wants: BTreeSet<_> = files.into_iter().map(|path| (path, Want::Whole(Kept::Packages))).collect();
    affordable(input.tree, &wants)?;
    let contents = wants.iter().filter_map(|(path, _)| input.tree.content(path));
    let contents = contents.filter(|content| content.size() <= DATABASE_MAX).cloned().collect();
    let mut fetched = Fetched { whole: BTreeMap::new(), rest: input.contents };
    let mut keep = |content: &Content, reader: &mut dyn Read| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        fetched.whole.insert(content.clone(), bytes);
        Ok(())
    };
    input.contents.visit(&contents, &mut keep).map_err(LintError::Fetch)?;
    Ok(pkgdb::read(input.tree, &fetched)?)
}

impl<'a> Facts<'a> {
    /// Reads all that is wanted, each content once.
    pub(super) fn gather(input: &LintInput<'a>) -> Result<Self, LintError> {
        let mut facts = Self {
            contents: Fetched { whole: BTreeMap::new(), rest: input.contents },
            needed: BTreeMap::new(),
            identities: BTreeMap::new(),
            modules: BTreeMap::new(),
        };
        let mut places: BTreeMap<Content, Vec<(TreePath, Want)>> = BTreeMap::new();
        let wants = wants(input.tree, input.added, input.packages.is_none());
        affordable(input.tree, &wants)?;
        for (path, want) in wants {
            if let Some(content) = input.tree.content(&path) {
                places.entry(content.clone()).or_default().push((path, want));
            }
        }
        let contents: BTreeSet<Content> = places.keys().cloned().collect();
        input
            .contents
            .visit(&contents, &mut |content, reader| {
                places.get(content).map_or(Ok(()), |places| facts.take(content, places, reader))
            })
            .map_err(LintError::Fetch)?;
        Ok(facts)
    }

    fn take(&mut self, content: &Content, places: &[(TreePath, Want)], reader: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        let read_to = |limit: u64, bytes: &mut Vec<u8>, reader: &mut dyn Read| {
            let left = limit.saturating_sub(bytes.len() as u64);
            reader.take(left).read_to_end(bytes).map(drop)
        };
        let whole = places.iter().any(|(_, want)| matches!(want, Want::Whole(_)));
        if !whole {
            read_to(IDENTITY_BYTES, &mut bytes, reader)?;
        }
        let is_elf = elf::identity(&bytes).is_some();
        let deep = |want: &Want| match want {
            Want::Whole(_) | Want::Module => true,
            Want::Needed => is_elf,
            Want::Identity => false,
        };
        if whole || places.iter().any(|(_, want)| deep(want)) {
            let limit = if whole { content.size() } else { ELF_MAX.max(MODULE_MAX) };
            // One allocation and few reads; what the content claims to be beyond the limits is not believed.
            bytes.reserve_exact(usize::try_from(content.size().min(limit)).unwrap_or(0).min(RESERVE_MAX));
            read_to(limit, &mut bytes, reader)?;
        }
        let identity = elf::identity(&bytes);
        for (path, want) in places {
            match want {
                Want::Whole(_) => {}
                Want::Identity => drop(self.identities.insert(path.clone(), identity)),
                Want::Needed if identity.is_none() => {}
                Want::Needed => {
                    drop(self.needed.insert(path.clone(), Needed::parse(&bytes).map_err(|error| error.to_string())));
                }
                Want::Module => {
                    let fact = Modinfo::parse(&bytes)
                        .map(|info| ModuleFact { release: info.release().to_owned(), identity: info.identity });
                    self.modules.insert(path.clone(), fact.map_err(|error| error.to_string()));
                }
            }
        }
        if whole {
            self.contents.whole.insert(content.clone(), bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
