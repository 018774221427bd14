//! Drops from a delta what the table of rules names, and says what that was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use oci_assemble::tree::{FileTree, Inode, Kind, TreeDelta, TreePath};

use super::retain::retain;
use super::rules::{Action, Places, RULES, Rule};

/// How many paths are kept for each rule; the others are only counted.
const SAMPLES: usize = 8;

/// A delta without what belongs to the run or to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// What stays.
    pub delta: TreeDelta,
    /// New directories and symlinks that belong to the machine: see [`lines`](super::lines).
    pub state: BTreeMap<TreePath, Inode>,
    /// What went.
    pub report: ScrubReport,
}

/// What was dropped by which rule, in the order of the table; rules that dropped nothing are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport(pub Vec<Dropped>);

/// What one rule dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The rule.
    pub rule: &'static Rule,
    /// How many entries and removals.
    pub count: u64,
    /// The first of their paths.
    pub samples: Vec<TreePath>,
    /// How many of them are older than the run, so that packages must have brought them, and are no directories: files
    /// that the package database knows and the image will not have. Counted for [`Action::Place`] and
    /// [`Action::Machine`] only.
    pub payload: u64,
    /// The first of their paths.
    pub payload_samples: Vec<TreePath>,
}

/// A run that left something that must not be shipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the container has {path}: {}", .rule.reason)]
pub struct ScrubError {
    /// What is there.
    pub path: TreePath,
    /// The rule that refuses it.
    pub rule: &'static Rule,
}

/// Whether a change stays.
#[derive(PartialEq, Eq)]
enum Verdict {
    Stays,
    Goes,
    /// It goes, and what the base has there goes too.
    Removes,
}

/// `delta` without what [`RULES`] names. `started` is the start of the run, seconds since 1970: younger entries were
/// made by it.
///
/// A directory goes only if nothing below it stays. Laws: what stays is no matter of a rule that drops, so that
/// scrubbing twice is scrubbing once; a path that no rule is about is untouched.
pub fn scrub(delta: &TreeDelta, base: &FileTree, started: i64) -> Result<Scrubbed, ScrubError> {
    let places: Vec<Places> = RULES.iter().map(Rule::places).collect();
    let find = |path: &TreePath| places.iter().position(|places| places.has(path));
    let mut dropped: BTreeMap<usize, Dropped> = BTreeMap::new();
    let (mut going, mut removed) = (BTreeSet::new(), BTreeSet::new());
    let mut state = BTreeMap::new();
    let mut parents: BTreeSet<TreePath> = BTreeSet::new();
    // From the last: what is in a directory comes before the directory.
    for (path, inode) in delta.entries().iter().rev() {
        let found = find(path).and_then(|number| RULES.get(number).map(|rule| (number, rule)));
        let verdict = match found {
            Some((_, rule)) if !(inode.is_directory() && parents.contains(path)) => {
                judge(rule, path, inode, delta, started)?
            }
            _ => Verdict::Stays,
        };
        let Some((number, rule)) = found.filter(|_| verdict != Verdict::Stays) else {
            parents.extend(path.ancestors());
            continue;
        };
        going.insert(path);
        if verdict == Verdict::Removes && base.get(path).is_some() {
            removed.insert(path.clone());
        }
        let old = inode.meta.mtime < started && !inode.is_directory();
        let lost = old && matches!(rule.action, Action::Place | Action::Machine);
        let is_new = !base.get(path).is_some_and(Inode::is_directory);
        let inode = delta.linked(inode);
        let made = (inode.is_directory() && is_new) || matches!(inode.kind, Kind::Symlink(_));
        if rule.action == Action::Machine && made {
            state.insert(path.clone(), inode.clone());
        }
        note(&mut dropped, number, rule, path, lost && !made);
    }
    for path in delta.whiteouts() {
        let Some((number, rule)) = find(path).and_then(|number| RULES.get(number).map(|rule| (number, rule))) else {
            continue;
        };
        match rule.action {
            Action::Restore | Action::Place | Action::Machine => {
                going.insert(path);
                note(&mut dropped, number, rule, path, false);
            }
            Action::Refuse => return Err(ScrubError { path: path.clone(), rule }),
            Action::Remove | Action::RemoveMade | Action::RefuseContent | Action::Keep => {}
        }
    }
    let mut kept = retain(delta, |path| !going.contains(path));
    for path in removed {
        kept.whiteout(path);
    }
    for dropped in dropped.values_mut() {
        dropped.samples.sort();
        dropped.payload_samples.sort();
    }
    Ok(Scrubbed { delta: kept, state, report: ScrubReport(dropped.into_values().collect()) })
}

fn judge(
    rule: &'static Rule,
    path: &TreePath,
    inode: &Inode,
    delta: &TreeDelta,
    started: i64,
) -> Result<Verdict, ScrubError> {
    let removes = if inode.is_directory() { Verdict::Goes } else { Verdict::Removes };
    let refused = || ScrubError { path: path.clone(), rule };
    let content = delta.linked(inode).content();
    match rule.action {
        Action::Keep => Ok(Verdict::Stays),
        Action::Restore | Action::Place | Action::Machine => Ok(Verdict::Goes),
        Action::RemoveMade if inode.meta.mtime < started => Ok(Verdict::Stays),
        Action::RefuseContent if content.is_some_and(|content| content.size() > 0) => Err(refused()),
        Action::Remove | Action::RemoveMade | Action::RefuseContent => Ok(removes),
        Action::Refuse if inode.is_directory() => Ok(Verdict::Goes),
        Action::Refuse => Err(refused()),
    }
}

fn note(dropped: &mut BTreeMap<usize, Dropped>, number: usize, rule: &'static Rule, path: &TreePath, lost: bool) {
    let empty = Dropped { rule, count: 0, samples: Vec::new(), payload: 0, payload_samples: Vec::new() };
    let dropped = dropped.entry(number).or_insert(empty);
    let add = |count: &mut u64, samples: &mut Vec<TreePath>| {
        *count += 1;
        if samples.len() < SAMPLES {
            samples.push(path.clone());
        }
    };
    add(&mut dropped.count, &mut dropped.samples);
    if lost {
        add(&mut dropped.payload, &mut dropped.payload_samples);
    }
}

impl ScrubReport {
    /// How many entries and removals were dropped.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|dropped| dropped.count).sum()
    }
}

impl fmt::Display for Dropped {
    /// One line: `12 dropped by /var/cache/apt (…): /var/cache/apt/a, …; 2 of them came with packages: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |samples: &[TreePath], count: u64| {
            let names: Vec<String> = samples.iter().map(ToString::to_string).collect();
            let more = if count > samples.len() as u64 { ", …" } else { "" };
            format!("{}{more}", names.join(", "))
        };
        write!(f, "{} dropped by {}: {}", self.count, self.rule, list(&self.samples, self.count))?;
        if self.payload > 0 {
            let names = list(&self.payload_samples, self.payload);
            write!(f, "; {} came with packages: {names}", self.payload)?;
        }
        Ok(())
    }
}
