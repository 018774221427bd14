//! bootc's lints held against the native ones.

use std::collections::BTreeSet;
use std::fmt;

use oci_assemble::inspect::lint::{LINTS, LintReport, Origin};
use serde::{Deserialize, Serialize};

use super::BootcReport;

/// bootc runs this lint on other roots than its own only, so never in a container of the image.
const NOT_IN_A_CONTAINER: &str = "buildah-injected";

/// A lint that finds something on one side only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Disagreement {
    /// Name of the lint.
    pub lint: String,
    /// Whether it is bootc that finds something, and not the native lint.
    pub by_bootc: bool,
    /// What the one says that finds something.
    pub value: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, other) = if self.by_bootc { ("bootc", "the native lint") } else { ("the native lint", "bootc") };
        write!(f, "{}: {one} finds what {other} does not: {}", self.lint, self.value)
    }
}

/// The lints both sides ran that find something on one side only, by name. Lints in `skip` were run by neither.
pub fn disagreements(native: &LintReport, bootc: &BootcReport, skip: &BTreeSet<&str>) -> Vec<Disagreement> {
    let shared = LINTS.iter().filter(|lint| {
        let ran = bootc.lints.is_empty() || bootc.lints.contains(lint.name);
        lint.origin == Origin::Bootc && ran && lint.name != NOT_IN_A_CONTAINER && !skip.contains(lint.name)
    });
    let differing = shared.filter_map(|lint| {
        let ours = native.findings.iter().find(|finding| finding.lint == lint.name);
        let theirs = bootc.findings.iter().find(|finding| finding.lint == lint.name);
        let (by_bootc, value) = match (ours, theirs) {
            (None, Some(theirs)) => (true, theirs.value.clone()),
            (Some(ours), None) => {
                (false, ours.path.iter().cloned().chain([ours.value.clone()]).collect::<Vec<_>>().join(": "))
            }
            _ => return None,
        };
        Some(Disagreement { lint: lint.name.to_owned(), by_bootc, value })
    });
    let mut differing: Vec<Disagreement> = differing.collect();
    differing.sort();
    differing
}
