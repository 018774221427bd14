//! Stages whose kernel modules are signed, and the certificate that machines enrol for them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use oci_assemble::elf::{MODULE_MAX, is_module_name};
use oci_assemble::image::{Digest, Epoch};
use oci_assemble::layer::{Contents, Sources};
use oci_assemble::plan::step::{Pinned, Produced, Stage, StageError, View};
use oci_assemble::tree::{Content, FileTree, Inode, Kind, Meta, PathError, TreeDelta, TreePath};

use super::kept::Kept;
use crate::module::{ModuleCertificate, ModuleSigner, SignError, plain_name};

/// Where images have the certificates of their modules.
const CERTIFICATES: &str = "usr/share/assemble/mok";

/// A stage, its modules signed: not compressed, so that one form is signed, whatever they were in. A file that the base
/// has with the same bytes stays as it is, since the kernel's own modules have the distribution's signature.
pub struct SignedStage {
    stage: Box<dyn Stage>,
    certificate: ModuleCertificate,
    signer: Option<Arc<ModuleSigner>>,
    workspace: PathBuf,
}

impl std::fmt::Debug for SignedStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedStage")
            .field("stage", &self.stage.name())
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// Why the modules of a stage cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The stage is for plans, which need no private key.
    #[error("there is no private key to sign with")]
    NoKey,
    /// A module could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The module.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A module is larger than any is.
    #[error("{path} is larger than {MODULE_MAX} bytes")]
    TooLarge {
        /// The module.
        path: TreePath,
    },
    /// A module could not be signed.
    #[error("cannot sign {path}")]
    Sign {
        /// The module.
        path: TreePath,
        /// Why.
        #[source]
        source: SignError,
    },
    /// A module is there compressed and plain, or compressed in two ways.
    #[error("two modules of the stage would become {path}, as signed modules are not compressed")]
    Twice {
        /// What they would become.
        path: TreePath,
    },
    /// A symlink with the name of a compressed module, whose target cannot be told.
    #[error("{path} is a symlink to a compressed module that is not there; signed modules are not compressed")]
    Link {
        /// The symlink.
        path: TreePath,
    },
    /// A path would not be one.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The temporary file for signed modules could not be written.
    #[error("cannot keep signed modules in {}", .directory.display())]
    Keep {
        /// Where it is.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SignedStage {
    /// The modules of `stage`, signed by `signer`, who has `certificate`; without a signer the stage is only for plans.
    /// An unnamed file in `workspace` keeps them.
    pub fn new(
        stage: Box<dyn Stage>,
        certificate: ModuleCertificate,
        signer: Option<Arc<ModuleSigner>>,
        workspace: PathBuf,
    ) -> Self {
        Self { stage, certificate, signer, workspace }
    }

    fn signed(&self, mut produced: Produced, view: View<'_>) -> Result<Produced, SigningError> {
        let signer = self.signer.as_ref().ok_or(SigningError::NoKey)?;
        let keep = |source| SigningError::Keep { directory: self.workspace.clone(), source };
        let mut kept = Kept::new(&self.workspace).map_err(keep)?;
        let own = produced.contents.take();
        let before = std::mem::take(&mut produced.delta);
        let mut count = 0;
        let mut renamed = BTreeMap::new();
        let mut files = BTreeMap::new();
        {
            let own = own.iter().map(|own| &**own as &dyn Contents);
            let sources = Sources::new(own.chain([view.contents]).collect());
            for (path, inode) in before.entries() {
                let Kind::File(content) = &inode.kind else { continue };
                if !is_module_name(path.name()) {
                    continue;
                }
                let bytes = read(&sources, path, content)?;
                if base_has(view.base, path, &bytes) {
                    continue;
                }
                let bytes = signer.sign(&bytes).map_err(|source| SigningError::Sign { path: path.clone(), source })?;
                let kind = Kind::File(kept.keep(&bytes).map_err(keep)?);
                renamed.insert(path.clone(), plain_path(path)?);
                files.insert(path.clone(), Inode { meta: inode.meta.clone(), kind });
                count += 1;
            }
        }
        produced.delta = replaced(&before, &files, &renamed, view.base)?;
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            produced.notes.push(format!("{count} module{plural} signed by {}", signer.certificate().subject()));
        }
        produced.contents = Some(Box::new(kept.beside(own)));
        Ok(produced)
    }
}

