//! Which files of installed packages go into an image.
//!
//! Packages are installed in a builder container, scripts and all. What an image takes of them is decided file by file:
//! the *package database* of the builder lists what each package owns, a visible table of [`RULES`] says what is no
//! content of an image (documentation, sources, dkms, static archives), and what is left is copied with mode, owner,
//! capabilities and links. Nothing that only a script made is taken: services are enabled by the *presets* that the
//! packages ship ([`presets`]), users come from sysusers.d, directories in `/var` from tmpfiles.d.
//!
//! Paths of the builder are not those of the image: each is led through the *base's* symlinks, or a directory `sbin` of a
//! layer would hide the link `/sbin`. Owners are led by name.
//!
//! Law: every path that the database lists for the packages is an entry of the manifest, omitted with its reason (the
//! base has it, or a rule with its name), or a [`Problem`].

mod accounts;
mod dump;
mod entry;
mod gather;
mod judge;
mod presets;
mod problem;
mod request;
mod rules;
mod state;

pub use accounts::{Accounts, UnknownOwner};
pub use entry::{Entry, Manifest, Omission, Omitted, Selected};
pub use presets::{Outcome, Place, Presets, presets};
pub use problem::{ManifestError, Problem, Problems};
pub use rules::{Judgement, Means, RULES, Rule, Verdict};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use oci_assemble::image::Epoch;
use oci_assemble::layer::{Contents, Sources};
use oci_assemble::pkgdb::{self, FileFlag, Package, Packages};
use oci_assemble::tree::{FileTree, Inode, Kind, Resolved, TreePath};

use accounts::Owners;
use gather::Gathered;
use judge::{Judge, Listed};

/// The largest configuration file read; `/etc/passwd` with 100,000 users has 8 MiB.
const TEXT_MAX: u64 = 16 << 20;
/// Where units of packages are, behind the symlinks of a merged tree.
const UNITS: [&str; 3] = ["usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"];
/// Types of units that have files (systemd.unit(5)).
const UNIT_TYPES: [&str; 9] = ["service", "socket", "target", "mount", "automount", "swap", "timer", "path", "slice"];

/// A file system with the bytes of its files.
#[derive(Clone, Copy)]
pub struct Root<'a> {
    /// The tree.
    pub tree: &'a FileTree,
    /// The bytes.
    pub contents: &'a dyn Contents,
}

impl fmt::Debug for Root<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("inodes", &self.tree.len()).finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestOptions {
    /// Name of the stage, for generated files.
    pub stage: String,
    /// Packages whose files go into the image: `NAME` or `NAME=VERSION`.
    pub packages: Vec<String>,
    /// Paths of the base that may be replaced, with what is below them.
    pub overrides: Vec<TreePath>,
    /// Users and groups that the recipe declares.
    pub accounts: Accounts,
    /// The start of the run that installed them, seconds since 1970: what is no older was written by it.
    pub started: i64,
}

/// The files of packages installed in `builder`, as content of an image on `base`.
///
/// Costs a pass over the database, and reads unit, preset and account files and the libraries that `lib*.so` links lead to.
pub fn manifest(builder: Root<'_>, base: Root<'_>, options: &ManifestOptions) -> Result<Selected, ManifestError> {
    let packages = pkgdb::read(builder.tree, builder.contents)?.ok_or(ManifestError::NoDatabase)?;
    let (chosen, problems) = request::requested(&packages, &options.packages);
    refuse(problems)?;
    let listed = listed(&packages, &chosen);
    let owners = owners(builder, base, &listed, &options.accounts)?;
    let overrides = options.overrides.iter().map(|path| {
        let end = judge::place(base.tree, path, false);
        end.unwrap_or_else(|_| path.clone())
    });
    let units = unit_names(base.tree, &listed);
    let judge = Judge::new((builder, base), owners, overrides.collect(), units, options.started);

    let mut gathered = Gathered::default();
    for (package, path) in packages.unplaced().filter(|(package, _)| chosen.contains(package)) {
        gathered.problems.push(Problem::Unplaced { path: path.to_vec(), package: package.to_string() });
    }
    for listed in &listed {
        gathered.take(*listed, judge.decide(*listed)?, &judge);
    }
    gathered.add_parents(&packages, &judge);
    gathered.name_owners(base);
    refuse(std::mem::take(&mut gathered.problems))?;

    let files = gathered.files();
    let merged = base.tree.clone().apply(&files)?;
    let sources = Sources::new(vec![builder.contents, base.contents]);
    let result = Root { tree: &merged, contents: &sources };
    let state = state::fragment(&gathered.state, result, &judge.owners, options)?;
    refuse(state.problems)?;
    let shipped = shipped_units(&gathered, &listed, base.tree);
    let presets = presets(result, &shipped, Epoch::UNDATED)?;

    let mut notes = gathered.notes(&judge.overrides);
    let idle = chosen.iter().filter(|package| !listed.iter().any(|listed| listed.package == **package));
    notes.extend(idle.map(|package| format!("{package} brings no file of its own")));
    notes.extend(dangling(&gathered, builder.tree, &merged));
    notes.extend(presets.notes());
    let generated = state.delta.then(&presets.links);
    let packages = chosen.into_iter().cloned().collect();
    let manifest = gathered.into_manifest(packages);
    Ok(Selected { manifest, files, generated, presets, notes })
}

