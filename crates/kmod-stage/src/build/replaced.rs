//! A kernel that took the place of another.

use std::collections::BTreeSet;

use oci_assemble::layer::{Contents, WholeError, whole};
use oci_assemble::tree::{FileTree, PathError, TreeDelta, TreePath};

use super::initramfs::kernels;
use crate::kernel::{KernelRelease, Kernels, MODULES};

/// The largest initramfs that is looked into, in bytes; with firmware of graphics cards some have 200 MB.
const INITRAMFS_MAX: u64 = 1 << 30;

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
    /// It cannot find its disk.
    #[error(
        "the initramfs.img of kernel {release} has no modules of it, but of {}: the packages of the image did not make it anew",
        .found.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    )]
    OtherInitramfs {
        /// The kernel.
        release: KernelRelease,
        /// The kernels of which it has modules.
        found: BTreeSet<String>,
    },
    /// The initramfs cannot be read.
    #[error("the initramfs cannot be read")]
    Read(#[from] WholeError),
    /// A name that no path has.
    #[error(transparent)]
    Name(#[from] PathError),
}

/// `delta` without anything of the kernels of `base` that are gone in `after`, and what is to be noted.
///
/// Package managers leave what no package owns: initramfs and indexes of modules. bootc does not mind such a directory,
/// other tools take it for a kernel.
pub(super) fn kernel(
    delta: &TreeDelta,
    base: &FileTree,
    (after, contents): (&FileTree, &dyn Contents),
) -> Result<(TreeDelta, Option<String>), ReplacedError> {
    let found = Kernels::find(after).bootable;
    let [release] = &found[..] else { return Err(ReplacedError::NotOne { found }) };
    let place = |release: &KernelRelease| TreePath::new(format!("{MODULES}/{release}"));
    let initramfs = place(release)?.join("initramfs.img")?;
    if after.content(&initramfs).is_none_or(|content| content.size() == 0) {
        return Err(ReplacedError::NoInitramfs { release: release.clone() });
    }
    let note = match kernels(&whole(after, contents, &initramfs, INITRAMFS_MAX)?) {
        Ok(found) if found.is_empty() => Some(format!("{initramfs} has no modules in it")),
        Ok(found) if found.contains(&release.to_string()) => None,
        Ok(found) => return Err(ReplacedError::OtherInitramfs { release: release.clone(), found }),
        Err(error) => Some(format!("whose modules {initramfs} has is not known: {error}")),
    };
    let others = Kernels::find(base).bootable.into_iter().filter(|kernel| kernel != release);
    let gone: Vec<TreePath> = others.map(|kernel| place(&kernel)).collect::<Result<_, _>>()?;
    let stays = |path: &TreePath| !gone.iter().any(|gone| path == gone || path.is_below(gone));
    let mut cleaned = TreeDelta::new();
    for (path, inode) in delta.entries().iter().filter(|(path, _)| stays(path)) {
        cleaned.insert(path.clone(), inode.clone());
    }
    delta.whiteouts().iter().filter(|path| stays(path)).chain(&gone).for_each(|path| cleaned.whiteout(path.clone()));
    delta.opaques().iter().filter(|path| stays(path)).for_each(|path| cleaned.opaque(path.clone()));
    Ok((cleaned, note))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::boot::cpio::Cpio;
    use oci_assemble::testing::memory::{Memory, add_file};

    /// Files that have their own names in them, but an initramfs the modules of its kernel.
    fn tree(files: &[&str]) -> FileTree {
        let mut tree = FileTree::new();
        for path in files {
            let release = path.split('/').next().unwrap();
            let bytes = if path.ends_with("/initramfs.img") { initramfs(release) } else { path.as_bytes().to_vec() };
            add_file(&mut tree, &format!("{MODULES}/{path}"), 0o644, bytes);
        }
        tree
    }

    fn initramfs(release: &str) -> Vec<u8> {
        let mut archive = Cpio::default();
        archive.file(format!("{MODULES}/{release}/kernel/a.ko").as_bytes(), 0o644, b"module");
        archive.finish()
    }

    fn replaced(base: &FileTree, after: &FileTree) -> Result<(TreeDelta, Option<String>), ReplacedError> {
        kernel(&TreeDelta::between(base, after), base, (after, &Memory::default()))
    }

    #[test]
    fn nothing_of_the_old_kernel_stays() {
        let base = tree(&["1/vmlinuz", "1/initramfs.img", "1/modules.dep", "1/kernel/a.ko"]);
        let after = tree(&["1/initramfs.img", "1/modules.dep", "2/vmlinuz", "2/initramfs.img", "2/modules.dep"]);
        let (delta, note) = replaced(&base, &after).unwrap();
        let image = base.clone().apply(&delta).unwrap();
        assert_eq!((image, note), (tree(&["2/vmlinuz", "2/initramfs.img", "2/modules.dep"]), None));
        assert_eq!(delta.whiteouts().iter().map(ToString::to_string).collect::<Vec<_>>(), ["/usr/lib/modules/1"]);

        let error = replaced(&base, &tree(&["1/vmlinuz", "2/vmlinuz"])).unwrap_err();
        assert_eq!(error.to_string(), "the packages leave 2 kernels instead of one: 1, 2");
        let error = replaced(&base, &tree(&["2/vmlinuz"])).unwrap_err();
        assert!(matches!(error, ReplacedError::NoInitramfs { .. }), "{error}");
    }

    #[test]
    fn the_initramfs_is_that_of_the_new_kernel() {
        let base = tree(&["1/vmlinuz", "1/initramfs.img"]);
        let with = |bytes: Vec<u8>| {
            let mut after = tree(&["2/vmlinuz"]);
            add_file(&mut after, &format!("{MODULES}/2/initramfs.img"), 0o600, bytes);
            replaced(&base, &after).map(|(_, note)| note)
        };
        assert_eq!(with(initramfs("2")).unwrap(), None);
        assert_eq!(
            with(initramfs("1")).unwrap_err().to_string(),
            "the initramfs.img of kernel 2 has no modules of it, but of 1: the packages of the image did not make it anew"
        );
        let note = |bytes: &[u8]| with(bytes.to_vec()).unwrap().unwrap();
        assert_eq!(note(&Cpio::default().finish()), "/usr/lib/modules/2/initramfs.img has no modules in it");
        assert!(note(b"\x04\x22\x4d\x18").contains("is not known: it is neither a cpio archive"));
    }
}
