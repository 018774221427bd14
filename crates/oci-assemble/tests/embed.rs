//! The example for embedders does what it says.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, dead_code, missing_docs)]

#[path = "../examples/embed.rs"]
mod embed;

use std::num::NonZero;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::layer::{Gate, whole};
use oci_assemble::store::layers::{ImageLayers, NoCache, ReadOptions};
use oci_assemble::store::{Layout, resolve};
use oci_assemble::tree::TreePath;

#[test]
fn puts_a_file_on_the_genuine_base() {
    let base = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/ostree-base"));
    let out = tempfile::tempdir().unwrap();
    let digest = embed::add_motd(base, out.path(), "from the example\n").unwrap();

    let layout = Layout::open(Dir::open_ambient_dir(out.path(), ambient_authority()).unwrap()).unwrap();
    let found = layout.find(Some("latest"), None).unwrap();
    assert_eq!(found.digest, digest);
    let image = resolve(&layout, &found, None).unwrap().image;
    let pairs: Vec<_> = image.layers().map(|(blob, diff_id)| (blob.clone(), *diff_id)).collect();
    let options = ReadOptions { gate: Gate::Refuse, threads: NonZero::<usize>::MIN };
    let layers = ImageLayers::open(&layout, &pairs, &NoCache, options).unwrap();
    let motd = whole(&layers.tree().unwrap(), &layers, &TreePath::new("etc/motd").unwrap(), 100).unwrap();
    assert_eq!(motd, b"from the example\n");

    let again = tempfile::tempdir().unwrap();
    assert_eq!(embed::add_motd(base, again.path(), "from the example\n").unwrap(), digest);
}
