//! Images of OCI layouts: read in place, and unpacked by tar.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::{Descriptor, Digest};
use oci_assemble::layer::Gate;
use oci_assemble::store::layers::{ImageLayers, NoCache, ReadOptions};
use oci_assemble::store::resolve;

/// An OCI layout with one image.
pub(crate) struct Layout {
    path: PathBuf,
    source: oci_assemble::store::Layout,
    layers: Vec<(Descriptor, Digest)>,
}

impl Layout {
    pub(crate) fn read(path: PathBuf) -> Self {
        let dir = Dir::open_ambient_dir(&path, ambient_authority()).unwrap();
        let layout = oci_assemble::store::Layout::open(dir).unwrap();
        let image = resolve(&layout, &layout.find(None, None).unwrap(), None).unwrap().image;
        let layers = image.layers().map(|(descriptor, diff_id)| (descriptor.clone(), *diff_id)).collect();
        Self { path, source: layout, layers }
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replace(':', "/"))
    }

    /// The layers, indexed.
    pub(crate) fn layers(&self) -> ImageLayers<'_> {
        let options = ReadOptions { gate: Gate::Record, threads: NonZero::new(2).unwrap() };
        ImageLayers::open(&self.source, &self.layers, &NoCache, options).unwrap()
    }

    /// Unpacks the image into `root`.
    pub(crate) fn unpack(&self, root: &Path) {
        fs::create_dir(root).unwrap();
        for (layer, _) in &self.layers {
            let mut tar = Command::new("tar");
            tar.args(["--no-same-owner", "--anchored", "--exclude=./dev/*", "--exclude=dev/*", "-xf"]);
            tar.arg(self.blob(&layer.digest.to_string())).arg("-C").arg(root);
            assert!(tar.status().unwrap().success(), "tar failed");
        }
    }
}
