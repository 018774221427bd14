//! What a builder reads of this machine: scripts, repositories, patches.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use cap_std::fs::{Dir, Permissions, PermissionsExt};
use oci_assemble::image::Digest;

/// Where containers find the inputs.
pub const INPUT: &str = "/run/assemble";

/// The files of a build, by their path below [`INPUT`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs(BTreeMap<String, Vec<u8>>);

/// A file that cannot be handed to a builder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A name that is no path below the inputs.
    #[error("{name:?} cannot be handed to a builder: only letters, digits and . _ - + / are")]
    Name {
        /// The name.
        name: String,
    },
    /// Another file has the name.
    #[error("two different files would be {name:?} in the builder, where directories are not told apart: rename one")]
    Twice {
        /// The name.
        name: String,
    },
}

impl Inputs {
    /// Adds a file; the same one may come again. Scripts name it without quotes, so its name is plain.
    pub fn add(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Result<(), InputError> {
        let plain = |part: &str| {
            let good = |character: char| character.is_ascii_alphanumeric() || "._-+".contains(character);
            part.chars().all(good) && part.chars().next().is_some_and(|first| first.is_ascii_alphanumeric())
        };
        if !name.split('/').all(plain) {
            return Err(InputError::Name { name: name.to_owned() });
        }
        let bytes = bytes.into();
        if self.0.get(name).is_some_and(|there| *there != bytes) {
            return Err(InputError::Twice { name: name.to_owned() });
        }
        self.0.insert(name.to_owned(), bytes);
        Ok(())
    }

    /// The files below a directory, in the order of their names.
    pub fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let names = self
            .0
            .iter()
            .filter(move |(name, _)| name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')));
        names.map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The digest of each file, for keys.
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        self.0.iter().map(|(name, bytes)| (name.clone(), Digest::of(bytes))).collect()
    }

    /// Writes the files into `dir`, where every user of a container can read them.
    pub(super) fn write(&self, dir: &Dir) -> io::Result<()> {
        let readable = |path: &PathBuf, mode| dir.set_permissions(path, Permissions::from_mode(mode));
        readable(&PathBuf::from("."), 0o755)?;
        for (name, bytes) in &self.0 {
            let path = PathBuf::from(name);
            for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                dir.create_dir_all(above)?;
                readable(&above.to_path_buf(), 0o755)?;
            }
            dir.write(&path, bytes)?;
            readable(&path, 0o644)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use cap_std::ambient_authority;

    #[test]
    fn names_are_plain_and_files_readable() {
        let mut inputs = Inputs::default();
        for bad in ["", "/etc/x", "../x", "a/../b", "a b", "a\n", "-x", "a//b", ".hidden", "ü"] {
            assert_eq!(inputs.add(bad, "x"), Err(InputError::Name { name: bad.into() }));
        }
        inputs.add("repositories/a.repo", "one").unwrap();
        inputs.add("build.sh", "two").unwrap();
        inputs.add("repositories/a.repo", "one").unwrap();
        let other = inputs.add("repositories/a.repo", "other");
        assert_eq!(other, Err(InputError::Twice { name: "repositories/a.repo".into() }));
        assert_eq!(inputs.below("repositories").collect::<Vec<_>>(), [("repositories/a.repo", b"one".as_slice())]);
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        inputs.write(&dir).unwrap();
        assert_eq!(dir.read("repositories/a.repo").unwrap(), b"one");
        assert_eq!(dir.metadata("repositories").unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(dir.metadata("build.sh").unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(inputs.digests()["build.sh"], Digest::of(b"two"));
    }
}
