//! Why metadata of a repository could not be read.

use std::fmt;
use std::io;

use oci_assemble::image::Digest;

use crate::version::VersionError;

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line, counted from 1.
    Line(u64),
    /// A byte of the plain file, counted from 0.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(line) => write!(f, ", line {line}"),
            Self::Byte(byte) => write!(f, ", byte {byte}"),
        }
    }
}

/// Why metadata of a repository could not be read, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {file}{place}")]
pub struct RepositoryError {
    /// The file, as the caller named it.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What is wrong.
    #[source]
    pub fault: Box<RepositoryFault>,
}

impl RepositoryError {
    pub(super) fn new(file: &str, place: Place, fault: RepositoryFault) -> Self {
        Self { file: file.to_owned(), place, fault: Box::new(fault) }
    }
}

/// What is wrong with metadata of a repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryFault {
    /// The bytes could not be had, or not be decompressed.
    #[error("its bytes cannot be read")]
    Bytes(#[source] io::Error),
    /// A limit of this reader.
    #[error("it has more than {limit} {what}")]
    TooMuch {
        /// The limit.
        limit: u64,
        /// What is counted.
        what: &'static str,
    },
    /// No XML.
    #[error("it is no XML")]
    Xml(#[source] Box<quick_xml::Error>),
    /// It ends before what it began is complete.
    #[error("it ends in the middle")]
    Truncated,
    /// Another kind of file.
    #[error("it does not begin with {expected}")]
    OtherKind {
        /// How such files begin.
        expected: &'static str,
    },
    /// A line of another form than the format has.
    #[error("expected {expected}")]
    Syntax {
        /// What should be there.
        expected: &'static str,
    },
    /// Something that the format requires is not there.
    #[error("{owner} has no {key}")]
    Missing {
        /// What should have it.
        owner: String,
        /// What is missing.
        key: &'static str,
    },
    /// A key that is given twice.
    #[error("{0} is given twice")]
    Twice(String),
    /// A value of another form than its key has.
    #[error("{key} is {value:?}, not {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value, cut.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A version that breaks the family's rules.
    #[error("a version is wrong")]
    Version(#[from] VersionError),
    /// A digest of unknown algorithm, or of wrong length.
    #[error("{0:?} is no SHA-256 or SHA-512 digest")]
    Digest(String),
    /// A location outside the repository.
    #[error("{0:?} is no path inside the repository")]
    Location(String),
    /// Other bytes than the pinned ones.
    #[error("it is {found}, not {expected}")]
    OtherBytes {
        /// The pinned digest.
        expected: Digest,
        /// That of the bytes.
        found: Digest,
    },
    /// A variable that nobody gave a value to.
    #[error("the variable {0} has no value")]
    Variable(String),
}
