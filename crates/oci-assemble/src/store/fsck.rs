//! Reads a whole layout and says what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::blob::read_document;
use super::error::{Result, StoreError, io as failed};
use super::layout::{Layout, PRIVATE, abandoned};
use super::resolve::{MAX_DEPTH, children, is_restricted};
use crate::image::{
    Config, Descriptor, Digest, Encoding, Hasher, MAX_CONFIG, MAX_MANIFEST, Manifest, Mismatch, Observed, compare,
};
use crate::layer::{Limits, Rule, decode};

/// Something wrong with a layout.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// A blob that something refers to is not there, is not a file, or is not what its descriptor says.
    #[error("blob {digest} cannot be used")]
    Blob {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A blob or its tar is another one than the image says.
    #[error(transparent)]
    Mismatch(Mismatch),
    /// A layer is not the stream its media type promises.
    #[error("layer {digest} cannot be read")]
    Stream {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Some clients read only the first part of a layer.
    #[error("layer {digest} breaks the rule {:?}", rule.code())]
    Rule {
        /// Which.
        digest: Digest,
        /// The rule.
        rule: Rule,
    },
    /// The manifest and the configuration count differently.
    #[error("image {digest} has {layers} layers but {diff_ids} diff_ids")]
    LayerCount {
        /// Digest of the manifest.
        digest: Digest,
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// A tag is listed twice: programs disagree which one counts.
    #[error("tag {tag:?} is listed {count} times")]
    RepeatedTag {
        /// The tag.
        tag: String,
        /// How often.
        count: usize,
    },
    /// Not harmful: nothing refers to the blob. `gc` removes it.
    #[error("blob {digest} of {size} bytes is not referred to")]
    Unreferenced {
        /// Which.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// Not harmful: a file in the place of blobs whose name is no digest.
    #[error("{path} is not a blob")]
    Stray {
        /// Relative to the layout.
        path: String,
    },
    /// Not harmful: left by a writer that was killed. The next writer removes it.
    #[error("{path} was left by a writer that is gone")]
    Abandoned {
        /// Relative to the layout.
        path: String,
    },
}

impl Finding {
    /// Whether an image of the layout is broken by it.
    pub fn is_error(&self) -> bool {
        !matches!(self, Self::Unreferenced { .. } | Self::Stray { .. } | Self::Abandoned { .. } | Self::Rule { .. })
    }
}

/// What [`fsck`] found.
#[derive(Debug, Default)]
pub struct FsckReport {
    /// Everything wrong, in the order of the index, then of the files.
    pub findings: Vec<Finding>,
    /// Blobs that were read.
    pub blobs: usize,
    /// Bytes that were read.
    pub bytes: u64,
}

impl FsckReport {
    /// Whether every listed image can be used.
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(Finding::is_error)
    }
}

/// Reads every blob that is referred to, `threads` at a time, and compares it with what refers to it: digests, sizes,
/// and the diff_ids of layers. Costs a read and an inflation of everything.
pub fn fsck(layout: &Layout, threads: NonZero<usize>) -> Result<FsckReport> {
    let index = layout.index()?;
    let mut walk = Walk { layout, seen: BTreeSet::new(), tasks: Vec::new(), report: FsckReport::default() };
    let mut tags: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &index.manifests {
        if let Some(tag) = entry.ref_name() {
            *tags.entry(tag).or_default() += 1;
        }
        walk.visit(entry, 0);
    }
    let Walk { seen, tasks, mut report, .. } = walk;
    for (tag, count) in tags.into_iter().filter(|(_, count)| *count > 1) {
        report.findings.push(Finding::RepeatedTag { tag: tag.to_owned(), count });
    }
    for (findings, bytes) in run(layout, &tasks, threads) {
        report.findings.extend(findings);
        report.blobs += 1;
        report.bytes += bytes;
    }
    list_files(layout, &seen, &mut report.findings)?;
    Ok(report)
}

/// A blob to be hashed, and the diff_id it should have as a layer.
type Task = (Descriptor, Option<Digest>);

struct Walk<'a> {
    layout: &'a Layout,
    seen: BTreeSet<Digest>,
    tasks: Vec<Task>,
    report: FsckReport,
}

impl Walk<'_> {
    fn visit(&mut self, descriptor: &Descriptor, depth: usize) {
        if !self.seen.insert(descriptor.digest) {
            return;
        }
        let digest = descriptor.digest;
        let is_document = descriptor.media_type.is_manifest() || descriptor.media_type.is_index();
        if depth > MAX_DEPTH + 1 {
            self.report.findings.push(Finding::Blob { digest, source: StoreError::Nesting { limit: MAX_DEPTH } });
            return;
        }
        if is_document {
            self.report.blobs += 1;
            self.report.bytes += descriptor.size;
        } else {
            self.tasks.push((descriptor.clone(), None));
        }
        if descriptor.media_type.is_manifest() {
            if let Err(source) = self.manifest(descriptor) {
                self.report.findings.push(Finding::Blob { digest, source });
            }
            return;
        }
        match children(self.layout, descriptor) {
            Ok(children) => children.iter().for_each(|child| self.visit(child, depth + 1)),
            // A blob that is hashed anyway is reported there.
            Err(source) if is_document => self.report.findings.push(Finding::Blob { digest, source }),
            Err(_) => {}
        }
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<()> {
        let bytes = read_document(self.layout, descriptor, MAX_MANIFEST)?;
        let manifest = Manifest::parse(&bytes, Some(&descriptor.media_type))?;
        let mut diff_ids = Vec::new();
        if manifest.config.media_type.is_config() {
            diff_ids = self.config(&manifest.config);
            let layers = manifest.layers.len();
            if !diff_ids.is_empty() && diff_ids.len() != layers {
                let (digest, diff_ids) = (descriptor.digest, diff_ids.len());
                self.report.findings.push(Finding::LayerCount { digest, layers, diff_ids });
            }
        } else if self.seen.insert(manifest.config.digest) {
            self.tasks.push((manifest.config, None));
        }
        for (position, layer) in manifest.layers.into_iter().enumerate() {
            let diff_id = diff_ids.get(position).copied();
            let task = (layer, diff_id);
            if self.seen.insert(task.0.digest) || (diff_id.is_some() && !self.tasks.contains(&task)) {
                self.tasks.push(task);
            }
        }
        Ok(())
    }

    /// The diff_ids of a configuration; none when it cannot be read, which becomes a finding.
    fn config(&mut self, descriptor: &Descriptor) -> Vec<Digest> {
        let digest = descriptor.digest;
        let is_new = self.seen.insert(digest);
        let read = read_document(self.layout, descriptor, MAX_CONFIG);
        match read.and_then(|bytes| Ok(Config::parse(&bytes)?)) {
            Ok(config) => {
                if is_new {
                    self.report.blobs += 1;
                    self.report.bytes += descriptor.size;
                }
                config.diff_ids
            }
            Err(source) => {
                self.report.findings.push(Finding::Blob { digest, source });
                Vec::new()
            }
        }
    }
}

/// Works on all tasks and gives the outcomes in their order.
fn run(layout: &Layout, tasks: &[Task], threads: NonZero<usize>) -> Vec<(Vec<Finding>, u64)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some((descriptor, diff_id)) = tasks.get(position) else { return };
            let outcome = check(layout, descriptor, diff_id.as_ref());
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(position, outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(tasks.len()) {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

fn check(layout: &Layout, descriptor: &Descriptor, diff_id: Option<&Digest>) -> (Vec<Finding>, u64) {
    let digest = descriptor.digest;
    let file = match layout.file(descriptor) {
        Ok(Some((file, _))) => file,
        Ok(None) if is_restricted(&descriptor.media_type) => return (Vec::new(), 0),
        Ok(None) => return (vec![Finding::Blob { digest, source: StoreError::Missing { digest } }], 0),
        Err(StoreError::Blob(mismatch)) => return (vec![Finding::Mismatch(mismatch)], 0),
        Err(source) => return (vec![Finding::Blob { digest, source }], 0),
    };
    let mut blob = Hashing { inner: file, hasher: digest.hasher(), size: 0 };
    let mut findings = Vec::new();
    let mut found_diff_id = None;
    if let (Some(diff_id), Some(encoding)) = (diff_id, descriptor.media_type.encoding()) {
        match inflate(&mut blob, encoding, diff_id.hasher()) {
            Ok((found, rule)) => {
                found_diff_id = Some(found);
                findings.extend(rule.map(|rule| Finding::Rule { digest, rule }));
            }
            Err(source) => findings.push(Finding::Stream { digest, source }),
        }
    }
    // Whatever the decoder left, and everything of what is not decoded.
    if let Err(source) = io::copy(&mut blob, &mut io::sink()) {
        findings.push(Finding::Blob { digest, source: failed("read", digest.to_string())(source) });
        return (findings, blob.size);
    }
    let observed = Observed { digest: blob.hasher.finish(), size: blob.size, diff_id: found_diff_id };
    findings.extend(compare(descriptor, diff_id, &observed).into_iter().map(Finding::Mismatch));
    (findings, observed.size)
}

fn inflate(blob: &mut impl Read, encoding: Encoding, mut hasher: Hasher) -> io::Result<(Digest, Option<Rule>)> {
    let limit = Limits::default().inflated;
    let mut stream = decode(blob, encoding)?;
    if io::copy(&mut (&mut stream).take(limit + 1), &mut hasher)? > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes when inflated")));
    }
    let rule = stream.broken();
    Ok((hasher.finish(), rule))
}

struct Hashing<R> {
    inner: R,
    hasher: Hasher,
    size: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.hasher.update(&out[..read]);
        self.size += read as u64;
        Ok(read)
    }
}

/// Reports files that belong to nothing.
fn list_files(layout: &Layout, seen: &BTreeSet<Digest>, findings: &mut Vec<Finding>) -> Result<()> {
    for file in super::gc::blob_files(layout.dir())? {
        match file.digest {
            Some(digest) if seen.contains(&digest) => {}
            Some(digest) => findings.push(Finding::Unreferenced { digest, size: file.size }),
            None => findings.push(Finding::Stray { path: file.path }),
        }
    }
    if let Ok(private) = layout.dir().open_dir(PRIVATE) {
        let paths = abandoned(&private).unwrap_or_default().into_iter().map(|name| format!("{PRIVATE}/{name}"));
        findings.extend(paths.map(|path| Finding::Abandoned { path }));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
