//! The bootc that an image carries, asked about the image.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use kmod_stage::bootc::{BootcError, BootcReport, Disagreement, PROGRAM, disagreements, judge};
use kmod_stage::podman::{ImageSource, Podman, RuntimeError};
use kmod_stage::private::PrivateDir;
use oci_assemble::image::{Digest, Image, Platform};
use oci_assemble::inspect::lint::LintReport;
use oci_assemble::plan::recipe::Recipe;
use oci_assemble::plan::recipe::spec::{self, OwnBootc};
use oci_assemble::tree::FileTree;
use serde::{Deserialize, Serialize};

use crate::builders::{self, Building};
use crate::env;
use crate::exit::{Class, Failure};
use crate::output::Stored;
use crate::ui::Ui;

/// Whether and how bootc is asked.
pub(crate) struct Asking<'a> {
    pub(crate) wanted: OwnBootc,
    /// How the recipe wants podman to be called.
    pub(crate) builder: &'a spec::Builder,
    /// Lints that are left out.
    pub(crate) skip: BTreeSet<&'a str>,
    pub(crate) workspace: PathBuf,
}

/// The image that bootc is asked about.
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a str,
    pub(crate) manifest: Digest,
    pub(crate) platform: &'a Platform,
    pub(crate) tree: &'a FileTree,
    /// What the native lints say.
    pub(crate) native: &'a LintReport,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// bootc ran.
    Ran {
        /// What it says.
        report: BootcReport,
        /// Where native lints say something else.
        disagreements: Vec<Disagreement>,
    },
    /// It could not be run here, and need not be.
    NotRun {
        /// Why not.
        reason: String,
    },
}

/// Where podman finds the image, and a directory that must live as long.
type Place = (ImageSource, Option<PrivateDir>);

/// Asks the image's bootc. `None` when nobody wants to know, or when the image has none and need not have one.
pub(crate) fn ask(
    asking: &Asking<'_>,
    image: &Asked<'_>,
    place: impl FnOnce() -> Result<Place, Failure>,
    ui: Ui,
) -> Result<Option<Verdict>, Failure> {
    let required = match asking.wanted {
        OwnBootc::Off => return Ok(None),
        OwnBootc::Auto => false,
        OwnBootc::Require => true,
    };
    if image.tree.lookup(PROGRAM).is_none() {
        let none = || Failure::new(Class::Negative, format!("{} has no /{PROGRAM} to be asked", image.name));
        return if required { Err(none()) } else { Ok(None) };
    }
    let not_run = |failure: Failure| {
        if required {
            Err(failure)
        } else {
            Ok(Some(Verdict::NotRun { reason: failure.to_string().lines().next().unwrap_or_default().to_owned() }))
        }
    };
    let (platform, here) = (image.platform.to_string(), env::platform());
    if platform != here {
        let text = format!("a bootc for {platform} does not run on {here}");
        return not_run(Failure::new(Class::Unavailable, text));
    }
    let settings = builders::podman_settings(asking.builder)?;
    let podman = match Podman::new(settings, asking.workspace.clone()) {
        Ok(podman) => podman,
        Err(error) => return not_run(unavailable(&error).unwrap_or_else(|| failed(image.name, error.into()))),
    };
    let (source, directory) = place()?;
    let bar = ui.bar(None, "asking the image's bootc");
    let building = Building::begin();
    let suffix = std::process::id().to_string();
    let report = judge(&podman, &source, image.manifest, &asking.skip, &suffix, &builders::interruptible()?);
    drop(building);
    bar.finish_and_clear();
    drop(directory);
    match report {
        Ok(report) => {
            let disagreements = disagreements(image.native, &report, &asking.skip);
            Ok(Some(Verdict::Ran { report, disagreements }))
        }
        Err(error @ BootcError::Runtime(RuntimeError::Cancelled)) => Err(failed(image.name, error)),
        Err(BootcError::Runtime(error)) if unavailable(&error).is_some() => {
            not_run(unavailable(&error).unwrap_or_else(|| failed(image.name, error.into())))
        }
        Err(error) => not_run(failed(image.name, error)),
    }
}

/// Asks the bootc that the image carries, where the recipe wants that.
/// With `partial` the base is not stored, and an image that is not whole cannot be asked.
pub(crate) fn of_build(
    recipe: &Recipe,
    partial: bool,
    image: &Image,
    tree: &FileTree,
    native: &LintReport,
    stored: &Stored,
    ui: Ui,
) -> Result<Option<Verdict>, Failure> {
    if partial && recipe.lint.bootc == OwnBootc::Auto {
        ui.detail(
            "the image's bootc is not asked: the base is not stored; with [lint] bootc = \"require\" both is done",
        );
        return Ok(None);
    }
    let asking = Asking {
        wanted: recipe.lint.bootc,
        builder: &recipe.builder,
        skip: recipe.lint.skip.iter().map(|skip| skip.name.as_str()).collect(),
        workspace: env::temp_dir(),
    };
    let platform = &image.config().platform;
    let asked = Asked { name: &recipe.image.name, manifest: image.digest(), platform, tree, native };
    let verdict = ask(&asking, &asked, || Ok((stored.source()?, None)), ui)?;
    verdict.iter().try_for_each(|verdict| verdict.tell(&recipe.image.name, ui))?;
    Ok(verdict)
}

/// In one clause what stands in the way of podman, when that is the machine.
fn unavailable(error: &RuntimeError) -> Option<Failure> {
    let hint = error.hint()?;
    Some(Failure::new(Class::Unavailable, format!("running the image's bootc: {error}")).hint(hint))
}

fn failed(name: &str, error: BootcError) -> Failure {
    Failure::of(Class::Data, format!("asking the bootc of {name}"), error)
}

impl Verdict {
    /// Whether bootc has nothing fatal to say.
    pub(crate) fn passed(&self) -> bool {
        !matches!(self, Self::Ran { report, .. } if !report.passed)
    }

    /// Says what bootc says; a failure when bootc refuses the image.
    pub(crate) fn tell(&self, name: &str, ui: Ui) -> Result<(), Failure> {
        match self {
            Self::NotRun { .. } => ui.say(&format!("note: {self}")),
            Self::Ran { report, disagreements } => {
                for disagreement in disagreements {
                    ui.say(&format!("warning: bootc {} and the native lints disagree: {disagreement}", report.version));
                }
                if !report.passed {
                    ui.complain(&self.to_string());
                    let text = format!("bootc {}, which {name} carries, refuses it", report.version);
                    return Err(Failure::new(Class::Negative, text).hint(
                        "a finding that is wanted can be skipped in the recipe's [lint] table, with the reason",
                    ));
                }
                ui.detail(&self.to_string());
            }
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    /// A line a finding, and a last line with the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun { reason } => write!(f, "bootc's own lint was not run: {reason}"),
            Self::Ran { report, disagreements } => {
                for finding in &report.findings {
                    writeln!(f, "{:7} bootc: {}: {}", finding.severity, finding.lint, finding.value)?;
                }
                for disagreement in disagreements {
                    writeln!(f, "differs {disagreement}")?;
                }
                let word = if report.passed { "passes" } else { "refuses" };
                write!(f, "bootc {} {word} the image", report.version)
            }
        }
    }
}
