//! Directories that are made before it is known whether anything will be written to them.

use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use crate::exit::Failure;
use crate::wire;

/// An open directory. Whatever of its path was made for it and is empty in the end is removed again.
pub(crate) struct MadeDir {
    pub(crate) dir: Dir,
    _made: Made,
}

/// Directories that were not there before, deepest first.
struct Made(Vec<PathBuf>);

impl MadeDir {
    /// Opens or makes the directory `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let above = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        let made = Made(above.take_while(|path| !path.exists()).map(Path::to_owned).collect());
        Ok(Self { dir: wire::make_dir(path)?, _made: made })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // The first that holds something holds on to those above.
        let _ = self.0.iter().try_for_each(std::fs::remove_dir);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_was_made_and_is_empty_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        let made = MadeDir::open(&path("a/b/c")).unwrap();
        assert!(path("a/b/c").is_dir());
        drop(made);
        assert!(!path("a").exists());

        let made = MadeDir::open(&path("a/b/c")).unwrap();
        std::fs::write(path("a/file"), "").unwrap();
        drop(made);
        assert!(path("a/file").exists() && !path("a/b").exists());

        std::fs::create_dir(path("old")).unwrap();
        drop(MadeDir::open(&path("old")).unwrap());
        assert!(path("old").is_dir());
        // Where the last part cannot be made, those above do not stay.
        std::fs::write(path("a/b"), "").unwrap();
        assert!(MadeDir::open(&path("a/b/c")).is_err());
        assert!(path("a/b").is_file());
    }
}