/// The bytes of a module, which must not be larger than one.
fn read(contents: &dyn Contents, path: &TreePath, content: &Content) -> Result<Vec<u8>, SigningError> {
    if content.size() > MODULE_MAX {
        return Err(SigningError::TooLarge { path: path.clone() });
    }
    let failed = |source| SigningError::Read { path: path.clone(), source };
    let mut bytes = Vec::new();
    contents.open(content).map_err(failed)?.take(MODULE_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Whether the base has a file of these bytes there.
fn base_has(base: &FileTree, path: &TreePath, bytes: &[u8]) -> bool {
    let found = base.lookup(path.as_bytes()).and_then(|(found, _)| base.content(&found));
    found.is_some_and(|found| found.size() == bytes.len() as u64 && found.digest() == Some(Digest::of(bytes)))
}

/// The path without a suffix of compression.
fn plain_path(path: &TreePath) -> Result<TreePath, PathError> {
    let longer = path.name().len() - plain_name(path.name()).len();
    let bytes = path.as_bytes();
    TreePath::new(bytes.get(..bytes.len() - longer).unwrap_or(bytes))
}

/// Where a symlink at `path` leads by its text; none when that is above the root or no path.
fn leads(path: &TreePath, target: &[u8]) -> Option<TreePath> {
    let start = if target.starts_with(b"/") { TreePath::root() } else { path.parent()? };
    target.split(|byte| *byte == b'/').try_fold(start, |place, part| match part {
        b"" | b"." => Some(place),
        b".." => place.parent(),
        name => place.join(name).ok(),
    })
}

/// `before` with `files`, the signed ones, at their new places, and the links that lead to them; what the base has at the old
/// places goes. `renamed` leads from old to new places.
fn replaced(
    before: &TreeDelta,
    files: &BTreeMap<TreePath, Inode>,
    renamed: &BTreeMap<TreePath, TreePath>,
    base: &FileTree,
) -> Result<TreeDelta, SigningError> {
    let mut after = TreeDelta::new();
    before.whiteouts().iter().for_each(|path| after.whiteout(path.clone()));
    before.opaques().iter().for_each(|path| after.opaque(path.clone()));
    for (path, inode) in before.entries() {
        let mut inode = files.get(path).unwrap_or(inode).clone();
        let mut place = renamed.get(path).unwrap_or(path).clone();
        let module = is_module_name(path.name());
        // A symlink leads from the directory of each of its names, so each is judged, and perhaps renamed, by itself.
        if let Kind::Hardlink(owner) = &inode.kind
            && [path, owner]
                .into_iter()
                .any(|name| is_module_name(name.name()) && plain_name(name.name()) != name.name())
            && let linked @ Kind::Symlink(_) = &before.linked(&inode).kind
        {
            inode.kind = linked.clone();
        }
        match &mut inode.kind {
            Kind::Hardlink(target) => {
                if let Some(new) = renamed.get(target) {
                    *target = new.clone();
                    place = if module { plain_path(path)? } else { place };
                }
            }
            Kind::Symlink(target) if module && plain_name(path.name()) != path.name() => {
                let link = || SigningError::Link { path: path.clone() };
                let found = leads(path, target).ok_or_else(link)?;
                if renamed.contains_key(&found) {
                    *target = plain_name(target).into();
                    place = plain_path(path)?;
                } else if base.lookup(found.as_bytes()).is_none() {
                    return Err(link());
                }
            }
            _ => {}
        }
        if after.entries().contains_key(&place) {
            return Err(SigningError::Twice { path: place });
        }
        if place != *path && base.lookup(path.as_bytes()).is_some() {
            after.whiteout(path.clone());
        }
        after.insert(place, inode);
    }
    Ok(after)
}

impl Stage for SignedStage {
    fn name(&self) -> &str {
        self.stage.name()
    }

    fn kind(&self) -> &'static str {
        self.stage.kind()
    }

    fn resolve(&self) -> Result<Pinned, StageError> {
        let mut pinned = self.stage.resolve()?;
        let certificate = self.certificate.digest();
        pinned.stamp = Digest::of(format!("{} signed {certificate}", pinned.stamp).as_bytes());
        pinned.inputs.insert("certificate".into(), certificate.to_string());
        Ok(pinned)
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        let produced = self.stage.produce(view)?;
        self.signed(produced, view).map_err(|error| self.failed(error))
    }
}

/// The stage `modules.sign`: the certificate, for `mokutil --import`.
#[derive(Debug)]
pub struct CertificateStage {
    certificate: ModuleCertificate,
    path: TreePath,
}

impl CertificateStage {
    /// Brings `certificate` as `/usr/share/assemble/mok/NAME.der`.
    pub fn new(certificate: ModuleCertificate, name: &str) -> Result<Self, PathError> {
        Ok(Self { certificate, path: TreePath::new(format!("{CERTIFICATES}/{name}.der"))? })
    }
}

impl Stage for CertificateStage {
    fn name(&self) -> &'static str {
        "modules.sign"
    }

    fn kind(&self) -> &'static str {
        "certificate"
    }

    fn resolve(&self) -> Result<Pinned, StageError> {
        let (subject, digest) = (self.certificate.subject(), self.certificate.digest());
        let inputs = BTreeMap::from([("subject".into(), subject), ("certificate".into(), digest.to_string())]);
        let stamp = Digest::of(format!("{} {digest}", self.path).as_bytes());
        Ok(Pinned { inputs, stamp, commands: Vec::new(), youngest: 0 })
    }

    fn produce(&self, _: View<'_>) -> Result<Produced, StageError> {
        let mut delta = TreeDelta::new();
        let meta = Meta::root_owned(0o644, Epoch::UNDATED.seconds());
        delta.insert(self.path.clone(), Inode::file(meta, Content::Bytes(self.certificate.der().into())));
        Ok(Produced { delta, ..Produced::default() })
    }
}

#[cfg(test)]
mod tests;
