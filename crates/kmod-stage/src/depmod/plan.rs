//! Which files depmod reads, and where they stand in the sparse root: a pure function of the tree.
//!
//! depmod looks for modules in `/lib/modules` or `/usr/lib/modules`, depending on how it was built. In an image one is a
//! symlink to the other; the sparse root has no symlinks, so it has both, the second as hard links.

use std::collections::BTreeMap;

use oci_assemble::elf::is_module_name;
use oci_assemble::tree::{Content, FileTree, Inode, Kind, Resolved, TreePath};

use super::DepmodError;
use crate::kernel::{KernelRelease, MODULES};

/// What depmod reads beside modules, relative to the modules directory. `System.map` names the symbols of the kernel
/// itself: with it depmod can tell which symbols nothing provides.
const LISTS: &[&str] = &["modules.order", "modules.builtin", "modules.builtin.modinfo", SYSTEM_MAP];

/// The kernel's symbols, relative to the modules directory.
pub(super) const SYSTEM_MAP: &str = "System.map";

/// Where depmod reads its configuration, best first (depmod.d(5)). `/run` is empty in an image.
pub(super) const CONFIGURATION: &[&str] =
    &["etc/depmod.d", "usr/local/lib/depmod.d", "usr/lib/depmod.d", "lib/depmod.d"];

/// Names that depmod never descends into: links to the kernel's sources.
const SKIPPED: &[&[u8]] = &[b"build", b"source"];

/// The most entries a modules directory may have: twenty times what the largest distribution kernel has.
const ENTRIES_MAX: usize = 100_000;

/// How deep directories may nest; a symlink that leads back up ends here.
const DEPTH_MAX: usize = 24;

/// One file of the sparse root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its path.
    pub path: TreePath,
    /// A second name of the same file.
    pub also: Option<TreePath>,
    /// Its bytes.
    pub content: Content,
    /// Its permission bits: 0644 or 0755.
    pub mode: u32,
}

/// The modules of one kernel with what depmod reads about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseRoot {
    /// The kernel.
    pub kernel: KernelRelease,
    /// The directory of its modules in the image, symlinks followed.
    pub modules: TreePath,
    /// The modules, by path relative to that directory.
    pub files: BTreeMap<TreePath, Content>,
    /// Lists about the modules, relative to the same directory.
    pub lists: BTreeMap<TreePath, Content>,
    /// Files of depmod.d, by path from the root.
    pub configuration: BTreeMap<TreePath, Content>,
}

impl SparseRoot {
    /// Plans the sparse root for `kernel`.
    pub fn plan(tree: &FileTree, kernel: &KernelRelease) -> Result<Self, DepmodError> {
        let missing = || DepmodError::NoKernel { kernel: kernel.clone() };
        let Resolved::Found(modules) = tree.resolve(format!("{MODULES}/{kernel}")) else { return Err(missing()) };
        if !tree.get(&modules).is_some_and(Inode::is_directory) {
            return Err(missing());
        }
        let mut walk = Walk { tree, top: &modules, entries: 0, files: BTreeMap::new() };
        walk.enter(&modules, &TreePath::root(), 0)?;
        let files = walk.files;
        let mut lists = BTreeMap::new();
        for name in LISTS {
            let path = modules.join(name)?;
            if let Some(content) = regular(tree, &path) {
                lists.insert(TreePath::new(name)?, content.clone());
            }
        }
        Ok(Self { kernel: kernel.clone(), files, lists, configuration: configuration(tree)?, modules })
    }

    /// The two directories of the sparse root that hold the modules.
    pub fn directories(&self) -> Result<[TreePath; 2], DepmodError> {
        Ok([
            TreePath::new(format!("{MODULES}/{}", self.kernel))?,
            TreePath::new(format!("lib/modules/{}", self.kernel))?,
        ])
    }

    /// Every file but the modules themselves.
    pub fn others(&self) -> Result<Vec<Placed>, DepmodError> {
        let mut placed = Vec::new();
        for (path, content) in &self.lists {
            placed.push(self.placed(path, content)?);
        }
        for (path, content) in &self.configuration {
            placed.push(Placed { path: path.clone(), also: None, content: content.clone(), mode: 0o644 });
        }
        Ok(placed)
    }

    /// A file of the modules directory.
    pub fn placed(&self, path: &TreePath, content: &Content) -> Result<Placed, DepmodError> {
        let [first, second] = self.directories()?;
        Ok(Placed {
            path: first.join(path.as_bytes())?,
            also: Some(second.join(path.as_bytes())?),
            content: content.clone(),
            mode: 0o644,
        })
    }
}

/// The regular file that `path` leads to, symlinks followed.
fn regular<'a>(tree: &'a FileTree, path: &TreePath) -> Option<&'a Content> {
    tree.lookup(path.as_bytes()).and_then(|(found, _)| tree.content(&found))
}

/// depmod's walk: it follows symlinks to modules and to directories.
struct Walk<'a> {
    tree: &'a FileTree,
    top: &'a TreePath,
    entries: usize,
    files: BTreeMap<TreePath, Content>,
}

impl Walk<'_> {
    /// Takes the modules of the directory at `real`, which depmod sees as `seen` below the modules directory.
    fn enter(&mut self, real: &TreePath, seen: &TreePath, depth: usize) -> Result<(), DepmodError> {
        for (path, inode) in self.tree.children(real) {
            self.entries += 1;
            if self.entries > ENTRIES_MAX || depth > DEPTH_MAX {
                return Err(DepmodError::TooMany { path: self.top.clone(), limit: ENTRIES_MAX });
            }
            if SKIPPED.contains(&path.name()) {
                continue;
            }
            let seen = seen.join(path.name())?;
            let found = match self.tree.linked(inode).kind {
                Kind::Symlink(_) => self.tree.lookup(path.as_bytes()),
                _ => Some((path.clone(), inode)),
            };
            let Some((found, inode)) = found else { continue };
            if inode.is_directory() {
                self.enter(&found, &seen, depth + 1)?;
            } else if is_module_name(path.name())
                && let Some(content) = self.tree.content(&found)
            {
                self.files.insert(seen, content.clone());
            }
        }
        Ok(())
    }
}

/// The files of depmod.d in `tree`, each at the path where depmod looks for it.
fn configuration(tree: &FileTree) -> Result<BTreeMap<TreePath, Content>, DepmodError> {
    let mut files = BTreeMap::new();
    for directory in CONFIGURATION {
        let Resolved::Found(real) = tree.resolve(directory) else { continue };
        for (path, inode) in tree.children(&real).filter(|(path, _)| path.name().ends_with(b".conf")) {
            let content = match (&tree.linked(inode).kind, regular(tree, path)) {
                (_, Some(content)) => content.clone(),
                // The way to switch a file of a lesser directory off.
                (Kind::Symlink(target), None) if **target == *b"/dev/null" => Content::of([]),
                _ => continue,
            };
            files.insert(TreePath::new(directory)?.join(path.name())?, content);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
