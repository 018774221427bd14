//! What a client that has one image downloads for another, and why.
//!
//! A client fetches every blob whose digest it does not have. What is in a blob it fetches is told by component: those that
//! changed are the reason, those that did not are carried along.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use super::component::Components;
use super::marks::{MarkedPaths, Marks};
use crate::image::{Descriptor, Digest};
use crate::layer::LayerIndex;
use crate::tree::{FileTree, Inode, Meta, TreePath};

/// One of the two images.
#[derive(Clone, Copy, Debug)]
pub struct ImageSide<'a> {
    /// Layers, lowest first, with what each says.
    pub layers: &'a [(&'a Descriptor, &'a LayerIndex)],
    /// All layers merged.
    pub tree: &'a FileTree,
    /// The components of that tree.
    pub components: &'a Components,
}

/// How a layer stands to the client's image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerState {
    /// The client has the blob.
    Shared,
    /// The client has the same tar in another compression. bootc knows it by its diff_id and does not fetch it; others do.
    Recompressed,
    /// The client fetches it.
    New,
}

/// What became of a component, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The client's image does not have it.
    Added,
    /// Only the client's image has it: what shared its layer is another layer now.
    Removed,
    /// Paths came, went or have other bytes.
    Content,
    /// Modes, owners, attributes or targets changed.
    Metadata,
    /// Nothing but times changed: the layer need not have.
    Times,
    /// Nothing changed: it is fetched because of others.
    Carried,
}

/// One component in one layer that is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentDelta {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// Bytes before compression that are in the layer.
    pub bytes: u64,
    /// Paths that differ; some of them, sorted.
    pub examples: Vec<String>,
    /// How many paths differ.
    pub paths: usize,
}

/// One layer of the new image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerDelta {
    /// Number, from 0 at the bottom.
    pub number: usize,
    /// Digest of its blob.
    pub digest: Digest,
    /// Bytes of its blob.
    pub size: u64,
    /// How it stands to the client's image.
    pub state: LayerState,
    /// What is in it, where it is fetched: the reasons first.
    pub components: Vec<ComponentDelta>,
    /// What it takes away of the layers below, and the client's image does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removes: Option<MarkedPaths>,
    /// What the client's image takes away, and this one does no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restores: Option<MarkedPaths>,
    /// A reason that is none of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a client downloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delta {
    /// Bytes of the blobs that the client does not have.
    pub download: u64,
    /// The same, for a client that knows layers by their diff_ids.
    pub download_by_diff_id: u64,
    /// Bytes of all blobs.
    pub total: u64,
    /// Layers of the new image, lowest first.
    pub layers: Vec<LayerDelta>,
    /// Compressed bytes by component, as their part of each fetched layer; changed ones and those carried along.
    pub components: BTreeMap<String, ComponentSum>,
}

/// What one component costs, over all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentSum {
    /// What became of it.
    pub change: Change,
    /// Its part of what is downloaded, in bytes.
    pub bytes: u64,
}

/// Paths that are named as examples.
pub(super) const EXAMPLES: usize = 3;

/// What a client of `from` downloads for `to`.
///
/// Laws: of an image to itself nothing is downloaded; `download` is at most `total`; the parts of components add up to no
/// more than `download`.
pub fn delta(from: ImageSide<'_>, to: ImageSide<'_>) -> Delta {
    let blobs: BTreeSet<Digest> = from.layers.iter().map(|(blob, _)| blob.digest).collect();
    let tars: BTreeSet<Digest> = from.layers.iter().map(|(_, index)| index.diff_id).collect();
    let changes = changes(from, to);
    let mut removed = removed(from, to, &blobs);
    let marks = Marks::new(from, to, &blobs);
    let mut sum =
        Delta { download: 0, download_by_diff_id: 0, total: 0, layers: Vec::new(), components: BTreeMap::new() };
    for (number, (blob, index)) in to.layers.iter().enumerate() {
        let state = if blobs.contains(&blob.digest) {
            LayerState::Shared
        } else if tars.contains(&index.diff_id) {
            LayerState::Recompressed
        } else {
            LayerState::New
        };
        sum.total += blob.size;
        let mut layer = LayerDelta {
            number,
            digest: blob.digest,
            size: blob.size,
            state,
            components: Vec::new(),
            removes: None,
            restores: None,
            note: None,
        };
        if state != LayerState::Shared {
            sum.download += blob.size;
        }
        if state == LayerState::Recompressed {
            layer.note = Some("the same tar in another compression".to_owned());
        }
        if state == LayerState::New {
            sum.download_by_diff_id += blob.size;
            let gone = removed.remove(&number).unwrap_or_default();
            layer.components = inside(index, to, &changes, &gone);
            [layer.removes, layer.restores] = marks.of(number, index);
            layer.note = note(&layer, index, from);
            share(&layer, index.size, &mut sum.components);
        }
        sum.layers.push(layer);
    }
    sum
}

