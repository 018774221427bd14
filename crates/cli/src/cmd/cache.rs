//! `assemble cache`: what is kept between builds, and what of it is old.
//!
//! Everything in the cache can be made or fetched again, so age decides. Results of builders cost minutes: the newest of
//! each stage for each kernel stays whatever its age.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kmod_stage::bundle::{BundleStore, Listed, Listing};
use oci_assemble::image::{Digest, Epoch};
use oci_assemble::store::{CacheDir, CacheEntry, CacheKind, GcMode, GcReport, StoreError, expire, gc};
use serde_json::{Value, json};

use crate::args::{CacheArgs, CacheCommand};
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::ui::{Ui, bytes};
use crate::wire;

/// Seconds of a day.
const DAY: i64 = 86_400;

pub(crate) fn run(args: &CacheArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let root = cache.map(Path::to_owned).or_else(env::cache_dir).ok_or_else(|| {
        Failure::new(Class::Usage, "there is no cache directory").hint("name one with --cache DIR, or set HOME")
    })?;
    let held = Held::read(&root)?;
    match args.command {
        CacheCommand::List => held.list(ui),
        CacheCommand::Gc { days, remove } => {
            let now = i64::try_from(env::now() / 1_000_000_000).unwrap_or(i64::MAX);
            let mode = if remove { GcMode::Delete } else { GcMode::DryRun };
            held.clean(now - i64::from(days) * DAY, mode, ui)
        }
    }
}

/// What a cache directory holds.
struct Held {
    root: PathBuf,
    /// Entries that were computed.
    entries: Vec<CacheEntry>,
    /// Results of builders.
    bundles: Listing,
    /// Blobs of images that are not on this machine, and their bytes.
    images: (usize, u64),
}

impl Held {
    fn read(root: &Path) -> Result<Self, Failure> {
        let reading = || format!("reading the cache {}", root.display());
        let mut held = Self { entries: Vec::new(), bundles: Listing::default(), images: (0, 0), root: root.to_owned() };
        if !root.exists() {
            return Ok(held);
        }
        held.entries = CacheDir::new(wire::open_dir(root, Class::Io)?).entries().context(Class::Io, reading())?;
        if let Some(store) = held.store()? {
            held.bundles = store.list().context(Class::Data, reading())?;
        }
        if let Some(report) = held.images(i64::MAX, GcMode::DryRun)? {
            held.images = (report.unreferenced.len(), report.bytes());
        }
        Ok(held)
    }

    fn store(&self) -> Result<Option<BundleStore>, Failure> {
        let path = self.root.join("bundles");
        let open = || Ok(BundleStore::new(wire::open_dir(&path, Class::Io)?, path.display().to_string()));
        path.exists().then(open).transpose()
    }

    /// Forgets fetched blobs that were written before `since`.
    fn images(&self, since: i64, mode: GcMode) -> Result<Option<GcReport>, Failure> {
        let path = self.root.join("images");
        if !path.join("oci-layout").exists() {
            return Ok(None);
        }
        cleaned(expire(wire::open_dir(&path, Class::Io)?, mode, since), &path).map(Some)
    }

    fn list(&self, ui: Ui) -> Result<(), Failure> {
        let computed = self.computed();
        if ui.json {
            let bundles: Vec<Value> = self.bundles.bundles.iter().map(described).collect();
            let damaged: Vec<Value> = (self.bundles.damaged.iter())
                .map(|damaged| json!({ "tag": damaged.tag, "fault": damaged.fault.to_string() }))
                .collect();
            let computed: BTreeMap<&str, Value> = computed
                .iter()
                .map(|(kind, (count, size))| (kind.name(), json!({ "entries": count, "bytes": size })))
                .collect();
            let images = json!({ "blobs": self.images.0, "bytes": self.images.1 });
            let root = self.root.display().to_string();
            return ui.document(
                "cache",
                json!({ "directory": root, "bundles": bundles, "damaged": damaged, "images": images, "computed": computed }),
            );
        }
        let mut text = String::new();
        for bundle in &self.bundles.bundles {
            text.push_str(&line(bundle));
        }
        for damaged in &self.bundles.damaged {
            text.push_str(&format!("damaged      {}: {}\n", damaged.tag, damaged.fault));
        }
        let mut row = |name: &str, count: usize, size: u64| {
            if count > 0 {
                text.push_str(&format!("{name:12} {count:>6} {:>10}\n", bytes(size)));
            }
        };
        row("fetched", self.images.0, self.images.1);
        for (kind, (count, size)) in &computed {
            row(kind.name(), *count, *size);
        }
        ui.data(&text)
    }

