//! Names and passwords, and who has them.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What proves who we are. Never shown.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A name and a password, or a name and a token in the place of one.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A refresh token for the registry's token server (OAuth 2).
    Identity {
        /// The token.
        token: String,
    },
}

impl Credential {
    /// The value of an `Authorization` header (RFC 7617); none for identity tokens, which only token servers take.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { name, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
            }
            Self::Identity { .. } => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Identity { .. } => "Identity",
        })
    }
}

/// Why credentials could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeychainError {
    /// A file of credentials that cannot be read.
    #[error("cannot read {file}: {what}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it. Never a part of it.
        what: &'static str,
    },
    /// A credential helper whose name is no plain word.
    #[error("{name:?} is no name of a credential helper")]
    Name {
        /// The name.
        name: String,
    },
    /// A credential helper that failed.
    #[error("docker-credential-{name} failed")]
    Helper {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Has credentials for repositories.
///
/// Law: equal arguments give equal answers for as long as the keychain lives, but for secrets that expire. May start a
/// program, so it is asked once for each repository.
pub trait Keychain: Send + Sync {
    /// The credentials for a repository of the registry at `host`, which is as references spell it.
    fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, KeychainError>;
}

/// Knows nobody: everything is done anonymously.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Keychain for Anonymous {
    fn find(&self, _host: &str, _repository: &str) -> Result<Option<Credential>, KeychainError> {
        Ok(None)
    }
}

/// Runs credential helpers (docker-credential-NAME). This crate starts no programs, so the caller does.
pub trait CredentialHelper: Send + Sync {
    /// Asks the helper for the credentials of a server; what it wrote to standard output, or `None` when it has none.
    fn ask(&self, name: &str, server: &str) -> Result<Option<Vec<u8>>, KeychainError>;
}
