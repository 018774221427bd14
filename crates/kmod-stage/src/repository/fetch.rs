//! Files of repositories by their URL.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};

/// Why a file of a repository could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A URL that this program does not fetch by itself.
    #[error("{scheme}: is fetched by builder containers only")]
    Scheme {
        /// What stands before the colon.
        scheme: String,
    },
    /// A text that is no URL.
    #[error("{url:?} is no URL")]
    Url {
        /// The text.
        url: String,
    },
    /// The file is larger than it may be.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// Its URL.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// It could not be read.
    #[error("cannot read {url}")]
    Read {
        /// Its URL.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Gets files of repositories.
///
/// Law: what is given has at most `limit` bytes. Nothing is verified: that is for who asked.
pub trait Fetch {
    /// The bytes of the file at `url`; `None` when there is no such file.
    fn fetch(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, FetchError>;
}

/// `file:` URLs (RFC 8089), of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFiles;

impl Fetch for LocalFiles {
    fn fetch(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let path = file_path(url)?;
        match read(&path, limit) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(FetchError::TooLarge { url: url.to_owned(), limit }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(source) => Err(FetchError::Read { url: url.to_owned(), source }),
        }
    }
}

/// The absolute path that a `file:` URL names.
pub(crate) fn file_path(url: &str) -> Result<PathBuf, FetchError> {
    let wrong = || FetchError::Url { url: url.chars().take(256).collect() };
    let (scheme, rest) = url.split_once(':').ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("file") {
        return Err(FetchError::Scheme { scheme: scheme.to_ascii_lowercase() });
    }
    // Without a host, or with this one.
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    let path = decoded(path).filter(|path| path.starts_with('/') && !path.contains('\0')).ok_or_else(wrong)?;
    Ok(path.into())
}

/// Without percent signs (RFC 3986, 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(piece.get(2..)?.bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The bytes of a regular file; `None` when it has more than `limit`.
fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
    let directory = Dir::open_ambient_dir(path.parent().unwrap_or(Path::new("/")), ambient_authority())?;
    let mut options = OpenOptions::new();
    // A pipe must not make the open wait for a writer.
    options.read(true).custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0));
    let file = directory.open_with(name, &options)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;

    #[test]
    fn urls_of_files_are_absolute_paths_of_this_machine() {
        for (url, path) in [
            ("file:///srv/repo/a", "/srv/repo/a"),
            ("file:/srv/repo/a", "/srv/repo/a"),
            ("FILE://localhost/srv/a%20b%2Fc", "/srv/a b/c"),
        ] {
            assert_eq!(file_path(url).unwrap(), Path::new(path));
        }
        for (url, error) in [
            ("https://example.com/x", "https: is fetched by builder containers only"),
            ("file://example.com/x", "\"file://example.com/x\" is no URL"),
            ("file:x", "\"file:x\" is no URL"),
            ("file:///a%2", "\"file:///a%2\" is no URL"),
            ("file:///a%zz", "\"file:///a%zz\" is no URL"),
            ("file:///a%00", "\"file:///a%00\" is no URL"),
            ("/srv/a", "\"/srv/a\" is no URL"),
        ] {
            assert_eq!(file_path(url).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn files_are_read_up_to_a_limit() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("a b"), "12345").unwrap();
        let url = |name: &str| format!("file://{}/{name}", temp.path().display());
        let fetch = |name: &str, limit| LocalFiles.fetch(&url(name), limit);
        assert_eq!(fetch("a%20b", 5).unwrap(), Some(b"12345".to_vec()));
        assert!(matches!(fetch("a%20b", 4), Err(FetchError::TooLarge { limit: 4, .. })));
        assert_eq!(fetch("none", 4).unwrap(), None);
        assert_eq!(fetch("none/deeper", 4).unwrap(), None);
        assert!(matches!(fetch("", 4), Err(FetchError::Read { .. })), "a directory");
    }
}
