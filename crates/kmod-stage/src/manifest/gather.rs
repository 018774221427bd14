//! How decisions become a manifest.

use std::collections::BTreeMap;

use oci_assemble::pkgdb::{self, FileFlags, Package, Packages};
use oci_assemble::tree::{Inode, Kind, TreeDelta, TreePath};

use super::judge::{Decision, Judge, Listed, place};
use super::rules::{Judgement, Means, RULES, Rule};
use super::{Entry, Manifest, Omission, Omitted, Problem, Root, State};

/// What is to go into the image.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) listed: TreePath,
    package: Option<String>,
    flags: FileFlags,
    /// Never a hardlink.
    pub(super) inode: Inode,
    names: (String, String),
    replaces: bool,
}

/// Decisions, collected.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) kept: BTreeMap<TreePath, Kept>,
    omitted: Vec<Omitted>,
    /// Directories and symlinks of `/var`.
    pub(super) state: State,
    pub(super) problems: Vec<Problem>,
    notes: Vec<String>,
    /// First name in the builder of each file with several → its names in the image.
    groups: BTreeMap<TreePath, Vec<TreePath>>,
}

impl Gathered {
    /// Adds one decision.
    pub(super) fn take(&mut self, listed: Listed<'_>, decision: Decision, judge: &Judge<'_>) {
        let package = listed.package.to_string();
        let (path, reason) = match decision {
            Decision::Problem(problem) => return self.problems.push(problem),
            Decision::Kept { path, inode, replaces } => {
                let Some(reason) = self.keep(path.clone(), listed, package.clone(), inode, replaces, judge) else {
                    return;
                };
                (path, reason)
            }
            Decision::InBase { path, differs } => {
                if differs {
                    self.notes.push(format!("{path} stays as in the base: layers cannot change a directory"));
                }
                (path, Omission::InBase)
            }
            Decision::Excluded { path, rule } => {
                let found = judge.builder.tree.get(listed.path);
                if let (Means::Judged(Judgement::VarState), Some(inode)) = (rule.means, found) {
                    self.state.insert(path.clone(), (package.clone(), inode.clone()));
                }
                (path, Omission::Rule(rule))
            }
        };
        self.omitted.push(Omitted { path, listed: listed.path.clone(), package, reason });
    }

    /// Keeps a path; a reason to leave it out when it is kept already.
    fn keep(
        &mut self,
        path: TreePath,
        listed: Listed<'_>,
        package: String,
        inode: Inode,
        replaces: bool,
        judge: &Judge<'_>,
    ) -> Option<Omission> {
        if let Some(known) = self.kept.get(&path) {
            let timeless = |inode: &Inode| {
                let mut inode = inode.clone();
                inode.meta.mtime = 0;
                inode
            };
            if timeless(&known.inode) == timeless(&inode) {
                return same_path().map(Omission::Rule);
            }
            let listed = [known.listed.clone(), listed.path.clone()];
            let packages = [known.package.clone().unwrap_or_default(), package];
            self.problems.push(Problem::Collision { path, listed, packages });
            return None;
        }
        let names = judge.builder.tree.get(listed.path).map(|found| judge.owners.named(found)).unwrap_or_default();
        if inode.kind.can_have_names() {
            let owner = match judge.builder.tree.get(listed.path).map(|found| &found.kind) {
                Some(Kind::Hardlink(owner)) => owner.clone(),
                _ => listed.path.clone(),
            };
            self.groups.entry(owner).or_default().push(path.clone());
        }
        let (flags, listed) = (listed.flags, listed.path.clone());
        self.kept.insert(path, Kept { listed, package: Some(package), flags, inode, names, replaces });
        None
    }

