//! Which components share a layer.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::chunk::packing::{CATCH_ALL_GROWN, CATCH_ALL_MAX, Class, Item, Kept, after, cost, fresh};

fn items() -> impl Strategy<Value = Vec<Item>> {
    let classes =
        [Class::Content, Class::Content, Class::Content, Class::Files, Class::Configuration, Class::Generated];
    let item = (0_u64..30 << 20, 1_u32..95, prop::sample::select(classes.to_vec()));
    prop::collection::vec(item, 1..40).prop_map(|items| {
        let item = |(number, (bytes, percent, class)): (usize, (u64, u32, Class))| Item {
            name: format!("c{number:02}"),
            bytes: if class.is_catch_all() { bytes / 16 } else { bytes },
            rate: f64::from(percent) / 100.0,
            class,
        };
        items.into_iter().enumerate().map(item).collect()
    })
}

proptest! {
    #[test]
    fn packing_is_a_partition(items in items(), max in 1_usize..50) {
        let layers = fresh(&items, max);
        prop_assert!(layers.len() <= max && layers.iter().all(|layer| !layer.is_empty()));
        let all: Vec<usize> = layers.iter().flatten().copied().collect();
        prop_assert_eq!(all.len(), items.len());
        prop_assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), items.len());
    }

    /// One layer more is one layer split: nothing else moves.
    #[test]
    fn one_more_layer_splits_one(items in items(), max in 24_usize..60) {
        let calm: Vec<Item> = items.into_iter().map(|item| Item { class: Class::Content, ..item }).collect();
        let before: BTreeSet<BTreeSet<usize>> = fresh(&calm, max).into_iter().collect();
        let after: BTreeSet<BTreeSet<usize>> = fresh(&calm, max + 1).into_iter().collect();
        prop_assert!(before.difference(&after).count() <= 1);
        prop_assert!(after.difference(&before).count() <= 2);
    }

    /// A better plan costs no more than one with fewer layers.
    #[test]
    fn more_layers_cost_less(items in items(), max in 3_usize..40) {
        let sum = |layers: Vec<BTreeSet<usize>>| layers.into_iter().map(|layer| cost(&items, layer)).sum::<f64>();
        let (few, many) = (sum(fresh(&items, max)), sum(fresh(&items, max + 4)));
        prop_assert!(many <= few * 1.000_001 || items.iter().any(|item| item.class.is_catch_all()), "{} {}", few, many);
    }

    /// Whoever asks for fewer layers than before gets no more, also where nothing changed.
    #[test]
    fn fewer_layers_than_before_are_no_more(items in items(), before in 1_usize..40, max in 1_usize..40, changes: bool) {
        let kept = |(at, members): (usize, BTreeSet<usize>)| Kept { members, unchanged: at > 0 || !changes };
        let before: Vec<Kept> = fresh(&items, before).into_iter().enumerate().map(kept).collect();
        let next = after(&items, &before, max);
        prop_assert!(next.iter().filter(|layer| !layer.is_empty()).count() <= max);
        let all: BTreeSet<usize> = next.iter().flatten().copied().collect();
        prop_assert_eq!(all.len(), items.len());
    }

    #[test]
    fn unchanged_layers_stay(items in items(), max in 8_usize..50, changed in any::<prop::sample::Index>()) {
        let layers = fresh(&items, max);
        let changed = changed.index(layers.len());
        let kept = |(at, members): (usize, &BTreeSet<usize>)| Kept { members: members.clone(), unchanged: at != changed };
        let before: Vec<Kept> = layers.iter().enumerate().map(kept).collect();
        let next = after(&items, &before, max);
        for (at, members) in layers.iter().enumerate().filter(|(at, _)| *at != changed) {
            prop_assert_eq!(members, &next[at]);
        }
        prop_assert!(next.iter().filter(|layer| !layer.is_empty()).count() <= max);
        let all: BTreeSet<usize> = next.iter().flatten().copied().collect();
        prop_assert_eq!(all.len(), items.len());
    }
}

#[test]
fn catch_alls_stay_small() {
    let mut items: Vec<Item> = (0..300)
        .map(|number| Item { name: format!("p{number}"), bytes: 5 << 20, rate: 0.03, class: Class::Content })
        .collect();
    items.extend((0..12).map(|number| Item {
        name: format!("files:{number}"),
        bytes: (2 << 20) - number,
        rate: 0.5,
        class: [Class::Files, Class::Configuration][usize::from(number % 3 == 0)],
    }));
    for max in [32, 64, 128] {
        for layer in fresh(&items, max) {
            if layer.iter().any(|index| items[*index].class.is_catch_all()) {
                assert!(layer.iter().all(|index| items[*index].class.is_catch_all()), "{layer:?}");
                assert!(layer.iter().map(|index| items[*index].bytes).sum::<u64>() <= CATCH_ALL_MAX, "{layer:?}");
            }
        }
    }
}

