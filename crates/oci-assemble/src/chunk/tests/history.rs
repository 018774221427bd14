//! What builds one after the other move.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::chunk::packing::{Class, Item, Kept, after, fresh};

const MIB: u64 = 1 << 20;

/// A published image: its components, and the names in each layer.
#[derive(Clone, Debug)]
struct Image {
    items: Vec<Item>,
    layers: Vec<BTreeSet<String>>,
    max: usize,
}

fn names(items: &[Item], layers: Vec<BTreeSet<usize>>) -> Vec<BTreeSet<String>> {
    let named = |layer: BTreeSet<usize>| layer.into_iter().map(|index| items[index].name.clone()).collect();
    layers.into_iter().map(named).filter(|layer: &BTreeSet<String>| !layer.is_empty()).collect()
}

impl Image {
    fn first(items: Vec<Item>, max: usize) -> Self {
        Self { layers: names(&items, fresh(&items, max)), items, max }
    }

    /// The next build, in which these components changed and those are new, and the bytes a client downloads for it.
    fn next(&self, changed: &[&str], new: &[Item]) -> (Self, u64) {
        let items: Vec<Item> = self.items.iter().chain(new).cloned().collect();
        let index = |name: &String| items.iter().position(|item| item.name == *name).unwrap();
        let kept = |layer: &BTreeSet<String>| Kept {
            members: layer.iter().map(index).collect(),
            unchanged: !layer.iter().any(|name| changed.contains(&name.as_str())),
        };
        let before: Vec<Kept> = self.layers.iter().map(kept).collect();
        let layers = after(&items, &before, self.max);
        assert!(layers.iter().filter(|layer| !layer.is_empty()).count() <= self.max);
        assert_eq!(layers.iter().map(BTreeSet::len).sum::<usize>(), items.len());
        let stays = |layer: &&BTreeSet<usize>| before.iter().any(|kept| kept.unchanged && kept.members == **layer);
        let moved = layers.iter().filter(|layer| !stays(layer)).flatten().map(|index| items[*index].bytes).sum();
        (Self { layers: names(&items, layers), items, max: self.max }, moved)
    }

    fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }
}

fn item(name: &str, bytes: u64, rate: f64, class: Class) -> Item {
    Item { name: name.into(), bytes, rate, class }
}

/// Packages and a few catch-alls, which all layers are full of.
fn system(sizes: &[u64]) -> Vec<Item> {
    let package = |(number, bytes): (usize, &u64)| {
        item(&format!("p{number:03}"), *bytes, if number % 5 == 0 { 0.3 } else { 0.03 }, Class::Content)
    };
    let folders = [
        ("etc", Class::Configuration),
        ("files:/usr/0", Class::Files),
        ("files:/usr/1", Class::Files),
        ("package-database", Class::Generated),
        ("caches", Class::Generated),
    ];
    let folder = |(name, class): &(&str, Class)| item(name, 1_400_000, 0.5, *class);
    sizes.iter().enumerate().map(package).chain(folders.iter().map(folder)).collect()
}

#[derive(Clone, Debug)]
enum Build {
    /// A component of so many MiB, and small files beside it.
    Adds(u64),
    /// Some packages are updated.
    Updates(Vec<prop::sample::Index>),
}

