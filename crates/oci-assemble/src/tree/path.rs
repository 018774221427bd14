//! Paths of a root file system: bytes, relative to the root, without a leading slash.
//!
//! Linux names are bytes; a name that is not UTF-8 is carried unchanged and shown escaped.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A normalised path below the root of an image: components separated by single slashes, no `.`, `..`,
/// leading or trailing slash, no NUL. The root itself is the empty path.
///
/// The order is that of the bytes, so a directory comes before everything below it. A clone shares the bytes: trees are
/// merged and compared by copying tens of thousands of paths.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Arc<[u8]>);

/// The longest path accepted, in bytes (`PATH_MAX` of Linux).
pub const PATH_MAX: usize = 4096;
/// The longest component accepted, in bytes (`NAME_MAX` of Linux).
pub const NAME_MAX: usize = 255;

/// Why bytes are not a path below a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid path {}: {fault}", Escaped(.path))]
pub struct PathError {
    /// The bytes, cut to [`PATH_MAX`].
    pub path: Vec<u8>,
    /// What is wrong.
    pub fault: PathFault,
}

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// It has a `..` component.
    #[error("it climbs with ..")]
    Parent,
    /// It has a NUL byte.
    #[error("it contains a NUL byte")]
    Nul,
    /// It is longer than [`PATH_MAX`].
    #[error("it is longer than 4096 bytes")]
    TooLong,
    /// A component is longer than [`NAME_MAX`].
    #[error("a component is longer than 255 bytes")]
    NameTooLong,
    /// It is absolute where a relative one is due.
    #[error("it is absolute")]
    Absolute,
}

impl TreePath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// Normalises `bytes`: leading slashes, `./` and doubled slashes are dropped.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let bytes = bytes.as_ref();
        normalise(bytes)
            .map(|path| Self(path.into()))
            .map_err(|fault| PathError { path: bytes.iter().copied().take(PATH_MAX).collect(), fault })
    }

    /// As [`TreePath::new`], but an absolute path is an error: what a tar header must satisfy.
    pub fn relative(bytes: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let bytes = bytes.as_ref();
        if bytes.first() == Some(&b'/') {
            return Err(PathError { path: bytes.iter().copied().take(PATH_MAX).collect(), fault: PathFault::Absolute });
        }
        Self::new(bytes)
    }

    /// The path that is spelled `bytes` once it is normalised; `None` when they are spelled any other way.
    pub(crate) fn exact(bytes: &[u8]) -> Option<Self> {
        let good = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && part.len() <= NAME_MAX && !part.contains(&0);
        let normal = bytes.is_empty() || bytes.split(|byte| *byte == b'/').all(good);
        (normal && bytes.len() <= PATH_MAX).then(|| Self(bytes.into()))
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, when it is UTF-8.
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The components from the root down; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// The directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// All directories above it from the top down, the root left out.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| Self(self.0[..end].into()))
    }

    /// This path with one more component, which must be a valid name.
    pub fn join(&self, name: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let mut bytes = self.0.to_vec();
        bytes.push(b'/');
        bytes.extend_from_slice(name.as_ref());
        Self::new(bytes)
    }

    /// Whether it is strictly below `above`. Everything but the root is below the root.
    pub fn is_below(&self, above: &Self) -> bool {
        if above.is_root() {
            return !self.is_root();
        }
        self.0.len() > above.0.len() && self.0.starts_with(&above.0) && self.0[above.0.len()] == b'/'
    }
}

fn normalise(bytes: &[u8]) -> Result<Vec<u8>, PathFault> {
    if bytes.contains(&0) {
        return Err(PathFault::Nul);
    }
    if bytes.len() > PATH_MAX {
        return Err(PathFault::TooLong);
    }
    let mut path = Vec::with_capacity(bytes.len());
    for part in bytes.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(PathFault::Parent),
            _ if part.len() > NAME_MAX => return Err(PathFault::NameTooLong),
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

impl Borrow<[u8]> for TreePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TreePath {
    /// With a leading slash; bytes that are not printable UTF-8 as `\xNN`, a backslash doubled.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", Escaped(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shows bytes as text: printable UTF-8 as it is, backslash, spaces and control characters and what is not
/// UTF-8 as `\xNN` for each byte. Law: [`unescape`] gives the bytes back, and the text has no white space.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character == '\\' || character.is_whitespace() || character.is_control() {
                    let mut buffer = [0; 4];
                    for byte in character.encode_utf8(&mut buffer).bytes() {
                        write!(f, "\\x{byte:02x}")?;
                    }
                } else {
                    fmt::Write::write_char(f, character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The bytes that [`Escaped`] shows as `text`; `None` when it is not such a text.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let digits = rest.get(at + 1..at + 4)?.strip_prefix('x')?;
        if digits.bytes().any(|digit| !digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn normalises() {
        for (given, normal) in [("", ""), ("/", ""), ("./", ""), ("./usr//bin/", "usr/bin"), ("/usr/./bin", "usr/bin")]
        {
            assert_eq!(path(given).as_bytes(), normal.as_bytes());
        }
        for (given, fault) in [
            ("a/../b", PathFault::Parent),
            ("a\0b", PathFault::Nul),
            (&"x/".repeat(2049), PathFault::TooLong),
            (&"x".repeat(256), PathFault::NameTooLong),
        ] {
            assert_eq!(TreePath::new(given).unwrap_err().fault, fault);
        }
        assert_eq!(TreePath::relative("/etc").unwrap_err().fault, PathFault::Absolute);
        for (given, exact) in
            [("", true), ("usr/bin", true), ("/usr", false), ("usr/", false), ("a//b", false), ("./a", false)]
        {
            assert_eq!(TreePath::exact(given.as_bytes()), exact.then(|| path(given)));
        }
        for given in ["a/../b", "a\0b", &"x/".repeat(2049), &"x".repeat(256)] {
            assert_eq!(TreePath::exact(given.as_bytes()), None);
        }
    }

    #[test]
    fn knows_its_family() {
        let bin = path("usr/local/bin");
        assert_eq!(bin.parent(), Some(path("usr/local")));
        assert_eq!(path("usr").parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
        assert_eq!(bin.ancestors().collect::<Vec<_>>(), [path("usr"), path("usr/local")]);
        assert!(bin.is_below(&path("usr")) && bin.is_below(&TreePath::root()));
        assert!(!path("usr-local").is_below(&path("usr")) && !bin.is_below(&bin));
        assert_eq!(bin.name(), b"bin");
    }

    proptest! {
        #[test]
        fn escaping_loses_nothing(bytes: Vec<u8>) {
            let text = Escaped(&bytes).to_string();
            prop_assert!(!text.contains(char::is_whitespace));
            prop_assert_eq!(unescape(&text), Some(bytes));
        }
    }
}
