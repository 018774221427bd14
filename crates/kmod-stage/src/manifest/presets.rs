//! Which units of packages are enabled: systemd.preset(5), computed.
//!
//! Scriptlets of packages ask `systemctl preset` whether their units are to run; none runs here. A unit is enabled only
//! when a line says so. Where no line is about it, systemctl would enable it too; in an image that is left to the recipe.

use std::collections::BTreeSet;
use std::fmt;

use oci_assemble::image::Epoch;
use oci_assemble::plan::generate::{GenerateError, enable_links};
use oci_assemble::tree::glob::matches;
use oci_assemble::tree::{FileTree, TreeDelta, TreePath};

use super::{ManifestError, Root};
use crate::capture::in_force;

/// Where preset files are (systemd.preset(5); what is below `/run` is no part of an image), the first counts most.
const FOLDERS: [&str; 4] = [
    "etc/systemd/system-preset",
    "usr/local/lib/systemd/system-preset",
    "usr/lib/systemd/system-preset",
    "lib/systemd/system-preset",
];

/// What a line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Enable,
    Disable,
    Ignore,
}

/// A line that is about some units.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    verb: Verb,
    pattern: String,
    instances: Vec<String>,
    place: Place,
}

/// A line of a preset file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: TreePath,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// What becomes of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A line enables it.
    Enabled {
        /// The line.
        by: Place,
        /// The instances of a template; none when the template itself is enabled.
        instances: Vec<String>,
    },
    /// A line says to enable it, which it cannot be.
    Refused {
        /// The line.
        by: Place,
        /// Why not.
        error: GenerateError,
    },
    /// A line disables it, or says that it is left as it is.
    Disabled {
        /// The line.
        by: Place,
    },
    /// No line is about it, though it could be enabled.
    Unstated,
    /// It has no `[Install]` section, is another name of a unit, or masked: there is nothing to enable.
    Static,
}

/// What becomes of the units of packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presets {
    /// Units in order of their names.
    pub units: Vec<(String, Outcome)>,
    /// The links that enable them, below `/etc/systemd/system`.
    pub links: TreeDelta,
}

impl Presets {
    /// What people should know: a line for each unit that is not enabled although it could be.
    pub fn notes(&self) -> Vec<String> {
        let note = |(unit, outcome): &(String, Outcome)| match outcome {
            Outcome::Enabled { .. } | Outcome::Static => None,
            Outcome::Refused { by, error } => Some(format!("{unit} is not enabled, though {by} says so: {error}")),
            Outcome::Disabled { by } => Some(format!("{unit} is not enabled: {by}")),
            Outcome::Unstated => Some(format!("{unit} is not enabled: no preset names it")),
        };
        self.units.iter().filter_map(note).collect()
    }
}

/// Decides about `units` (names of unit files) by the preset files of the merged tree `root`.
pub fn presets(root: Root<'_>, units: &BTreeSet<String>, epoch: Epoch) -> Result<Presets, ManifestError> {
    let lines = lines(root)?;
    let mut tree = root.tree.clone();
    let mut presets = Presets::default();
    for unit in units {
        let outcome = decide(&lines, unit, root, &mut tree, &mut presets.links, epoch)?;
        presets.units.push((unit.clone(), outcome));
    }
    Ok(presets)
}

fn decide(
    lines: &[Line],
    unit: &str,
    root: Root<'_>,
    tree: &mut FileTree,
    made: &mut TreeDelta,
    epoch: Epoch,
) -> Result<Outcome, ManifestError> {
    let text = |path: &TreePath| root.text(path).ok();
    let found = lines.iter().find_map(|line| line.names(unit).map(|instances| (line, instances)));
    let (line, instances) = match found {
        Some((line, instances)) if line.verb == Verb::Enable => (line, instances),
        found => {
            let is_static = match enable_links(unit, tree, text, epoch) {
                Err(GenerateError::MaskedUnit { .. }) => true,
                Err(error) => has_nothing(&error),
                Ok(_) => false,
            };
            let disabled = |line: &Line| Outcome::Disabled { by: line.place.clone() };
            let stated = found.map_or(Outcome::Unstated, |(line, _)| disabled(line));
            return Ok(if is_static { Outcome::Static } else { stated });
        }
    };
    let by = line.place.clone();
    let names = if instances.is_empty() { vec![unit.to_owned()] } else { instances.clone() };
    for name in names {
        match enable_links(&name, tree, text, epoch) {
            Ok(delta) => {
                *tree = std::mem::take(tree).apply(&delta)?;
                *made = made.then(&delta);
            }
            Err(error) if has_nothing(&error) => return Ok(Outcome::Static),
            Err(error) => return Ok(Outcome::Refused { by, error }),
        }
    }
    Ok(Outcome::Enabled { by, instances })
}

/// Whether systemctl would pass over the unit.
fn has_nothing(error: &GenerateError) -> bool {
    matches!(error, GenerateError::NothingToEnable { .. } | GenerateError::AliasUnit { .. })
}

impl Line {
    /// Whether the line is about a unit; with the names of the instances when it is a template and the line lists them.
    fn names(&self, unit: &str) -> Option<Vec<String>> {
        let (stem, suffix) = unit.rsplit_once('.').unwrap_or((unit, ""));
        if let (false, Some((prefix, instance))) = (self.instances.is_empty(), stem.split_once('@')) {
            let template = format!("{prefix}@.{suffix}");
            if matches(self.pattern.as_bytes(), template.as_bytes()) {
                if instance.is_empty() {
                    return Some(self.instances.iter().map(|name| format!("{prefix}@{name}.{suffix}")).collect());
                }
                if self.instances.iter().any(|name| name == instance) {
                    return Some(Vec::new());
                }
            }
        }
        matches(self.pattern.as_bytes(), unit.as_bytes()).then(Vec::new)
    }
}

/// The lines of all preset files in the order in which they count.
fn lines(root: Root<'_>) -> Result<Vec<Line>, ManifestError> {
    let mut lines = Vec::new();
    for path in in_force(root.tree, &FOLDERS, b".preset") {
        for (index, line) in root.text(&path)?.lines().enumerate() {
            let mut words = line.split_whitespace();
            let verb = match words.next() {
                Some("enable") => Verb::Enable,
                Some("disable") => Verb::Disable,
                Some("ignore") => Verb::Ignore,
                _ => continue, // empty, a comment, or nothing that systemd knows
            };
            let Some(pattern) = words.next().map(str::to_owned) else { continue };
            let instances = if verb == Verb::Enable { words.map(str::to_owned).collect() } else { Vec::new() };
            let place = Place { path: path.clone(), line: index + 1 };
            lines.push(Line { verb, pattern, instances, place });
        }
    }
    Ok(lines)
}
