//! Which components share a layer: pure arithmetic over sizes and rates.
//!
//! [`fresh`] begins with one layer for each kind (packages that are calm or busy, and what has only its place in common:
//! files, configuration, what is generated) and spends one layer at a time on the move that saves most of the expected
//! download: taking one component out of a shared layer, splitting a shared layer in two by the next bit of a hash of the
//! names, or taking out of it what is larger than a power of two, as small ones are many and what shares a layer with many
//! is fetched often. (Measured on a Debian tree and half a year of its updates: 44 % of it are fetched instead of 50 % with
//! 32 layers, 38 % instead of 40 % with 64.) So a plan for one layer more is the same plan with one layer split, and a
//! component that comes or goes touches the layer it is in.
//!
//! [`after`] keeps every layer of the image before in which nothing changed, and plans only what is left: what a client has
//! to fetch anyway may be arranged anew for nothing. So that what comes later finds a place, [`fresh`] leaves some of the
//! layers to it; and when those are used up, the layers that cost least to fetch again give up theirs to what is new.

use std::collections::BTreeSet;

use super::files::hash;

mod history;

pub use history::{Kept, after};

/// The most bytes of a shared layer with a catch-all in it, before compression: ten new bytes move no more. This much where
/// a quarter of the layers is enough for it.
pub const CATCH_ALL_MAX: u64 = 4 << 20;
/// The same where that is not enough, or a layer grew. All layers but a quarter may be spent on it; where that is
/// not enough either, the limit doubles until it is.
pub const CATCH_ALL_GROWN: u64 = 8_000_000;
/// The part of all layers that catch-alls may take for the first.
const CATCH_ALL_PART: usize = 4;
/// One of so many layers stays for contents, whatever catch-alls need.
const CONTENTS_PART: usize = 4;
/// Each class of catch-alls has layers of its own where those are no more than one of so many.
const CLASS_PART: usize = 8;
/// One of so many layers stays free for what later builds bring: with all in use, what is new shares a layer with what is
/// not, or others must be fetched again for it.
const RESERVED_PART: usize = 16;
/// From this rate on a component is busy.
const BUSY: f64 = 0.2;

/// What components have in common that may share a layer. The order is that of precedence where layers are few: what is
/// generated is the first to have its own, files share theirs with what is configured.
///
/// What is generated changes with every build, also with one that only installs the same packages again. So it does not
/// share a layer with small files that nothing owns. (Measured on a tree with an rpm database of 1.7 MiB: such a build moves
/// 0.63 MB instead of 1.01.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A package, a set of modules, one large file: it changes as a whole.
    Content,
    /// What is made from the files of many packages.
    Generated,
    /// What is configured.
    Configuration,
    /// Small files that nothing owns.
    Files,
}

impl Class {
    /// Whether its files have only their place in common, so that one new file changes it.
    pub fn is_catch_all(self) -> bool {
        self != Self::Content
    }
}

/// A component as the packing sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name, which alone decides where a hash puts it.
    pub name: String,
    /// Bytes before compression.
    pub bytes: u64,
    /// How likely the next build changes it, above 0 and below 1.
    pub rate: f64,
    /// What it may share a layer with.
    pub class: Class,
}

/// What a client is expected to download of a layer with the next build, in bytes: its size, times the likelihood that
/// any of its components changes.
pub fn cost(items: &[Item], members: impl IntoIterator<Item = usize>) -> f64 {
    let (mut bytes, mut same) = (0.0, 1.0);
    for item in members.into_iter().filter_map(|index| items.get(index)) {
        bytes += float(item.bytes);
        same *= 1.0 - item.rate;
    }
    bytes * (1.0 - same)
}

/// Bytes as the arithmetic takes them: exact up to 8 PiB.
#[expect(clippy::cast_precision_loss, reason = "layers are smaller than 2^53 bytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// Distributes all items over at most `max` layers, without history.
///
/// Laws: every item is in exactly one layer; none is empty; `fresh(items, max + 1)` is `fresh(items, max)` with at most one
/// layer split in two, where the rules are the same: there are layers for all kinds, and for catch-alls of the same size.
pub fn fresh(items: &[Item], max: usize) -> Vec<BTreeSet<usize>> {
    let all: BTreeSet<usize> = (0..items.len()).collect();
    let rules = Rules::new(items, max);
    pack(items, &all, rules, usable(max))
}

