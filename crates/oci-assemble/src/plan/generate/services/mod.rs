//! `[services]`: what `systemctl --root` would do, computed.
//!
//! Scriptlets do not run when an image is assembled, so nothing else enables units. The links are those of
//! `systemctl enable`, `disable` and `mask` (systemd, `src/shared/install.c`), all below `/etc/systemd/system`; a
//! preset file says the same to `systemctl preset-all` on machines that start with an empty `/etc`.
//!
//! Stricter than systemctl, since nobody reads its warnings in a build: enabling a unit that has nothing in
//! `[Install]`, and masking one that is not there, are errors.

mod install;
mod links;
mod unit;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{GenerateError, generated};
use crate::image::Epoch;
use crate::plan::recipe::spec::Services;
use crate::tree::{FileTree, TreeDelta, TreePath};
use links::Links;
use unit::{Name, Units};

/// The links and the preset file for `services`, on an image named `image` whose tree is `tree`. `unit_text` reads a
/// unit file of it, given by its path without symlinks.
pub fn services(
    services: &Services,
    image: &str,
    tree: &FileTree,
    unit_text: impl Fn(&TreePath) -> Option<String>,
    epoch: Epoch,
) -> Result<TreeDelta, GenerateError> {
    let units = Units::new(tree, &unit_text);
    let mut links = Links::new(tree, epoch);
    let mut marked = BTreeSet::new();
    for name in &services.disable {
        marked.extend(install::with_companions(name, &units)?);
    }
    links.remove_all(marked);
    for name in &services.enable {
        install::enable(name, &units, &mut links)?;
    }
    for name in &services.mask {
        units.find(name)?;
        links.mask(name)?;
    }
    let path = format!("usr/lib/systemd/system-preset/20-assemble-{image}.preset");
    Ok(links.into_delta().then(&generated(&path, &preset(services), epoch)?))
}

/// The links that `systemctl enable` makes for the unit `name`, alone; those that the tree has are not among them.
pub fn enable_links(
    name: &str,
    tree: &FileTree,
    unit_text: impl Fn(&TreePath) -> Option<String>,
    epoch: Epoch,
) -> Result<TreeDelta, GenerateError> {
    let mut links = Links::new(tree, epoch);
    install::enable(name, &Units::new(tree, &unit_text), &mut links)?;
    Ok(links.into_delta())
}

/// systemd.preset(5): the first line that fits a unit counts, so these come before those of a distribution.
fn preset(services: &Services) -> String {
    let mut text = String::new();
    for name in &services.enable {
        let parts = Name::new(name);
        match parts.instance {
            Some(instance) if !instance.is_empty() => {
                let _ = writeln!(text, "enable {} {instance}", parts.template());
            }
            _ => {
                let _ = writeln!(text, "enable {name}");
            }
        }
    }
    for name in services.disable.iter().chain(&services.mask).collect::<BTreeSet<_>>() {
        let _ = writeln!(text, "disable {name}");
    }
    text
}
