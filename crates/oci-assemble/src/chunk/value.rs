//! The chunking itself: which component goes into which layer, as a value that people and programs read.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;

use super::component::{Components, Origin};
use super::packing::{CATCH_ALL_GROWN, Item, Kept, after, fresh};
use super::recorded::{Record, Recorded, RecordedLayer, Seen};
use super::stability::{hints, rate};
use crate::image::{Descriptor, Digest, Encoding};
use crate::pkgdb::Packages;
use crate::tree::TreePath;

/// What decides a chunking beside the components.
#[derive(Clone, Copy, Debug)]
pub struct ChunkingOptions<'a> {
    /// The most layers.
    pub max: usize,
    /// The installed packages, for a guess at what the next build changes.
    pub packages: Option<&'a Packages>,
    /// The chunking of the image before.
    pub previous: Option<&'a Recorded>,
    /// How layers must be stored to be kept; without it, as they are.
    pub encoding: Option<Encoding>,
}

/// What becomes of a layer, as far as the components say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The image before has it, with the same components and directories in the same state, stored as wanted.
    Kept,
    /// The image before has a layer in its place.
    Changed,
    /// The image before has nothing like it, or there is none.
    New,
}

/// A component in its layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Why it is one.
    pub origin: Origin,
    /// Bytes before compression.
    pub bytes: u64,
    /// Number of its paths.
    pub paths: usize,
    /// How likely the next build changes it.
    pub rate: f64,
    /// Whether it is in the image before, and differs there.
    pub fate: Fate,
    /// What is recorded of it with this image.
    #[serde(skip)]
    pub record: Record,
}

/// A layer of a chunking.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chunk {
    /// The name of its component, or of the largest with the number of the others.
    pub name: String,
    /// What becomes of it.
    pub fate: Fate,
    /// Bytes before compression, parents left out.
    pub bytes: u64,
    /// Its components, by name.
    pub components: Vec<Member>,
    /// The layer of the image before that it is expected to equal.
    #[serde(skip)]
    pub before: Option<(Descriptor, Digest)>,
    #[serde(skip)]
    members: BTreeSet<usize>,
    #[serde(skip)]
    parents: u64,
}

impl Chunk {
    /// Whether ten new bytes would move more than [`CATCH_ALL_GROWN`] with them: small files that nothing owns are in it, and
    /// there were too few layers to keep it small.
    pub fn is_wide(&self) -> bool {
        let catch_all = self.components.iter().any(|member| member.origin.class().is_catch_all());
        catch_all && self.components.len() > 1 && self.bytes > CATCH_ALL_GROWN
    }
}

/// An ordered partition of components into layers, lowest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chunking {
    /// The layers.
    pub layers: Vec<Chunk>,
}

impl Chunking {
    /// Finds the layers for `components`.
    pub fn new(components: &Components, options: ChunkingOptions<'_>) -> Self {
        let ChunkingOptions { max, packages, previous, encoding } = options;
        let seen =
            |name: &str| previous.and_then(|previous| previous.get(name)).map_or(Seen::default(), |known| known.seen);
        let hints = hints(components, packages);
        let item = |(component, hint): (&super::Component, &super::stability::Hint)| Item {
            name: component.name.clone(),
            bytes: component.bytes,
            rate: rate(component, *hint, seen(&component.name)),
            class: component.origin.class(),
        };
        let items: Vec<Item> = components.list().iter().zip(&hints).map(item).collect();
        let chunker = Chunker { components, items, previous, encoding };
        match previous {
            None => chunker.without_history(max),
            Some(previous) => chunker.with_history(previous, max),
        }
    }

    /// The paths of each layer.
    pub fn paths<'c>(&self, components: &'c Components) -> Vec<Vec<&'c TreePath>> {
        let mut layer_of = vec![usize::MAX; components.list().len()];
        for (number, chunk) in self.layers.iter().enumerate() {
            for index in &chunk.members {
                layer_of[*index] = number;
            }
        }
        let mut paths = vec![Vec::new(); self.layers.len()];
        for (path, component) in components.paths() {
            if let Some(paths) = layer_of.get(component).and_then(|number| paths.get_mut(*number)) {
                paths.push(path);
            }
        }
        paths
    }

    /// What to record with the image.
    pub fn recorded(&self) -> Recorded {
        Recorded { layers: self.layers.iter().map(Chunk::recorded).collect() }
    }

    /// Bytes before compression of all layers.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|chunk| chunk.bytes).sum()
    }

    /// Bytes before compression of the layers that are not kept.
    pub fn fresh_bytes(&self) -> u64 {
        self.layers.iter().filter(|chunk| chunk.fate != Fate::Kept).map(|chunk| chunk.bytes).sum()
    }

    /// Bytes that a client of the image before is expected to download; `ratio` is what compression leaves of a byte.
    pub fn expected_download(&self, ratio: f64) -> u64 {
        expected(self.fresh_bytes(), ratio)
    }

    /// The chunking for people. `ratio` is what compression is expected to leave of a byte, `size` writes a number of bytes.
    pub fn render(&self, ratio: f64, size: fn(u64) -> String) -> String {
        let mut text = String::new();
        for (number, chunk) in self.layers.iter().enumerate() {
            let fate = match chunk.fate {
                Fate::Kept => "kept",
                Fate::Changed => "changed",
                Fate::New => "new",
            };
            let names: Vec<String> = chunk.components.iter().map(|member| member.shown(chunk.fate)).collect();
            // A String takes everything.
            let _ = writeln!(text, "{number:>4}  {fate:7}  {:>10}  {}", size(chunk.bytes), names.join(", "));
        }
        let download = self.expected_download(ratio);
        let kept = self.layers.iter().filter(|chunk| chunk.fate == Fate::Kept).count();
        let _ = writeln!(
            text,
            "{} layers, {kept} kept; expected download about {} of {}",
            self.layers.len(),
            size(download),
            size(expected(self.bytes(), ratio)),
        );
        text
    }
}