/// Layers that a plan without history uses.
fn usable(max: usize) -> usize {
    max - max / RESERVED_PART
}

/// What keeps components apart.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Kinds of contents that are told apart: calm and busy, or none.
    contents: usize,
    /// Classes of catch-alls that are told apart; with none, they share layers with contents.
    classes: usize,
    /// The most bytes of a shared layer of catch-alls.
    catch_all: u64,
    /// Whether catch-alls that the hash tells apart share a layer up to that. It spares layers; but one that grows may move
    /// others, where no image before says what is where.
    joined: bool,
}

impl Rules {
    /// The rules for at most `max` layers.
    fn new(items: &[Item], max: usize) -> Self {
        let catch_alls = (0..items.len()).filter(|index| items[*index].class.is_catch_all()).collect();
        let contents = max.saturating_sub(1).clamp(1, CONTENTS);
        let classes = (max / CLASS_PART).clamp(1, CLASSES).min(max.saturating_sub(1));
        let rules = |catch_all| Self { contents, classes, catch_all, joined: false };
        let fits = |rules: Self, layers: usize| least(items, &catch_alls, rules).len() <= layers.max(1);
        if fits(rules(CATCH_ALL_MAX), max / CATCH_ALL_PART) {
            return rules(CATCH_ALL_MAX);
        }
        let most = max.saturating_sub(contents.max(max / CONTENTS_PART));
        let mut found = rules(CATCH_ALL_GROWN);
        found.joined = !fits(found, most);
        while found.catch_all < u64::MAX / 2 && !fits(found, most) {
            found.catch_all *= 2;
        }
        found
    }

    /// Fewer rules, for what has to find a place among layers that stay; nothing where none can be given up.
    fn relaxed(self) -> Option<Self> {
        if self.catch_all < CATCH_ALL_GROWN {
            // A layer that grew a little need not be split for that.
            return Some(Self { catch_all: CATCH_ALL_GROWN, ..self });
        }
        if self.contents > 1 {
            return Some(Self { contents: 1, ..self });
        }
        (self.classes > 1).then(|| Self { classes: self.classes - 1, ..self })
    }

    /// The kind of an item, as far as these rules tell it apart.
    fn kind(self, item: &Item) -> usize {
        let class = match item.class {
            Class::Content => return usize::from(item.rate >= BUSY).min(self.contents - 1),
            Class::Generated => 0,
            Class::Configuration => 1,
            Class::Files => 2,
        };
        match self.classes {
            0 => 0,
            classes => self.contents + class.min(classes - 1),
        }
    }
}

/// Calm and busy.
const CONTENTS: usize = 2;
/// Classes of catch-alls.
const CLASSES: usize = 3;

/// A layer in the making.
#[derive(Clone, Debug)]
struct Bin {
    members: BTreeSet<usize>,
    /// Bits of the hash that all members share.
    depth: u32,
}

/// What one more layer could be spent on.
#[derive(Clone, Debug)]
struct Move {
    /// Expected bytes saved.
    saved: f64,
    leaves: BTreeSet<usize>,
    depth: u32,
}

/// The fewest layers that the rules allow for `members`: one for each kind, of catch-alls as many as the limit asks for.
fn least(items: &[Item], members: &BTreeSet<usize>, rules: Rules) -> Vec<Bin> {
    let mut kinds: [BTreeSet<usize>; CONTENTS + CLASSES] = Default::default();
    for index in members {
        kinds[rules.kind(&items[*index])].insert(*index);
    }
    let mut bins = Vec::new();
    for (kind, members) in kinds.into_iter().enumerate().filter(|(_, members)| !members.is_empty()) {
        let bin = Bin { members, depth: 0 };
        if kind < rules.contents {
            bins.push(bin);
            continue;
        }
        let mut parts = Vec::new();
        divide(items, bin, rules.catch_all, &mut parts);
        bins.extend(if rules.joined { join(items, parts, rules.catch_all) } else { parts });
    }
    bins
}

/// Neighbours by the hash put together as far as the limit allows.
fn join(items: &[Item], parts: Vec<Bin>, limit: u64) -> Vec<Bin> {
    let bytes = |bin: &Bin| bin.members.iter().map(|index| items[*index].bytes).sum::<u64>();
    let mut joined: Vec<Bin> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if bytes(last) + bytes(&part) <= limit => {
                last.members.extend(part.members);
                last.depth = 0;
            }
            _ => joined.push(part),
        }
    }
    joined
}

