//! Bundles in a directory.

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::num::NonZero;

use cap_std::fs::Dir;
use oci_assemble::image::{Descriptor, Digest};
use oci_assemble::store::{BlobSource, Layout, StoreError, Transaction};

use super::error::{BundleError, BundleFault};
use super::examine::{Bundle, Examined, Outline, examine};
use super::key::{BundleKey, Difference};
use super::source::{BundleSource, Reuse, take};
use super::write::{Staged, write};

/// An OCI layout of bundles, each tagged by its key. Any directory; an empty one has none.
#[derive(Debug)]
pub struct BundleStore {
    dir: Dir,
    name: String,
}

/// What is kept under a key.
#[derive(Debug)]
pub enum Found {
    /// A sound bundle.
    Hit(Box<Bundle>),
    /// Nothing.
    Miss,
    /// Something that is not used, or cannot be read, and why. Keeping a bundle of the key again mends it.
    Damaged(Box<BundleFault>),
}

/// A bundle that was kept.
#[derive(Debug)]
pub struct Kept {
    /// The bundle.
    pub bundle: Bundle,
    /// The diff_id of the content that was kept under the key before. Another one than now means that something decides
    /// about the content that the key does not name.
    pub before: Option<Digest>,
}

/// A bundle in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Kind of the stage.
    pub kind: String,
    /// Name of the stage.
    pub stage: String,
    /// Release of the kernel it is for.
    pub kernel: Option<String>,
    /// Its key.
    pub key: BundleKey,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Bytes of its blobs; those shared with others count for each.
    pub size: u64,
    /// When it was kept, seconds since 1970.
    pub written: i64,
}

/// The bundles of a store.
#[derive(Debug, Default)]
pub struct Listing {
    /// By kind, stage, kernel and key. Their documents are sound; contents were not read.
    pub bundles: Vec<Listed>,
    /// Entries that are no bundles, or whose documents are damaged.
    pub damaged: Vec<Damaged>,
}

/// An entry that is no sound bundle.
#[derive(Debug)]
pub struct Damaged {
    /// Its tag.
    pub tag: String,
    /// The digest it is listed by.
    pub manifest: Digest,
    /// What is wrong.
    pub fault: BundleFault,
}

/// The outcome of [`BundleStore::obtain`].
#[derive(Debug, Default)]
pub struct Obtained {
    /// The bundle; without one, the stage has to be built.
    pub bundle: Option<Bundle>,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
}

impl BundleStore {
    /// The store in `dir`, which becomes a layout when a bundle is kept. Messages call it `name`.
    pub fn new(dir: Dir, name: impl Into<String>) -> Self {
        Self { dir, name: name.into() }
    }

    /// What is kept under `key`. Costs a read and an inflation of the bundle.
    pub fn find(&self, key: &Digest) -> Found {
        let find = || -> Result<Option<Bundle>, BundleFault> {
            let Some((layout, manifest)) = self.lookup(key)? else { return Ok(None) };
            let examined = examine(&layout, &manifest, key)?;
            Ok(Some(Bundle::new(examined, layout)))
        };
        match find() {
            Ok(Some(bundle)) => Found::Hit(Box::new(bundle)),
            Ok(None) => Found::Miss,
            Err(fault) => Found::Damaged(Box::new(fault)),
        }
    }

    /// The bundle of `key` as far as `reuse` lets it be used: from here, else from the first of `sources` that has it,
    /// which is kept here then. Whatever stands in the way of using one is a note, and the stage is built.
    pub fn obtain(&self, key: &Digest, reuse: Reuse, sources: &[&dyn BundleSource]) -> Obtained {
        let mut obtained = Obtained::default();
        if !reuse.reads() {
            return obtained;
        }
        match self.find(key) {
            Found::Hit(bundle) => return Obtained { bundle: Some(*bundle), ..obtained },
            Found::Miss => {}
            Found::Damaged(fault) => obtained.notes.push(note(&self.name, &fault)),
        }
        for source in sources {
            match self.fetch(*source, key) {
                Ok(Some(bundle)) => return Obtained { bundle: Some(bundle), ..obtained },
                Ok(None) => {}
                Err(fault) => obtained.notes.push(note(&source.place(), &fault)),
            }
        }
        obtained
    }

    /// Keeps a staged result under its key, in the place of what is there.
    pub fn keep(&self, staged: Staged<'_>, threads: NonZero<usize>) -> Result<Kept, BundleError> {
        let transaction = Layout::write(self.reopen()?)?;
        let key = staged.key.clone();
        let before = self.lookup(key.digest()).ok().flatten();
        let before = before.and_then(|(layout, manifest)| Outline::read(&layout, &manifest).ok());
        let examined = write(&transaction, staged, threads)?;
        let bundle = self.list_one(transaction, &key.tag(), examined)?;
        Ok(Kept { bundle, before: before.map(|outline| outline.config.content.diff_id) })
    }