fn refuse(problems: Vec<Problem>) -> Result<(), ManifestError> {
    if problems.is_empty() { Ok(()) } else { Err(ManifestError::Problems(Problems(problems))) }
}

/// What the chosen packages list, each path once, in order. The root, which some list, is no content of a layer. Files that
/// rpm did not install (`--nodocs`, other languages) or replaced are not listed.
fn listed<'p>(packages: &'p Packages, chosen: &[&'p Package]) -> Vec<Listed<'p>> {
    let of_path = |path: &'p TreePath| {
        let owners = packages.owners(path).filter(|owner| chosen.binary_search(owner).is_ok());
        let owners = owners.map(|package| Listed { path, package, flags: packages.flags(path, package) });
        owners.min_by_key(|listed| listed.flags.has(FileFlag::Ghost))
    };
    packages.owned().filter(|(path, _)| !path.is_root()).filter_map(|(path, _)| of_path(path)).collect()
}

fn owners(
    builder: Root<'_>,
    base: Root<'_>,
    listed: &[Listed<'_>],
    declared: &Accounts,
) -> Result<Owners, ManifestError> {
    let is_file = |path: &TreePath| builder.tree.content(path).is_some();
    let fragments = listed.iter().filter(|listed| accounts::is_sysusers(listed.path) && is_file(listed.path));
    let fragments = fragments.map(|listed| builder.text(listed.path)).collect::<Result<Vec<_>, _>>()?;
    let accounts = Accounts::of(base, declared, &fragments)?;
    Ok(Owners { names: accounts::names(builder)?, accounts })
}

/// The name of the unit whose file is at `path`.
fn unit_name(path: &TreePath) -> Option<&str> {
    let folder = path.parent()?;
    let (_, suffix) = path.to_str()?.rsplit_once('.')?;
    let name = std::str::from_utf8(path.name()).ok()?;
    (UNITS.iter().any(|place| place.as_bytes() == folder.as_bytes()) && UNIT_TYPES.contains(&suffix)).then_some(name)
}

/// Names of the units of packages and base.
fn unit_names(base: &FileTree, listed: &[Listed<'_>]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        listed.iter().filter_map(|listed| unit_name(listed.path)).map(str::to_owned).collect();
    for folder in UNITS {
        let Some((folder, _)) = base.lookup(folder) else { continue };
        names.extend(base.children(&folder).filter_map(|(path, _)| unit_name(path)).map(str::to_owned));
    }
    names
}

/// Names of units that the packages bring, or would if the base did not have them already.
fn shipped_units(gathered: &Gathered, listed: &[Listed<'_>], base: &FileTree) -> BTreeSet<String> {
    let in_image = |path: &TreePath| gathered.kept.contains_key(path) || base.get(path).is_some();
    let units = listed.iter().filter_map(|listed| {
        let place = judge::place(base, listed.path, false).ok()?;
        unit_name(&place).filter(|_| in_image(&place)).map(str::to_owned)
    });
    units.collect()
}

/// Notes about links that lead somewhere in the builder, but not in the image.
fn dangling(gathered: &Gathered, builder: &FileTree, merged: &FileTree) -> Vec<String> {
    let mut notes = Vec::new();
    for (path, kept) in &gathered.kept {
        if !builder.behind(&kept.listed).is_some_and(|inode| matches!(inode.kind, Kind::Symlink(_))) {
            continue;
        }
        let Resolved::Found(end) = builder.resolve(kept.listed.as_bytes()) else { continue };
        if merged.lookup(path.as_bytes()).is_none() && !end.as_bytes().starts_with(b"var/") {
            notes.push(format!("{path} leads to {end}, which the image lacks"));
        }
    }
    notes
}

/// Inodes that tmpfiles.d is to make, by path.
type State = BTreeMap<TreePath, (String, Inode)>;

#[cfg(test)]
mod tests;
