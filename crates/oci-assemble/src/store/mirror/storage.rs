//! Images in containers-storage.
//!
//! podman keeps layers unpacked. It can give back the tar of each, bit for bit, but not the compressed blob that was
//! pulled; the manifest it keeps still names the compressed blobs. So the layers come uncompressed, named by their
//! diff_ids, and unless the manifest says the same (images built by podman do) it is written anew: the image has
//! another digest than the one that was pulled, and the same content. The configuration stays byte for byte.

use std::borrow::Borrow;

use super::remote::Remote;
use crate::image::{Descriptor, Digest, Distribution, Encoding, Image, MAX_CONFIG, MAX_MANIFEST, Manifest, MediaType};
use crate::store::blob::read_document;
use crate::store::error::{Result, StoreError};
use crate::store::layout::Transaction;

/// The image behind `top` as it can be had from containers-storage. Fetches its layers.
pub(super) fn uncompressed<T: Borrow<Transaction> + Send + Sync>(
    remote: &Remote<T>,
    top: &Descriptor,
) -> Result<Descriptor> {
    if !top.media_type.is_manifest() {
        return Err(StoreError::Kind { media_type: top.media_type.to_string() });
    }
    let bytes = read_document(remote, top, MAX_MANIFEST)?;
    let manifest = Manifest::parse(&bytes, Some(&top.media_type))?;
    let image = Image::parse(&bytes, &read_document(remote, &manifest.config, MAX_CONFIG)?)?;
    let plain = |(layer, diff_id): (&Descriptor, &Digest)| {
        layer.digest == *diff_id && layer.media_type.encoding() == Some(Encoding::Plain)
    };
    if image.layers().all(plain) {
        return Ok(top.clone());
    }
    let mut layers = Vec::new();
    for (layer, diff_id) in image.layers() {
        let size = match remote.into().intact_size(diff_id)? {
            Some(size) => size,
            None => remote.fetch(diff_id, None)?,
        };
        let media_type = match &layer.media_type {
            MediaType::DockerLayer(_, distribution) => MediaType::DockerLayer(Encoding::Plain, *distribution),
            MediaType::Layer(_, distribution) => MediaType::Layer(Encoding::Plain, *distribution),
            _ => MediaType::Layer(Encoding::Plain, Distribution::Free),
        };
        let mut layer = Descriptor { media_type, digest: *diff_id, size, ..layer.clone() };
        // They describe the compressed stream.
        layer.annotations.retain(|name, _| !name.starts_with("io.github.containers.zstd-chunked."));
        layers.push(layer);
    }
    let rewritten = Manifest { layers, ..manifest };
    remote.into().put_bytes(rewritten.media_type.clone(), &rewritten.to_bytes())
}
