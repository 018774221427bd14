//! The plan: everything a build will do, as a value that people and programs can read.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::kernel::KernelPlan;
use super::outlook::Outlook;
use super::step::{Group, Pinned, StageError};
use crate::image::{Digest, Epoch};

/// A resolved recipe: nothing in it is named by a tag.
///
/// Law: its JSON form reads back as an equal value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name and version of the program.
    pub tool: String,
    /// Digest of the recipe with all it extends.
    pub recipe: Digest,
    /// Name of the image.
    pub image: String,
    /// What layers are added to.
    pub base: BasePlan,
    /// The kernel that the image will have, and why.
    pub kernel: KernelPlan,
    /// Date of everything new, seconds since 1970.
    pub epoch: Epoch,
    /// The compressor with everything that decides its bytes.
    pub compression: String,
    /// The lock.
    pub lock: LockPlan,
    /// Layers to add, lowest first; a layer without content is left out.
    pub layers: Vec<LayerPlan>,
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// Annotations to set on the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Where the image goes.
    pub output: String,
    /// What else the recipe asks for.
    pub outlook: Outlook,
}

/// The base of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasePlan {
    /// As the recipe names it.
    pub reference: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its platform.
    pub platform: String,
    /// Number of its layers.
    pub layers: usize,
    /// Bytes of its layers as stored.
    pub bytes: u64,
}

/// Whether something is as a lock has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockState {
    /// No lock names it.
    Open,
    /// It is as it was locked.
    Locked,
    /// It is not what was locked.
    Stale,
}

impl std::fmt::Display for LockState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "not locked",
            Self::Locked => "locked",
            Self::Stale => "stale",
        })
    }
}

/// The lock of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockPlan {
    /// Its file.
    pub file: String,
    /// Whether there is one, and whether it fits.
    pub state: LockState,
    /// What does not fit, a line each.
    pub drift: Vec<String>,
}

/// A layer of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerPlan {
    /// Its name.
    pub name: String,
    /// What fills it, in order.
    pub stages: Vec<StagePlan>,
}

/// A stage of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagePlan {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What goes in.
    pub inputs: BTreeMap<String, String>,
    /// Programs that will run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Whether a lock has it.
    pub lock: LockState,
}

/// The stages of a plan with their pinned inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The plan's view of them.
    pub layers: Vec<LayerPlan>,
    /// Digest over the state of all inputs on this machine.
    pub stamp: Digest,
    /// The youngest input: see [`Pinned::youngest`].
    pub youngest: i128,
}

/// Resolves all stages; what a lock says of them is not known here. Costs a look at every input, reads none.
pub fn resolve(groups: &[Group]) -> Result<Resolved, StageError> {
    let mut stamps = String::new();
    let mut youngest = 0;
    let mut layers = Vec::new();
    for group in groups {
        let _ = writeln!(stamps, "{}", group.name); // a String takes everything
        let mut stages = Vec::new();
        for stage in &group.stages {
            let Pinned { inputs, stamp, commands, youngest: own } = stage.resolve()?;
            let _ = writeln!(stamps, "{} {} {stamp}", stage.kind(), stage.name());
            youngest = youngest.max(own);
            let (name, kind) = (stage.name().to_owned(), stage.kind().to_owned());
            stages.push(StagePlan { name, kind, inputs, commands, lock: LockState::Open });
        }
        layers.push(LayerPlan { name: group.name.clone(), stages });
    }
    Ok(Resolved { layers, stamp: Digest::of(stamps.as_bytes()), youngest })
}

impl Plan {
    /// The plan for people.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text); // a String takes everything
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "image     {}", self.image)?;
        writeln!(text, "recipe    {}", self.recipe)?;
        let BasePlan { reference, digest, platform, layers, bytes } = &self.base;
        writeln!(text, "base      {reference}\n          {digest}, {platform}, {layers} layers, {bytes} bytes")?;
        self.kernel.write(text)?;
        writeln!(text, "epoch     {}", self.epoch)?;
        writeln!(text, "compress  {}", self.compression)?;
        writeln!(text, "output    {}", self.output)?;
        writeln!(text, "lock      {}, {}", self.lock.file, self.lock.state)?;
        for line in &self.lock.drift {
            writeln!(text, "          {line}")?;
        }
        self.outlook.write(text)?;
        for (title, values) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !values.is_empty() {
                writeln!(text, "{title}")?;
            }
            for (key, value) in values {
                writeln!(text, "  {key}={value}")?;
            }
        }
        writeln!(text, "layers")?;
        for (number, layer) in self.layers.iter().enumerate() {
            writeln!(text, "  {:>3}  {}", self.base.layers + number, layer.name)?;
            for StagePlan { name, kind, inputs, commands, lock } in &layer.stages {
                writeln!(text, "       {kind} {name} ({lock}):")?;
                for (key, value) in inputs {
                    writeln!(text, "         {key}={value}")?;
                }
                for command in commands {
                    writeln!(text, "         $ {command}")?;
                }
            }
        }
        Ok(())
    }
}
