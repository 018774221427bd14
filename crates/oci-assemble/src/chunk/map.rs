//! An explicit map from paths to components, as a TOML file.
//!
//! ```toml
//! [[component]]
//! name = "vendor-agent"
//! paths = ["/opt/agent/**", "/usr/bin/agent"]
//! ```
//! The first pattern that fits a path decides. Patterns are those of [`Pattern`].

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::tree::TreePath;
use crate::tree::glob::Pattern;

/// Which paths belong to which component, whatever packages say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentMap {
    rules: Vec<(Pattern, String)>,
    /// What stages brought, by path.
    brought: BTreeMap<TreePath, String>,
}

/// Why a text is no map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// It is no TOML, or has other keys.
    #[error("line {line} of the component map: {text}")]
    Toml {
        /// Line number, from 1.
        line: usize,
        /// What the reader said.
        text: String,
    },
    /// A component without a name or without paths, or with a pattern that is not absolute.
    #[error("component {number} of the map {fault}")]
    Component {
        /// Number in the file, from 1.
        number: usize,
        /// What is wrong with it.
        fault: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    component: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    paths: Vec<String>,
}

impl ComponentMap {
    /// Reads a map.
    pub fn parse(text: &str) -> Result<Self, MapError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.as_bytes().iter().take(start).filter(|byte| **byte == b'\n').count() + 1;
            MapError::Toml { line, text: error.message().to_owned() }
        })?;
        let mut rules = Vec::new();
        for (index, Entry { name, paths }) in file.component.into_iter().enumerate() {
            let fault = |fault: String| MapError::Component { number: index + 1, fault };
            if name.trim().is_empty() || name.chars().any(char::is_control) {
                return Err(fault("has no usable name".into()));
            }
            if paths.is_empty() {
                return Err(fault(format!("({name}) names no paths")));
            }
            for path in paths {
                if !path.starts_with('/') {
                    return Err(fault(format!("({name}) has the path {path:?}, which does not begin with a slash")));
                }
                rules.push((Pattern::new(&path), name.clone()));
            }
        }
        Ok(Self { rules, brought: BTreeMap::new() })
    }

    /// The component of `path`, where the map says one.
    pub fn component(&self, path: &TreePath) -> Option<&str> {
        self.rules.iter().find(|(pattern, _)| pattern.matches(path)).map(|(_, name)| name.as_str())
    }

    /// Notes that the stage `name` brought these paths, which tells sets of kernel modules apart.
    #[must_use]
    pub fn with_brought(mut self, name: &str, paths: impl IntoIterator<Item = TreePath>) -> Self {
        self.brought.extend(paths.into_iter().map(|path| (path, name.to_owned())));
        self
    }

    /// The stage that brought `path`, where that is known.
    pub(super) fn brought(&self, path: &TreePath) -> Option<&str> {
        self.brought.get(path).map(String::as_str)
    }
}
