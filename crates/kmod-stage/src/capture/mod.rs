//! What a package manager changed in a container, as content of a layer.
//!
//! A builder container starts from the base image, runs a package manager and ends. `podman export` gives its whole
//! file system as a tar stream ([`Export`]). From there a chain of pure steps leads to a delta: [`changes`] (true
//! differences only), [`scrub`] (what belongs to the run or to the machine goes, by a visible table of rules), [`date`]
//! (what scripts made has no time of its own), [`settle`] (what a layer can say to every client). [`capture`] is all of
//! them.
//!
//! Law: two runs that install the same packages give the same delta, whenever and wherever they ran, as far as the
//! packages' scripts write the same bytes.

mod changes;
mod date;
mod export;
mod journal;
mod retain;
mod rules;
mod scrub;
mod settle;
mod shadow;
mod tmpfiles;

pub use changes::changes;
pub(crate) use changes::{is_exported, same};
pub use date::date;
pub use export::{CapturedContents, Export, ExportError};
pub(crate) use rules::Places;
pub use rules::{Action, RULES, Rule};
pub use scrub::{Dropped, ScrubError, ScrubReport, Scrubbed, scrub};
pub use settle::{LeftOut, Settled, settle};
pub use shadow::last_changes;
pub use tmpfiles::{Names, lines};
pub(crate) use tmpfiles::{files as tmpfiles, in_force, made, place};

use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::image::Epoch;
use oci_assemble::layer::{Contents, Sources, WholeError, whole};
use oci_assemble::pkgdb::PkgDbError;
use oci_assemble::tree::{Content, FileTree, Inode, MergeError, Meta, TreeDelta, TreePath};

use retain::retain;

/// The largest account or configuration file read; `/etc/passwd` with 100,000 users has 8 MiB.
const TEXT_MAX: u64 = 16 << 20;
const SHADOW: &str = "etc/shadow";

/// What a capture needs to know of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// A file that the run wrote before anything else: its time is the start of the run. It is no part of the result.
    pub marker: TreePath,
    /// Directories and files that the container engine made to mount something on: they are no part of the result either,
    /// with all below. podman makes those that the image lacks, and exports them empty.
    pub mounts: Vec<TreePath>,
    /// The file that takes lines for directories in `/var`: `usr/lib/tmpfiles.d/NAME.conf`.
    pub tmpfiles: TreePath,
}

/// What a run changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// What must be removed by a layer of its own first: see [`Settled::removals`]. Most often empty.
    pub removals: TreeDelta,
    /// The changes. Contents are named by digest (of the export, see [`Export::contents`]) or held in memory.
    pub delta: TreeDelta,
    /// What was dropped, rule by rule.
    pub report: ScrubReport,
    /// Changes that no layer can carry.
    pub left_out: Vec<LeftOut>,
}

/// Why a run cannot be captured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The marker is not in the export.
    #[error("the container has no file {path}, which its script writes first: the start of the run is not known")]
    NoMarker {
        /// The marker.
        path: TreePath,
    },
    /// The container was left in a state that must not be shipped.
    #[error(transparent)]
    Scrub(#[from] ScrubError),
    /// rpm's database cannot be read.
    #[error(transparent)]
    Database(#[from] PkgDbError),
    /// An account or configuration file cannot be read.
    #[error("cannot read a configuration file of the container")]
    Text(#[from] WholeError),
    /// The changes do not fit on the base.
    #[error("the changes do not fit on the base")]
    Merge(#[from] MergeError),
}

/// From the base and the file system of a container that started from it to what the run changed.
///
/// `contents` are the bytes of the base's files.
pub fn capture(
    base: &FileTree,
    contents: &dyn Contents,
    export: &Export,
    options: &CaptureOptions,
) -> Result<Captured, CaptureError> {
    let marker = export.tree.get(&options.marker).filter(|inode| inode.content().is_some());
    let started = marker.ok_or_else(|| CaptureError::NoMarker { path: options.marker.clone() })?.meta.mtime;
    let sources = Sources::new(vec![&export.contents, contents]);
    let own = |path: &TreePath| {
        *path == options.marker || options.mounts.iter().any(|mount| path == mount || path.is_below(mount))
    };
    let all = retain(&changes(base, &export.tree), |path| !own(path));
    let all = journal::settled(all, &export.tree, &export.contents)?;
    let Scrubbed { delta, state, report } = scrub(&all, base, started)?;
    let delta = date(&delta, started, Epoch::UNDATED);
    let delta = date_accounts(delta, base, &sources)?;
    let delta = make_state(delta, &state, base, export, &sources, options)?;
    let Settled { removals, delta, left_out } = settle(&delta, base);
    Ok(Captured { removals, delta, report, left_out })
}

/// Takes the day of the run off accounts in `/etc/shadow`.
fn date_accounts(mut delta: TreeDelta, base: &FileTree, contents: &dyn Contents) -> Result<TreeDelta, CaptureError> {
    let Ok(path) = TreePath::new(SHADOW) else { return Ok(delta) };
    let Some(content) = delta.entries().get(&path).and_then(Inode::content) else { return Ok(delta) };
    let mut alone = FileTree::new();
    alone.insert(path.clone(), Inode::file(Meta::default(), content.clone()));
    let new = whole(&alone, contents, &path, TEXT_MAX)?;
    let known = base.behind(&path).filter(|inode| inode.content().is_some());
    let old = known.map(|_| whole(base, contents, &path, TEXT_MAX)).transpose()?.unwrap_or_default();
    let text = last_changes(&old, &new);
    let content = Content::of(text);
    let meta = delta.entries().get(&path).map(|inode| inode.meta.clone()).unwrap_or_default();
    let dated = Inode::file(meta, content);
    if known.is_some_and(|known| changes::same(base, known, &dated)) {
        return Ok(retain(&delta, |kept| *kept != path));
    }
    delta.insert(path, dated);
    Ok(delta)
}

/// Adds the lines of tmpfiles.d that make the directories that packages have in `/var`.
fn make_state(
    mut delta: TreeDelta,
    state: &BTreeMap<TreePath, Inode>,
    base: &FileTree,
    export: &Export,
    contents: &dyn Contents,
    options: &CaptureOptions,
) -> Result<TreeDelta, CaptureError> {
    if state.is_empty() {
        return Ok(delta);
    }
    let image = base.clone().apply(&delta)?;
    let mut made = BTreeSet::new();
    for path in tmpfiles::files(&image) {
        let text = whole(&image, contents, &path, TEXT_MAX)?;
        made.extend(tmpfiles::made(&image, &String::from_utf8_lossy(&text)));
    }
    let mut names = Names::default();
    for (passwd, group) in [("usr/lib/passwd", "usr/lib/group"), ("etc/passwd", "etc/group")] {
        let read = |name: &str| -> Result<Vec<u8>, WholeError> {
            match export.tree.lookup(name) {
                Some((path, _)) if export.tree.content(&path).is_some() => {
                    whole(&export.tree, contents, &path, TEXT_MAX)
                }
                _ => Ok(Vec::new()),
            }
        };
        names.add(&String::from_utf8_lossy(&read(passwd)?), &String::from_utf8_lossy(&read(group)?));
    }
    let missing = state.iter().filter(|(path, _)| !made.contains(*path));
    let text = lines(missing, &names);
    if !text.is_empty() {
        let meta = Meta::root_owned(0o644, Epoch::UNDATED.seconds());
        delta.insert(options.tmpfiles.clone(), Inode::file(meta, Content::of(text)));
    }
    Ok(delta)
}

#[cfg(test)]
mod tests;