/// A component with the paths that differ.
struct Changed {
    change: Change,
    paths: Vec<TreePath>,
}

/// What became of each component that changed.
fn changes(from: ImageSide<'_>, to: ImageSide<'_>) -> BTreeMap<String, Changed> {
    let known: BTreeSet<&str> = from.components.list().iter().map(|component| component.name.as_str()).collect();
    let mut changes: BTreeMap<String, Changed> = BTreeMap::new();
    let mut record = |name: &str, change: Change, path: &TreePath| {
        let change = if known.contains(name) { change } else { Change::Added };
        let found = changes.entry(name.to_owned()).or_insert(Changed { change, paths: Vec::new() });
        found.change = found.change.min(change);
        found.paths.push(path.clone());
    };
    for (path, index) in to.components.paths() {
        let (Some(component), Some(inode)) = (to.components.list().get(index), to.tree.get(path)) else { continue };
        let change = match from.tree.get(path) {
            None => Some(Change::Content),
            Some(before) => differ(before, inode, from.tree.content(path) == to.tree.content(path)),
        };
        if let Some(change) = change {
            record(&component.name, change, path);
        }
    }
    for (path, index) in from.components.paths() {
        if let Some(component) = from.components.list().get(index)
            && to.tree.get(path).is_none()
        {
            record(&component.name, Change::Content, path);
        }
    }
    changes
}

fn differ(before: &Inode, after: &Inode, same_bytes: bool) -> Option<Change> {
    if before == after {
        return None;
    }
    let timeless = |inode: &Inode| Inode { meta: Meta { mtime: 0, ..inode.meta.clone() }, kind: inode.kind.clone() };
    if timeless(before) == timeless(after) {
        return Some(Change::Times);
    }
    let same_kind = std::mem::discriminant(&before.kind) == std::mem::discriminant(&after.kind);
    Some(if same_kind && same_bytes { Change::Metadata } else { Change::Content })
}

/// The names of components in a layer.
fn names<'a>(side: ImageSide<'a>, index: &LayerIndex) -> BTreeSet<&'a str> {
    let components = index.delta.entries().keys().filter_map(|path| side.components.of(path));
    components.map(|component| component.name.as_str()).collect()
}

/// The components that are gone, by the number of the new layer that has most of what they shared their layer with.
fn removed<'a>(from: ImageSide<'a>, to: ImageSide<'_>, blobs: &BTreeSet<Digest>) -> BTreeMap<usize, Vec<&'a str>> {
    let left: BTreeSet<&str> = to.components.list().iter().map(|component| component.name.as_str()).collect();
    let new: Vec<(usize, BTreeSet<&str>)> = (to.layers.iter().enumerate())
        .filter(|(_, (blob, _))| !blobs.contains(&blob.digest))
        .map(|(number, (_, index))| (number, names(to, index)))
        .collect();
    let mut removed: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (_, index) in from.layers {
        let before = names(from, index);
        let gone: Vec<&str> = before.iter().copied().filter(|name| !left.contains(name)).collect();
        let common = |names: &BTreeSet<&str>| names.iter().filter(|name| before.contains(*name)).count();
        let heir = new.iter().map(|(number, names)| (common(names), *number)).filter(|(common, _)| *common > 0);
        if let Some((_, number)) = heir.max_by_key(|(common, number)| (*common, usize::MAX - number))
            && !gone.is_empty()
        {
            removed.entry(number).or_default().extend(gone);
        }
    }
    removed
}

/// What of the visible tree is in a layer, by component, and what is `gone` of it; the reasons first, then by size.
fn inside(
    index: &LayerIndex,
    to: ImageSide<'_>,
    changes: &BTreeMap<String, Changed>,
    gone: &[&str],
) -> Vec<ComponentDelta> {
    let mut bytes: BTreeMap<&str, u64> = gone.iter().map(|name| (*name, 0)).collect();
    for (path, inode) in index.delta.entries() {
        if let Some(component) = to.components.of(path) {
            *bytes.entry(&component.name).or_default() += inode.content().map_or(0, crate::tree::Content::size);
        }
    }
    let told = |(name, bytes): (&str, u64)| {
        let found = changes.get(name);
        ComponentDelta {
            name: name.to_owned(),
            change: match found {
                Some(_) if gone.contains(&name) => Change::Removed,
                Some(found) => found.change,
                None => Change::Carried,
            },
            bytes,
            examples: found
                .into_iter()
                .flat_map(|found| &found.paths)
                .take(EXAMPLES)
                .map(ToString::to_string)
                .collect(),
            paths: found.map_or(0, |found| found.paths.len()),
        }
    };
    let mut components: Vec<ComponentDelta> = bytes.into_iter().map(told).collect();
    components.sort_by(|one, other| {
        let key = |delta: &ComponentDelta| (delta.change, std::cmp::Reverse(delta.bytes));
        key(one).cmp(&key(other)).then_with(|| one.name.cmp(&other.name))
    });
    components
}

