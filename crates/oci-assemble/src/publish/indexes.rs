//! The indexes of an image's layers, attached to it.
//!
//! Who builds upon an image needs to know where its files are, and of few of them the bytes. With the indexes beside the
//! image only the layers that hold those are fetched; without them each layer has to be, once on each machine.
//!
//! The artifact is a manifest with the image as its subject, of type [`ARTIFACT_TYPE`], and one zstd-compressed blob: for
//! each layer a line with the digest of its blob and a length, and so many bytes ([`LayerIndex::to_bytes`]).
//! An index is as good as who made it: whoever must have signed the image has to have signed the artifact as well.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};

use super::referrers::{Artifact, ReferrerSource, Result, fetch, referrer};
use crate::image::{Descriptor, Digest, MAX_MANIFEST, Manifest, MediaType};
use crate::layer::LayerIndex;

/// The type of the artifact, and of its blob.
pub const ARTIFACT_TYPE: &str = "application/vnd.io.assemble.layer-indexes.v1+zstd";
/// The largest blob that is fetched, in bytes: half a million files take about 40 MB.
const BLOB_MAX: usize = 256 << 20;
/// The most bytes that are unpacked of it: three million files.
const UNPACKED_MAX: u64 = 512 << 20;
/// The largest layer: no disk of a host has as much.
const LAYER_MAX: u64 = 1 << 46;
/// The longest line: a digest by SHA-512 and a number.
const LINE_MAX: u64 = 256;
/// Indexes are mostly digests, which nothing compresses.
const LEVEL: i32 = 3;

/// The artifact with the indexes of the layers of `subject`, each given with its blob.
pub fn artifact<'a>(
    subject: &Descriptor,
    layers: impl IntoIterator<Item = (&'a Descriptor, &'a LayerIndex)>,
) -> io::Result<Artifact> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    let (mut written, mut total) = (BTreeSet::new(), 0);
    for (blob, index) in layers {
        if !written.insert(blob.digest) {
            continue;
        }
        let bytes = index.to_bytes();
        let line = format!("{} {}\n", blob.digest, bytes.len());
        total += (line.len() + bytes.len()) as u64;
        encoder.write_all(line.as_bytes())?;
        encoder.write_all(&bytes)?;
    }
    let bytes = encoder.finish()?;
    if total > UNPACKED_MAX || bytes.len() > BLOB_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the indexes of the layers are larger than any that is read",
        ));
    }
    Ok(referrer(subject, ARTIFACT_TYPE, &bytes, []))
}

/// Indexes that were found beside an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The artifact's manifest.
    pub artifact: Descriptor,
    /// Bytes that were fetched.
    pub fetched: u64,
    /// Blobs of layers with their indexes.
    pub indexes: Vec<(Digest, LayerIndex)>,
}

/// The indexes that are attached to `subject`: those of the first artifact that `trusted` accepts and that can be read here.
/// None where there is no such artifact, or only ones of another version.
pub fn find(
    source: &dyn ReferrerSource,
    subject: &Digest,
    trusted: &mut dyn FnMut(&Descriptor) -> bool,
) -> Result<Option<Found>> {
    for entry in source.referrers(subject)?.iter().filter(|entry| entry.media_type.is_manifest()) {
        // What a listing says of types is often wrong; what it says of the kind of these is not worth a request for each
        // signature.
        let listed = entry.rest.get("artifactType").and_then(serde_json::Value::as_str);
        if listed.is_some_and(|listed| listed != ARTIFACT_TYPE && listed != MediaType::Empty.as_str()) {
            continue;
        }
        // What is wrong with one does not hide another.
        let Ok(bytes) = fetch(source, entry, MAX_MANIFEST) else { continue };
        let Ok(manifest) = Manifest::parse(&bytes, Some(&entry.media_type)) else { continue };
        let kind = manifest.rest.get("artifactType").and_then(serde_json::Value::as_str);
        let about = manifest.subject.as_ref().map(|subject| subject.digest);
        let [blob] = manifest.layers.as_slice() else { continue };
        if kind != Some(ARTIFACT_TYPE) || about != Some(*subject) || !trusted(entry) {
            continue;
        }
        if let Ok(bytes) = fetch(source, blob, BLOB_MAX)
            && let Ok(indexes) = unpack(&bytes)
        {
            return Ok(Some(Found { artifact: entry.clone(), fetched: entry.size + blob.size, indexes }));
        }
    }
    Ok(None)
}

