//! Which components share a layer: pure arithmetic over sizes and rates.
//!
//! [`fresh`] begins with one layer for each kind (calm, busy, catch-all) and spends one layer at a time on the move that
//! saves most of the expected download: taking one component out of a shared layer, or splitting a shared layer in two by
//! the next bit of a hash of the names. So a plan for one layer more is the same plan with one layer split, and a component
//! that comes or goes touches the layer it is in.
//!
//! [`after`] keeps every layer of the image before in which nothing changed, and plans only what is left: what a client has
//! to fetch anyway may be arranged anew for nothing.

use std::collections::BTreeSet;

use super::files::hash;

/// The most bytes of a shared layer with a catch-all in it, before compression: ten new bytes move no more. Where layers
/// are too few for that, the limit doubles until a quarter of them is enough.
pub const CATCH_ALL_MAX: u64 = 4 << 20;
/// The part of all layers that catch-alls may take.
const CATCH_ALL_PART: usize = 4;
/// From this rate on a component is busy.
const BUSY: f64 = 0.2;

/// A component as the packing sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name, which alone decides where a hash puts it.
    pub name: String,
    /// Bytes before compression.
    pub bytes: u64,
    /// How likely the next build changes it, above 0 and below 1.
    pub rate: f64,
    /// Whether it holds what has only its place in common.
    pub catch_all: bool,
}

/// A layer of the image before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its components that are still there, as indices of items.
    pub members: BTreeSet<usize>,
    /// Whether all its components are there and as they were.
    pub unchanged: bool,
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
/// layer split in two, once every kind has a layer of its own.
pub fn fresh(items: &[Item], max: usize) -> Vec<BTreeSet<usize>> {
    pack(items, (0..items.len()).collect(), max)
}

/// Distributes all items over at most `max` layers, of which those before stay where that is possible. The result has a
/// layer for each of `before`, in its order, empty where nothing is left of it, and new layers behind.
///
/// Laws: every item is in exactly one layer; an unchanged layer keeps its members, unless there are too few layers.
pub fn after(items: &[Item], before: &[Kept], max: usize) -> Vec<BTreeSet<usize>> {
    let mut layers: Vec<BTreeSet<usize>> = before.iter().map(|kept| kept.members.clone()).collect();
    let mut unchanged: Vec<usize> =
        (0..before.len()).filter(|at| before[*at].unchanged && !layers[*at].is_empty()).collect();
    let placed: BTreeSet<usize> = unchanged.iter().flat_map(|at| &layers[*at]).copied().collect();
    let mut pool: BTreeSet<usize> = (0..items.len()).filter(|index| !placed.contains(index)).collect();
    // The smallest give up their place first: they cost least to fetch again.
    let bytes = |members: &BTreeSet<usize>| members.iter().map(|index| items[*index].bytes).sum::<u64>();
    unchanged.sort_by_key(|at| (bytes(&layers[*at]), *at));
    unchanged.reverse();
    while unchanged.len() + usize::from(!pool.is_empty()) > max {
        let Some(at) = unchanged.pop() else { break };
        pool.append(&mut layers[at]);
    }
    let room = max.saturating_sub(unchanged.len());
    for (at, layer) in layers.iter_mut().enumerate() {
        if !unchanged.contains(&at) {
            layer.clear();
        }
    }
    place(items, before, &mut layers, pack(items, pool, room));
    layers
}

/// Puts each new layer where most of its bytes were before, so that names and order stay what they were.
fn place(items: &[Item], before: &[Kept], layers: &mut Vec<BTreeSet<usize>>, new: Vec<BTreeSet<usize>>) {
    let common = |one: &BTreeSet<usize>, other: &BTreeSet<usize>| {
        one.intersection(other).map(|index| items[*index].bytes).sum::<u64>()
    };
    for members in new {
        let free = (0..before.len()).filter(|at| layers[*at].is_empty());
        let best = free.map(|at| (common(&members, &before[at].members), at)).filter(|(bytes, _)| *bytes > 0);
        match best.max_by_key(|(bytes, at)| (*bytes, before.len() - at)) {
            Some((_, at)) => layers[at] = members,
            None => layers.push(members),
        }
    }
}

/// A layer in the making.
#[derive(Clone, Debug)]
struct Bin {
    members: BTreeSet<usize>,
    /// Bits of the hash that all members share.
    depth: u32,
    catch_all: bool,
}

/// What one more layer could be spent on.
#[derive(Clone, Debug)]
struct Move {
    /// Expected bytes saved.
    saved: f64,
    leaves: BTreeSet<usize>,
    depth: u32,
}

fn pack(items: &[Item], members: BTreeSet<usize>, max: usize) -> Vec<BTreeSet<usize>> {
    if members.is_empty() || max == 0 {
        return Vec::new();
    }
    let mut kinds: [BTreeSet<usize>; 3] = Default::default();
    for index in members {
        let item = &items[index];
        let kind = if item.catch_all { 2 } else { usize::from(item.rate >= BUSY) };
        kinds[kind.min(max - 1)].insert(index);
    }
    let bin = |(kind, members): (usize, BTreeSet<usize>)| Bin { members, depth: 0, catch_all: kind == 2 };
    let mut bins: Vec<Bin> =
        kinds.into_iter().enumerate().filter(|(_, members)| !members.is_empty()).map(bin).collect();
    split_catch_alls(items, &mut bins, max);
    let mut moves: Vec<Option<Move>> = bins.iter().map(|bin| best_move(items, bin)).collect();
    while bins.len() < max {
        let found = moves.iter().enumerate().filter_map(|(at, best)| Some((at, best.as_ref()?.saved)));
        // The first of equals: the order of bins is that of how they came to be.
        let Some((at, _)) = found.reduce(|best, next| if next.1 > best.1 { next } else { best }) else { break };
        let Some(Move { leaves, depth, .. }) = moves[at].take() else { break };
        bins[at].members.retain(|index| !leaves.contains(index));
        let catch_all = bins[at].catch_all;
        if depth > bins[at].depth {
            bins[at].depth = depth;
        }
        bins.push(Bin { members: leaves, depth, catch_all });
        moves[at] = best_move(items, &bins[at]);
        moves.push(bins.last().and_then(|bin| best_move(items, bin)));
    }
    bins.into_iter().map(|bin| bin.members).collect()
}

/// Splits shared catch-alls until none is above the limit, which grows until a part of the layers is enough for them.
fn split_catch_alls(items: &[Item], bins: &mut Vec<Bin>, max: usize) {
    let Some(at) = bins.iter().position(|bin| bin.catch_all) else { return };
    let whole = bins.remove(at);
    let room = (max / CATCH_ALL_PART).max(1);
    let mut limit = CATCH_ALL_MAX;
    loop {
        let mut parts = Vec::new();
        divide(items, whole.clone(), limit, &mut parts);
        if parts.len() <= room || parts.len() == 1 {
            bins.append(&mut parts);
            return;
        }
        limit = limit.saturating_mul(2);
    }
}

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
    divide(items, Bin { members: stays, depth, ..bin }, limit, parts);
    divide(items, Bin { members: leaves, depth, catch_all: true }, limit, parts);
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
    let halved = halve(items, bin).map(|(leaves, depth)| {
        let stays = bin.members.difference(&leaves).copied();
        let saved = whole - cost(items, leaves.iter().copied()) - cost(items, stays);
        Move { saved, leaves, depth }
    });
    let moves = bin.members.iter().map(|index| alone(*index)).chain(halved);
    moves.reduce(|best, next| if next.saved > best.saved { next } else { best })
}
