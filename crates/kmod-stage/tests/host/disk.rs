//! Images of OCI layouts: read in place, and unpacked by tar.

use std::fs;
use std::io::{self, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_assemble::image::{Config, Descriptor, Digest, Index, Manifest};
use oci_assemble::layer::Gate;
use oci_assemble::store::layers::{ImageLayers, NoCache, OpenBlob, ReadOptions};

/// An OCI layout with one image.
pub(crate) struct Layout {
    path: PathBuf,
    layers: Vec<(Descriptor, Digest)>,
}

impl OpenBlob for Layout {
    fn open_blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(io::BufReader::new(fs::File::open(self.blob(&descriptor.digest.to_string()))?)))
    }
}

impl Layout {
    pub(crate) fn read(path: PathBuf) -> Self {
        let mut layout = Self { path, layers: Vec::new() };
        let index = Index::parse(&fs::read(layout.path.join("index.json")).unwrap(), None).unwrap();
        let blob = |descriptor: &Descriptor| fs::read(layout.blob(&descriptor.digest.to_string())).unwrap();
        let manifest = Manifest::parse(&blob(&index.manifests[0]), None).unwrap();
        let config = Config::parse(&blob(&manifest.config)).unwrap();
        layout.layers = manifest.layers.into_iter().zip(config.diff_ids).collect();
        layout
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replace(':', "/"))
    }

    /// The layers, indexed.
    pub(crate) fn layers(&self) -> ImageLayers<'_> {
        let options = ReadOptions { gate: Gate::Record, threads: NonZero::new(2).unwrap() };
        ImageLayers::open(self, &self.layers, &NoCache, options).unwrap()
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
