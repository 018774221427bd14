//! The userspace of a driver: files of the packages that are named, and of those whose libraries they need.

use std::collections::BTreeSet;

use oci_assemble::elf::{ElfError, Libraries, identity};
use oci_assemble::layer::{Contents, Sources, WholeError, start};
use oci_assemble::pkgdb::{self, PkgDbError};
use oci_assemble::tree::{MergeError, TreePath};

use super::dkms::DkmsWork;
use super::script::MARKER;
use crate::capture::Export;
use crate::manifest::{ManifestError, ManifestOptions, Root, Selected, manifest};

/// How often packages may ask for others. Real chains are two or three long.
const ROUNDS_MAX: usize = 8;
/// Enough of a file to know that it is ELF.
const ELF_START: u64 = 64;

/// Why the userspace of a driver cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserspaceError {
    /// The packages' files do not fit on the base.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The package database cannot be read.
    #[error(transparent)]
    Packages(#[from] PkgDbError),
    /// A program cannot be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] WholeError),
    /// The files do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The run did not say when it started.
    #[error("{MARKER} is not in what the builder exported")]
    NoMarker,
    /// A library is nowhere.
    #[error("{program} needs the library {library}, which neither the base nor any fetched package has")]
    Library {
        /// The program or library.
        program: TreePath,
        /// What it needs.
        library: String,
    },
}

/// The files of `packages`, for the stage of `work`, and of the packages with libraries that they need and `base` lacks.
/// With the names of all of them, and notes about those.
pub(super) fn userspace(
    packages: &[String],
    work: &DkmsWork,
    export: &Export,
    base: Root<'_>,
) -> Result<(Selected, Vec<String>, Vec<String>), UserspaceError> {
    let builder = Root { tree: &export.tree, contents: &export.contents };
    let installed = pkgdb::read(builder.tree, builder.contents)?.ok_or(ManifestError::NoDatabase)?;
    let started = export.tree.at(MARKER).ok_or(UserspaceError::NoMarker)?.meta.mtime;
    let mut options = ManifestOptions {
        stage: work.stage.clone(),
        packages: packages.to_vec(),
        overrides: work.overrides.clone(),
        accounts: work.accounts.clone(),
        started,
    };
    let mut notes = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let selected = manifest(builder, base, &options)?;
        let merged = base.tree.clone().apply(&selected.delta())?;
        let sources = Sources::new(vec![builder.contents, base.contents]);
        let mut more: BTreeSet<(String, String)> = BTreeSet::new();
        let image = Libraries::new(&merged, &sources)?;
        let container = Libraries::new(builder.tree, builder.contents)?;
        for path in programs(&selected, &sources)? {
            for missing in image.resolve(&path)?.into_iter().filter(|library| library.found.is_none()) {
                let library = String::from_utf8_lossy(&missing.name).into_owned();
                let found = container.resolve(&path)?.into_iter().find(|known| known.name == missing.name);
                let owner = found.and_then(|known| known.found).and_then(|path| installed.owner(&path).cloned());
                let Some(owner) = owner.filter(|owner| !options.packages.contains(&owner.name)) else {
                    return Err(UserspaceError::Library { program: missing.by, library });
                };
                more.insert((owner.name, format!("{} needs {library}", missing.by)));
            }
        }
        if more.is_empty() {
            return Ok((selected, options.packages, notes));
        }
        for (name, why) in more {
            if !options.packages.contains(&name) {
                notes.push(format!("files of {name} as well: {why}"));
                options.packages.push(name);
            }
        }
    }
    Ok((manifest(builder, base, &options)?, options.packages, notes))
}

/// The ELF files that were selected.
fn programs(selected: &Selected, contents: &dyn Contents) -> Result<Vec<TreePath>, UserspaceError> {
    let mut tree = oci_assemble::tree::FileTree::new();
    for (path, inode) in selected.files.entries() {
        tree.insert(path.clone(), inode.clone());
    }
    let mut found = Vec::new();
    for (path, inode) in selected.files.entries() {
        let library = path.name().windows(3).any(|part| part == b".so");
        let large = inode.content().is_some_and(|content| content.size() >= ELF_START);
        if large
            && (inode.meta.mode & 0o111 != 0 || library)
            && start(&tree, contents, path, ELF_START)?.is_some_and(|bytes| identity(&bytes).is_some())
        {
            found.push(path.clone());
        }
    }
    Ok(found)
}
