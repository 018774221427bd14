//! Which links enabling a unit makes, and which units disabling one concerns.

use std::collections::BTreeSet;

use super::super::GenerateError;
use super::links::Links;
use super::unit::{Install, Name, State, Unit, Units};

/// The most units that `Also=` may bring along; far more than any package has.
const ALSO_MAX: usize = 256;

/// The longest unit name (systemd.unit(5)).
const UNIT_MAX: usize = 255;
/// All types of units.
const TYPES: [&str; 11] =
    ["service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"];

/// `systemctl enable`: the unit, and those that its `Also=` names.
pub(super) fn enable(name: &str, units: &Units<'_>, links: &mut Links<'_>) -> Result<(), GenerateError> {
    let mut seen = BTreeSet::from([name.to_owned()]);
    let mut waiting = vec![name.to_owned()];
    while let Some(next) = waiting.pop() {
        let (unit, install) = match load(&next, units) {
            Ok(loaded) => loaded,
            Err(error) if next != name && is_passed_over(&error) => continue,
            Err(error) => return Err(error),
        };
        if next == name && install.is_empty() {
            return Err(GenerateError::NothingToEnable { unit: next });
        }
        apply(&unit, &install, links)?;
        for also in &install.also {
            let also = expanded(&unit, &install, also, "Also")?;
            if seen.len() < ALSO_MAX && seen.insert(also.clone()) {
                waiting.push(also);
            }
        }
    }
    Ok(())
}

/// The names that `systemctl disable` takes links away from: the unit, what it is an alias of, and
/// its `Also=`. Masked units stay as they are.
pub(super) fn with_companions(name: &str, units: &Units<'_>) -> Result<BTreeSet<String>, GenerateError> {
    let mut seen = BTreeSet::from([name.to_owned()]);
    let mut waiting = vec![name.to_owned()];
    let mut marked = BTreeSet::new();
    while let Some(next) = waiting.pop() {
        let unit = match units.find(&next) {
            Ok(unit) => unit,
            Err(error) if next != name && is_passed_over(&error) => continue,
            Err(error) => return Err(error),
        };
        let file = match &unit.state {
            State::File(file) => file,
            State::Masked => continue,
            State::Alias(target) => {
                if seen.insert(target.clone()) {
                    waiting.push(target.clone());
                }
                marked.insert(next);
                continue;
            }
        };
        let install = units.install(&unit, file)?;
        for also in &install.also {
            let also = expanded(&unit, &install, also, "Also")?;
            if seen.len() < ALSO_MAX && seen.insert(also.clone()) {
                waiting.push(also);
            }
        }
        marked.insert(next);
    }
    Ok(marked)
}

/// systemctl passes over companions that are not there, masked or an alias.
fn is_passed_over(error: &GenerateError) -> bool {
    matches!(
        error,
        GenerateError::UnknownUnit { .. } | GenerateError::MaskedUnit { .. } | GenerateError::AliasUnit { .. }
    )
}

fn load(name: &str, units: &Units<'_>) -> Result<(Unit, Install), GenerateError> {
    let unit = units.find(name)?;
    let install = match &unit.state {
        State::File(file) => units.install(&unit, file)?,
        State::Masked => return Err(GenerateError::MaskedUnit { unit: unit.name, path: unit.path }),
        State::Alias(target) => {
            return Err(GenerateError::AliasUnit { unit: unit.name.clone(), target: target.clone() });
        }
    };
    Ok((unit, install))
}

fn apply(unit: &Unit, install: &Install, links: &mut Links<'_>) -> Result<(), GenerateError> {
    for alias in &install.alias {
        if let Some(alias) = alias_name(unit, install, alias)? {
            links.alias(&alias, unit)?;
        }
    }
    let lists = [
        ("WantedBy", "wants", &install.wanted_by),
        ("RequiredBy", "requires", &install.required_by),
        ("UpheldBy", "upholds", &install.upheld_by),
    ];
    for (key, directory, targets) in lists {
        for target in targets {
            let expanded = expanded(unit, install, target, key)?;
            let target = Name::new(&expanded);
            let own = Name::new(&unit.name);
            let name = match &install.default_instance {
                Some(default) if own.is_template() => own.with(default),
                // Without an instance, one has to come from the unit that wants this one.
                None if own.is_template() && target.instance.is_none() => {
                    return Err(GenerateError::NeedsInstance { unit: unit.name.clone(), example: own.with("NAME") });
                }
                _ => unit.name.clone(),
            };
            links.want(&format!("{expanded}.{directory}"), &name, unit)?;
        }
    }
    Ok(())
}

/// The name of an alias, with the instance of the unit; nothing for an alias to itself.
fn alias_name(unit: &Unit, install: &Install, alias: &str) -> Result<Option<String>, GenerateError> {
    let mut name = expanded(unit, install, alias, "Alias")?;
    let own = Name::new(&unit.name);
    if let (true, Some(instance), true) = (Name::new(&name).is_template(), own.instance, own.is_instance()) {
        name = Name::new(&name).with(instance);
    }
    let other = Name::new(&name);
    let same_instance = match (own.instance, other.instance) {
        (Some(one), Some(other)) => one == other,
        // A plain name may stand for an instance, and an instance for a plain unit, but nothing for a template.
        (own, other) => own != Some("") && other != Some(""),
    };
    if other.suffix != own.suffix || !same_instance {
        return Err(GenerateError::InvalidInstall { unit: unit.name.clone(), key: "Alias", value: alias.to_owned() });
    }
    Ok((name != unit.name).then_some(name))
}

/// `text` with the specifiers that a unit's name decides (systemd.unit(5), "SPECIFIERS"); those that the machine
/// decides have no meaning in an image.
fn expanded(unit: &Unit, install: &Install, text: &str, key: &'static str) -> Result<String, GenerateError> {
    let invalid = || GenerateError::InvalidInstall { unit: unit.name.clone(), key, value: text.to_owned() };
    let own = Name::new(&unit.name);
    let default = install.default_instance.as_deref().unwrap_or_default();
    let instance = own.instance.map(|instance| if instance.is_empty() { default } else { instance });
    let full = instance.map_or_else(|| unit.name.clone(), |instance| own.with(instance));
    let mut name = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            name.push(character);
            continue;
        }
        match characters.next() {
            Some('%') => name.push('%'),
            Some('i') => name.push_str(instance.unwrap_or_default()),
            Some('p') => name.push_str(own.prefix),
            Some('j') => name.push_str(own.prefix.rsplit('-').next().unwrap_or_default()),
            Some('n') => name.push_str(&full),
            Some('N') => name.push_str(full.rsplit_once('.').map_or(full.as_str(), |(stem, _)| stem)),
            _ => return Err(invalid()),
        }
    }
    if is_unit(&name) { Ok(name) } else { Err(invalid()) }
}

/// Whether `name` is a valid name of a unit (systemd.unit(5)), also of types that have no files.
fn is_unit(name: &str) -> bool {
    let parts = Name::new(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    name.len() <= UNIT_MAX && name.bytes().all(allowed) && !parts.prefix.is_empty() && TYPES.contains(&parts.suffix)
}
