//! The stage `depmod`: indexes of all modules of the image's kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use oci_assemble::elf::is_module_name;
use oci_assemble::image::{Digest, Epoch};
use oci_assemble::plan::step::{Pinned, Produced, Stage, StageError, View};
use oci_assemble::tree::{Content, FileTree, Inode, TreePath};

use super::{KernelChoice, kernel};
use crate::depmod::{DepmodError, DepmodOptions, DepmodProgram, DepmodReport, Indexed, SparseRoot, index_modules};
use crate::kernel::{KernelRelease, MODULES};
use crate::sandbox::SandboxPolicy;

/// Runs depmod over the tree that stands so far.
#[derive(Clone, Debug)]
pub struct DepmodStage {
    kernel: Option<String>,
    policy: SandboxPolicy,
    workspace: PathBuf,
    jobs: NonZeroUsize,
}

/// Why modules cannot be indexed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The image's kernel is not the one.
    #[error(transparent)]
    Kernel(#[from] KernelChoice),
    /// depmod failed, or a module does not fit.
    #[error(transparent)]
    Depmod(#[from] DepmodError),
}

impl DepmodStage {
    /// Indexes the modules of `kernel`, or of the image's one kernel, in a private directory below `workspace`.
    pub fn new(kernel: Option<String>, policy: SandboxPolicy, workspace: PathBuf, jobs: NonZeroUsize) -> Self {
        Self { kernel, policy, workspace, jobs }
    }

    fn index(&self, view: View<'_>) -> Result<Indexed, IndexError> {
        let kernel = kernel(view.tree, self.kernel.as_deref())?;
        let mut options = DepmodOptions::new(self.workspace.clone(), Epoch::UNDATED.seconds());
        options.policy = self.policy;
        options.jobs = self.jobs;
        options.added = added(view, &kernel)?;
        Ok(index_modules(view.tree, view.contents, &kernel, &options)?)
    }
}

impl Stage for DepmodStage {
    fn name(&self) -> &'static str {
        "depmod"
    }

    fn kind(&self) -> &'static str {
        "depmod"
    }

    fn resolve(&self) -> Result<Pinned, StageError> {
        let policy = format!("{:?}", self.policy).to_lowercase();
        let stamp = Digest::of(format!("depmod {:?} {policy}", self.kernel).as_bytes());
        let inputs = BTreeMap::from([("sandbox".into(), policy)]);
        Ok(Pinned { inputs, stamp, commands: Vec::new(), youngest: 0 })
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        if modules(view.base) == modules(view.tree) {
            return Ok(Produced::default()); // the base's indexes stand
        }
        let Indexed { delta, report } = self.index(view).map_err(|error| self.failed(error))?;
        let of_machine = matches!(report.program, DepmodProgram::Host(_));
        Ok(Produced { delta, contents: None, notes: notes(&report), of_machine })
    }
}

/// The modules that the base does not have so, relative to the modules directory. Of a kernel that the base does not have,
/// those that it was built with came along.
fn added(view: View<'_>, kernel: &KernelRelease) -> Result<BTreeSet<TreePath>, DepmodError> {
    let before = SparseRoot::plan(view.base, kernel).map(|plan| plan.files).ok();
    let is_added = |path: &TreePath, content: &Content| match &before {
        Some(files) => files.get(path) != Some(content),
        None => !path.as_bytes().starts_with(b"kernel/"),
    };
    let now = SparseRoot::plan(view.tree, kernel)?.files.into_iter();
    Ok(now.filter(|(path, content)| is_added(path, content)).map(|(path, _)| path).collect())
}

/// The modules of all kernels of a tree.
fn modules(tree: &FileTree) -> Vec<(&TreePath, &Inode)> {
    let folder = TreePath::new(MODULES).ok();
    let below = folder.iter().flat_map(|folder| tree.below(folder));
    below.filter(|(path, _)| is_module_name(path.name())).collect()
}

fn notes(report: &DepmodReport) -> Vec<String> {
    let program = match &report.program {
        DepmodProgram::Image(path) => format!("the image's {path}"),
        DepmodProgram::Host(path) => format!("this machine's {}", path.display()),
    };
    let mut notes =
        vec![format!("{} modules indexed by {program}, confined by {}", report.modules.len(), report.confinement.rung)];
    for (rung, error) in &report.unavailable {
        let mut note = format!("confinement by {rung} was not to be had: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            note.push_str(&format!(": {error}"));
            cause = error.source();
        }
        notes.push(note);
    }
    for names in &report.duplicates {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        notes.push(format!("several modules have one name: {}", names.join(", ")));
    }
    for (path, name) in &report.wishes {
        notes.push(format!("{path} wants the module {name} loaded with it, which the image has not"));
    }
    if report.unchecked > 0 {
        let count = report.unchecked;
        notes.push(format!("{count} symbols of added modules are in no list: the kernel's exports are known in part"));
    }
    notes.extend(report.stderr.lines().map(str::to_owned));
    notes
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::sandbox::{Confinement, Rung, SandboxError, Step};

    #[test]
    fn a_note_says_why_a_better_sandbox_was_not_to_be_had() {
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = SandboxError::Unavailable { rung: Rung::Namespaces, step: Step::Unshare, source: refused };
        let report = DepmodReport {
            confinement: Confinement { rung: Rung::Landlock, landlock: Some(4) },
            unavailable: vec![(Rung::Namespaces, error.into())],
            program: DepmodProgram::Host("/sbin/depmod".into()),
            stderr: String::new(),
            modules: BTreeMap::new(),
            unchecked: 0,
            wishes: Vec::new(),
            duplicates: Vec::new(),
        };
        assert_eq!(
            notes(&report),
            [
                "0 modules indexed by this machine's /sbin/depmod, confined by landlock",
                "confinement by namespaces was not to be had: running depmod failed: the namespaces sandbox cannot be \
                 had: creating namespaces failed: permission denied",
            ]
        );
    }
}
