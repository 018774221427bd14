//! A kernel's modules as a set: do they fit the kernel, and each other?
//!
//! depmod answers neither: it indexes a module of another kernel like any other, and a dependency that is nowhere
//! shows up at boot. Terms: a module's *name* is that in the kernel (dashes are underscores), its *path* is relative
//! to the modules directory; a *built-in* module is part of the kernel image; a *checksum* is that of a symbol's type.
//!
//! [`normalise`] brings module files into one form. [`faults`] says what is wrong with a whole set by what modules say of
//! themselves, and [`validate`] with modules that are to be added, down to their symbols.
//! [`ModuleSigner`] signs them.

mod exports;
mod normalise;
mod paths;
mod sign;
mod signature;
mod symbols;
mod symvers;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use oci_assemble::elf::{Modinfo, module_name};
use oci_assemble::tree::TreePath;

pub use exports::Exports;
pub(crate) use normalise::plain_name;
pub use normalise::{Facts, NormaliseError, NormaliseFault, Normalised, normalise};
pub use paths::BuildPaths;
pub use sign::{ModuleCertificate, ModuleSigner, PairError, SignError};
pub use signature::{SignatureError, unsigned};
pub use symbols::{Export, Symbols};
pub use symvers::{Exported, Symvers, SymversError};
pub use validate::{Candidate, Target, Verdict, validate};

use crate::kernel::KernelRelease;

/// Below this, distributions link modules of other kernel releases whose symbols they know to be compatible.
const WEAK_UPDATES: &[u8] = b"weak-updates/";

/// What one module is for and needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Name in the kernel.
    pub name: String,
    /// Release of the kernel it was built for.
    pub release: String,
    /// Names of the modules it needs.
    pub depends: Vec<String>,
    /// Names of the modules that it wants loaded before or after it, and works without.
    pub wants: BTreeSet<String>,
    /// Number of aliases.
    pub aliases: usize,
    /// Checksum of its sources.
    pub srcversion: Option<String>,
    /// Whether a signature is appended.
    pub signed: bool,
}

impl From<&Modinfo> for Module {
    fn from(info: &Modinfo) -> Self {
        Self {
            name: underscored(&info.name),
            release: info.release().to_owned(),
            depends: info.depends.iter().map(|name| underscored(name)).collect(),
            wants: info.softdeps.iter().flat_map(|line| wanted(line)).collect(),
            aliases: info.aliases.len(),
            srcversion: info.srcversion.clone(),
            signed: info.signed,
        }
    }
}

/// The modules of a `softdep` line, such as `pre: a b post: c`.
fn wanted(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().filter(|word| !word.ends_with(':')).map(underscored)
}

fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

/// The modules of one kernel by path.
pub type Modules = BTreeMap<TreePath, Module>;

/// What is wrong with a module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It was built for another kernel, which refuses or crashes with it.
    OtherKernel {
        /// The module.
        path: TreePath,
        /// The release it was built for.
        found: String,
        /// The release of the kernel.
        expected: KernelRelease,
    },
    /// A module it needs is neither there nor built in.
    MissingDependency {
        /// The module.
        path: TreePath,
        /// Name of what it needs.
        needs: String,
    },
    /// Its file is damaged, or no module.
    Unreadable {
        /// The module.
        path: TreePath,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither the kernel nor a module exports a symbol that it uses.
    UnresolvedSymbol {
        /// The module.
        path: TreePath,
        /// The symbol.
        symbol: String,
    },
    /// It was built against another type of a symbol, so the kernel refuses it.
    CrcMismatch {
        /// The module.
        path: TreePath,
        /// The symbol.
        symbol: String,
        /// The checksum it was built against.
        expected: u32,
        /// The checksum of the symbol that is there.
        found: u32,
    },
    /// Its licence does not allow a symbol that it uses, so the kernel refuses it.
    GplOnly {
        /// The module.
        path: TreePath,
        /// The symbol.
        symbol: String,
        /// Its licence, as it is written.
        license: Option<String>,
    },
}

