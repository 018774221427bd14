//! Packages of the distribution, installed on the base by its own tools.

use std::collections::BTreeMap;

use oci_assemble::plan::step::View;
use oci_assemble::tree::{TreeDelta, TreePath};

use super::script::{self, MARKER, Request, STATE};
use super::{Harvest, HarvestError, INPUT, Inputs, Step, Target, Work, replaced};
use crate::bundle::{BundleRecord, read_modules};
use crate::capture::{CaptureOptions, Export, capture, place};

/// Packages to be installed, removed or exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagesWork {
    /// What is asked for.
    pub request: Request,
    /// Repositories.
    pub inputs: Inputs,
}

/// What cannot be taken from a run of a package manager.
#[derive(Debug, thiserror::Error)]
#[error("packages turn {} into something else than it is in the base: {}", if .paths.len() == 1 { "a path" } else { "paths" }, .paths.join(", "))]
pub struct CrossesTypes {
    /// The paths.
    pub paths: Vec<String>,
}

impl PackagesWork {
    /// What such work is called.
    pub const KIND: &'static str = "packages";
}

impl Work for PackagesWork {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let Request { install, remove, downgrade, kernel, rather: _ } = &self.request;
        let kernel: Vec<String> = kernel.iter().map(|kernel| kernel.release.clone()).collect();
        [("install", install), ("remove", remove), ("downgrade", downgrade), ("kernel", &kernel)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(name, names)| (name.to_owned(), names.join(" ")))
            .collect()
    }

    fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    fn on_base(&self) -> bool {
        true
    }

    fn script(&self, step: Step<'_>, target: &Target) -> String {
        match step {
            Step::Fetch(locked) => script::fetch(target.family, &self.request, locked),
            Step::Build => format!("{}{}", script::HEAD, script::install(target.family, &self.request)),
        }
    }

    fn harvest(&self, export: &Export, _: &Target, view: View<'_>) -> Result<Harvest, HarvestError> {
        let inside = |path: &str| TreePath::new(path);
        let options = CaptureOptions {
            marker: inside(MARKER)?,
            mounts: vec![inside(INPUT)?, inside(STATE)?],
            tmpfiles: place(view.tree, Self::KIND)?,
        };
        let captured = capture(view.base, view.contents, export, &options)?;
        if captured.removals != TreeDelta::new() {
            let paths = captured.removals.whiteouts().iter().map(ToString::to_string).collect();
            return Err(Box::new(CrossesTypes { paths }));
        }
        let mut delta = captured.delta;
        let mut note = None;
        if self.request.kernel.is_some() {
            (delta, note) = replaced::kernel(&delta, view.base, (&export.tree, &export.contents))?;
        }
        let mut notes: Vec<String> = note.into_iter().collect();
        notes.extend(captured.left_out.iter().map(ToString::to_string));
        let packaged = captured.report.0.iter().filter(|dropped| dropped.payload > 0);
        notes.extend(packaged.map(ToString::to_string));
        let exclusions = captured.report.0.iter().map(|dropped| (dropped.rule.pattern.to_owned(), dropped.count));
        let modules = read_modules(&delta, &export.contents)?;
        let record = BundleRecord { exclusions: exclusions.collect(), modules, notes, ..BundleRecord::default() };
        Ok(Harvest { delta, record })
    }
}
