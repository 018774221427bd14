//! A kernel that took the place of another.

use oci_assemble::tree::{FileTree, PathError, TreeDelta, TreePath};

use crate::kernel::{KernelRelease, Kernels, MODULES};

/// Why the kernel of an image was not replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplacedError {
    /// One is not there, or several are.
    #[error("the packages leave {} kernels instead of one: {}", .found.len(), .found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    NotOne {
        /// The kernels.
        found: Vec<KernelRelease>,
    },
    /// It cannot boot.
    #[error("kernel {release} has no initramfs.img beside it: the packages of the image did not make one")]
    NoInitramfs {
        /// The kernel.
        release: KernelRelease,
    },
    /// A name that no path has.
    #[error(transparent)]
    Name(#[from] PathError),
}

/// `delta` without anything of the kernels of `base` that are gone in `after`.
///
/// Package managers leave what no package owns: initramfs and indexes of modules. bootc does not mind such a directory,
/// other tools take it for a kernel.
pub(super) fn kernel(delta: &TreeDelta, base: &FileTree, after: &FileTree) -> Result<TreeDelta, ReplacedError> {
    let found = Kernels::find(after).bootable;
    let [release] = &found[..] else { return Err(ReplacedError::NotOne { found }) };
    let place = |release: &KernelRelease| TreePath::new(format!("{MODULES}/{release}"));
    let initramfs = place(release)?.join("initramfs.img")?;
    if after.content(&initramfs).is_none_or(|content| content.size() == 0) {
        return Err(ReplacedError::NoInitramfs { release: release.clone() });
    }
    let others = Kernels::find(base).bootable.into_iter().filter(|kernel| kernel != release);
    let gone: Vec<TreePath> = others.map(|kernel| place(&kernel)).collect::<Result<_, _>>()?;
    let stays = |path: &TreePath| !gone.iter().any(|gone| path == gone || path.is_below(gone));
    let mut cleaned = TreeDelta::new();
    for (path, inode) in delta.entries().iter().filter(|(path, _)| stays(path)) {
        cleaned.insert(path.clone(), inode.clone());
    }
    delta.whiteouts().iter().filter(|path| stays(path)).chain(&gone).for_each(|path| cleaned.whiteout(path.clone()));
    delta.opaques().iter().filter(|path| stays(path)).for_each(|path| cleaned.opaque(path.clone()));
    Ok(cleaned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oci_assemble::testing::memory::add_file;

    fn tree(files: &[&str]) -> FileTree {
        let mut tree = FileTree::new();
        for path in files {
            add_file(&mut tree, &format!("{MODULES}/{path}"), 0o644, *path);
        }
        tree
    }

    #[test]
    fn nothing_of_the_old_kernel_stays() {
        let base = tree(&["1/vmlinuz", "1/initramfs.img", "1/modules.dep", "1/kernel/a.ko"]);
        let after = tree(&["1/initramfs.img", "1/modules.dep", "2/vmlinuz", "2/initramfs.img", "2/modules.dep"]);
        let delta = kernel(&TreeDelta::between(&base, &after), &base, &after).unwrap();
        let image = base.clone().apply(&delta).unwrap();
        assert_eq!(image, tree(&["2/vmlinuz", "2/initramfs.img", "2/modules.dep"]));
        assert_eq!(delta.whiteouts().iter().map(ToString::to_string).collect::<Vec<_>>(), ["/usr/lib/modules/1"]);

        let two = tree(&["1/vmlinuz", "2/vmlinuz"]);
        let error = kernel(&TreeDelta::between(&base, &two), &base, &two).unwrap_err();
        assert_eq!(error.to_string(), "the packages leave 2 kernels instead of one: 1, 2");
        let alone = tree(&["2/vmlinuz"]);
        let error = kernel(&TreeDelta::between(&base, &alone), &base, &alone).unwrap_err();
        assert!(matches!(error, ReplacedError::NoInitramfs { .. }), "{error}");
    }
}
