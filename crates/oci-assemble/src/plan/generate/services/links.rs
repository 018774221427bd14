//! The links below `/etc/systemd/system`: those of the tree, and those that are made and removed.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{GenerateError, tree_path};
use super::unit::{Name, Unit};
use crate::image::Epoch;
use crate::tree::{FileTree, Inode, Kind, TreeDelta, TreePath};

/// Where systemctl makes links.
const DIRECTORY: &str = "etc/systemd/system";
/// What a masked unit is linked to.
const NULL: &str = "/dev/null";

/// Changes of links.
pub(super) struct Links<'a> {
    tree: &'a FileTree,
    epoch: Epoch,
    made: BTreeMap<TreePath, String>,
    removed: BTreeSet<TreePath>,
}

impl<'a> Links<'a> {
    pub(super) fn new(tree: &'a FileTree, epoch: Epoch) -> Self {
        Self { tree, epoch, made: BTreeMap::new(), removed: BTreeSet::new() }
    }

    /// A link that lets a unit want another; one that is there already gives way.
    pub(super) fn want(&mut self, directory: &str, name: &str, unit: &Unit) -> Result<(), GenerateError> {
        let path = tree_path(&format!("{DIRECTORY}/{directory}/{name}"))?;
        self.make(path, unit_path(unit));
        Ok(())
    }

    /// A link that gives a unit another name. It takes no other unit's place.
    pub(super) fn alias(&mut self, name: &str, unit: &Unit) -> Result<(), GenerateError> {
        let path = tree_path(&format!("{DIRECTORY}/{name}"))?;
        let target = unit_path(unit);
        self.vacant(&path, &target)?;
        self.make(path, target);
        Ok(())
    }

    pub(super) fn mask(&mut self, name: &str) -> Result<(), GenerateError> {
        let path = tree_path(&format!("{DIRECTORY}/{name}"))?;
        self.vacant(&path, NULL)?;
        self.make(path, NULL.to_owned());
        Ok(())
    }

    /// Removes the links of the tree that bear a marked name or lead to one, and those that lead to these in turn. A
    /// marked template stands for its instances.
    pub(super) fn remove_all(&mut self, mut marked: BTreeSet<String>) {
        let links: Vec<(&TreePath, &str, &str)> = self.links();
        loop {
            let mut changed = false;
            for (path, name, target) in &links {
                let of_template =
                    |name: &str| Name::new(name).is_instance() && marked.contains(&Name::new(name).template());
                let hit = marked.contains(*name) || marked.contains(*target) || of_template(name);
                if hit && self.removed.insert((*path).clone()) {
                    changed = true;
                    // Links to an alias go with it; a want is no name of a unit of its own.
                    marked.insert((*name).to_owned());
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Links of the tree to units: path, own name, name of the target.
    fn links(&self) -> Vec<(&'a TreePath, &'a str, &'a str)> {
        let Ok(top) = TreePath::new(DIRECTORY) else { return Vec::new() };
        let link = |(path, inode): (&'a TreePath, &'a Inode)| {
            let Kind::Symlink(target) = &self.tree.linked(inode).kind else { return None };
            let target = std::str::from_utf8(target).ok()?;
            let name = std::str::from_utf8(path.name()).ok()?;
            Some((path, name, target.rsplit('/').next().unwrap_or_default()))
        };
        self.tree.below(&top).filter_map(link).collect()
    }

    fn make(&mut self, path: TreePath, target: String) {
        let there = !self.removed.remove(&path) && self.made.get(&path) == Some(&target);
        if !there {
            self.made.insert(path, target);
        }
    }

    /// Whether a link to `target` may be made at `path`.
    fn vacant(&self, path: &TreePath, target: &str) -> Result<(), GenerateError> {
        let taken = |found: String| Err(GenerateError::Taken { path: path.clone(), found });
        if let Some(other) = self.made.get(path) {
            return if other == target { Ok(()) } else { taken(other.clone()) };
        }
        match self.tree.behind(path).filter(|_| !self.removed.contains(path)).map(|inode| &inode.kind) {
            None => Ok(()),
            Some(Kind::Symlink(other)) if self.is_same(other, target) => Ok(()),
            Some(Kind::Symlink(other)) => taken(String::from_utf8_lossy(other).into_owned()),
            Some(kind) => taken(format!("a {}", kind.name())),
        }
    }

    /// Whether two targets are the same file, `/lib` and `/usr/lib` being one where the image merges them.
    fn is_same(&self, one: &[u8], other: &str) -> bool {
        one == other.as_bytes() || self.tree.resolve(one) == self.tree.resolve(other) && one.starts_with(b"/")
    }

    pub(super) fn into_delta(self) -> TreeDelta {
        let mut delta = TreeDelta::new();
        for path in self.emptied() {
            delta.whiteout(path);
        }
        for (path, target) in &self.made {
            let same = match self.tree.behind(path).map(|inode| &inode.kind) {
                Some(Kind::Symlink(found)) => self.is_same(found, target),
                _ => false,
            };
            if !same {
                delta.insert(path.clone(), Inode::symlink(target, self.epoch.seconds()));
            }
        }
        delta
    }

    /// What is removed; a directory that this leaves empty goes as a whole.
    fn emptied(&self) -> BTreeSet<TreePath> {
        let mut gone = self.removed.clone();
        let directories: BTreeSet<TreePath> = self.removed.iter().filter_map(TreePath::parent).collect();
        for directory in directories.into_iter().filter(|directory| directory.as_bytes() != DIRECTORY.as_bytes()) {
            let kept = self.tree.below(&directory).any(|(path, _)| !self.removed.contains(path));
            if !kept && !self.made.keys().any(|path| path.is_below(&directory)) {
                gone.retain(|path| !path.is_below(&directory));
                gone.insert(directory);
            }
        }
        gone
    }
}

fn unit_path(unit: &Unit) -> String {
    // Names of units are text, and so are the directories they are looked for in.
    format!("/{}", unit.path.to_str().unwrap_or_default())
}
