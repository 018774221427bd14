//! What lints found, as a value, as text and as JSON (`assemble.lint/1`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::Lint;
use crate::image::Digest;
use crate::tree::TreePath;

/// How many findings of one lint are kept; a last one counts the rest. A tree with a foreign kernel has thousands.
const KEPT: usize = 50;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The image must not be shipped.
    Fatal,
    /// Someone should look at it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fatal => "fatal",
            Self::Warning => "warning",
        })
    }
}

/// One thing that a lint holds against an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Name of the lint.
    pub lint: &'static str,
    /// Where, escaped as in tree dumps; absent when it is about the image as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The layer's digest, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// What is wrong, one clause.
    pub value: String,
}

/// A lint that was not run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Skipped {
    /// Name of the lint.
    pub lint: &'static str,
    /// Why it was not run, in the words of the recipe or the caller.
    pub reason: String,
}

/// All findings, sorted: fatal ones first, then by lint, path, layer and text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintReport {
    /// `assemble.lint/1`.
    pub schema: &'static str,
    /// Whether the image may be shipped.
    pub passed: bool,
    /// Findings.
    pub findings: Vec<Finding>,
    /// Lints left out.
    pub skipped: Vec<Skipped>,
    /// Number of lints that were run.
    pub run: usize,
}

impl LintReport {
    pub(super) fn new(mut findings: Vec<Finding>, skipped: Vec<Skipped>, fatal_warnings: bool) -> Self {
        findings.sort();
        findings.dedup();
        let passed = !findings.iter().any(|finding| fatal_warnings || finding.severity == Severity::Fatal);
        let run = super::LINTS.len() - skipped.len();
        Self { schema: "assemble.lint/1", passed, findings, skipped, run }
    }

    /// Number of findings of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

impl fmt::Display for Finding {
    /// Where and what, without the lint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        if let Some(layer) = &self.layer {
            write!(f, "layer {layer}: ")?;
        }
        f.write_str(&self.value)
    }
}

impl fmt::Display for LintReport {
    /// A line a finding, a line a skipped lint, and a last line with the counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.lint.len()).max().unwrap_or_default();
        for finding in &self.findings {
            writeln!(f, "{:7} {:width$} {finding}", finding.severity, finding.lint)?;
        }
        for Skipped { lint, reason } in &self.skipped {
            writeln!(f, "skipped {lint}: {reason}")?;
        }
        let (fatal, warnings) = (self.count(Severity::Fatal), self.count(Severity::Warning));
        let (plural, skipped) = (if warnings == 1 { "" } else { "s" }, self.skipped.len());
        writeln!(f, "{} lints run: {fatal} fatal, {warnings} warning{plural}, {skipped} skipped", self.run)
    }
}

/// What a lint function notes; the table gives it a name and a level.
#[derive(Clone, Debug)]
pub(super) struct Note {
    warning: bool,
    path: Option<TreePath>,
    layer: Option<Digest>,
    value: String,
}

impl Note {
    /// About the image as a whole.
    pub(super) fn of(value: impl Into<String>) -> Self {
        Self { warning: false, path: None, layer: None, value: value.into() }
    }

    /// About a path.
    pub(super) fn at(path: &TreePath, value: impl Into<String>) -> Self {
        Self { path: Some(path.clone()), ..Self::of(value) }
    }

    /// About a layer.
    pub(super) fn in_layer(layer: Digest, value: impl Into<String>) -> Self {
        Self { layer: Some(layer), ..Self::of(value) }
    }

    /// No worse than a warning, whatever the lint's level.
    pub(super) fn warning(self) -> Self {
        Self { warning: true, ..self }
    }

    /// No worse than a warning when `mild`.
    pub(super) fn warning_if(self, mild: bool) -> Self {
        Self { warning: self.warning || mild, ..self }
    }
}

/// Notes as findings of `lint`: at most [`KEPT`] of each severity, and one that counts the rest.
pub(super) fn findings(lint: &Lint, notes: &[Note]) -> Vec<Finding> {
    let mut kept = Vec::new();
    for severity in [Severity::Fatal, Severity::Warning] {
        let level = |note: &Note| if note.warning { Severity::Warning } else { lint.severity };
        let mut same: Vec<&Note> = notes.iter().filter(|note| level(note) == severity).collect();
        let rest = same.len().saturating_sub(KEPT);
        same.truncate(KEPT);
        kept.extend(same.into_iter().map(|note| Finding {
            severity,
            lint: lint.name,
            path: note.path.as_ref().map(ToString::to_string),
            layer: note.layer.map(|layer| layer.to_string()),
            value: note.value.clone(),
        }));
        if rest > 0 {
            kept.push(Finding {
                severity,
                lint: lint.name,
                path: None,
                layer: None,
                value: format!("and {rest} more"),
            });
        }
    }
    kept
}
