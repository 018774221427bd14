//! From variables to modules, as `read_conf` of dkms does it.

use std::collections::BTreeMap;

use super::script::{Script, Variable};
use super::{BuiltModule, ConfError, DkmsConf, MODULES_MAX, Setting};

/// Variables that describe modules, one element each.
const MODULES: [&str; 4] = ["BUILT_MODULE_NAME", "BUILT_MODULE_LOCATION", "DEST_MODULE_NAME", "DEST_MODULE_LOCATION"];
/// The other variables that dkms reads.
const OTHERS: [&str; 22] = [
    "BUILD_DEPENDS",
    "BUILD_DEPENDS_REBUILD",
    "BUILD_EXCLUSIVE_ARCH",
    "BUILD_EXCLUSIVE_CONFIG",
    "BUILD_EXCLUSIVE_KERNEL",
    "BUILD_EXCLUSIVE_KERNEL_MAX",
    "BUILD_EXCLUSIVE_KERNEL_MIN",
    "CLEAN",
    "MAKE",
    "MAKE_MATCH",
    "NO_WEAK_MODULES",
    "OBSOLETE_BY",
    "PATCH",
    "PATCH_MATCH",
    "POST_ADD",
    "POST_BUILD",
    "POST_INSTALL",
    "POST_REMOVE",
    "PRE_BUILD",
    "PRE_INSTALL",
    "REMAKE_INITRD",
    "STRIP",
];

pub(super) fn conf(script: Script, file: &str) -> Result<DkmsConf, ConfError> {
    let reader = Reader { script: &script, file };
    let name = reader.required("PACKAGE_NAME")?;
    let version = reader.required("PACKAGE_VERSION")?;
    let (modules, complete) = reader.modules(&name)?;
    let autoinstall = reader.element("AUTOINSTALL", 0).unwrap_or(Setting::Known(String::new()));
    let mut settings = BTreeMap::new();
    for variable in OTHERS {
        let Some(found) = script.variables.get(variable) else { continue };
        let mut elements = found.elements.clone();
        if let Some(reason) = &found.others {
            elements.entry(0).or_insert_with(|| Setting::NotUnderstood(reason.clone()));
        }
        settings.extend(elements.into_iter().map(|(index, value)| ((variable.to_owned(), index), value)));
    }
    Ok(DkmsConf { name, version, modules, complete, autoinstall, settings, not_understood: script.not_understood })
}

struct Reader<'a> {
    script: &'a Script,
    file: &'a str,
}

impl Reader<'_> {
    fn variable(&self, name: &str) -> Option<&Variable> {
        self.script.variables.get(name)
    }

    /// An element; not understood where it may be one that is not seen.
    fn element(&self, name: &str, index: usize) -> Option<Setting> {
        let variable = self.variable(name)?;
        let element = variable.elements.get(&index).filter(|value| value.known() != Some(""));
        element.cloned().or_else(|| variable.others.clone().map(Setting::NotUnderstood))
    }

    fn missing(&self, key: &str, index: usize) -> ConfError {
        ConfError::Missing { file: self.file.to_owned(), key: format!("{key}[{index}]") }
    }

    /// A value that becomes part of paths.
    fn required(&self, key: &str) -> Result<String, ConfError> {
        let file = self.file.to_owned();
        match self.element(key, 0) {
            Some(Setting::Known(value)) => {
                self.check(key, &value, "the name of a directory", !value.contains('/') && !value.starts_with('.'))?;
                Ok(value)
            }
            Some(Setting::NotUnderstood(reason)) => Err(ConfError::NotUnderstood { file, key: key.to_owned(), reason }),
            None => Err(ConfError::Missing { file, key: key.to_owned() }),
        }
    }

    fn check(&self, key: &str, value: &str, expected: &'static str, good: bool) -> Result<(), ConfError> {
        let printable = value.chars().all(|c| !c.is_control());
        if good && printable && value.split('/').all(|part| part != "..") {
            return Ok(());
        }
        let value = value.chars().take(256).collect();
        Err(ConfError::Value { file: self.file.to_owned(), key: key.to_owned(), value, expected })
    }

    fn modules(&self, package: &str) -> Result<(Vec<BuiltModule>, bool), ConfError> {
        let arrays: Vec<&Variable> = MODULES.iter().filter_map(|name| self.variable(name)).collect();
        let count = arrays.iter().map(|array| array.elements.len()).max().unwrap_or_default();
        if count > MODULES_MAX {
            let expected = "at most 1000 modules";
            self.check(MODULES[0], &count.to_string(), expected, false)?;
        }
        let mut complete = arrays.iter().all(|array| array.others.is_none());
        if count == 0 && complete {
            return Err(self.missing("DEST_MODULE_LOCATION", 0));
        }
        let locations = self.variable("DEST_MODULE_LOCATION").map_or(0, |array| array.elements.len());
        let mut modules = Vec::new();
        for index in 0..count {
            let module = |name: &str| self.element(name, index);
            // A package of one module need not name it.
            let built = module("BUILT_MODULE_NAME").or_else(|| (locations == 1).then(|| known(package)));
            let built = built.ok_or_else(|| self.missing("BUILT_MODULE_NAME", index))?;
            let name = module("DEST_MODULE_NAME").unwrap_or_else(|| built.clone());
            let directory = module("BUILT_MODULE_LOCATION").unwrap_or_else(|| known(""));
            let location = module("DEST_MODULE_LOCATION");
            let location = location.ok_or_else(|| self.missing("DEST_MODULE_LOCATION", index))?;
            let values = [&built, &name, &directory, &location].map(Setting::known);
            let [Some(built), Some(name), Some(directory), Some(location)] = values else {
                complete = false;
                continue;
            };
            modules.push(self.module(index, [built, name, directory, location])?);
        }
        Ok((modules, complete))
    }

    fn module(&self, index: usize, values: [&str; 4]) -> Result<BuiltModule, ConfError> {
        let [built, name, directory, location] = values;
        for (key, value) in [("BUILT_MODULE_NAME", built), ("DEST_MODULE_NAME", name)] {
            let suffix = [".o", ".ko"].iter().any(|suffix| value.ends_with(suffix));
            let good = !suffix && !value.contains('/');
            self.check(&format!("{key}[{index}]"), value, "a name without .ko", good)?;
        }
        let below = ["/kernel", "/updates", "/extra"].iter().any(|start| location.starts_with(start));
        let expected = "a path below /kernel, /updates or /extra";
        self.check(&format!("DEST_MODULE_LOCATION[{index}]"), location, expected, below)?;
        let expected = "a directory of the sources";
        self.check(&format!("BUILT_MODULE_LOCATION[{index}]"), directory, expected, !directory.starts_with('/'))?;
        let slash = if directory.is_empty() || directory.ends_with('/') { "" } else { "/" };
        Ok(BuiltModule {
            built_name: built.to_owned(),
            built_location: format!("{directory}{slash}"),
            name: name.to_owned(),
            location: location.to_owned(),
        })
    }
}

fn known(text: &str) -> Setting {
    Setting::Known(text.to_owned())
}
