//! How likely the next build changes a component.
//!
//! Best is what was observed: in how many of the last builds it changed. Before there is an observation, or few, a guess
//! stands in: what is generated anew changes often; a Debian package that had a stable update will have others; an rpm
//! package's changelog says how often it was rebuilt in the year before the newest package of the image. Guesses of
//! packages that say nothing are low: of 227 sources of a Debian tree 18 changed between a release and half a year later.

use super::component::{Component, Components, Origin};
use super::recorded::Seen;
use crate::pkgdb::Packages;

/// How many builds a guess is worth: after that many, what was observed weighs as much.
const GUESS_BUILDS: f64 = 4.0;
/// Nothing is certain to change or to stay, and a layer's likelihood is divided by its components'.
const RANGE: (f64, f64) = (0.01, 0.95);
/// A package of which nothing is known.
const QUIET: f64 = 0.03;
/// A package that has had updates within its release.
const UPDATED: f64 = 0.3;
/// A kernel: rebuilt by nearly every security update.
const KERNEL: f64 = 0.5;
/// What is made from many packages, or edited by hand.
const GENERATED: f64 = 0.5;
/// Builds a year for which changelogs are read: an image a fortnight.
const BUILDS_A_YEAR: f64 = 26.0;
const YEAR: i64 = 365 * 86_400;

/// What is known of the packages that a component's files come from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Hint {
    kernel: bool,
    updated: bool,
    /// Entries of a changelog within a year, of the package with the fewest: subpackages repeat those of their source.
    recent: Option<usize>,
}

/// A hint for each component.
pub(super) fn hints(components: &Components, packages: Option<&Packages>) -> Vec<Hint> {
    let mut hints = vec![Hint::default(); components.list().len()];
    let index_of = |name: &str| components.list().binary_search_by(|found| found.name.as_str().cmp(name)).ok();
    for (path, index) in components.paths() {
        let bytes = path.as_bytes();
        if bytes.starts_with(b"usr/lib/modules/") && bytes.windows(8).any(|part| part == b"/kernel/") {
            hints[index].kernel = true;
        }
    }
    let Some(packages) = packages else { return hints };
    let newest = packages.packages().iter().filter_map(|package| package.built).max().unwrap_or(0);
    for package in packages.packages() {
        let Some(hint) = index_of(package.source_name()).and_then(|index| hints.get_mut(index)) else { continue };
        hint.updated |= is_stable_update(package.release.as_ref().unwrap_or(&package.version));
        if !package.changelog.is_empty() {
            let recent = package.changelog.iter().filter(|time| **time > newest - YEAR).count();
            hint.recent = Some(hint.recent.map_or(recent, |known| known.min(recent)));
        }
    }
    hints
}

/// Whether a Debian version is of an update within a release: `+deb12u3` of a version that the release came with,
/// `~deb12u1` of a newer one (Debian Developer's Reference, 5.8.5.4).
fn is_stable_update(version: &str) -> bool {
    let update = version.rsplit_once("deb").filter(|(before, _)| before.ends_with(['+', '~']));
    update.is_some_and(|(_, update)| update.contains('u'))
}

/// The rate of a component.
pub(super) fn rate(component: &Component, hint: Hint, seen: Seen) -> f64 {
    let guess = guess(component.origin, hint);
    let (builds, changes) = (f64::from(seen.builds), f64::from(seen.changes));
    ((changes + guess * GUESS_BUILDS) / (builds + GUESS_BUILDS)).clamp(RANGE.0, RANGE.1)
}

fn guess(origin: Origin, hint: Hint) -> f64 {
    if hint.kernel {
        return KERNEL;
    }
    match origin {
        Origin::Initramfs | Origin::ModuleIndexes | Origin::Kernel => KERNEL,
        Origin::PackageDatabase | Origin::Cache | Origin::Configuration | Origin::Files => GENERATED,
        Origin::Modules | Origin::File => UPDATED,
        Origin::Map | Origin::Attribute | Origin::Package => match hint {
            Hint { updated: true, .. } => UPDATED,
            Hint { recent: Some(recent), .. } => {
                let recent = u32::try_from(recent).map_or(BUILDS_A_YEAR, f64::from);
                (recent / (recent + BUILDS_A_YEAR)).max(QUIET)
            }
            _ => QUIET,
        },
    }
}