    /// Keeps the bundle of `key` that `source` has.
    pub fn fetch(&self, source: &dyn BundleSource, key: &Digest) -> Result<Option<Bundle>, BundleFault> {
        let transaction = Layout::write(self.reopen()?)?;
        let Some(examined) = source.fetch(key, &transaction)? else { return Ok(None) };
        Ok(Some(self.list_one(transaction, &key.hex(), examined)?))
    }

    /// All bundles. Costs a read of their documents.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let Some(layout) = self.layout()? else { return Ok(listing) };
        let index = match layout.index() {
            Err(error) if is_absent(&error) => return Ok(listing),
            other => other?,
        };
        for manifest in index.manifests {
            let tag = manifest.ref_name().unwrap_or_default().to_owned();
            match tagged(&layout, &manifest, &tag) {
                Ok(outline) => {
                    let written = layout.written(&manifest.digest)?.unwrap_or_default();
                    listing.bundles.push(listed(&manifest, outline, written));
                }
                Err(fault) => listing.damaged.push(Damaged { tag, manifest: manifest.digest, fault }),
            }
        }
        listing.bundles.sort();
        Ok(listing)
    }

    /// Takes bundles off the list, by the digests of their manifests. Their blobs stay until
    /// [`gc`](oci_assemble::store::gc) of the directory.
    pub fn forget(&self, manifests: &BTreeSet<Digest>) -> Result<usize, StoreError> {
        if self.layout()?.is_none() {
            return Ok(0);
        }
        Layout::write(self.reopen()?)?.unlist(manifests)
    }

    /// What changed since the bundle of the same stage that shares most inputs with `key`: why there is no hit. `None`
    /// when there is no bundle of the stage.
    pub fn explain(&self, key: &BundleKey, kind: &str, stage: &str) -> Result<Option<Vec<Difference>>, StoreError> {
        let bundles = self.list()?.bundles.into_iter();
        let same = bundles.filter(|bundle| bundle.kind == kind && bundle.stage == stage);
        Ok(same.map(|bundle| key.explain(&bundle.key)).min_by_key(Vec::len))
    }

    fn list_one(&self, transaction: Transaction, tag: &str, examined: Examined) -> Result<Bundle, StoreError> {
        // Opened before the writer is done, so that nobody can delete blobs in between.
        let layout = Layout::open(self.reopen()?)?;
        transaction.commit(Some(tag), &examined.manifest)?;
        Ok(Bundle::new(examined, layout))
    }

    /// The manifest that is tagged with `key`, and the layout that has its blobs. Nothing is verified yet.
    pub fn lookup(&self, key: &Digest) -> Result<Option<(Layout, Descriptor)>, StoreError> {
        let Some(layout) = self.layout()? else { return Ok(None) };
        match layout.find(Some(&key.hex()), None) {
            Ok(manifest) => Ok(Some((layout, manifest))),
            Err(StoreError::NoImage { .. }) => Ok(None),
            // A layout has no index before its first commit.
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn layout(&self) -> Result<Option<Layout>, StoreError> {
        match Layout::open(self.reopen()?) {
            Err(error) if is_absent(&error) => Ok(None),
            other => other.map(Some),
        }
    }

    fn reopen(&self) -> Result<Dir, StoreError> {
        let failed = |source| StoreError::Io { action: "open", path: self.name.clone(), source };
        self.dir.try_clone().map_err(failed)
    }
}

impl BundleSource for BundleStore {
    fn place(&self) -> String {
        self.name.clone()
    }

    fn fetch(&self, key: &Digest, into: &Transaction) -> Result<Option<Examined>, BundleFault> {
        let Some((layout, manifest)) = self.lookup(key)? else { return Ok(None) };
        take(&layout, &manifest, key, into).map(Some)
    }
}

fn is_absent(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// The documents of an entry, which belong to its tag.
fn tagged(blobs: &dyn BlobSource, manifest: &Descriptor, tag: &str) -> Result<Outline, BundleFault> {
    let outline = Outline::read(blobs, manifest)?;
    let key = *outline.config.key.digest();
    if key.hex() == tag { Ok(outline) } else { Err(BundleFault::OtherKey { found: key }) }
}

fn listed(manifest: &Descriptor, outline: Outline, written: i64) -> Listed {
    let size = manifest.size + outline.blobs().map(|blob| blob.size).sum::<u64>();
    let record = outline.config.record;
    let (kind, stage, kernel) = (record.kind, record.stage, record.kernel);
    Listed { kind, stage, kernel, key: outline.config.key, manifest: manifest.digest, size, written }
}

fn note(place: &str, fault: &BundleFault) -> String {
    let mut note = format!("the bundle in {place} is not used: {fault}");
    let mut cause = fault.source();
    while let Some(error) = cause {
        note.push_str(&format!(": {error}"));
        cause = error.source();
    }
    note
}
