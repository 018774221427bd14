//! Where components go when there is an image before.

use std::collections::BTreeSet;

use super::{CLASSES, CONTENTS, Item, Rules, cost, float, least, pack, usable};

/// Builds within which fetching a layer again must pay.
const HORIZON: f64 = 8.0;
/// What a layer that was left free must save with each build, in expected bytes, to be used before something has to.
const RESERVED_PRICE: f64 = 1_048_576.0;

/// A layer of the image before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its components that are still there, as indices of items.
    pub members: BTreeSet<usize>,
    /// Whether all its components are there and as they were.
    pub unchanged: bool,
}

/// Distributes all items over at most `max` layers, of which those before stay where that is possible. The result has a
/// layer for each of `before`, in its order, empty where nothing is left of it, and new layers behind.
///
/// What changed or is new is arranged anew, in the layers that became free and those that were left free. Catch-alls share a
/// layer with nothing else, with other classes of them where layers are few, and there are not more of them in it than
/// [`CATCH_ALL_MAX`](super::CATCH_ALL_MAX) says, or [`CATCH_ALL_GROWN`](super::CATCH_ALL_GROWN) where it saves a layer: where
/// there are too few layers for that, those that are cheapest to fetch again are joined.
///
/// Laws: every item is in exactly one layer; an unchanged layer keeps its members, unless there are too few layers for what
/// is new.
pub fn after(items: &[Item], before: &[Kept], max: usize) -> Vec<BTreeSet<usize>> {
    let kept: BTreeSet<usize> =
        (0..before.len()).filter(|at| before[*at].unchanged && !before[*at].members.is_empty()).collect();
    let placed: BTreeSet<usize> = kept.iter().flat_map(|at| &before[*at].members).copied().collect();
    let pool: BTreeSet<usize> = (0..items.len()).filter(|index| !placed.contains(index)).collect();
    let new = pool.iter().any(|index| before.iter().all(|layer| !layer.members.contains(index)));
    let mut rest = Rest { items, before, max, rules: Rules::new(items, max), kept, pool, new };
    rest.make_room();
    let new = rest.arrange();
    let members = |(at, layer): (usize, &Kept)| {
        if rest.kept.contains(&at) { layer.members.clone() } else { BTreeSet::new() }
    };
    let mut layers: Vec<BTreeSet<usize>> = before.iter().enumerate().map(members).collect();
    place(items, before, &mut layers, new);
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

/// What is still to be arranged, and the layers that stay.
struct Rest<'a> {
    items: &'a [Item],
    before: &'a [Kept],
    max: usize,
    rules: Rules,
    /// Numbers of layers before that stay.
    kept: BTreeSet<usize>,
    /// Items without a layer.
    pool: BTreeSet<usize>,
    /// Whether some are in no layer before.
    new: bool,
}

impl Rest<'_> {
    fn room(&self) -> usize {
        self.max.saturating_sub(self.kept.len())
    }

    fn need(&self, pool: &BTreeSet<usize>) -> usize {
        least(self.items, pool, self.rules).len()
    }

    fn bytes(&self, at: usize) -> u64 {
        self.before[at].members.iter().map(|index| self.items[*index].bytes).sum()
    }

    fn with(&self, layers: &[usize]) -> BTreeSet<usize> {
        layers.iter().flat_map(|at| &self.before[*at].members).chain(&self.pool).copied().collect()
    }

    fn dissolve(&mut self, layers: &[usize]) {
        self.pool = self.with(layers);
        self.kept.retain(|at| !layers.contains(at));
    }

    /// Gives up rules for what has to be fetched anyway, and then joins layers, until all find a place.
    fn make_room(&mut self) {
        while self.kept.len() + self.need(&self.pool) > self.max {
            if self.kept.len() < self.max
                && let Some(rules) = self.rules.relaxed()
            {
                self.rules = rules;
                continue;
            }
            let doomed = match self.joined() {
                Some(layers) => layers,
                None => self.kept.iter().copied().min_by_key(|at| (self.bytes(*at), *at)).into_iter().collect(),
            };
            if doomed.is_empty() {
                return;
            }
            self.dissolve(&doomed);
        }
    }

    /// The layers that are cheapest to fetch again of those that give one layer free: one that finds room in what is
    /// arranged anyway, or two of a kind that become one.
    fn joined(&self) -> Option<Vec<usize>> {
        let need = self.need(&self.pool);
        let frees = |layers: &Vec<usize>| self.need(&self.with(layers)) < need + layers.len();
        let price = |layers: &Vec<usize>| layers.iter().map(|at| self.bytes(*at)).sum::<u64>();
        let singles = self.kept.iter().map(|at| vec![*at]);
        let pairs = (0..CONTENTS + CLASSES).filter_map(|of| {
            let mut layers: Vec<usize> = self.kept.iter().copied().filter(|at| self.kind(*at) == of).collect();
            layers.sort_by_key(|at| (self.bytes(*at), *at));
            layers.get(..2).map(<[usize]>::to_vec)
        });
        singles.chain(pairs).filter(frees).min_by_key(|layers| (price(layers), layers.clone()))
    }

    fn kind(&self, at: usize) -> usize {
        self.before[at].members.iter().map(|index| self.rules.kind(&self.items[*index])).max().unwrap_or(0)
    }

    /// The layers of the pool: as many as there would be without history, and more where that saves enough. Layers that
    /// were left free come first; for what is new, then that of the layer which is cheapest to fetch again.
    fn arrange(&mut self) -> Vec<BTreeSet<usize>> {
        let usual = usable(self.max).saturating_sub(self.kept.len());
        let mut layers = self.packed(&self.pool, usual.max(self.need(&self.pool)));
        loop {
            let cost = self.cost(&layers);
            let doomed: Vec<usize> = if layers.len() < self.room() {
                Vec::new()
            } else if !self.new {
                // What only changed had a layer, and the others keep theirs.
                return layers;
            } else {
                let Some(layers) = self.joined().filter(|layers| layers.len() == 1) else { return layers };
                layers
            };
            let more = self.packed(&self.with(&doomed), layers.len() + 1);
            if more.len() <= layers.len() {
                return layers;
            }
            let given_up: f64 = doomed.iter().map(|at| self.cost_of(&self.before[*at].members)).sum();
            let saved = cost + given_up - self.cost(&more);
            let price = match doomed.first() {
                Some(at) => float(self.bytes(*at)) / HORIZON,
                None => RESERVED_PRICE,
            };
            if saved <= price {
                return layers;
            }
            self.dissolve(&doomed);
            layers = more;
        }
    }

    fn packed(&self, pool: &BTreeSet<usize>, max: usize) -> Vec<BTreeSet<usize>> {
        pack(self.items, pool, self.rules, max.min(self.max))
    }

    fn cost(&self, layers: &[BTreeSet<usize>]) -> f64 {
        layers.iter().map(|members| self.cost_of(members)).sum()
    }

    /// The expected cost of a layer. Catch-alls cost nothing here: they are small by rule, and nothing is spent on them.
    fn cost_of(&self, members: &BTreeSet<usize>) -> f64 {
        let catch_all = members.iter().any(|index| self.items[*index].class.is_catch_all());
        if catch_all { 0.0 } else { cost(self.items, members.iter().copied()) }
    }
}