/// Distributes `members` over at most `max` layers, or as few as the rules allow.
fn pack(items: &[Item], members: &BTreeSet<usize>, rules: Rules, max: usize) -> Vec<BTreeSet<usize>> {
    let mut bins = least(items, members, rules);
    let mut moves: Vec<Option<Move>> = bins.iter().map(|bin| best_move(items, bin)).collect();
    while bins.len() < max {
        let found = moves.iter().enumerate().filter_map(|(at, best)| Some((at, best.as_ref()?.saved)));
        // The first of equals: the order of bins is that of how they came to be.
        let Some((at, _)) = found.reduce(|best, next| if next.1 > best.1 { next } else { best }) else { break };
        let Some(Move { leaves, depth, .. }) = moves[at].take() else { break };
        bins[at].members.retain(|index| !leaves.contains(index));
        if depth > bins[at].depth {
            bins[at].depth = depth;
        }
        bins.push(Bin { members: leaves, depth });
        moves[at] = best_move(items, &bins[at]);
        moves.push(bins.last().and_then(|bin| best_move(items, bin)));
    }
    bins.into_iter().map(|bin| bin.members).collect()
}

/// Shared catch-alls, split until none is above the limit.
fn divide(items: &[Item], bin: Bin, limit: u64, parts: &mut Vec<Bin>) {
    let bytes: u64 = bin.members.iter().map(|index| items[*index].bytes).sum();
    if bytes <= limit || bin.members.len() < 2 {
        parts.push(bin);
        return;
    }
    // One that is above the limit by itself leaves first: the others need not be cut for it.
    let largest = bin.members.iter().copied().max_by_key(|index| (items[*index].bytes, usize::MAX - index));
    let alone = largest.filter(|index| items[*index].bytes > limit / 2);
    let (leaves, depth) = match alone {
        Some(index) => (BTreeSet::from([index]), bin.depth),
        None => match halve(items, &bin) {
            Some(half) => half,
            None => return parts.push(bin),
        },
    };
    let stays = bin.members.difference(&leaves).copied().collect();
    divide(items, Bin { members: stays, depth }, limit, parts);
    divide(items, Bin { members: leaves, depth }, limit, parts);
}

/// The members whose next differing bit of the hash is 1, and the bits used up.
fn halve(items: &[Item], bin: &Bin) -> Option<(BTreeSet<usize>, u32)> {
    for depth in bin.depth..64 {
        let one = |index: &&usize| hash(items[**index].name.as_bytes()) << depth >> 63 == 1;
        let leaves: BTreeSet<usize> = bin.members.iter().filter(one).copied().collect();
        if !leaves.is_empty() && leaves.len() < bin.members.len() {
            return Some((leaves, depth + 1));
        }
    }
    None
}

fn best_move(items: &[Item], bin: &Bin) -> Option<Move> {
    if bin.members.len() < 2 {
        return None;
    }
    let whole = cost(items, bin.members.iter().copied());
    let bytes: f64 = bin.members.iter().map(|index| float(items[*index].bytes)).sum();
    let same: f64 = bin.members.iter().map(|index| 1.0 - items[*index].rate).product();
    let alone = |index: usize| {
        let item = &items[index];
        let (own, stays) = (float(item.bytes), 1.0 - item.rate);
        let rest = (bytes - own) * (1.0 - (same / stays).min(1.0));
        Move { saved: whole - rest - own * item.rate, leaves: BTreeSet::from([index]), depth: bin.depth }
    };
    let parted = |(leaves, depth): (BTreeSet<usize>, u32)| {
        let stays = bin.members.difference(&leaves).copied();
        let saved = whole - cost(items, leaves.iter().copied()) - cost(items, stays);
        Move { saved, leaves, depth }
    };
    let large = (1..u64::BITS).filter_map(|bits| {
        let large = |index: &usize| items[*index].bytes >> bits > 0;
        let leaves: BTreeSet<usize> = bin.members.iter().copied().filter(large).collect();
        // One alone was looked at.
        (leaves.len() > 1 && leaves.len() < bin.members.len()).then_some((leaves, bin.depth))
    });
    let parts = halve(items, bin).into_iter().chain(large).map(parted);
    let moves = bin.members.iter().map(|index| alone(*index)).chain(parts);
    moves.reduce(|best, next| if next.saved > best.saved { next } else { best })
}
