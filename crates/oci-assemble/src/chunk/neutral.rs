//! The tree without what differs between two builds of the same content.
//!
//! Every layer repeats the directories above its files, so the time of a directory that a build touched would change
//! dozens of layers; and scripts of packages write files whose times say when the build ran. Rules:
//!
//! - Directories have the time 0: what ostree gives everything on a host, and what font and icon caches take for "does not
//!   count".
//! - A file of a package keeps its time unless something touched it after the package was built (rpm, apk, pacman) or
//!   installed (dpkg, which knows no time of building). Then, and when no package owns it, its time is 0.
//! - Python sources keep theirs: compiled files record it.
//!
//! Dropped is what must not outlive the layers it came with: everything below `/sysroot` of a tree that ostree made (a
//! repository whose commit is gone), labels of the machine that wrote them, marks of overlays, and the tags that chunkers
//! read. A file's signature `security.ima` stays: the distribution made it of the content alone, and hosts that appraise
//! files need it. That of its inode, `security.evm`, does not: it is bound to the file system it was made on.

use crate::image::Image;
use crate::layer::PartError;
use crate::pkgdb::{Package, Packages};
use crate::tree::{FileTree, Inode, Kind, TreePath};

/// The extended attribute by which an image says what component a file is of (chunkah's and rpm-ostree's).
pub(super) const TAG: &[u8] = b"user.component";
/// Where unified kernel images lie; one there makes bootc take the image for a sealed one.
const UKI: &str = "boot/EFI/Linux";

/// Why an image cannot be cut anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It has a unified kernel image, which seals the tree with all its times.
    #[error("{path} is a unified kernel image: it seals the tree, and other layers would break the seal")]
    Sealed {
        /// The kernel image.
        path: TreePath,
    },
    /// bootc refuses two kernels.
    #[error("there are two kernels, {first} and {second}, and bootc deploys neither")]
    Kernels {
        /// One.
        first: TreePath,
        /// The other.
        second: TreePath,
    },
    /// bootc refuses both places of configuration at the same time.
    #[error("/etc and /usr/etc are both there, which bootc refuses")]
    TwoEtc,
    /// Something of the tree that no layer can carry.
    #[error("the tree has something that layers cannot carry")]
    Entry(#[from] PartError),
}

/// Refuses what bootc would refuse of the image once its tree stands by itself. Images that do not say they are bootable
/// only have to be of what layers can carry, which [`draft`](super::draft()) sees to.
pub fn check(image: &Image, tree: &FileTree) -> Result<(), Refused> {
    let labels = &image.config().labels;
    let bootable = labels.contains_key("containers.bootc") || labels.contains_key("ostree.bootable");
    if !bootable && !image.is_ostree_encapsulated() {
        return Ok(());
    }
    if let Some((folder, _)) = tree.lookup(UKI) {
        let sealed = |path: &&TreePath| path.name().to_ascii_lowercase().ends_with(b".efi");
        if let Some(path) = tree.children(&folder).map(|(path, _)| path).find(sealed) {
            return Err(Refused::Sealed { path: path.clone() });
        }
    }
    let modules = TreePath::new("usr/lib/modules").unwrap_or_default();
    let mut kernels = tree
        .children(&modules)
        .filter_map(|(path, _)| path.join("vmlinuz").ok())
        .filter(|path| tree.get(path).is_some());
    if let (Some(first), Some(second)) = (kernels.next(), kernels.next()) {
        return Err(Refused::Kernels { first, second });
    }
    let filled = |path: &str| TreePath::new(path).is_ok_and(|path| tree.get(&path).is_some_and(Inode::is_directory));
    if filled("etc") && filled("usr/etc") {
        return Err(Refused::TwoEtc);
    }
    Ok(())
}

/// The neutral form of `tree`.
///
/// Law: `neutral(neutral(t)) == neutral(t)`. Paths (but those below the `/sysroot` of ostree), kinds, contents, hardlinks,
/// modes, owners and all other attributes are those of `tree`.
pub fn neutral(tree: &FileTree, packages: Option<&Packages>) -> FileTree {
    let mut kept = tree.clone();
    if is_of_ostree(tree) {
        let sysroot = TreePath::new("sysroot").unwrap_or_default();
        let doomed: Vec<TreePath> = kept.children(&sysroot).map(|(path, _)| path.clone()).collect();
        for path in doomed.iter().rev() {
            kept.remove(path);
        }
    }
    let plain = |path: &TreePath, inode: &Inode| {
        // All names of an inode have the metadata of the first.
        let first = match &inode.kind {
            Kind::Hardlink(first) => first,
            _ => path,
        };
        let mut inode = inode.clone();
        inode.meta.mtime = time(first, &inode, packages);
        inode.meta.xattrs.retain(|name, _| !is_dropped(name));
        (path.clone(), inode)
    };
    let inodes = kept.iter().map(|(path, inode)| plain(path, inode)).collect();
    FileTree::from_sorted(inodes).unwrap_or(kept)
}

/// Whether ostree made the tree, or will deploy it. To others `/sysroot` is a directory as any: cross compilers have
/// libraries there.
fn is_of_ostree(tree: &FileTree) -> bool {
    let link = |inode: &Inode| match &inode.kind {
        Kind::Symlink(target) => matches!(&**target, b"sysroot/ostree" | b"/sysroot/ostree"),
        _ => false,
    };
    tree.at("sysroot/ostree").is_some() || tree.at("ostree").is_some_and(|inode| link(tree.linked(inode)))
}

/// Attributes that belong to the machine or the tool that wrote them.
fn is_dropped(name: &[u8]) -> bool {
    matches!(name, b"security.selinux" | b"security.evm" | TAG)
        || name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
}

fn time(path: &TreePath, inode: &Inode, packages: Option<&Packages>) -> i64 {
    let given = inode.meta.mtime.max(0);
    if inode.is_directory() {
        return 0;
    }
    if path.name().ends_with(b".py") {
        return given;
    }
    let owner = packages.and_then(|packages| packages.owner(path));
    if owner.is_some_and(|package| is_own(given, package)) { given } else { 0 }
}

/// Whether a file with this time can be as the package brought it.
fn is_own(time: i64, package: &Package) -> bool {
    match (package.built, package.installed) {
        (Some(built), _) => time <= built,
        // A list that is dated 0 went through here before.
        (None, Some(installed)) if installed > 0 => time < installed,
        _ => true,
    }
}
