//! The private directory that becomes depmod's root.
//!
//! Only directories and new regular files are made in it, by path below an open directory, so that nothing of an
//! image can lead outside.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use oci_assemble::tree::TreePath;

use super::DepmodError;
use crate::private::PrivateDir;

/// Beginning of the names of workspaces.
const PREFIX: &str = ".depmod-";

/// A private directory, removed when dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    root: Dir,
    directory: PrivateDir,
}

impl Workspace {
    /// Makes a private directory in `above`.
    pub(super) fn new(above: &Path) -> Result<Self, DepmodError> {
        let failed = |source| DepmodError::Workspace { path: above.to_owned(), source };
        let directory = PrivateDir::new(above, PREFIX).map_err(failed)?;
        let root = directory.open().map_err(failed)?;
        Ok(Self { root, directory })
    }

    /// Its absolute path.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The open directory.
    pub(super) fn root(&self) -> &Dir {
        &self.root
    }

    /// Makes a directory, and those above it.
    pub(super) fn directory(&self, path: &TreePath) -> Result<(), DepmodError> {
        for directory in path.ancestors().chain([path.clone()]).filter(|path| !path.is_root()) {
            let made = match self.root.create_dir(native(&directory)) {
                Ok(()) => self.root.set_permissions(native(&directory), Permissions::from_mode(0o755)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error),
            };
            made.map_err(failed(&directory))?;
        }
        Ok(())
    }

    /// Writes a new file into a directory that was made before.
    pub(super) fn file(&self, path: &TreePath, bytes: &[u8], mode: u32) -> Result<(), DepmodError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let write = || {
            let mut file = self.root.open_with(native(path), &options)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(bytes)
        };
        write().map_err(failed(path))
    }

    /// Gives the file at `path` a second name.
    pub(super) fn link(&self, path: &TreePath, also: &TreePath) -> Result<(), DepmodError> {
        self.root.hard_link(native(path), &self.root, native(also)).map_err(failed(also))
    }
}

/// A path of the tree as one of this machine.
pub(super) fn native(path: &TreePath) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

fn failed(path: &TreePath) -> impl FnOnce(io::Error) -> DepmodError {
    let path = path.clone();
    move |source| DepmodError::Write { path, source }
}
