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
            bootc,
        }
    }
}

/// Prints what a build made.
pub(super) fn print(built: &Built, cached: bool, ui: Ui) -> Result<(), Failure> {
    if ui.json {
        let mut value = serde_json::to_value(built).context(Class::Usage, "writing the result")?;
        value["cached"] = cached.into();
        return ui.document("build", value);
    }
    tell(built, ui);
    let warnings = built.lint.get("warning").copied().unwrap_or(0);
    if warnings > 0 {
        let plural = if warnings == 1 { "" } else { "s" };
        ui.say(&format!("{warnings} lint warning{plural}; `assemble lint {}` shows them", built.output));
    }
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
}
