//! Modules compiled by DKMS, with the userspace that belongs to them.

use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::elf::{MODULE_MAX, Modinfo, is_module_name};
use oci_assemble::image::Epoch;
use oci_assemble::layer::{WholeError, whole};
use oci_assemble::pkgdb::Package;
use oci_assemble::plan::step::View;
use oci_assemble::tree::{Content, FileTree, Inode, Meta, PathError, Resolved, TreeDelta, TreePath};

use super::check::check;
use super::kinds::ByFamily;
use super::pairing::{Driver, paired};
use super::script::{self, Request, compile_request};
use super::supported::{SOURCES, ZFS, supported};
use super::userspace::userspace;
use super::{Family, Harvest, HarvestError, Inputs, Step, Target, Work};
use crate::bundle::{BundleRecord, read_modules};
use crate::capture::Export;
use crate::dkms::DkmsConf;
use crate::kernel::{KernelRelease, MODULES};
use crate::manifest::{Accounts, Root};
use crate::module::{NormaliseError, normalise};

/// Where dkms leaves what it built: `NAME/VERSION/KERNEL/ARCHITECTURE/module/*.ko`.
const DKMS: &str = "var/lib/dkms";
/// The largest `dkms.conf` that is read.
const CONF_MAX: u64 = 1 << 20;

/// Modules compiled by DKMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkmsWork {
    /// Name of the stage.
    pub stage: String,
    /// The kind of the stage.
    pub kind: &'static str,
    /// Packages with sources for DKMS.
    pub packages: ByFamily,
    /// Modules that must come out, by the names of their files; those of `dkms.conf` when empty.
    pub modules: ByFamily,
    /// Packages whose files go into the image.
    pub userspace: ByFamily,
    /// Paths of the base that files of packages may replace.
    pub overrides: Vec<TreePath>,
    /// Users and groups that the recipe declares: files of packages may belong to them.
    pub accounts: Accounts,
    /// Whether packages whose files go into the image are entered into its package database.
    pub record: bool,
    /// Repositories and patches.
    pub inputs: Inputs,
}

