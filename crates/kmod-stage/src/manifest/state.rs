//! Directories that packages have in `/var`, as lines of tmpfiles.d.

use std::collections::BTreeSet;

use oci_assemble::image::Epoch;
use oci_assemble::tree::{Content, Inode, Meta, TreeDelta};

use super::accounts::Owners;
use super::{ManifestError, ManifestOptions, Problem, Root, State};
use crate::capture::{lines, made, place, tmpfiles};

/// A file of tmpfiles.d, or why there is none.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    pub(super) delta: TreeDelta,
    pub(super) problems: Vec<Problem>,
}

/// The file that makes what of `state` no file of the merged tree `root` makes. Owners are named, so accounts without a
/// fixed number will do; one that the image does not have at all is a problem.
pub(super) fn fragment(
    state: &State,
    root: Root<'_>,
    owners: &Owners,
    options: &ManifestOptions,
) -> Result<Fragment, ManifestError> {
    let mut fragment = Fragment::default();
    if state.is_empty() {
        return Ok(fragment);
    }
    let mut by_others = BTreeSet::new();
    for path in tmpfiles(root.tree) {
        by_others.extend(made(root.tree, &root.text(&path)?));
    }
    let missing: Vec<_> = state.iter().filter(|(path, _)| !by_others.contains(*path)).collect();
    for (path, (package, inode)) in &missing {
        if let Err(owner) = owners.known(inode) {
            let (path, package) = ((*path).clone(), package.clone());
            fragment.problems.push(Problem::Owner { path, package, owner });
        }
    }
    let text = lines(missing.into_iter().map(|(path, (_, inode))| (path, inode)), &owners.names);
    if !text.is_empty() {
        let path = place(root.tree, &options.stage)?;
        let meta = Meta::root_owned(0o644, Epoch::UNDATED.seconds());
        fragment.delta.insert(path, Inode::file(meta, Content::of(text)));
    }
    Ok(fragment)
}