/// Compressed bytes that are expected of so many uncompressed ones.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, of less than 2^53 bytes"
)]
pub(super) fn expected(bytes: u64, ratio: f64) -> u64 {
    (bytes as f64 * ratio.clamp(0.0, 1.0)) as u64
}

impl Member {
    /// The name, with a mark where it is the cause that its layer is not kept.
    fn shown(&self, layer: Fate) -> String {
        let mark = match (layer, self.fate) {
            (Fate::Changed, Fate::Changed) => "*",
            (Fate::Changed, Fate::New) => "+",
            _ => "",
        };
        format!("{}{mark}", self.name)
    }
}

impl Chunk {
    /// What to record with the layer.
    pub fn recorded(&self) -> RecordedLayer {
        let components = self.components.iter().map(|member| (member.name.clone(), member.record)).collect();
        RecordedLayer { components, parents: Some(self.parents), layer: None }
    }
}

struct Chunker<'a> {
    components: &'a Components,
    items: Vec<Item>,
    previous: Option<&'a Recorded>,
    encoding: Option<Encoding>,
}

impl Chunker<'_> {
    fn without_history(&self, max: usize) -> Chunking {
        let mut layers: Vec<(f64, Chunk)> = Vec::new();
        for members in fresh(&self.items, max) {
            let same: f64 = members.iter().map(|index| 1.0 - self.items[*index].rate).product();
            layers.push((1.0 - same, self.chunk(members, Fate::New, None, false)));
        }
        // What stays comes first, what is configured last; clients need no order.
        layers.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1.name.cmp(&other.1.name)));
        Chunking { layers: layers.into_iter().map(|(_, chunk)| chunk).collect() }
    }

    fn with_history(&self, previous: &Recorded, max: usize) -> Chunking {
        let index_of = |name: &str| self.items.binary_search_by(|item| item.name.as_str().cmp(name)).ok();
        let kept = |layer: &RecordedLayer| {
            let members: BTreeSet<usize> = layer.components.keys().filter_map(|name| index_of(name)).collect();
            let same = members.iter().all(|index| self.fate(*index) == Fate::Kept);
            // Every layer repeats the directories above its files.
            let parents = self.components.parents(members.iter().copied());
            let same = same && layer.parents.is_none_or(|recorded| recorded == parents);
            Kept { unchanged: same && members.len() == layer.components.len(), members }
        };
        let before: Vec<Kept> = previous.layers.iter().map(kept).collect();
        let packed = after(&self.items, &before, max);
        // A build that changes nothing is no observation: it gives the image before.
        let same = before.iter().all(|kept| kept.unchanged) && packed.len() == before.len();
        let mut layers = Vec::new();
        for (number, members) in packed.into_iter().enumerate() {
            if members.is_empty() {
                continue;
            }
            let layer = previous.layers.get(number).and_then(|layer| layer.layer.clone());
            // Who asks for another compressor gets the same tar as another blob.
            let stored = layer.as_ref().and_then(|(descriptor, _)| descriptor.media_type.encoding());
            let fits = self.encoding.is_none() || stored.is_none() || stored == self.encoding;
            let fate = match before.get(number) {
                Some(kept) if kept.unchanged && kept.members == members && fits => Fate::Kept,
                Some(_) => Fate::Changed,
                None => Fate::New,
            };
            layers.push(self.chunk(members, fate, layer.filter(|_| fate == Fate::Kept), !same));
        }
        Chunking { layers }
    }

    /// Whether the image before has a component, and in the same state.
    fn fate(&self, index: usize) -> Fate {
        let component = &self.components.list()[index];
        match self.previous.and_then(|previous| previous.get(&component.name)) {
            None => Fate::New,
            Some(record) if record.fingerprint == component.fingerprint => Fate::Kept,
            Some(_) => Fate::Changed,
        }
    }

    fn chunk(
        &self,
        members: BTreeSet<usize>,
        fate: Fate,
        before: Option<(Descriptor, Digest)>,
        observed: bool,
    ) -> Chunk {
        let member = |index: &usize| {
            let (component, item, fate) = (&self.components.list()[*index], &self.items[*index], self.fate(*index));
            let known = self.previous.and_then(|previous| previous.get(&component.name));
            let seen = match known {
                Some(record) if observed => record.seen.after(fate == Fate::Changed),
                Some(record) => record.seen,
                None => Seen::default(),
            };
            Member {
                name: component.name.clone(),
                origin: component.origin,
                bytes: component.bytes,
                paths: component.paths,
                rate: item.rate,
                fate,
                record: Record { fingerprint: component.fingerprint, seen },
            }
        };
        let components: Vec<Member> = members.iter().map(member).collect();
        let largest = components.iter().max_by_key(|member| member.bytes).map_or("", |member| member.name.as_str());
        let name = match components.len() {
            0 | 1 => largest.to_owned(),
            2 => format!("{largest} and another"),
            several => format!("{largest} and {} others", several - 1),
        };
        let bytes = components.iter().map(|member| member.bytes).sum();
        let parents = self.components.parents(members.iter().copied());
        Chunk { name, fate, bytes, components, before, members, parents }
    }
}