/// Why a layer without a changed component is another.
fn note(layer: &LayerDelta, index: &LayerIndex, from: ImageSide<'_>) -> Option<String> {
    let marked = layer.removes.is_some() || layer.restores.is_some();
    if layer.components.iter().all(|component| component.change == Change::Carried) {
        let differs = |(path, inode): &(&TreePath, &Inode)| {
            inode.is_directory() && from.tree.get(path).is_some_and(|before| before != *inode)
        };
        let differing = index.delta.entries().iter().filter(differs).map(|(path, _)| path.to_string());
        let differing: Vec<String> = differing.take(EXAMPLES).collect();
        return if !differing.is_empty() {
            Some(format!("no component changed: directories differ: {}", differing.join(" ")))
        } else if marked {
            None
        } else if from.layers.iter().any(|(_, before)| before.delta == index.delta) {
            Some("nothing changed: the tar says the same in other bytes".to_owned())
        } else {
            Some("no component changed: other components share the layer".to_owned())
        };
    }
    let times = |component: &ComponentDelta| matches!(component.change, Change::Carried | Change::Times);
    (!marked && layer.components.iter().all(times)).then(|| "only times differ".to_owned())
}

/// Divides a layer's blob among its components by their bytes.
fn share(layer: &LayerDelta, uncompressed: u64, sums: &mut BTreeMap<String, ComponentSum>) {
    for component in &layer.components {
        let part = u128::from(layer.size) * u128::from(component.bytes) / u128::from(uncompressed.max(1));
        let part = u64::try_from(part).unwrap_or(layer.size);
        let sum = sums.entry(component.name.clone()).or_insert(ComponentSum { change: component.change, bytes: 0 });
        sum.bytes += part;
    }
}

impl Delta {
    /// The delta for people; `size` writes a number of bytes.
    pub fn render(&self, size: fn(u64) -> String) -> String {
        let mut text = String::new();
        for layer in self.layers.iter().filter(|layer| layer.state != LayerState::Shared) {
            // A String takes everything.
            let _ =
                writeln!(text, "layer {:>3}  {:>10}  {:.19}", layer.number, size(layer.size), layer.digest.to_string());
            if let Some(note) = &layer.note {
                let _ = writeln!(text, "           {note}");
            }
            let listed = |paths: usize, examples: &[String]| {
                let more = if paths > EXAMPLES { " …" } else { "" };
                format!("{paths} paths: {}{more}", examples.join(" "))
            };
            for (word, marked) in [("removes", &layer.removes), ("restores", &layer.restores)] {
                if let Some(MarkedPaths { paths, examples }) = marked {
                    let _ = writeln!(text, "           {word:8}  {:>10}  {}", "", listed(*paths, examples));
                }
            }
            for component in layer.components.iter().filter(|component| component.change != Change::Carried) {
                let ComponentDelta { name, change, bytes, paths, examples, .. } = component;
                let change = format!("{change:?}").to_lowercase();
                let (bytes, paths) = (size(*bytes), listed(*paths, examples));
                let _ = writeln!(text, "           {change:8}  {bytes:>10}  {name}: {paths}");
            }
            let carried: Vec<&ComponentDelta> =
                layer.components.iter().filter(|component| component.change == Change::Carried).collect();
            if !carried.is_empty() {
                let bytes = carried.iter().map(|component| component.bytes).sum();
                let names: Vec<&str> = carried.iter().map(|component| component.name.as_str()).collect();
                let _ = writeln!(text, "           carried   {:>10}  {}", size(bytes), names.join(", "));
            }
        }
        let shared = self.layers.iter().filter(|layer| layer.state == LayerState::Shared).count();
        let _ = writeln!(
            text,
            "{} of {} layers shared; download {} of {}",
            shared,
            self.layers.len(),
            size(self.download),
            size(self.total)
        );
        text
    }
}