/// Most layers are for files that nothing owns where they are so many, before any of them grows beyond the limit.
#[test]
fn many_small_files_stay_in_small_layers() {
    let package = |number: u64| Item { name: format!("p{number}"), bytes: 9 << 20, rate: 0.03, class: Class::Content };
    let piece = |number: u64| Item {
        name: format!("files:{number}"),
        bytes: (2 << 20) - number,
        rate: 0.5,
        class: Class::Files,
    };
    for (max, count) in [(32, 55), (64, 110), (128, 220)] {
        let items: Vec<Item> = (0..80).map(package).chain((0..count).map(piece)).collect();
        let layers = fresh(&items, max);
        let bytes = |layer: &BTreeSet<usize>| layer.iter().map(|index| items[*index].bytes).sum::<u64>();
        let wide = layers.iter().filter(|layer| layer.len() > 1 && layer.iter().any(|index| *index >= 80));
        let widest = wide.map(bytes).max().unwrap();
        assert!(widest <= CATCH_ALL_GROWN && layers.len() <= max, "{max}: {widest}");
        assert!(layers.iter().filter(|layer| layer.iter().all(|index| *index < 80)).count() >= max / 4 - max / 16);
    }
}

/// What shares a layer with many is fetched often, and small ones are many.
#[test]
fn small_ones_share_with_small_ones() {
    let item = |name: &str, number: u64, bytes: u64| Item {
        name: format!("{name}{number}"),
        bytes: bytes + number,
        rate: 0.03,
        class: Class::Content,
    };
    let large = (0..8).map(|number| item("large", number, 9 << 20));
    let items: Vec<Item> = large.chain((0..200).map(|number| item("small", number, 40 << 10))).collect();
    for max in 2..8 {
        for layer in fresh(&items, max) {
            let large = layer.iter().filter(|index| **index < 8).count();
            assert!(large == 0 || large == layer.len(), "{max}: {layer:?}");
        }
    }
}

/// A build that only installs the same packages again changes what is generated, and moves no small files with it, where
/// there are layers for that.
#[test]
fn what_is_generated_moves_by_itself() {
    let item = |name: &str, class| Item { name: name.into(), bytes: 100 << 10, rate: 0.5, class };
    // Packages are large enough that the other layers are spent on them.
    let package = |number| Item { bytes: 5 << 20, ..item(&format!("p{number}"), Class::Content) };
    let mut items: Vec<Item> = (0..40).map(package).collect();
    items.extend(["etc:/etc", "etc:/etc/ssh"].map(|name| item(name, Class::Configuration)));
    items.extend(["files:/", "files:/usr/sbin"].map(|name| item(name, Class::Files)));
    items.extend(["caches", "package-database"].map(|name| item(name, Class::Generated)));
    let shared = |max| {
        let names = |layer: &BTreeSet<usize>| layer.iter().map(|index| items[*index].name.clone()).collect::<Vec<_>>();
        let catch_all = |layer: &BTreeSet<usize>| layer.iter().any(|index| items[*index].class.is_catch_all());
        let mut shared: Vec<String> =
            fresh(&items, max).iter().filter(|layer| catch_all(layer)).map(|layer| names(layer).join(" ")).collect();
        shared.sort();
        shared
    };
    assert_eq!(shared(24), ["caches package-database", "etc:/etc etc:/etc/ssh", "files:/ files:/usr/sbin"]);
    assert_eq!(shared(16), ["caches package-database", "etc:/etc etc:/etc/ssh files:/ files:/usr/sbin"]);
    assert_eq!(shared(8), ["etc:/etc etc:/etc/ssh files:/ files:/usr/sbin caches package-database"]);
}

/// 128 MB of small files that nothing owns: ten bytes move no more than 8 MB, though a quarter of the layers is too few.
#[test]
fn many_small_files_get_more_layers() {
    let package = |number| Item { name: format!("p{number}"), bytes: 5 << 20, rate: 0.03, class: Class::Content };
    let piece =
        |number| Item { name: format!("files:/opt#{number:06b}"), bytes: 2_000_000, rate: 0.5, class: Class::Files };
    let items: Vec<Item> = (0..100).map(package).chain((0..64).map(piece)).collect();
    let layers = fresh(&items, 64);
    let bytes = |layer: &BTreeSet<usize>| layer.iter().map(|index| items[*index].bytes).sum::<u64>();
    let of_files: Vec<u64> = layers.iter().filter(|layer| layer.iter().any(|index| *index >= 100)).map(bytes).collect();
    assert!(of_files.len() <= 32 && of_files.iter().all(|bytes| *bytes <= 8_000_000), "{of_files:?}");
}
