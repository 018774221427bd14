//! The layers of an image with all their bytes at hand, as cutting it anew takes them.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_assemble::image::ImageReference;
use oci_assemble::layer::Gate;
use oci_assemble::store::CacheDir;
use oci_assemble::store::layers::{HeldLayers, HoldOptions, ReadOptions};

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
    pub(crate) ui: Ui,
}

impl Uncompressed {
    /// Decompresses the layers of `image`, which has such entries as far as that is known.
    pub(crate) fn open(image: &OpenedImage, entries: Entries, unpacking: &Unpacking<'_>) -> Result<Self, Failure> {
        let Unpacking { memory: asked, destination, cache, jobs, ui } = *unpacking;
        refuse_below(asked, entries, &image.name)?;
        let (share, least) = (env::memory_share(), entries.least());
        if asked.is_none() && share < least {
            let (share, least) = (bytes(share), bytes(least));
            let text = "more than a quarter of this machine's memory";
            ui.say(&format!("warning: cutting {} takes {least}, {text} ({share})", image.name));
        }
        let cap = asked.unwrap_or(share);
        let memory = Memory::divide(cap, entries, jobs);
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
        refuse_below(asked, Entries { count: held.tree().len() as u64, ..entries }, &image.name)?;
        Ok(Self { layers: held, cap, entries, jobs, _spill: spill })
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

/// Refuses a cap that is less than an image of such entries takes.
fn refuse_below(cap: Option<u64>, entries: Entries, name: &str) -> Result<(), Failure> {
    let least = entries.least();
    let Some(cap) = cap.filter(|cap| *cap < least) else { return Ok(()) };
    let text = format!("--memory is {}, and cutting {name} takes {}", bytes(cap), bytes(least));
    let hint = format!("give --memory {}M or more; what does not fit goes to a file", least.div_ceil(1 << 20));
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
