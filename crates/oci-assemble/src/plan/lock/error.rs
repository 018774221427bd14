//! Why a text is no lock.

/// A text that is no lock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct LockError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: LockFault,
}

/// What is wrong with a lock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockFault {
    /// More bytes than any lock has.
    #[error("the lock is larger than {limit} bytes")]
    TooLarge {
        /// The most that are read.
        limit: usize,
    },
    /// Another version of the format.
    #[error("this is a lock of schema {found}; this version reads schema {expected}")]
    Schema {
        /// What stands there.
        found: i64,
        /// What is read.
        expected: i64,
    },
    /// Not TOML, an unknown key, a value of another type or form.
    #[error("{message}")]
    Form {
        /// What the parser says.
        message: String,
    },
    /// The digest of the recipe is not that of its files.
    #[error(
        "the digest of the recipe is not that of the files below [recipes]: the lock was changed by hand, or merged"
    )]
    Recipe,
}
