//! What a build left: remembered under its key, and printed.

use std::collections::BTreeMap;

use kmod_stage::stage::kernel;
use oci_assemble::image::{Digest, Image, Layer};
use oci_assemble::inspect::lint::{LintReport, Severity};
use oci_assemble::plan::assemble::Drafted;
use serde::{Deserialize, Serialize};

use super::build::Prepared;
use crate::exit::{Class, Context, Failure};
use crate::judge::Verdict;
use crate::ui::{Ui, bytes};

/// How many warnings of lints are said: as many as one reads.
const MOST: usize = 10;

/// What a build left, remembered and printed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Built {
    pub(super) image: Digest,
    pub(super) output: String,
    pub(super) base: Digest,
    /// Release of the kernel, when there is one.
    pub(super) kernel: Option<String>,
    pub(super) layers: Vec<BuiltLayer>,
    pub(super) notes: Vec<String>,
    pub(super) lint: BTreeMap<String, usize>,
    /// What lints warn of; some of it only a build can know, which knows what it added to the base.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bootc: Option<Verdict>,
    #[serde(skip)]
    pub(super) of_machine: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BuiltLayer {
    pub(super) name: String,
    pub(super) digest: Digest,
    pub(super) diff_id: Digest,
    pub(super) size: u64,
    pub(super) uncompressed: u64,
}

impl Built {
    /// What came of a build.
    pub(super) fn new(
        image: &Image,
        prepared: &Prepared,
        layers: Vec<(String, Layer)>,
        drafted: &Drafted,
        report: &LintReport,
        bootc: Option<Verdict>,
    ) -> Self {
        let layer = |(name, layer): (String, Layer)| BuiltLayer {
            name,
            digest: layer.descriptor.digest,
            diff_id: layer.diff_id,
            size: layer.descriptor.size,
            uncompressed: layer.uncompressed_size.unwrap_or(0),
        };
        Self {
            image: image.digest(),
            output: prepared.output.to_string(),
            base: prepared.base.digest,
            kernel: kernel(&drafted.tree, None).ok().map(|release| release.to_string()),
            layers: layers.into_iter().map(layer).collect(),
            notes: drafted.notes.clone(),
            of_machine: drafted.of_machine,
            lint: BTreeMap::from([
                ("fatal".into(), report.count(Severity::Fatal)),
                ("warning".into(), report.count(Severity::Warning)),
            ]),
            warnings: warnings(report),
            bootc,
        }
    }
}

fn warnings(report: &LintReport) -> Vec<String> {
    let warnings = report.findings.iter().filter(|finding| finding.severity == Severity::Warning);
    warnings.map(|finding| format!("{} {finding}", finding.lint)).collect()
}

/// Prints what a build made.
pub(super) fn print(built: &Built, cached: bool, ui: Ui) -> Result<(), Failure> {
    if ui.json {
        let mut value = serde_json::to_value(built).context(Class::Usage, "writing the result")?;
        value["cached"] = cached.into();
        return ui.document("build", value);
    }
    tell(built, ui);
    ui.say(&format!("wrote {}", built.output));
    ui.data(&built.image.to_string())
}

/// Says what a build made.
pub(super) fn tell(built: &Built, ui: Ui) {
    for note in &built.notes {
        ui.say(note);
    }
    for layer in &built.layers {
        ui.say(&format!("layer {:20} {:>10} {}", layer.name, bytes(layer.size), layer.digest));
    }
    for warning in built.warnings.iter().take(MOST) {
        ui.say(&format!("warning: {warning}"));
    }
    if let Some(more) = built.warnings.len().checked_sub(MOST).filter(|more| *more > 0) {
        ui.say(&format!("and {more} lint warnings more, which --json lists"));
    }
}
