//! Whether depmod did what it says it did.

use std::collections::BTreeSet;
use std::path::Path;

use oci_assemble::tree::TreePath;

use super::DepmodError;
use super::harvest::Files;
use crate::module::Modules;
use crate::sandbox::Outcome;

/// How kmod's programs begin a line that reports an error; warnings begin with `WARNING`.
const ERRORS: &[&str] = &["depmod: ERROR", "depmod: FATAL", "libkmod: ERROR", "libkmod: FATAL"];

/// What depmod said, with paths of the image instead of the workspace.
pub(super) fn text(outcome: &Outcome, workspace: &Path) -> String {
    String::from_utf8_lossy(&outcome.stderr).replace(&*workspace.to_string_lossy(), "")
}

/// An error when depmod failed, or said that it did. `limit` is how much of stderr was kept.
pub(super) fn outcome(outcome: &Outcome, limit: usize, workspace: &Path) -> Result<(), DepmodError> {
    let stderr = text(outcome, workspace);
    if outcome.code != 0 {
        return Err(DepmodError::Failed { code: outcome.code, stderr });
    }
    if let Some(line) = stderr.lines().find(|line| ERRORS.iter().any(|error| line.starts_with(error))) {
        return Err(DepmodError::Complained { line: line.to_owned() });
    }
    // What was dropped may have been an error.
    if outcome.stderr_truncated { Err(DepmodError::TooTalkative { limit }) } else { Ok(()) }
}

/// An error when `modules.dep` and `modules` do not agree. Of modules with the same name depmod takes one.
pub(super) fn index(files: &Files, modules: &Modules) -> Result<(), DepmodError> {
    let index = files.get("modules.dep").map(Vec::as_slice).unwrap_or_default();
    let mut indexed = BTreeSet::new();
    for line in index.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let path = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let module = TreePath::new(path).ok().and_then(|path| modules.get(&path));
        let module =
            module.ok_or_else(|| DepmodError::Invented { path: String::from_utf8_lossy(path).into_owned() })?;
        indexed.insert(module.name.as_str());
    }
    match modules.iter().find(|(_, module)| !indexed.contains(module.name.as_str())) {
        Some((path, _)) => Err(DepmodError::NotIndexed { path: path.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
