//! Patterns over the paths of a tree.

use std::fmt;

use super::path::TreePath;

/// A pattern over whole paths: `*` and `?` stay within a component, a last `**` stands for everything below.
///
/// `/usr/lib/gcc/*/*/cc1`, `/usr/src/**`, `/usr/bin/clang-??`. A leading dot is met only by a dot, as in glob(7).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(Vec<Box<[u8]>>);

impl Pattern {
    /// Reads a pattern; leading and doubled slashes count for nothing.
    pub fn new(text: &str) -> Self {
        let parts = text.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        Self(parts.map(Into::into).collect())
    }

    /// The directory, or the one path, that all fitting paths have in common: the parts before the first star.
    pub fn stem(&self) -> TreePath {
        let literal = self.0.iter().take_while(|part| !part.iter().any(|byte| matches!(byte, b'*' | b'?')));
        let parts: Vec<&[u8]> = literal.map(AsRef::as_ref).collect();
        TreePath::new(parts.join(&b'/')).unwrap_or_default()
    }

    /// Whether `path` fits.
    pub fn matches(&self, path: &TreePath) -> bool {
        let mut names = path.components();
        for part in &self.0 {
            let Some(name) = names.next() else { return false };
            if &**part == b"**" {
                return true;
            }
            if !matches(part, name) {
                return false;
            }
        }
        names.next().is_none()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| write!(f, "/{}", part.escape_ascii()))
    }
}

/// Whether one `name` fits `pattern` with `*` and `?`.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.starts_with(b".") && !pattern.starts_with(b".") {
        return false;
    }
    // On a mismatch, let the last star take one byte more.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn matches_a_name_as_a_shell_does() {
        for (pattern, name, matched) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            ("*.conf", "a.conf.bak", false),
            ("a*b*c", "aXbYbZc", true),
            ("?", "", false),
            ("x86?64.conf", "x86_64.conf", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), matched, "{pattern} {name}");
        }
    }

    #[test]
    fn matches_whole_paths() {
        for (pattern, path, matched) in [
            ("/usr/src/**", "usr/src/kernels/6/Makefile", true),
            ("/usr/src/**", "usr/src", false),
            ("/usr/lib/gcc/*/*/cc1", "usr/lib/gcc/x86_64/14/cc1", true),
            ("/usr/lib/gcc/*/cc1", "usr/lib/gcc/x86_64/14/cc1", false),
            ("/usr/bin/gcc", "usr/bin/gcc/x", false),
            ("usr/bin/clang-??", "usr/bin/clang-19", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(&TreePath::new(path).unwrap()), matched, "{pattern} {path}");
        }
        for (pattern, stem) in
            [("/usr/src/**", "usr/src"), ("/usr/bin/cc", "usr/bin/cc"), ("*/x", ""), ("/a/b?/c", "a")]
        {
            assert_eq!(Pattern::new(pattern).stem(), TreePath::new(stem).unwrap(), "{pattern}");
        }
        assert_eq!(Pattern::new("usr//src/**").to_string(), "/usr/src/**");
    }
}
