//! The layers of an image with all their bytes at hand, as cutting it anew takes them.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_assemble::image::ImageReference;
use oci_assemble::layer::Gate;
use oci_assemble::pkgdb::{self, DbKind};
use oci_assemble::store::CacheDir;
use oci_assemble::store::layers::{HeldLayers, HoldOptions, ReadOptions};
use oci_assemble::tree::{Content, FileTree, TreePath};

use crate::cmd::plan::index_cache;
use crate::env;
use crate::exit::{Class, Failure, full_spill};
use crate::made::MadeDir;
use crate::memory::{Entries, Memory};
use crate::ui::{Ui, bytes};
use crate::wire::OpenedImage;

/// The layers of an image, each decompressed once: in memory as far as the cap allows, the rest in a file without a name.
pub(crate) struct Uncompressed {
    layers: HeldLayers,
    cap: u64,
    /// Entries that there is memory for.
    entries: Entries,
    jobs: NonZero<usize>,
    _spill: MadeDir,
}

/// How the layers of an image are decompressed.
pub(crate) struct Unpacking<'a> {
    /// `--memory`.
    pub(crate) memory: Option<u64>,
    pub(crate) destination: &'a ImageReference,
    pub(crate) cache: Option<&'a Arc<CacheDir>>,
    pub(crate) jobs: NonZero<usize>,
    /// Whether rpm's database will be normalized, which takes memory of its own.
    pub(crate) normalizes: bool,
    pub(crate) ui: Ui,
}

/// The part of the cap that is left for normalizing rpm's database, where that is wanted.
const NORMALIZING_PART: u64 = 4;
/// Bytes of memory for each byte of rpm's database that is normalized: what is read, the new one while it is filled, and both
/// as `SQLite` holds them. (Measured: 3.3.)
const NORMALIZING: u64 = 4;

impl Uncompressed {
    /// Decompresses the layers of `image`, which has such entries as far as that is known.
    pub(crate) fn open(image: &OpenedImage, entries: Entries, unpacking: &Unpacking<'_>) -> Result<Self, Failure> {
        let Unpacking { memory: asked, destination, cache, jobs, normalizes, ui } = *unpacking;
        let usable = |cap: u64| if normalizes { cap - cap / NORMALIZING_PART } else { cap };
        refuse_below(asked, usable, entries.least(), &format!("cutting {}", image.name))?;
        let (share, least) = (env::memory_share(), entries.least());
        if asked.is_none() && share < least {
            let (share, least) = (bytes(share), bytes(least));
            let text = "more than a quarter of this machine's memory";
            ui.say(&format!("warning: cutting {} takes {least}, {text} ({share})", image.name));
        }
        let cap = asked.unwrap_or(share);
        let memory = Memory::divide(usable(cap), entries, jobs);
        let place = spill_dir(destination);
        let spill = MadeDir::open(&place)?;
        let pairs: Vec<_> = image.image.layers().map(|(descriptor, diff_id)| (descriptor.clone(), *diff_id)).collect();
        let bar = ui.bar(None, "reading layers");
        let held = HeldLayers::open(
            &*image.blobs,
            &pairs,
            index_cache(cache),
            ReadOptions { gate: Gate::Refuse, threads: memory.jobs },
            HoldOptions {
                memory: memory.held,
                entries: entries.count,
                entry: entries.each,
                spill: &spill.dir,
                name: &place,
            },
        );
        bar.finish_and_clear();
        let held = held.map_err(|error| {
            let full = full_spill(&error.fault);
            let hint = full.map(|dir| format!("give more with --memory, or make room in {}", dir.display()));
            let failure = Failure::of(Class::Data, format!("reading the layers of {}", image.name), error);
            hint.into_iter().fold(failure, Failure::hint)
        })?;
        let found = Entries { count: held.tree().len() as u64, ..entries };
        refuse_below(asked, usable, found.least(), &format!("cutting {}", image.name))?;
        if normalizes {
            let part = database(held.tree()).saturating_mul(NORMALIZING);
            refuse_below(
                asked,
                |cap| cap / NORMALIZING_PART,
                part,
                &format!("normalizing the rpm database of {}", image.name),
            )?;
        }
        Ok(Self { layers: held, cap: usable(cap), entries, jobs, _spill: spill })
    }

    /// The layers and what they merge to.
    pub(crate) fn layers(&self) -> &HeldLayers {
        &self.layers
    }

    /// Layers that may be written at the same time for an image of so many entries.
    pub(crate) fn jobs(&self, entries: usize) -> NonZero<usize> {
        Memory::divide(self.cap, self.entries.at_least(entries), self.jobs).jobs
    }
}

/// Bytes of rpm's database in `tree`, with its log.
fn database(tree: &FileTree) -> u64 {
    let Some(location) = pkgdb::detect(tree).filter(|location| location.kind == DbKind::RpmSqlite) else { return 0 };
    let log = TreePath::new([location.path.as_bytes(), b"-wal"].concat()).unwrap_or_default();
    [&location.path, &log].into_iter().filter_map(|path| tree.content(path)).map(Content::size).sum()
}

/// Refuses a cap of which less is `usable` than `what` takes.
fn refuse_below(cap: Option<u64>, usable: impl Fn(u64) -> u64, least: u64, what: &str) -> Result<(), Failure> {
    let Some(cap) = cap.filter(|cap| usable(*cap) < least) else { return Ok(()) };
    let mut enough = least;
    while usable(enough) < least {
        enough += enough / 8 + 1;
    }
    let text = format!("--memory is {}, and {what} takes {}", bytes(cap), bytes(enough));
    let hint = format!("give --memory {}M or more; what does not fit goes to a file", enough.div_ceil(1 << 20));
    Err(Failure::new(Class::Usage, text).hint(hint))
}

/// Where what does not fit into memory goes: beside the destination, which is on a disk with room for an image.
fn spill_dir(destination: &ImageReference) -> PathBuf {
    match destination {
        ImageReference::OciDir(place) => PathBuf::from(&place.path),
        ImageReference::OciArchive(place) => {
            let parent = Path::new(&place.path).parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        }
        _ => env::temp_dir(),
    }
}
