//! The kernels of a tree, and what a kernel is called.
//!
//! A bootable image keeps each kernel below `/usr/lib/modules/RELEASE`, `vmlinuz` beside its modules. A directory
//! without `vmlinuz` is what package managers leave behind when they replace a kernel: bootc ignores it, other tools
//! take it for a kernel.
//!
//! `offer` names the kernels of repositories, `pin` chooses among them and the base's, `range` knows which ones OpenZFS
//! supports.

mod offer;
mod pin;
mod pin_error;
mod range;

use std::fmt;
use std::str::FromStr;

use oci_assemble::tree::{FileTree, Inode, Resolved, TreePath};

pub use offer::{KernelPackage, Offers};
pub use pin::{BaseKernel, Direction, ExactPackage, KernelDecision, decide};
pub use pin_error::{Lacking, PinError};
pub use range::{LinuxVersion, MetaError, UnsupportedKernel, ZfsKernels};

/// Where kernels are, relative to the root.
pub const MODULES: &str = "usr/lib/modules";

/// Longest release a kernel can have: `__NEW_UTS_LEN` of linux/utsname.h.
const RELEASE_MAX: usize = 64;

/// The release of a kernel, as `uname -r` prints it: `6.12.0-160.el10.x86_64`.
///
/// It is a single file name, and neither an option of a program nor two words of `vermagic`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRelease(String);

/// The text is no kernel release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no kernel release")]
pub struct KernelReleaseError {
    /// The text, cut to 64 characters.
    pub text: String,
}

impl KernelRelease {
    /// Checks `text`: 1 to 64 printable ASCII characters, no slash, not starting with a dot or a dash.
    pub fn new(text: &str) -> Result<Self, KernelReleaseError> {
        let good = !text.is_empty()
            && text.len() <= RELEASE_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
            && !text.starts_with(['.', '-']);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(KernelReleaseError { text: text.chars().take(RELEASE_MAX).collect() })
        }
    }

    /// The release.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KernelRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KernelRelease {
    type Err = KernelReleaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// The directories below `/usr/lib/modules`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernels {
    /// Those with a `vmlinuz`: kernels that can boot.
    pub bootable: Vec<KernelRelease>,
    /// Those without: remains of a replaced kernel, or modules for a kernel that is not there.
    pub without_image: Vec<KernelRelease>,
    /// Directories whose name no kernel can have.
    pub strange: Vec<TreePath>,
}

impl Kernels {
    /// Finds the kernels of `tree`, each list in order of names.
    pub fn find(tree: &FileTree) -> Self {
        let mut found = Self::default();
        let Resolved::Found(modules) = tree.resolve(MODULES) else { return found };
        for (path, _) in tree.children(&modules).filter(|(_, inode)| Inode::is_directory(inode)) {
            let release = std::str::from_utf8(path.name()).ok().and_then(|name| KernelRelease::new(name).ok());
            match release {
                None => found.strange.push(path.clone()),
                Some(release) if has_image(tree, path) => found.bootable.push(release),
                Some(release) => found.without_image.push(release),
            }
        }
        found
    }
}

fn has_image(tree: &FileTree, directory: &TreePath) -> bool {
    let image = directory.join("vmlinuz").ok().and_then(|path| tree.lookup(path.as_bytes()));
    image.is_some_and(|(path, _)| tree.content(&path).is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oci_assemble::tree::{Content, Meta};

    #[test]
    fn a_release_is_one_plain_file_name() {
        for good in ["6.12.0-160.el10.x86_64", "6.1.0-56-cloud-amd64", "7.0.0-rc1+", "6.11.0_1~x", &"9".repeat(64)] {
            assert_eq!(KernelRelease::new(good).unwrap().to_string(), good);
        }
        for bad in ["", ".", "..", "a/b", "/", "-b", "--basedir=x", "a b", "a\n", "a\0", "6.1.ü", &"9".repeat(65)] {
            assert!(KernelRelease::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn kernels_are_told_from_remains() {
        let mut tree = FileTree::new();
        let directory = || Inode::directory(Meta::root_owned(0o755, 0));
        for path in ["usr", "usr/lib", MODULES] {
            tree.insert(TreePath::new(path).unwrap(), directory());
        }
        for name in ["6.1", "5.9", "6.2", "a b"] {
            tree.insert(TreePath::new(format!("{MODULES}/{name}")).unwrap(), directory());
        }
        let file = Inode::file(Meta::root_owned(0o644, 0), Content::of("kernel"));
        tree.insert(TreePath::new(format!("{MODULES}/6.2/vmlinuz")).unwrap(), file.clone());
        tree.insert(TreePath::new(format!("{MODULES}/README")).unwrap(), file);
        tree.insert(TreePath::new(format!("{MODULES}/5.9/vmlinuz")).unwrap(), Inode::symlink("/boot/none", 0));
        tree.insert(TreePath::new(format!("{MODULES}/6.1/vmlinuz")).unwrap(), Inode::symlink("../6.2/vmlinuz", 0));
        let release = |text| KernelRelease::new(text).unwrap();
        assert_eq!(
            Kernels::find(&tree),
            Kernels {
                bootable: vec![release("6.1"), release("6.2")],
                without_image: vec![release("5.9")],
                strange: vec![TreePath::new(format!("{MODULES}/a b")).unwrap()],
            }
        );
        assert_eq!(Kernels::find(&FileTree::new()), Kernels::default());
    }
}