fn builds() -> impl Strategy<Value = Vec<Build>> {
    let adds = (0_u64..120).prop_map(Build::Adds);
    let updates = prop::collection::vec(any::<prop::sample::Index>(), 1..12).prop_map(Build::Updates);
    prop::collection::vec(prop_oneof![adds, updates], 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Ten bytes in a catch-all move no more than 8 MB, and a new component little beside itself, whatever was before.
    #[test]
    fn no_history_makes_small_changes_dear(
        sizes in prop::collection::vec(100_000_u64..40 * MIB, 20..140),
        max in 20_usize..70,
        builds in builds(),
    ) {
        let mut image = Image::first(system(&sizes), max);
        for (number, build) in builds.into_iter().enumerate() {
            let (next, moved, own) = match build {
                Build::Adds(mib) => {
                    let new = [
                        item(&format!("file:/opt/{number}"), mib * MIB, 0.3, Class::Content),
                        item(&format!("files:/opt/{number}"), 200_000, 0.5, Class::Files),
                    ];
                    let (next, moved) = image.next(&["package-database"], &new);
                    (next, moved, mib * MIB + 200_000)
                }
                Build::Updates(which) => {
                    let names: Vec<String> = which.iter().map(|at| at.get(&image.items).name.clone()).collect();
                    let (next, _) = image.next(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
                    (next, 0, 0)
                }
            };
            // The rest: the catch-all that changed with it, and layers that are joined to make room.
            prop_assert!(moved <= own + 8 * MIB + image.bytes() / 8, "{} {}", moved, own);
            image = next;
            for catch_all in image.items.iter().filter(|item| item.class.is_catch_all()) {
                let (_, moved) = image.next(&[&catch_all.name], &[]);
                prop_assert!(moved <= 8_000_000, "{} of {}: {:?}", moved, catch_all.name, image.layers);
            }
        }
    }
}

/// The layers are all in use; a large file and small ones beside it come; then ten bytes among the small ones.
#[test]
fn a_new_component_is_not_welded_to_a_catch_all() {
    let sizes: Vec<u64> = (0..200).map(|number| MIB + number * 77_777).collect();
    let mut image = Image::first(system(&sizes), 64);
    for number in 0..8 {
        let (file, files) = (format!("file:/opt/app{number}"), format!("files:/opt/{number}"));
        let (next, moved) = image.next(
            &["files:/usr/1"],
            &[item(&file, 100 * MIB, 0.3, Class::Content), item(&files, 200_000, 0.5, Class::Files)],
        );
        assert!(moved <= 130 * MIB, "{number}: {moved}");
        let alone = BTreeSet::from([file]);
        assert!(next.layers.contains(&alone), "{number}: {:?}", next.layers);
        for (changed, limit) in [(files.as_str(), 8_000_000), ("files:/usr/1", 8_000_000), ("etc", 8_000_000)] {
            let (again, moved) = next.next(&[changed], &[]);
            assert!(moved <= limit, "{number}: {changed} moves {moved}");
            assert_eq!(again.next(&[], &[]).1, 0);
        }
        image = next;
    }
}

/// An image whose catch-alls share one layer, as they do where layers are few, and then a few bytes among them: no package
/// is fetched for it.
#[test]
fn a_change_of_a_catch_all_moves_no_package() {
    let sizes: Vec<u64> = (0..24).map(|number| 3_000_000 + number * 77_777).collect();
    let (catch_alls, packages): (Vec<Item>, Vec<Item>) =
        system(&sizes).into_iter().partition(|item| item.class.is_catch_all());
    let together: BTreeSet<String> = catch_alls.iter().map(|item| item.name.clone()).collect();
    for max in 4..70 {
        let mut image = Image { max, ..Image::first(packages.clone(), max - 1) };
        image.items.extend(catch_alls.iter().cloned());
        image.layers.push(together.clone());
        for name in &together {
            let (_, moved) = image.next(&[name], &[]);
            assert!(moved <= 8_000_000, "{max}: {name} moves {moved}");
        }
    }
}

/// All layers are in use, none by a catch-all, when the first comes: two are joined for it, the smallest of a kind.
#[test]
fn the_first_catch_all_takes_the_cheapest_place() {
    let item = |number: u64| item(&format!("p{number:02}"), (1 + number) * MIB, 0.03, Class::Content);
    let items: Vec<Item> = (0..24).map(item).collect();
    let layers = items.iter().map(|item| BTreeSet::from([item.name.clone()])).collect();
    let image = Image { items, layers, max: 24 };
    let (_, moved) = image.next(&[], &[self::item("files:/", 10, 0.5, Class::Files)]);
    assert_eq!(moved, 3 * MIB + 10);
}
