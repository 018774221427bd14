//! Paths of source files that a compiler left in a module's texts.

use std::collections::BTreeSet;

use oci_assemble::elf::Relocatable;

/// Names of source files end with these.
const SUFFIXES: [&[u8]; 5] = [b".c", b".h", b".S", b".cpp", b".rs"];
/// How many paths are looked at: enough to see where a module was built.
const PATHS_MAX: usize = 10_000;
/// The longest path there can be, `PATH_MAX` of linux/limits.h.
const PATH_MAX: usize = 4096;

/// Paths of source files in a module's texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildPaths {
    /// How many different ones there are; counted up to 10,000.
    pub count: usize,
    /// The directory that all of them are in, without a slash at its end; nothing when there is none but the root.
    pub directory: Option<String>,
}

/// Finds them: absolute paths of files that are named like sources, in texts that end with NUL.
pub(super) fn build_paths(module: &Relocatable<'_>) -> BuildPaths {
    let mut found: BTreeSet<&[u8]> = BTreeSet::new();
    for section in module.sections() {
        for text in section.data.split(|byte| *byte == 0) {
            for word in text.split(|byte| !is_path_byte(*byte)) {
                if found.len() < PATHS_MAX && is_source(word) {
                    found.insert(word);
                }
            }
        }
    }
    BuildPaths { count: found.len(), directory: common(&found) }
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+~@,".contains(&byte)
}

fn is_source(word: &[u8]) -> bool {
    word.len() <= PATH_MAX
        && word.starts_with(b"/")
        && word[1..].contains(&b'/')
        && SUFFIXES.iter().any(|suffix| word.ends_with(suffix))
}

/// The directory of all `paths`. The first and the last in order are the two that differ earliest.
fn common(paths: &BTreeSet<&[u8]>) -> Option<String> {
    let (first, last) = (paths.first()?, paths.last()?);
    let directory = |path: &[u8]| path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    let same = first.iter().zip(last.iter()).take_while(|(one, other)| one == other).count();
    let end = directory(first.get(..same.min(directory(first) + 1))?);
    (end > 0).then(|| String::from_utf8_lossy(&first[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_directory_is_whole_names() {
        for (paths, directory) in [
            (&["/b/one/a.c"][..], Some("/b/one")),
            (&["/b/one/a.c", "/b/one/b.c"], Some("/b/one")),
            (&["/b/one/a.c", "/b/only/b.c"], Some("/b")),
            (&["/b/one/a.c", "/b/one.c"], Some("/b")),
            (&["/b/a.c", "/c/a.c"], None),
            (&[], None),
        ] {
            let paths = paths.iter().map(|path| path.as_bytes()).collect();
            assert_eq!(common(&paths).as_deref(), directory, "{paths:?}");
        }
    }

    #[test]
    fn only_absolute_names_of_sources_count() {
        for (word, counts) in
            [("/a/b.c", true), ("/b.c", false), ("a/b.c", false), ("/a/b", false), ("/usr/src/x/y.rs", true)]
        {
            assert_eq!(is_source(word.as_bytes()), counts, "{word}");
        }
    }
}