/// Why what DKMS built is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DkmsError {
    /// The image has no kernel to compile for.
    #[error("the image does not have exactly one kernel, so there is none to compile modules for")]
    NoKernel,
    /// Nothing came out.
    #[error("dkms built no module for kernel {kernel}")]
    Nothing {
        /// The kernel.
        kernel: KernelRelease,
    },
    /// A module that should have come out did not.
    #[error("dkms did not build {}, which {wanted_by} asks for; it built {}", .missing.join(", "), .built.join(", "))]
    Missing {
        /// Names of the modules that are missing.
        missing: Vec<String>,
        /// Who asks for them.
        wanted_by: String,
        /// Names of the modules that are there.
        built: Vec<String>,
    },
    /// Two modules would get one path.
    #[error("two modules would become {path}")]
    Twice {
        /// The path.
        path: TreePath,
    },
    /// A module is damaged.
    #[error(transparent)]
    Module(#[from] NormaliseError),
    /// A file of the container cannot be read.
    #[error(transparent)]
    Read(#[from] WholeError),
    /// A name that no image path can have.
    #[error(transparent)]
    Name(#[from] PathError),
}

impl DkmsWork {
    fn request(&self, target: &Target) -> Request {
        let kernel = target.kernel.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut packages = self.packages.of(target.family).to_vec();
        if target.family == Family::Rpm && self.inputs.below("patches").next().is_some() {
            packages.push("patch".into());
        }
        compile_request(
            target.family,
            (&kernel, target.kernel_version.as_deref()),
            &packages,
            self.userspace.of(target.family),
        )
    }

    /// The modules in the one form, where the kernel finds them.
    fn modules(export: &Export, target: &Target) -> Result<TreeDelta, DkmsError> {
        let kernel = target.kernel.as_ref().ok_or(DkmsError::NoKernel)?;
        let into = TreePath::new(format!("{MODULES}/{kernel}/{}", target.family.module_directory()))?;
        let mut delta = TreeDelta::new();
        for path in built(&export.tree, kernel) {
            let bytes = whole(&export.tree, &export.contents, &path, MODULE_MAX)?;
            let module = normalise(&bytes, path.name())?;
            let place = into.join(&module.file_name)?;
            if delta.entries().contains_key(&place) {
                return Err(DkmsError::Twice { path: place });
            }
            let meta = Meta::root_owned(0o644, Epoch::UNDATED.seconds());
            delta.insert(place, Inode::file(meta, Content::of(module.bytes)));
        }
        if delta.is_empty() {
            return Err(DkmsError::Nothing { kernel: kernel.clone() });
        }
        Ok(delta)
    }

    /// Modules and userspace that were asked for in one version are of one version.
    fn paired(
        &self,
        family: Family,
        delta: &TreeDelta,
        packages: &[Package],
        image: &FileTree,
    ) -> Result<(), HarvestError> {
        let Some(main) = self.modules.of(family).first() else { return Ok(()) };
        let is_main = |path: &&TreePath| path.name().strip_suffix(b".ko") == Some(main.as_bytes());
        let Some(path) = delta.entries().keys().find(is_main) else { return Ok(()) };
        let Some(Content::Bytes(bytes)) = delta.entries().get(path).and_then(Inode::content) else { return Ok(()) };
        let Some(version) = Modinfo::parse(bytes)?.version else { return Ok(()) };
        // What has a version of its own is asked for without that of the modules.
        let asked = |name: &String| name.split_once('=').map(|(_, version)| version.to_owned());
        let own: BTreeSet<String> = self.packages.of(family).iter().filter_map(asked).collect();
        let with =
            self.userspace.of(family).iter().filter(|name| asked(name).is_some_and(|asked| own.contains(&asked)));
        let names: BTreeSet<&str> = with.filter_map(|name| name.split('=').next()).collect();
        let userspace = packages.iter().filter(|package| names.contains(package.name.as_str()));
        let userspace = userspace.map(|package| (package.name.as_str(), package.version.as_str()));
        Ok(paired(self.kind, Driver { path, version: &version }, userspace, image)?)
    }

    /// Nothing that was announced is missing.
    fn complete(&self, family: Family, export: &Export, delta: &TreeDelta) -> Result<Vec<String>, DkmsError> {
        let name = |path: &TreePath| {
            let file = oci_assemble::elf::module_name(path.name()).unwrap_or_default();
            String::from_utf8_lossy(&file).into_owned()
        };
        let built: BTreeSet<String> = delta.entries().keys().map(name).collect();
        let check = |wanted: BTreeSet<String>, wanted_by: String| {
            let missing: Vec<String> = wanted.difference(&built).cloned().collect();
            let built = || built.iter().cloned().collect();
            if missing.is_empty() { Ok(()) } else { Err(DkmsError::Missing { missing, wanted_by, built: built() }) }
        };
        let wanted = self.modules.of(family);
        check(wanted.iter().map(|name| name.replace('-', "_")).collect(), "the recipe".into())?;
        let mut notes = Vec::new();
        for path in confs(&export.tree) {
            let bytes = whole(&export.tree, &export.contents, &path, CONF_MAX)?;
            match DkmsConf::parse(&bytes, &path.to_string()) {
                Ok(conf) if conf.complete => {
                    let names = conf.modules.iter().map(|module| module.name.replace('-', "_")).collect();
                    check(names, path.to_string())?;
                }
                Ok(_) | Err(_) if !wanted.is_empty() => {}
                Ok(_) | Err(_) => notes.push(format!("{path} is too clever to be read: only what came out is known")),
            }
        }
        Ok(notes)
    }
}

/// The modules that dkms built for `kernel`.
fn built(tree: &FileTree, kernel: &KernelRelease) -> Vec<TreePath> {
    let Resolved::Found(dkms) = tree.resolve(DKMS) else { return Vec::new() };
    let wanted = |path: &&TreePath| {
        let parts: Vec<&[u8]> = path.as_bytes()[dkms.as_bytes().len()..].split(|byte| *byte == b'/').collect();
        matches!(parts[..], [_, _, _, release, _, b"module", name]
            if release == kernel.as_str().as_bytes() && is_module_name(name))
    };
    let files = tree.below(&dkms).map(|(path, _)| path).filter(|path| tree.content(path).is_some());
    files.filter(wanted).cloned().collect()
}

/// The `dkms.conf` of every source tree.
fn confs(tree: &FileTree) -> Vec<TreePath> {
    let Resolved::Found(sources) = tree.resolve("usr/src") else { return Vec::new() };
    let conf = |(path, _): (&TreePath, &Inode)| path.join("dkms.conf").ok().filter(|conf| tree.content(conf).is_some());
    tree.children(&sources).filter_map(conf).collect()
}

impl Work for DkmsWork {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let list = |name: &str, values: Vec<String>| (name.to_owned(), values.join(" "));
        [
            list("packages.apt", self.packages.debian.clone()),
            list("packages.dnf", self.packages.rpm.clone()),
            list("modules.apt", self.modules.debian.clone()),
            list("modules.dnf", self.modules.rpm.clone()),
            list("userspace.apt", self.userspace.debian.clone()),
            list("userspace.dnf", self.userspace.rpm.clone()),
            list("override", self.overrides.iter().map(ToString::to_string).collect()),
            list("accounts", accounts(&self.accounts)),
            list("record", if self.record { vec!["justdb".to_owned()] } else { Vec::new() }),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }

    fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    fn script(&self, step: Step<'_>, target: &Target) -> String {
        match step {
            Step::Fetch(locked) => {
                let fetch = script::fetch(target.family, &self.request(target), locked);
                let aside = if self.kind == ZFS { script::set_aside(target.family, &[SOURCES]) } else { String::new() };
                format!("{fetch}{aside}")
            }
            Step::Build => {
                let kernel = target.kernel.as_ref().map(ToString::to_string).unwrap_or_default();
                let compile = script::dkms::compile(target.family, &kernel);
                let record = if self.record { script::note_conffiles(target.family) } else { String::new() };
                format!("{}{}{record}{compile}", script::HEAD, script::unpack(target.family))
            }
        }
    }

    fn admit(&self, fetched: &Export, target: &Target) -> Result<Vec<String>, HarvestError> {
        let (ZFS, Some(kernel)) = (self.kind, &target.kernel) else { return Ok(Vec::new()) };
        Ok(supported(fetched, kernel)?)
    }

    fn harvest(&self, export: &Export, target: &Target, view: View<'_>) -> Result<Harvest, HarvestError> {
        let kernel = target.kernel.as_ref().ok_or(DkmsError::NoKernel)?;
        let delta = Self::modules(export, target)?;
        let mut notes = self.complete(target.family, export, &delta)?;
        notes.extend(check(&delta, kernel, target.family, export, view)?);
        let modules = read_modules(&delta, &export.contents)?;
        let mut record = BundleRecord { modules, notes, ..BundleRecord::default() };
        // Their versions were chosen when they were fetched.
        let name = |package: &String| package.split_once('=').map_or(package.as_str(), |(name, _)| name).to_owned();
        let packages: Vec<String> = self.userspace.of(target.family).iter().map(name).collect();
        if packages.is_empty() {
            return Ok(Harvest { delta, record });
        }
        let base = Root { tree: view.tree, contents: view.contents };
        let (selected, mut names, notes) = userspace(&packages, self, export, base)?;
        let image = view.tree.clone().apply(&selected.delta())?;
        self.paired(target.family, &delta, &selected.manifest.packages, &image)?;
        record.notes.extend(notes);
        record.notes.extend(selected.notes.iter().cloned());
        let counts = selected.manifest.counts().into_iter();
        record.exclusions = counts.map(|(rule, count)| (rule.to_owned(), count as u64)).collect();
        let mut delta = delta.then(&selected.delta());
        if self.record {
            let dkms: Vec<String> = self.packages.of(target.family).iter().map(name).collect();
            names.retain(|name| !dkms.contains(name));
            delta = delta.then(&crate::record::taken(&names, export, Epoch::UNDATED)?);
        }
        Ok(Harvest { delta, record })
    }
}

/// What is declared, as words.
fn accounts(accounts: &Accounts) -> Vec<String> {
    let number = |number: &Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let users = accounts.users.iter().map(|(name, uid)| format!("u:{name}:{}", number(uid)));
    users.chain(accounts.groups.iter().map(|(name, gid)| format!("g:{name}:{}", number(gid)))).collect()
}

/// The packages that DKMS itself and the kernel's headers are in.
pub(super) fn tools(family: Family, kernel: &str) -> Vec<String> {
    match family {
        Family::Debian => vec!["dkms".into(), "patch".into(), format!("linux-headers-{kernel}")],
        Family::Rpm => {
            let version = kernel.rsplit_once('.').map_or(kernel, |(version, _)| version);
            // What else a kernel is compiled with, kernel-devel itself requires.
            ["dkms", "gcc", "make"].into_iter().map(str::to_owned).chain([format!("kernel-devel={version}")]).collect()
        }
    }
}

#[cfg(test)]
mod tests;
