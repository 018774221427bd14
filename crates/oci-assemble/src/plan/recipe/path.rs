//! Paths of files that a recipe names, and the directory they may not leave.
//!
//! A recipe names files relative to itself. They are kept relative to the *recipe root*, and `..` may not lead above
//! that. The root is given explicitly, or is the current directory when the recipe lies beneath it, or else the
//! directory of the recipe. Symlinks that lead out of the root are refused when a file is opened, by the `Dir` that
//! stands for the root.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rule::ValueFault;

/// A file or directory below the recipe root: UTF-8, relative, without `.` and `..`; empty for the root itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipePath(String);

impl RecipePath {
    /// A path relative to the root.
    pub fn new(text: &str) -> Result<Self, ValueFault> {
        Self::default().join(text)
    }

    /// `text` relative to this directory.
    pub fn join(&self, text: &str) -> Result<Self, ValueFault> {
        if text.is_empty() {
            return Err(ValueFault::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(ValueFault::Control);
        }
        if text.starts_with('/') {
            return Err(ValueFault::Absolute);
        }
        let mut parts: Vec<&str> = self.0.split('/').filter(|part| !part.is_empty()).collect();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or(ValueFault::Escapes)?;
                }
                _ => parts.push(part),
            }
        }
        Ok(Self(parts.join("/")))
    }

    /// The directory that holds it.
    #[must_use]
    pub fn directory(&self) -> Self {
        Self(self.0.rsplit_once('/').map_or_else(String::new, |(directory, _)| directory.to_owned()))
    }

    /// The text, with slashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a path of this machine, relative to the root; `.` for the root itself.
    pub fn as_path(&self) -> &Path {
        Path::new(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl fmt::Display for RecipePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_path().to_str().unwrap_or_default())
    }
}

/// Why a recipe has no place below its root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The recipe is not below the root given.
    #[error("recipe {recipe:?} does not lie below {root:?}")]
    Outside {
        /// The recipe.
        recipe: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// The recipe's name is not UTF-8, or names a directory.
    #[error("{recipe:?} is no name of a recipe")]
    Name {
        /// The recipe.
        recipe: PathBuf,
    },
}

/// The root of `recipe` and its path below that. Relative paths are relative to `current`, which must be absolute;
/// `explicit` is the root the user asks for. Only names are looked at, no file.
pub fn recipe_root(recipe: &Path, current: &Path, explicit: Option<&Path>) -> Result<(PathBuf, RecipePath), RootError> {
    let absolute = clean(&current.join(recipe));
    let current = clean(current);
    let root = match explicit {
        Some(root) => clean(&current.join(root)),
        None if absolute.starts_with(&current) => current,
        None => absolute.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let below = absolute
        .strip_prefix(&root)
        .map_err(|_| RootError::Outside { recipe: recipe.to_owned(), root: root.clone() })?;
    let name = below.to_str().and_then(|text| RecipePath::new(text).ok());
    let path = name.ok_or_else(|| RootError::Name { recipe: recipe.to_owned() })?;
    Ok((root, path))
}

fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            _ => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn joins_below_the_root() {
        let here = RecipePath::new("recipes/base").unwrap();
        for (text, joined) in [
            ("a", Ok("recipes/base/a")),
            ("./a//b/", Ok("recipes/base/a/b")),
            ("../../.work/x", Ok(".work/x")),
            ("../..", Ok("")),
            ("../../..", Err(ValueFault::Escapes)),
            ("a/../../../../recipes", Err(ValueFault::Escapes)),
            ("/etc", Err(ValueFault::Absolute)),
            ("", Err(ValueFault::Empty)),
            ("a\nb", Err(ValueFault::Control)),
        ] {
            assert_eq!(here.join(text).as_ref().map(RecipePath::as_str), joined.as_ref().copied(), "{text}");
        }
    }

    #[test]
    fn chooses_the_root() {
        let home = Path::new("/home/me/project");
        for (recipe, explicit, expected) in [
            ("recipes/a.toml", None, Some(("/home/me/project", "recipes/a.toml"))),
            ("/home/me/project/a.toml", None, Some(("/home/me/project", "a.toml"))),
            ("../other/a.toml", None, Some(("/home/me/other", "a.toml"))),
            ("../other/a.toml", Some(".."), Some(("/home/me", "other/a.toml"))),
            ("recipes/a.toml", Some("recipes"), Some(("/home/me/project/recipes", "a.toml"))),
            ("a.toml", Some("recipes"), None),
            ("/", None, None),
        ] {
            let found = recipe_root(Path::new(recipe), home, explicit.map(Path::new)).ok();
            let found = found.as_ref().map(|(root, path)| (root.to_str().unwrap(), path.as_str()));
            assert_eq!(found, expected, "{recipe} {explicit:?}");
        }
    }
}
