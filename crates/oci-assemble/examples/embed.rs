//! One file on top of an image, through the library alone: `cargo run --example embed -- BASE-LAYOUT NEW-LAYOUT`, of
//! which both directories exist.

use std::error::Error;
use std::num::NonZero;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::{Descriptor, Digest, Epoch, History, Layer};
use oci_assemble::layer::{Compression, Gate, LayerDraft, SealOptions, seal};
use oci_assemble::store::layers::{ImageLayers, NoCache, ReadOptions};
use oci_assemble::store::{Layout, resolve};
use oci_assemble::tree::{Content, Inode, Meta, TreeDelta, TreePath};

/// Adds `/etc/motd` to the only image of the layout `base`, and lists the new one in the layout `out` as `latest`.
pub(crate) fn add_motd(base: &Path, out: &Path, text: &str) -> Result<Digest, Box<dyn Error>> {
    let threads = NonZero::<usize>::MIN;
    // An image is a value; its layers are indexed, not unpacked.
    let base = Layout::open(Dir::open_ambient_dir(base, ambient_authority())?)?;
    let image = resolve(&base, &base.find(None, None)?, None)?.image;
    let pairs: Vec<(Descriptor, Digest)> = image.layers().map(|(blob, diff_id)| (blob.clone(), *diff_id)).collect();
    let layers = ImageLayers::open(&base, &pairs, &NoCache, ReadOptions { gate: Gate::Refuse, threads })?;

    // What changes, made lawful for the tree it goes on: parents are added, names follow the symlinks of the base.
    let epoch = Epoch::from_rfc3339(image.config().created.as_deref().unwrap_or("1970-01-01T00:00:00Z"))?;
    let mut delta = TreeDelta::new();
    delta.insert(TreePath::new("etc/motd")?, Inode::file(Meta::root_owned(0o644, epoch.seconds()), Content::of(text)));
    let draft = LayerDraft::new("motd", &delta, &layers.tree()?, epoch.seconds())?;

    // Nothing is visible in the layout before the commit.
    let transaction = Layout::write(Dir::open_ambient_dir(out, ambient_authority())?)?;
    let compression = Compression::DEFAULT;
    let (sealed, blob) = seal(&draft, &layers, transaction.sink()?, SealOptions { compression, threads })?;
    blob.publish(&sealed.digest, sealed.size)?;
    let image = image.append(Layer {
        descriptor: Descriptor::new(compression.media_type(), sealed.digest, sealed.size),
        diff_id: sealed.diff_id,
        uncompressed_size: Some(sealed.uncompressed),
        history: History::of("motd"),
    })?;
    for (blob, _) in &pairs {
        transaction.take(&base, blob)?;
    }
    let descriptor = transaction.put_image(&image)?;
    transaction.commit(Some("latest"), &descriptor)?;
    Ok(descriptor.digest)
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let [base, out] = &paths[..] else { return Err("usage: embed BASE-LAYOUT NEW-LAYOUT".into()) };
    add_motd(base.as_ref(), out.as_ref(), "hello\n")?;
    Ok(())
}
