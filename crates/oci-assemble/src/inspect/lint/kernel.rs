//! The kernel of an image: one, complete, and known to the boot entry.

use super::report::Note;
use super::{LintError, Subject, config};
use crate::elf;
use crate::tree::{FileTree, TreePath};

/// Where kernels and their modules are.
const MODULES: &str = "usr/lib/modules";
/// The argument by which a change of modules alone is visible in the boot entry.
const KARG: &str = "assemble.kmods=";

/// The directories of kernels, each with whether it holds a `vmlinuz`.
pub(super) fn releases(tree: &FileTree) -> Vec<(TreePath, bool)> {
    let Some((modules, _)) = tree.lookup(MODULES) else { return Vec::new() };
    tree.children(&modules)
        .filter(|(_, inode)| inode.is_directory())
        .map(|(path, _)| (path.clone(), path.join("vmlinuz").is_ok_and(|image| tree.get(&image).is_some())))
        .collect()
}

/// Whether `path` is a module of a kernel.
pub(super) fn is_module(path: &TreePath) -> bool {
    path.as_bytes().starts_with(b"usr/lib/modules/") && elf::is_module_name(path.name())
}

/// Exactly one kernel: a directory with a regular `vmlinuz` and a regular `initramfs.img`, neither of them empty.
pub(super) fn single_kernel(subject: &Subject) -> Vec<Note> {
    let with_image: Vec<TreePath> =
        releases(subject.tree).into_iter().filter(|(_, image)| *image).map(|(path, _)| path).collect();
    let [release] = with_image.as_slice() else {
        return match with_image.as_slice() {
            [] => vec![Note::of("no kernel: nothing below /usr/lib/modules has a vmlinuz")],
            several => several.iter().map(|path| Note::at(path, "one of several kernels")).collect(),
        };
    };
    let mut notes = Vec::new();
    for name in ["vmlinuz", "initramfs.img"] {
        let Ok(path) = release.join(name) else { continue };
        match subject.tree.content(&path).map(crate::tree::Content::size) {
            Some(0) => notes.push(Note::at(&path, "empty")),
            Some(_) => {}
            None if subject.tree.get(&path).is_some() => notes.push(Note::at(&path, "not a regular file")),
            None => notes.push(Note::at(&path, "missing")),
        }
    }
    notes
}

/// When modules were added, some kernel argument must change with them: clients take an update with the same kernel
/// and arguments for fit to be started by a soft reboot, which keeps the old modules loaded.
pub(super) fn kmods_karg(subject: &Subject) -> Result<Vec<Note>, LintError> {
    let Some(module) = subject.input.added.into_iter().flatten().find(|path| is_module(path)) else {
        return Ok(Vec::new());
    };
    let Some((folder, _)) = subject.tree.lookup("usr/lib/bootc/kargs.d") else {
        return Ok(vec![Note::at(module, format!("added, but no kernel argument {KARG} names the set of modules"))]);
    };
    for (path, _) in subject.tree.children(&folder).filter(|(path, _)| path.name().ends_with(b".toml")) {
        let text = config::text(subject, path)?;
        let kargs = super::bootc::kargs(&text).unwrap_or_default();
        if kargs.iter().any(|karg| karg.strip_prefix(KARG).is_some_and(|digest| !digest.is_empty())) {
            return Ok(Vec::new());
        }
    }
    Ok(vec![Note::at(module, format!("added, but no kernel argument {KARG} names the set of modules"))])
}