    /// Adds the directories above kept paths that the base lacks: those that no chosen package has, and those that a rule
    /// left out.
    pub(super) fn add_parents(&mut self, packages: &Packages, judge: &Judge<'_>) {
        let mut missing: BTreeMap<TreePath, TreePath> = BTreeMap::new();
        for kept in self.kept.values() {
            for above in kept.listed.ancestors() {
                let Ok(place) = place(judge.base.tree, &above, true) else { continue };
                if judge.base.tree.get(&place).is_none() && !self.kept.contains_key(&place) {
                    missing.entry(place).or_insert(above);
                }
            }
        }
        self.omitted.retain(|omitted| missing.get(&omitted.path) != Some(&omitted.listed));
        for (path, listed) in missing {
            let Some(found) = judge.builder.tree.get(&listed).filter(|inode| inode.is_directory()) else { continue };
            let owner = packages.owner(&listed);
            let package = owner.map(ToString::to_string);
            match judge.led(found) {
                Ok(inode) => {
                    let flags = owner.map(|owner| packages.flags(&listed, owner)).unwrap_or_default();
                    let names = judge.owners.named(found);
                    self.kept.insert(path, Kept { listed, package, flags, inode, names, replaces: false });
                }
                Err(owner) => {
                    let package = package.unwrap_or_else(|| "no package".to_owned());
                    self.problems.push(Problem::Owner { path, package, owner });
                }
            }
        }
    }

    /// Says in problems whose the base's files are. The base's database is read only then, and a damaged one is no
    /// further problem.
    pub(super) fn name_owners(&mut self, base: Root<'_>) {
        if !self.problems.iter().any(|problem| matches!(problem, Problem::InBase { .. })) {
            return;
        }
        let Ok(Some(packages)) = pkgdb::read(base.tree, base.contents) else { return };
        for problem in &mut self.problems {
            if let Problem::InBase { path, owner, .. } = problem {
                *owner = packages.owner(path).map(ToString::to_string);
            }
        }
    }

    /// The kept paths as a delta. Of what has several names in the builder, the first that is kept is the inode.
    pub(super) fn files(&mut self) -> TreeDelta {
        for names in self.groups.values_mut() {
            names.sort();
            let Some((first, others)) = names.split_first() else { continue };
            for other in others {
                if let Some(kept) = self.kept.get_mut(other) {
                    kept.inode.kind = Kind::Hardlink(first.clone());
                }
            }
        }
        let mut delta = TreeDelta::new();
        let entries = self.kept.iter().map(|(path, kept)| (path.clone(), kept.inode.clone()));
        entries.for_each(|(path, inode)| delta.insert(path, inode));
        delta
    }

    /// What people should know.
    pub(super) fn notes(&mut self, overrides: &[TreePath]) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        let replaced = |over: &TreePath| {
            let is_used = |(path, kept): (&TreePath, &Kept)| kept.replaces && (path == over || path.is_below(over));
            self.kept.iter().any(is_used)
        };
        let unused = overrides.iter().filter(|over| !replaced(over));
        notes.extend(unused.map(|over| format!("override of {over} replaces nothing")));
        let rule = |rule: &str| {
            let named = |omitted: &&Omitted| matches!(omitted.reason, Omission::Rule(by) if by.name == rule);
            self.omitted.iter().filter(named).collect::<Vec<_>>()
        };
        if let [first, ..] = rule("opt-file").as_slice() {
            let count = rule("opt-file").len();
            notes.push(format!("{count} files of {} below /opt are left out, such as {}", first.package, first.path));
        }
        notes
    }

    pub(super) fn into_manifest(mut self, packages: Vec<Package>) -> Manifest {
        let entry = |(path, kept): (TreePath, Kept)| {
            let Kept { listed, package, flags, inode, names: (user, group), replaces } = kept;
            Entry { path, listed, package, flags, inode, user, group, replaces }
        };
        self.omitted.sort_by(|one, other| (&one.path, &one.listed).cmp(&(&other.path, &other.listed)));
        Manifest { packages, entries: self.kept.into_iter().map(entry).collect(), omitted: self.omitted }
    }
}

/// The rule for paths that become one.
fn same_path() -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.means == Means::Judged(Judgement::SamePath))
}
