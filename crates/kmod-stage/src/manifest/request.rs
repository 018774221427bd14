//! The installed packages that are asked for.

use oci_assemble::pkgdb::{Package, Packages};
use oci_assemble::plan::nearest;

use super::Problem;

/// Most names that a hint lists.
const HINTS: usize = 5;

/// The installed packages that `NAME` or `NAME=VERSION` mean, sorted; all architectures of a name. A version fits with or
/// without epoch and release.
pub(super) fn requested<'p>(packages: &'p Packages, wanted: &[String]) -> (Vec<&'p Package>, Vec<Problem>) {
    let (mut chosen, mut problems) = (Vec::new(), Vec::new());
    for text in wanted {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name.trim(), Some(version.trim())),
            None => (text.trim(), None),
        };
        let installed: Vec<&Package> = packages.packages().iter().filter(|package| package.name == name).collect();
        let fits = |package: &Package| version.is_none_or(|version| fits(package, version));
        let found: Vec<&Package> = installed.iter().copied().filter(|package| fits(package)).collect();
        if found.is_empty() {
            let name = name.to_owned();
            problems.push(match version {
                Some(version) if !installed.is_empty() => Problem::OtherVersion {
                    name,
                    version: version.to_owned(),
                    installed: installed.iter().map(|package| package.evr()).collect(),
                },
                _ => Problem::NotInstalled { near: near(&name, packages), name },
            });
        }
        chosen.extend(found);
    }
    chosen.sort();
    chosen.dedup();
    (chosen, problems)
}

fn fits(package: &Package, version: &str) -> bool {
    let full = package.evr();
    let bare = full.split_once(':').map_or(full.as_str(), |(_, rest)| rest);
    [full.as_str(), bare, package.version.as_str()].contains(&version)
}

/// Names that are spelled nearly so, or that have the text in them.
fn near(name: &str, packages: &Packages) -> Vec<String> {
    let names = || packages.packages().iter().map(|package| package.name.as_str());
    let mut near: Vec<&str> = nearest(name, names()).into_iter().collect();
    near.extend(names().filter(|known| !name.is_empty() && known.contains(name)));
    let mut seen = std::collections::BTreeSet::new();
    near.retain(|name| seen.insert(*name));
    near.into_iter().take(HINTS).map(str::to_owned).collect()
}