    /// Number and bytes of the computed entries of each kind.
    fn computed(&self) -> BTreeMap<CacheKind, (usize, u64)> {
        let mut computed: BTreeMap<CacheKind, (usize, u64)> = BTreeMap::new();
        for entry in &self.entries {
            let (count, size) = computed.entry(entry.kind).or_default();
            *count += 1;
            *size += entry.size;
        }
        computed
    }

    /// Removes what was written before `since`, or says what would be removed.
    fn clean(&self, since: i64, mode: GcMode, ui: Ui) -> Result<(), Failure> {
        let remove = mode == GcMode::Delete;
        let old = old_bundles(&self.bundles, since);
        let entries: Vec<&CacheEntry> = self.entries.iter().filter(|entry| entry.written < since).collect();
        let gone: Vec<&Listed> = self.bundles.bundles.iter().filter(|bundle| old.contains(&bundle.manifest)).collect();
        if let Some(store) = self.store()?.filter(|_| remove) {
            store.forget(&old).context(Class::Io, format!("changing the cache {}", self.root.display()))?;
            let path = self.root.join("bundles");
            // Before the first commit there is no index, and nothing that could be old.
            if path.join("index.json").exists() {
                cleaned(gc(wire::open_dir(&path, Class::Io)?, mode), &path)?;
            }
        }
        let images = self.images(since, mode)?.unwrap_or_default();
        if remove && !entries.is_empty() {
            let cache = CacheDir::new(wire::open_dir(&self.root, Class::Io)?);
            let cleaning = || format!("cleaning the cache {}", self.root.display());
            entries.iter().try_for_each(|entry| cache.remove(entry.kind, &entry.key)).context(Class::Io, cleaning())?;
        }
        let size = gone.iter().map(|bundle| bundle.size).sum::<u64>()
            + images.bytes()
            + entries.iter().map(|entry| entry.size).sum::<u64>();
        if ui.json {
            let bundles: Vec<Value> = gone.into_iter().map(described).collect();
            return ui.document(
                "cache-gc",
                json!({ "removed": remove, "bundles": bundles, "damaged": self.bundles.damaged.len(),
                        "blobs": images.unreferenced.len(), "entries": entries.len(), "bytes": size }),
            );
        }
        ui.data(&gone.iter().map(|bundle| line(bundle)).collect::<String>())?;
        let (verb, hint) = if remove { ("removed", "") } else { ("would be removed", "; --remove does it") };
        let (bundles, blobs, entries) = (old.len(), images.unreferenced.len(), entries.len());
        ui.say(&format!(
            "{bundles} bundles, {blobs} fetched blobs and {entries} computed entries {verb}, {}{hint}",
            bytes(size)
        ));
        Ok(())
    }
}

/// The manifests of bundles that were kept before `since` and are not the newest of their stage and kernel, and of all
/// that is damaged.
fn old_bundles(listing: &Listing, since: i64) -> BTreeSet<Digest> {
    let of = |bundle: &Listed| (bundle.kind.clone(), bundle.stage.clone(), bundle.kernel.clone());
    let mut newest: BTreeMap<_, (i64, Digest)> = BTreeMap::new();
    for bundle in &listing.bundles {
        let age = (bundle.written, bundle.manifest);
        newest.entry(of(bundle)).and_modify(|newest| *newest = age.max(*newest)).or_insert(age);
    }
    let stays = |bundle: &Listed| newest.get(&of(bundle)).is_some_and(|(_, newest)| *newest == bundle.manifest);
    let old = listing.bundles.iter().filter(|bundle| bundle.written < since && !stays(bundle));
    old.map(|bundle| bundle.manifest).chain(listing.damaged.iter().map(|damaged| damaged.manifest)).collect()
}

fn line(bundle: &Listed) -> String {
    let Listed { stage, kind, kernel, key, size, written, .. } = bundle;
    let kernel = kernel.as_deref().unwrap_or("-");
    format!("{:12} {kind:12} {stage:16} {kernel:24} {:>10} {} {}\n", "bundle", bytes(*size), date(*written), key.tag())
}

fn described(bundle: &Listed) -> Value {
    let Listed { kind, stage, kernel, key, manifest, size, written } = bundle;
    json!({ "kind": kind, "stage": stage, "kernel": kernel, "key": key.digest(), "manifest": manifest, "bytes": size,
            "written": date(*written) })
}

fn date(seconds: i64) -> String {
    Epoch::new(seconds).map_or_else(|_| seconds.to_string(), |epoch| epoch.to_string())
}

fn cleaned(report: Result<GcReport, StoreError>, path: &Path) -> Result<GcReport, Failure> {
    report.map_err(|error| {
        let class = if matches!(error, StoreError::InUse) { Class::Transient } else { Class::Data };
        Failure::of(class, format!("cleaning {}", path.display()), error)
    })
}
