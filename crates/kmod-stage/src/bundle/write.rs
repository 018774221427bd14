//! Writing a bundle into a layout.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZero;

use oci_assemble::image::{Descriptor, Digest, Manifest, MediaType};
use oci_assemble::layer::{Compression, Contents, SealOptions, seal_delta};
use oci_assemble::store::Transaction;
use oci_assemble::tree::{Content, Inode, Kind, TreeDelta, TreePath};

use super::config::{BundleConfig, ContentRecord};
use super::error::BundleError;
use super::examine::{Examined, check, file_count, listed, read_content, typed};
use super::key::BundleKey;
use super::record::BundleRecord;
use super::{CONFIG_TYPE, LOG_TYPE};

/// How content and logs are compressed: as layers are by default.
const COMPRESSION: Compression = Compression::DEFAULT;
/// The annotation by which `oras pull` and its like name the file of a blob (image-spec, "annotations.md").
const TITLE: &str = "org.opencontainers.image.title";

/// A staged result that is to be kept.
pub struct Staged<'a> {
    /// What went in.
    pub key: &'a BundleKey,
    /// What is known of it.
    pub record: &'a BundleRecord,
    /// What it changes.
    pub delta: &'a TreeDelta,
    /// The bytes of its files.
    pub contents: &'a dyn Contents,
    /// What the builder printed.
    pub log: Option<&'a mut (dyn Read + Send)>,
}

impl std::fmt::Debug for Staged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged").field("key", self.key).field("record", self.record).finish_non_exhaustive()
    }
}

/// Writes the blobs of a bundle, up to `threads` at a time compressing; its caller commits the manifest. The content is
/// read back before anything refers to it, and must be the delta that was given.
///
/// Laws: equal key, record, delta and bytes give an equal configuration and layer, whatever the number of threads; and
/// an equal manifest, if the logs are equal too or there are none.
pub fn write(transaction: &Transaction, staged: Staged<'_>, threads: NonZero<usize>) -> Result<Examined, BundleError> {
    let Staged { key, record, delta, contents, log } = staged;
    let options = SealOptions { compression: COMPRESSION, threads };
    let (sealed, sink) = seal_delta(delta, contents, transaction.sink()?, options)?;
    sink.publish(&sealed.digest, sealed.size)?;
    let layer = titled(COMPRESSION.media_type(), sealed.digest, sealed.size, "bundle.tar.zst");
    let index = read_content(transaction, &layer).map_err(BundleError::Readback)?;
    if let Some(path) = difference(delta, &index.delta) {
        return Err(BundleError::NotCarried { path });
    }
    let content = ContentRecord { diff_id: sealed.diff_id, size: sealed.uncompressed, files: file_count(delta) };
    let config = BundleConfig { key: key.clone(), record: record.clone(), content };
    check(&config, &index).map_err(BundleError::Readback)?;
    let config_bytes = config.to_bytes()?;
    let log = log.map(|log| write_log(transaction, log, threads)).transpose()?;
    let config_blob = transaction.put_bytes(MediaType::Other(CONFIG_TYPE.into()), &config_bytes)?;
    let layers = [layer.clone()].into_iter().chain(log.clone()).collect();
    let manifest = typed(Manifest::new(config_blob, layers)).to_bytes();
    let manifest = listed(&transaction.put_bytes(MediaType::ImageManifest, &manifest)?);
    Ok(Examined { manifest, config, layer, log, index })
}

fn titled(media_type: MediaType, digest: Digest, size: u64, title: &str) -> Descriptor {
    let annotations = BTreeMap::from([(TITLE.to_owned(), title.to_owned())]);
    Descriptor { annotations, ..Descriptor::new(media_type, digest, size) }
}

fn write_log(
    transaction: &Transaction,
    log: &mut (dyn Read + Send),
    threads: NonZero<usize>,
) -> Result<Descriptor, BundleError> {
    let mut compress = || -> io::Result<_> {
        let mut encoder = COMPRESSION.encoder(transaction.blob()?, threads)?;
        io::copy(log, &mut encoder)?;
        encoder.finish()
    };
    let (digest, size) = compress().map_err(BundleError::Log)?.finish()?;
    Ok(titled(MediaType::Other(LOG_TYPE.into()), digest, size, "build.log.zst"))
}

/// The first path of which the two say something else.
fn difference(given: &TreeDelta, read: &TreeDelta) -> Option<TreePath> {
    let marks = [(given.whiteouts(), read.whiteouts()), (given.opaques(), read.opaques())];
    let marks = marks.into_iter().flat_map(|(given, read)| given.symmetric_difference(read));
    let (given, read) = (given.entries(), read.entries());
    let changed = given.iter().filter(|(path, inode)| read.get(*path).is_none_or(|found| !same(inode, found)));
    let added = read.keys().filter(|path| !given.contains_key(*path));
    marks.chain(changed.map(|(path, _)| path)).chain(added).min().cloned()
}

fn same(given: &Inode, read: &Inode) -> bool {
    let kind = match (&given.kind, &read.kind) {
        (Kind::File(given), Kind::File(read)) => same_content(given, read),
        (given, read) => given == read,
    };
    kind && given.meta == read.meta
}

/// The size was held against the bytes when they were written; the digest of what lies on disk is not known before.
fn same_content(given: &Content, read: &Content) -> bool {
    let digest = given.digest().filter(|digest| matches!(digest, Digest::Sha256(_)));
    given.size() == read.size() && digest.is_none_or(|digest| read.digest() == Some(digest))
}
