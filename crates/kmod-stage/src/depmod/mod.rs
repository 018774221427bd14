//! The index files of a kernel's modules (`modules.dep` and its kin), made by depmod.
//!
//! The index formats belong to the kmod of the image that will read them, so the image's own depmod makes them, in a
//! sandbox, on a *sparse root*: a directory with the modules, depmod's configuration, depmod and its libraries, and
//! nothing else of the image. Where that cannot run (no user namespaces, another machine, no depmod in the image), the
//! depmod of this machine does, on the same files, held by Landlock; the report says so.
//!
//! Invariants: every file of the sparse root is a regular file made by us, since depmod follows symlinks wherever they
//! lead; owners, times and attributes of the image never reach a disk; of what depmod wrote only files with known names
//! come back; depmod's word is not enough, as it exits 0 on modules it cannot parse: each module is parsed here, and
//! must be in `modules.dep`.
//!
//! Law: the same tree, kernel and depmod give the same delta, whatever the workspace, the number of threads, the umask.

mod check;
mod error;
mod harvest;
mod invoke;
mod links;
mod plan;
mod program;
mod stage;
mod workspace;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use oci_assemble::layer::Contents;
use oci_assemble::tree::{FileTree, TreeDelta, TreePath};

pub use error::DepmodError;
pub use plan::{Placed, SparseRoot};
pub use program::ImageDepmod;

use crate::kernel::KernelRelease;
use crate::module::{self, Modules, Verdict};
use crate::sandbox::{self, Climbed, Confinement, Limits, Rung, SandboxPolicy};
use invoke::Call;
use links::Links;
use workspace::Workspace;

/// How depmod is run.
#[derive(Clone, Debug)]
pub struct DepmodOptions {
    /// Which sandboxes are good enough.
    pub policy: SandboxPolicy,
    /// What depmod may use up.
    pub limits: Limits,
    /// An existing directory in which a private one is made: best a tmpfs that allows execution.
    pub workspace: PathBuf,
    /// How many threads decompress and check modules, beside the one that reads the image.
    pub jobs: NonZeroUsize,
    /// Time of the index files, seconds since 1970.
    pub mtime: i64,
    /// Modules that did not come with the kernel, relative to the modules directory: their symbols are held against what
    /// it exports.
    pub added: BTreeSet<TreePath>,
    /// The depmod of this machine; none means the usual places.
    pub host_depmod: Option<PathBuf>,
}

impl DepmodOptions {
    /// The default policy and limits, with one thread.
    pub fn new(workspace: PathBuf, mtime: i64) -> Self {
        Self {
            policy: SandboxPolicy::default(),
            limits: Limits::default(),
            workspace,
            jobs: NonZeroUsize::MIN,
            mtime,
            added: BTreeSet::new(),
            host_depmod: None,
        }
    }
}

/// The index files, and how they came about.
#[derive(Debug)]
pub struct Indexed {
    /// The index files as entries owned by root with mode 0644; whiteouts of old ones that were not made again.
    /// Directories above them are left out.
    pub delta: TreeDelta,
    /// How they came about.
    pub report: DepmodReport,
}

/// How index files came about.
#[derive(Debug)]
pub struct DepmodReport {
    /// What held depmod.
    pub confinement: Confinement,
    /// Better sandboxes that could not be had, and why.
    pub unavailable: Vec<(Rung, DepmodError)>,
    /// Which depmod ran.
    pub program: DepmodProgram,
    /// What it said: warnings, such as symbols that nothing provides. Paths are those of the image.
    pub stderr: String,
    /// The modules, by path relative to the modules directory.
    pub modules: Modules,
    /// How many symbols of added modules nothing known offers, where the kernel's exports are not all known.
    pub unchecked: usize,
    /// What added modules want loaded with them and the image has not: who, and the name.
    pub wishes: Vec<(TreePath, String)>,
    /// Groups of modules with the same name, of which depmod took one each.
    pub duplicates: Vec<Vec<TreePath>>,
}

/// Which depmod ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepmodProgram {
    /// The image's own.
    Image(TreePath),
    /// That of this machine, whose index formats may be older or newer than the image's kmod.
    Host(PathBuf),
}

/// Makes the index files of the modules of `kernel` in `tree`.
///
/// Costs one visit of the layers that hold modules, a copy of all modules to the workspace, their decompression, and a
/// run of depmod: seconds.
pub fn index_modules(
    tree: &FileTree,
    contents: &dyn Contents,
    kernel: &KernelRelease,
    options: &DepmodOptions,
) -> Result<Indexed, DepmodError> {
    let plan = SparseRoot::plan(tree, kernel)?;
    let workspace = Workspace::new(&options.workspace)?;
    let links = Links::new(tree, &plan, &options.added);
    let staged = stage::stage(tree, &plan, contents, &workspace, &links, options.jobs)?;
    let mut faults = module::faults(&staged.modules, &staged.builtins, kernel);
    let mut verdict = Verdict::default();
    if faults.is_empty() {
        verdict = links.verdict(tree, contents, &staged, kernel)?;
        faults = std::mem::take(&mut verdict.faults);
    }
    if !faults.is_empty() {
        return Err(DepmodError::Faults { kernel: kernel.clone(), faults });
    }
    let call = Call { kernel, root: workspace.path(), kernel_symbols: staged.kernel_symbols, limits: options.limits };
    let mut image = None;
    let climbed = sandbox::climb(
        options.policy.rungs(),
        |rung| {
            let (spec, program) = if rung == Rung::Landlock {
                let host = invoke::host_depmod(options.host_depmod.as_deref()).ok_or(DepmodError::NoHostDepmod)?;
                (call.on_host(&host), DepmodProgram::Host(host))
            } else {
                let path = match &image {
                    Some(path) => path,
                    None => image.insert(stage::stage_program(tree, contents, &staged.prefetched, &workspace)?),
                };
                (call.in_root(path), DepmodProgram::Image(path.clone()))
            };
            let outcome = sandbox::run(&spec, rung)?;
            check::outcome(&outcome, options.limits.stderr, call.root)?;
            Ok((outcome, program))
        },
        DepmodError::is_unavailable,
        |tried| DepmodError::NoSandbox { tried },
    );
    let Climbed { value: (outcome, program), unavailable } = climbed?;
    let files = harvest::harvest(&workspace, kernel)?;
    check::index(&files, &staged.modules)?;
    Ok(Indexed {
        delta: harvest::delta(tree, &plan.modules, files, options.mtime)?,
        report: DepmodReport {
            confinement: outcome.confinement,
            unavailable,
            program,
            stderr: check::text(&outcome, call.root),
            unchecked: verdict.unchecked.values().map(BTreeSet::len).sum(),
            wishes: module::wishes(&staged.modules, &staged.builtins, &options.added),
            duplicates: module::duplicates(&staged.modules),
            modules: staged.modules,
        },
    })
}