fn unpack(bytes: &[u8]) -> io::Result<Vec<(Digest, LayerIndex)>> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let mut stream = BufReader::new(zstd::Decoder::with_buffer(bytes)?.take(UNPACKED_MAX));
    let mut claims = Vec::new();
    loop {
        let mut line = String::new();
        if (&mut stream).take(LINE_MAX).read_line(&mut line)? == 0 {
            return Ok(claims);
        }
        let (blob, length) = line.strip_suffix('\n').and_then(|line| line.split_once(' ')).ok_or_else(damaged)?;
        let (blob, length) = (blob.parse().map_err(|_| damaged())?, length.parse().map_err(|_| damaged())?);
        let mut index = Vec::new();
        (&mut stream).take(length).read_to_end(&mut index)?;
        claims.push((blob, LayerIndex::from_bytes(&index).filter(is_plausible).ok_or_else(damaged)?));
    }
}

/// Whether the files of a layer lie in it, one behind the other: readers go by that.
fn is_plausible(index: &LayerIndex) -> bool {
    let contents = index.delta.entries().values().filter_map(|inode| inode.content());
    let stored: BTreeMap<Digest, u64> =
        contents.filter_map(|content| Some((content.digest()?, content.size()))).collect();
    let mut extents: Vec<(u64, u64)> = Vec::new();
    for (digest, offset) in &index.offsets {
        extents.push((*offset, stored.get(digest).copied().unwrap_or(0)));
    }
    extents.sort_unstable();
    let mut end = 0;
    let apart = extents.iter().all(|(offset, size)| {
        let starts = *offset >= end;
        end = offset.saturating_add(*size);
        starts
    });
    apart && end <= index.size && index.size <= LAYER_MAX
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::referrers::{MemoryReferrers, ReferrerStore};
    use super::*;
    use crate::layer::{IndexOptions, index};

    fn layer(text: &str) -> (Descriptor, LayerIndex) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("etc/{text}"), text.as_bytes()).unwrap();
        let bytes = tar.into_inner().unwrap();
        let found = index(&bytes[..], IndexOptions::default()).unwrap();
        (Descriptor::of("application/vnd.oci.image.layer.v1.tar".into(), &bytes), found)
    }

    #[test]
    fn what_is_attached_is_found_by_who_trusts_it() {
        let layers = [layer("one"), layer("two")];
        let subject = Descriptor::of(MediaType::ImageManifest, b"image");
        let made = artifact(&subject, layers.iter().map(|(blob, index)| (blob, index))).unwrap();
        let place = MemoryReferrers::default();
        assert_eq!(find(&place, &subject.digest, &mut |_| true).unwrap(), None);
        place.store(std::slice::from_ref(&made)).unwrap();
        let expected: Vec<_> = layers.iter().map(|(blob, index)| (blob.digest, index.clone())).collect();
        let mut asked = Vec::new();
        let found = find(&place, &subject.digest, &mut |entry| {
            asked.push(entry.digest);
            true
        });
        let found = found.unwrap().unwrap();
        assert_eq!((found.artifact.digest, found.indexes), (made.manifest.digest, expected));
        assert_eq!(asked, [made.manifest.digest]);
        assert_eq!(find(&place, &subject.digest, &mut |_| false).unwrap(), None);
        let other = Digest::of(b"another image");
        assert_eq!(find(&place, &other, &mut |_| true).unwrap(), None);
    }

    #[test]
    fn what_is_no_list_of_indexes_is_passed_over() {
        let (blob, found) = layer("one");
        let subject = Descriptor::of(MediaType::ImageManifest, b"image");
        let good = artifact(&subject, [(&blob, &found)]).unwrap();
        let packed = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        let (line, long) = (format!("{} 5\nshort", blob.digest), "x".repeat(1000));
        for bytes in [&b"no zstd"[..], &packed(b"no line"), &packed(line.as_bytes()), &packed(long.as_bytes())] {
            assert!(unpack(bytes).is_err());
        }
        let whole = &good.blobs[1].1;
        assert_eq!(unpack(whole).unwrap().len(), 1);
        assert!(unpack(&whole[..whole.len() - 4]).is_err());
        // Files that lie in each other, or behind the end of the layer, would lead readers astray.
        let (_, two) = layer("three");
        let offset = *two.offsets.values().next().unwrap();
        let with = |offset| LayerIndex {
            offsets: two.offsets.keys().map(|digest| (*digest, offset)).collect(),
            ..two.clone()
        };
        let mut double = with(offset);
        double.offsets.extend(found.offsets.keys().map(|digest| (*digest, offset + 1)));
        for (index, good) in [(with(offset), true), (with(two.size), false), (with(u64::MAX), false), (double, false)] {
            let made = artifact(&subject, [(&blob, &index)]).unwrap();
            assert_eq!(unpack(&made.blobs[1].1).is_ok(), good, "{index:?}");
        }
    }
}
