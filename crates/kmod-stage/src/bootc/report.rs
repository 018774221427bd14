//! What bootc says of an image.

use std::collections::BTreeSet;

use oci_assemble::inspect::lint::Severity;
use serde::{Deserialize, Serialize};

use super::judge::{END, LINTS, RESULT, VERSION};

/// One thing that bootc holds against an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootcFinding {
    /// How bad bootc thinks it is.
    pub severity: Severity,
    /// Name of bootc's lint.
    pub lint: String,
    /// What bootc says, its lines joined by `; `.
    pub value: String,
}

/// What a bootc said of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootcReport {
    /// bootc's version, such as `1.16.9`.
    pub version: String,
    /// The lints that this bootc has; empty where it cannot list them.
    pub lints: BTreeSet<String>,
    /// Findings, fatal ones first.
    pub findings: Vec<BootcFinding>,
    /// Whether bootc is content.
    pub passed: bool,
}

/// How bootc begins a finding, and what that makes it.
const BEGINNINGS: [(&str, Severity); 3] = [
    ("Failed lint: ", Severity::Fatal),
    ("Lint warning: ", Severity::Warning),
    // A lint that could not do its work ends the run: two kernels are such a case.
    ("error: Linting: Unexpected runtime error running lint ", Severity::Fatal),
];

/// How the lines begin that belong to no finding.
const COUNTS: [&str; 5] = ["Checks passed: ", "Checks skipped: ", "Warnings: ", "Checks failed: ", "error: "];

impl BootcReport {
    /// Reads the output of [`script`](super::script). `None` when it is not that, or when bootc refuses without a finding.
    pub fn parse(output: &str) -> Option<Self> {
        let (_, rest) = split(output, VERSION)?;
        let (version, rest) = split(rest, LINTS)?;
        let (lints, rest) = split(rest, RESULT)?;
        let (result, code) = split(rest, END)?;
        let passed = code.trim().parse::<i32>().ok()? == 0;
        let mut findings = findings(result);
        findings.sort();
        // A verdict without a reason is none: bootc did not run.
        let explained = findings.iter().any(|finding| finding.severity == Severity::Fatal);
        if passed == explained || (passed && !result.lines().any(|line| line.starts_with(COUNTS[0]))) {
            return None;
        }
        Some(Self { version: version_of(version)?, lints: names(lints), findings, passed })
    }

    /// Whether bootc holds something against the image by the lint of this name.
    pub fn finds(&self, lint: &str) -> bool {
        self.findings.iter().any(|finding| finding.lint == lint)
    }
}

/// What stands before and behind the line `mark`.
fn split<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let (before, after) = text.split_once(mark)?;
    (before.is_empty() || before.ends_with('\n')).then_some((before, after))
}

/// `bootc 1.16.9`: the last word of the first line.
fn version_of(text: &str) -> Option<String> {
    let line = text.trim().lines().next()?;
    line.starts_with("bootc").then(|| line.split_whitespace().last().unwrap_or_default().to_owned())
}

/// The names in the list of lints, which is YAML of one shape: `- name: kernel`.
fn names(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.strip_prefix("- name: ")).map(|name| name.trim().to_owned()).collect()
}

/// A finding begins as [`BEGINNINGS`] say and goes on until the next one or a count.
fn findings(text: &str) -> Vec<BootcFinding> {
    let mut findings: Vec<BootcFinding> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let begun = BEGINNINGS.iter().find_map(|(begin, severity)| Some((line.strip_prefix(begin)?, *severity)));
        if let Some((rest, severity)) = begun {
            let (lint, value) = rest.split_once(": ").or_else(|| rest.split_once(':')).unwrap_or((rest, ""));
            findings.push(BootcFinding { severity, lint: lint.to_owned(), value: value.trim().to_owned() });
            open = true;
        } else if COUNTS.iter().any(|begin| line.starts_with(begin)) {
            open = false;
        } else if let Some(last) = findings.last_mut().filter(|_| open && !line.trim().is_empty()) {
            let separator = if last.value.ends_with(':') { " " } else { "; " };
            let separator = if last.value.is_empty() { "" } else { separator };
            last.value = format!("{}{separator}{}", last.value, line.trim());
        }
    }
    findings
}
