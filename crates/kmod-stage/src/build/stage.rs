//! A build as a step of a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use oci_assemble::elf::is_module_name;
use oci_assemble::image::Digest;
use oci_assemble::layer::Contents;
use oci_assemble::plan::step::{Pinned, Produced, Stage, StageError, View};
use oci_assemble::tree::{Content, TreeDelta, TreePath};

use super::offers::base_kernel;
use super::{BuildError, Builder, Earlier, Family, Target, Work, render};
use crate::bundle::{BundleContents, PackageRecord};
use crate::kernel::{Kernels, MODULES};
use crate::record::entered;

/// Which part of a result a step brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// Kernel modules, which share a layer with their indexes.
    Modules,
    /// All but those.
    Rest,
}

/// A result that the parts of a stage share.
#[derive(Debug)]
pub struct Shared {
    delta: TreeDelta,
    contents: BundleContents,
    notes: Vec<String>,
}

/// A build as a step of a plan.
#[derive(Debug)]
pub struct BuiltStage {
    name: String,
    work: Arc<dyn Work>,
    builder: Option<Arc<Builder>>,
    locked: Option<BTreeSet<PackageRecord>>,
    key: Option<Digest>,
    earlier: Vec<Earlier>,
    part: Part,
    result: Arc<OnceLock<Shared>>,
    /// For plans: how its containers are called.
    commands: Vec<String>,
}

impl BuiltStage {
    /// The stage `name`, which does `work`; without a builder it is only for plans. It is made with exactly the packages
    /// `locked` where they are known.
    pub fn new(
        name: &str,
        work: Arc<dyn Work>,
        builder: Option<Arc<Builder>>,
        locked: Option<BTreeSet<PackageRecord>>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            work,
            builder,
            locked,
            key: None,
            earlier: Vec::new(),
            part: Part::Whole,
            result: Arc::default(),
            commands: Vec::new(),
        }
    }

    /// With how its containers are called, for plans.
    #[must_use]
    pub fn with_commands(self, commands: Vec<String>) -> Self {
        Self { commands, ..self }
    }

    /// The same behind other stages of the image.
    #[must_use]
    pub fn behind(self, earlier: Vec<Earlier>) -> Self {
        Self { earlier, ..self }
    }

    /// The same, refused when its result would have another key.
    #[must_use]
    pub fn held_to(self, key: Digest) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The same result as two stages: kernel modules below `/usr/lib/modules`, and the rest.
    pub fn split(self) -> [Self; 2] {
        let modules = Self {
            name: self.name.clone(),
            work: Arc::clone(&self.work),
            builder: self.builder.clone(),
            locked: self.locked.clone(),
            key: self.key,
            earlier: self.earlier.clone(),
            part: Part::Modules,
            result: Arc::clone(&self.result),
            commands: Vec::new(),
        };
        [modules, Self { part: Part::Rest, ..self }]
    }

    /// What the build is for, in an image whose tree so far is that of `view`.
    pub fn target(view: View<'_>) -> Result<Target, BuildError> {
        let family = Family::of(view.base).ok_or(BuildError::NoPackages)?;
        let mut kernels = Kernels::find(view.tree).bootable;
        let kernel = if kernels.len() == 1 { kernels.pop() } else { None };
        // That of the image so far, to which packages may have brought another kernel.
        let so_far = View { base: view.tree, ..view };
        let package = kernel.as_ref().and_then(|kernel| base_kernel(kernel, so_far).ok());
        let kernel_version = package.map(|package| package.version.to_string());
        let architecture = view.architecture.to_owned();
        Ok(Target { family, kernel, kernel_version, architecture, epoch: view.epoch })
    }

    fn shared(&self, view: View<'_>) -> Result<&Shared, StageError> {
        if self.result.get().is_none() {
            let target = Self::target(view).map_err(|error| self.failed(error))?;
            let builder = self.builder.as_ref().ok_or_else(|| self.failed(BuildError::NoBuilder))?;
            let position = builder.position(&self.name, &self.earlier).map_err(|error| self.failed(error))?;
            if let (Some(locked), Some(packages)) = (self.key, &self.locked) {
                let key = builder.key(&*self.work, &position, &target, packages);
                let found = *key.map_err(|error| self.failed(error))?.digest();
                if found != locked {
                    return Err(self.failed(BuildError::Unlocked { locked, found }));
                }
            }
            let outcome = builder.run(&position, &*self.work, &target, view, self.locked.as_ref());
            let outcome = outcome.map_err(|error| self.failed(error))?;
            let (delta, contents, _) = outcome.bundle.open();
            let _ = self.result.set(Shared { delta, contents, notes: outcome.notes });
        }
        self.result.get().ok_or_else(|| self.failed(BuildError::NoPackages))
    }
}

fn is_module(path: &TreePath) -> bool {
    is_module_name(path.name()) && path.as_bytes().starts_with(MODULES.as_bytes())
}

/// Contents that several stages bring.
struct Common(Arc<OnceLock<Shared>>);

impl Contents for Common {
    fn open<'a>(&'a self, content: &'a Content) -> std::io::Result<Box<dyn std::io::Read + 'a>> {
        self.0.get().ok_or(std::io::ErrorKind::NotFound)?.contents.open(content)
    }

    fn has(&self, content: &Content) -> bool {
        self.0.get().is_some_and(|shared| shared.contents.has(content))
    }

    fn visit(
        &self,
        wanted: &BTreeSet<Content>,
        each: &mut dyn FnMut(&Content, &mut dyn std::io::Read) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        self.0.get().ok_or(std::io::ErrorKind::NotFound)?.contents.visit(wanted, each)
    }
}

impl Stage for BuiltStage {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        self.work.kind()
    }

    fn resolve(&self) -> Result<Pinned, StageError> {
        let mut inputs: BTreeMap<String, String> = self.work.settings();
        inputs.extend(self.work.inputs().digests().into_iter().map(|(name, digest)| (name, digest.to_string())));
        let packages = self.locked.as_ref().map(|packages| packages.iter().map(render).collect::<Vec<_>>());
        let count = packages.as_ref().map(|packages| format!("{} locked", packages.len()));
        inputs.insert("packages".into(), count.unwrap_or_else(|| "chosen at build time, as no lock names them".into()));
        let stamp = Digest::of(format!("{} {inputs:?} {packages:?}", self.kind()).as_bytes());
        Ok(Pinned { inputs, stamp, commands: self.commands.clone(), youngest: 0 })
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        let shared = self.shared(view)?;
        let mut delta = shared.delta.clone();
        let wanted = |path: &TreePath| match self.part {
            Part::Whole => true,
            Part::Modules => is_module(path),
            Part::Rest => !is_module(path),
        };
        for path in shared.delta.entries().keys().filter(|path| !wanted(path)) {
            delta.forget(path);
        }
        if self.part == Part::Modules {
            let mut alone = TreeDelta::new();
            for (path, inode) in delta.entries() {
                alone.insert(path.clone(), inode.clone());
            }
            delta = alone;
        }
        // The database is that of the image so far, which is not the same for every image that takes this result.
        let delta = entered(delta, &shared.contents, view).map_err(|error| self.failed(error))?;
        let notes = if self.part == Part::Modules { Vec::new() } else { shared.notes.clone() };
        let contents = Some(Box::new(Common(Arc::clone(&self.result))) as Box<dyn Contents + Send>);
        // Without a lock, what the network gave today decides.
        Ok(Produced { delta, contents, notes, of_machine: self.locked.is_none() })
    }
}

#[cfg(test)]
mod tests;