impl Fault {
    /// The module that it is about, relative to the modules directory.
    pub fn path(&self) -> &TreePath {
        match self {
            Self::OtherKernel { path, .. }
            | Self::MissingDependency { path, .. }
            | Self::Unreadable { path, .. }
            | Self::UnresolvedSymbol { path, .. }
            | Self::CrcMismatch { path, .. }
            | Self::GplOnly { path, .. } => path,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", relative(self.path()))?;
        match self {
            Self::OtherKernel { found, .. } => write!(f, "is built for kernel {found:?}"),
            Self::MissingDependency { needs, .. } => write!(f, "needs {needs:?}, which is nowhere"),
            Self::Unreadable { reason, .. } => write!(f, "is no usable kernel module: {reason}"),
            Self::UnresolvedSymbol { symbol, .. } => {
                write!(f, "uses {symbol:?}, which neither the kernel nor a module exports")
            }
            Self::CrcMismatch { symbol, expected, found, .. } => {
                write!(f, "was built against another {symbol:?}: checksum {expected:#010x}, here it is {found:#010x}")
            }
            Self::GplOnly { symbol, license, .. } => {
                write!(
                    f,
                    "uses {symbol:?}, which its licence {:?} does not allow",
                    license.as_deref().unwrap_or("none")
                )
            }
        }
    }
}

/// A path below the modules directory as `modules.dep` spells it: without the slash in front of paths of the image.
pub(crate) fn relative(path: &TreePath) -> String {
    path.to_string().trim_start_matches('/').to_owned()
}

/// Names that `modules.builtin` lists: one path a line.
pub fn builtins(list: &[u8]) -> BTreeSet<String> {
    list.split(|byte| *byte == b'\n')
        .filter_map(|line| module_name(line.rsplit(|byte| *byte == b'/').next()?))
        .filter_map(|name| String::from_utf8(name).ok())
        .collect()
}

/// What is wrong with `modules` for `kernel`, in the order of paths.
pub fn faults(modules: &Modules, builtins: &BTreeSet<String>, kernel: &KernelRelease) -> Vec<Fault> {
    let names: BTreeSet<&str> = modules.values().map(|module| module.name.as_str()).collect();
    let mut faults = Vec::new();
    for (path, module) in modules {
        if module.release != kernel.as_str() && !path.as_bytes().starts_with(WEAK_UPDATES) {
            let found = module.release.clone();
            faults.push(Fault::OtherKernel { path: path.clone(), found, expected: kernel.clone() });
        }
        for needs in &module.depends {
            if !names.contains(needs.as_str()) && !builtins.contains(needs) {
                faults.push(Fault::MissingDependency { path: path.clone(), needs: needs.clone() });
            }
        }
    }
    faults
}

/// What those of `modules` whose path is in `added` want and the image has not: with the path of who wants it, and the name.
pub fn wishes(modules: &Modules, builtins: &BTreeSet<String>, added: &BTreeSet<TreePath>) -> Vec<(TreePath, String)> {
    let names: BTreeSet<&str> = modules.values().map(|module| module.name.as_str()).collect();
    let missing = |name: &&String| !names.contains(name.as_str()) && !builtins.contains(*name);
    let of = |(path, module): (&TreePath, &Module)| {
        let wants = module.wants.iter().filter(missing);
        wants.map(|name| (path.clone(), name.clone())).collect::<Vec<_>>()
    };
    modules.iter().filter(|(path, _)| added.contains(*path)).flat_map(of).collect()
}

/// Paths that share a name: depmod takes one of each, by the search order of depmod.d.
pub fn duplicates(modules: &Modules) -> Vec<Vec<TreePath>> {
    let mut paths: BTreeMap<&str, Vec<TreePath>> = BTreeMap::new();
    for (path, module) in modules {
        paths.entry(&module.name).or_default().push(path.clone());
    }
    paths.into_values().filter(|paths| paths.len() > 1).collect()
}

#[cfg(test)]
mod tests;
