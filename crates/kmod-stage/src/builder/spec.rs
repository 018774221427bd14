//! What runs in one container.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ImageId;

/// What runs in one container, and everything it can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Its name, unique among the containers of the machine.
    pub name: ContainerName,
    /// Its root file system.
    pub image: ImageId,
    /// Whether it has a network.
    pub network: Network,
    /// Its environment, whole: variables of the image are not taken over.
    pub environment: BTreeMap<String, String>,
    /// Directories of this machine it may read.
    pub mounts: Vec<Mount>,
    /// Absolute path of the directory the command starts in; it is in the image.
    pub workdir: String,
    /// The program and its arguments; never empty. The image's own entry point is not used.
    pub command: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
}

/// Whether a container has a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// None: no interface but loopback, no name servers, no names of hosts. Whatever the settings say.
    None,
    /// That of the settings, or podman's default.
    Fetch {
        /// Environment for this container only, such as proxies. It is not kept in images made of the container.
        environment: BTreeMap<String, String>,
    },
}

/// Why a part of a specification is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// podman accepts letters, digits and `_ . -` in names.
    #[error("{name:?} is no name for a container")]
    Name {
        /// The name.
        name: String,
    },
    /// podman has no way to quote such a path in a mount.
    #[error("{} cannot be mounted: it must be absolute, without commas, quotes, control characters", path.display())]
    Mount {
        /// The path.
        path: PathBuf,
    },
}

/// The name of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(String);

impl ContainerName {
    /// `assemble-STAGE-SUFFIX`. `suffix` makes it unique: two containers of one name cannot be there at a time.
    pub fn new(stage: &str, suffix: &str) -> Result<Self, SpecError> {
        let name = format!("assemble-{stage}-{suffix}");
        let allowed = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
        if stage.is_empty() || suffix.is_empty() || !name.chars().all(allowed) {
            return Err(SpecError::Name { name });
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A directory of this machine that a container may read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    source: String,
    target: String,
}

impl Mount {
    /// The directory `source` of this machine, at `target` in the container; both absolute.
    pub fn new(source: &Path, target: &str) -> Result<Self, SpecError> {
        Ok(Self { source: mountable(source)?, target: mountable(Path::new(target))? })
    }

    /// The value of `--mount`.
    pub(super) fn option(&self) -> String {
        format!("type=bind,src={},dst={},ro=true", self.source, self.target)
    }
}

fn mountable(path: &Path) -> Result<String, SpecError> {
    let refused = |character: char| character.is_control() || matches!(character, ',' | '"');
    match path.to_str() {
        Some(text) if path.is_absolute() && !text.contains(refused) => Ok(text.to_owned()),
        _ => Err(SpecError::Mount { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_podman_would_misread() {
        assert!(ContainerName::new("zfs", "0f3a.1_x").is_ok());
        for (stage, suffix) in [("", "1"), ("zfs", ""), ("a b", "1"), ("é", "1"), ("a/b", "1"), ("a:b", "1")] {
            assert!(ContainerName::new(stage, suffix).is_err(), "{stage:?} {suffix:?}");
        }
        for path in ["relative", "", "/a,ro=false", "/a\"b", "/a\nb"] {
            assert_eq!(Mount::new(Path::new(path), "/mnt"), Err(SpecError::Mount { path: path.into() }));
            assert_eq!(Mount::new(Path::new("/mnt"), path), Err(SpecError::Mount { path: path.into() }));
        }
    }
}
