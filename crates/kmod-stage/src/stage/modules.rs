//! Stages of kind `modules`: modules that were built elsewhere.

use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use oci_assemble::elf::is_module_name;
use oci_assemble::image::Epoch;
use oci_assemble::plan::files::pin;
use oci_assemble::plan::step::{Pinned, Produced, Stage, StageError, View};
use oci_assemble::store::dir::{DirError, HostContents, file, scan};
use oci_assemble::tree::{Content, Inode, Meta, PathError, TreeDelta, TreePath};

use super::{KernelChoice, kernel};
use crate::kernel::{KernelRelease, MODULES};

/// Where modules that are not the kernel's own go; depmod finds them there by its default search order.
const EXTRA: &str = "extra";

/// Modules below a directory, or single `.ko` files.
#[derive(Debug)]
pub struct ModulesStage {
    name: String,
    root: Dir,
    sources: Vec<PathBuf>,
    kernel: Option<String>,
}

/// Why modules cannot be staged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModulesError {
    /// The image's kernel is not the one.
    #[error(transparent)]
    Kernel(#[from] KernelChoice),
    /// A source cannot be listed.
    #[error(transparent)]
    Source(#[from] DirError),
    /// A source has no module.
    #[error("{} holds no kernel module (.ko, .ko.gz, .ko.xz or .ko.zst)", .path.display())]
    NoModule {
        /// The source.
        path: PathBuf,
    },
    /// A name that no image path can have.
    #[error(transparent)]
    Name(#[from] PathError),
    /// Two modules would get one path.
    #[error("two modules of the stage would become {path}")]
    Twice {
        /// The path.
        path: TreePath,
    },
}

impl ModulesStage {
    /// The stage `name` with `sources` (relative to `root`) for the given kernel release, or for the image's.
    pub fn new(name: &str, root: Dir, sources: Vec<PathBuf>, kernel: Option<String>) -> Self {
        Self { name: name.to_owned(), root, sources, kernel }
    }

    /// The modules as entries below `into`. Of a directory with a folder named by the kernel's release, only that counts.
    fn list(&self, kernel: Option<&KernelRelease>, into: &TreePath, epoch: i64) -> Result<TreeDelta, ModulesError> {
        let mut delta = TreeDelta::new();
        for source in &self.sources {
            let found = self.list_one(source, kernel, epoch)?;
            if found.is_empty() {
                return Err(ModulesError::NoModule { path: source.clone() });
            }
            for (name, inode) in found {
                let path = into.join(&name)?;
                if delta.entries().contains_key(&path) {
                    return Err(ModulesError::Twice { path });
                }
                delta.insert(path, inode);
            }
        }
        Ok(delta)
    }

    fn list_one(
        &self,
        source: &Path,
        kernel: Option<&KernelRelease>,
        epoch: i64,
    ) -> Result<Vec<(Vec<u8>, Inode)>, ModulesError> {
        let read = |error| DirError::read(source, error);
        if !self.root.metadata(source).map_err(read)?.is_dir() {
            let name = source.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
            let inode = Inode::file(Meta::root_owned(0o644, epoch), Content::OnDisk(file(&self.root, source)?));
            return Ok(if is_module_name(&name) { vec![(name, inode)] } else { Vec::new() });
        }
        let own = kernel.map(|release| source.join(release.as_str())).filter(|path| self.root.is_dir(path));
        let delta = scan(&self.root, own.as_deref().unwrap_or(source), &TreePath::root(), epoch)?;
        let modules =
            delta.entries().iter().filter(|(path, inode)| is_module_name(path.name()) && inode.content().is_some());
        Ok(modules
            .map(|(path, inode)| {
                let meta = Meta::root_owned(0o644, epoch);
                (below_extra(path.as_bytes()).to_vec(), Inode { meta, kind: inode.kind.clone() })
            })
            .collect())
    }
}

/// The path below `extra`: builders lay modules out as an installed tree does, or flat.
fn below_extra(path: &[u8]) -> &[u8] {
    let stripped =
        [b"extra/".as_slice(), b"updates/dkms/", b"updates/"].iter().find_map(|prefix| path.strip_prefix(*prefix));
    stripped.unwrap_or(path)
}

impl Stage for ModulesStage {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "modules"
    }

    fn resolve(&self) -> Result<Pinned, StageError> {
        let release = self.kernel.as_deref().and_then(|text| KernelRelease::new(text).ok());
        let delta = self.list(release.as_ref(), &TreePath::root(), 0).map_err(|error| self.failed(error))?;
        let mut pinned = pin(&delta);
        pinned.inputs.insert("kernel".into(), self.kernel.clone().unwrap_or_else(|| "the base's".into()));
        Ok(pinned)
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        let produce = || -> Result<TreeDelta, ModulesError> {
            let kernel = kernel(view.tree, self.kernel.as_deref())?;
            let into = TreePath::new(format!("{MODULES}/{kernel}/{EXTRA}"))?;
            self.list(Some(&kernel), &into, Epoch::UNDATED.seconds())
        };
        let delta = produce().map_err(|error| self.failed(error))?;
        let root = self.root.try_clone().map_err(|error| self.failed(error))?;
        Ok(Produced { delta, contents: Some(Box::new(HostContents::new(root))), ..Produced::default() })
    }
}
