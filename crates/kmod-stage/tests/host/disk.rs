//! Images of OCI layouts, unpacked by tar.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::store::dir::{HostContents, scan};
use oci_assemble::tree::{FileTree, TreePath};

/// A tree and the directory its files are in.
pub(crate) struct Disk {
    pub(crate) root: PathBuf,
    pub(crate) tree: FileTree,
    pub(crate) contents: HostContents,
}

impl Disk {
    /// Unpacks the only image of an OCI layout into `root`.
    pub(crate) fn unpack(layout: &Path, root: PathBuf) -> Self {
        fs::create_dir(&root).unwrap();
        let document = |path: &Path| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let blob = |descriptor: &serde_json::Value| {
            layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
        };
        let manifest = document(&blob(&document(&layout.join("index.json"))["manifests"][0]));
        for layer in manifest["layers"].as_array().unwrap() {
            let mut tar = Command::new("tar");
            tar.args(["--no-same-owner", "--anchored", "--exclude=./dev/*", "--exclude=dev/*", "-xf"]);
            tar.arg(blob(layer)).arg("-C").arg(&root);
            assert!(tar.status().unwrap().success(), "tar failed");
        }
        let directory = Dir::open_ambient_dir(&root, ambient_authority()).unwrap();
        let delta = scan(&directory, Path::new("."), &TreePath::root(), 0).unwrap();
        let tree = FileTree::new().apply(&delta).unwrap();
        Self { root, tree, contents: HostContents::new(directory) }
    }
}
