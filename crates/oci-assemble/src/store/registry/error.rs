//! What goes wrong between us and a registry.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::challenge::ChallengeError;
use super::credential::KeychainError;
use super::origin::OriginFault;
use crate::image::{Digest, DocumentError};
use crate::store::error::StoreError;

/// Why a registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The connection failed: no route, no such name, a reset, a certificate that is not trusted.
    #[error("cannot talk to {host}")]
    Network {
        /// Whom we talked to.
        host: String,
        /// Whether another try may go better.
        transient: bool,
        /// What the network said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nothing moved for too long.
    #[error("{host} did not {what} within {} s", .after.as_secs_f32())]
    Timeout {
        /// Whom we waited for.
        host: String,
        /// What it should have done.
        what: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// An answer that says no.
    #[error("{request} was answered with {status}{}", shown(.message))]
    Status {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The registry's codes and messages, cut to a line.
        message: String,
        /// When the registry wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Nothing has that name.
    #[error("there is no {reference}")]
    Absent {
        /// The name.
        reference: String,
    },
    /// 401, also with a fresh token.
    #[error("{host} wants {}", wanted(*.with))]
    Unauthorized {
        /// The registry or its token server.
        host: String,
        /// For which repository, with the registry in front.
        repository: String,
        /// Whether credentials were given.
        with: bool,
        /// What it said.
        message: String,
    },
    /// The registry sends us where we do not go, or not with a password.
    #[error("{host} sends its {what} to {target}")]
    Origin {
        /// The registry.
        host: String,
        /// What it wanted to have there: tokens, uploads, downloads.
        what: &'static str,
        /// Scheme and host it named.
        target: String,
        /// Why not.
        #[source]
        fault: OriginFault,
    },
    /// The way to authenticate cannot be read.
    #[error("cannot read how {host} wants to be authenticated to")]
    Challenge {
        /// The registry.
        host: String,
        /// Why not.
        #[source]
        source: ChallengeError,
    },
    /// An answer with more bytes than such an answer has.
    #[error("{request} was answered with more than {limit} bytes")]
    TooLarge {
        /// Method and path.
        request: String,
        /// Bytes accepted.
        limit: usize,
    },
    /// An answer that no registry should give.
    #[error("{request} was answered without {missing}")]
    Protocol {
        /// Method and path.
        request: String,
        /// What is missing or wrong.
        missing: &'static str,
    },
    /// The registry says that it stored, or has, something else.
    #[error("{host} says {found} where it was asked for {expected}")]
    Digest {
        /// The registry.
        host: String,
        /// What was sent or asked for.
        expected: Box<Digest>,
        /// What it says.
        found: String,
    },
    /// A document from the registry is not what it should be.
    #[error("{request} was answered with no document of that kind")]
    Document {
        /// Method and path.
        request: String,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// JSON that cannot be read.
    #[error("{request} was answered with no JSON of the form expected")]
    Json {
        /// Method and path.
        request: String,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Credentials could not be had.
    #[error("cannot get credentials for {host}")]
    Keychain {
        /// The registry.
        host: String,
        /// Why not.
        #[source]
        source: KeychainError,
    },
    /// A blob to be sent cannot be read here.
    #[error("cannot read blob {digest} to send it")]
    Local {
        /// Which.
        digest: Box<Digest>,
        /// Why not.
        #[source]
        source: Box<StoreError>,
    },
    /// A registry forgot an upload that it had begun, or lost count of its bytes.
    #[error("the registry lost an upload: {request} was answered with {answer}")]
    Session {
        /// What was asked.
        request: String,
        /// What it answered.
        answer: String,
    },
    /// The client cannot be made.
    #[error("cannot make the HTTP client: {what}")]
    Client {
        /// What could not be made.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The result of asking a registry.
pub(super) type Result<T> = std::result::Result<T, RegistryError>;

fn shown(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn wanted(with: bool) -> &'static str {
    if with { "other credentials" } else { "credentials" }
}

impl RegistryError {
    /// Whether the same request may succeed later.
    ///
    /// Statuses as the table of go-containerregistry has them, and 429: 408, 429, 499, 500, 502, 503, 504, 522.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { transient, .. } => *transient,
            // A session of its own is all that a new try needs.
            Self::Timeout { .. } | Self::Session { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522),
            // A proxy in front of a registry that restarts answers with half of what it should.
            Self::Protocol { missing, .. } => *missing == LOCATION,
            _ => false,
        }
    }

    /// Whether the registry said that it does not have what was asked for.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Status { status: 404, .. })
    }

    /// Whether permission is what lacks.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Status { status: 401 | 403, .. })
    }

    /// The HTTP status, where that was the trouble.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Unauthorized { .. } => Some(401),
            _ => None,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What [`RegistryError::Protocol`] misses when the header of that name is not there.
pub(super) const LOCATION: &str = "a Location";

/// The registry's own words in an error body (distribution-spec, "Error Codes"): codes and messages on one line, without
/// what could steer a terminal. Anything else than that JSON says nothing.
pub(super) fn words(body: &[u8]) -> String {
    /// Characters that are kept.
    const LIMIT: usize = 300;
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return String::new() };
    let errors = value.get("errors").and_then(serde_json::Value::as_array);
    let text = |value: &serde_json::Value, key: &str| {
        let text = value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).collect::<String>()
    };
    let line = errors.into_iter().flatten().map(|error| Words(text(error, "code"), text(error, "message")).to_string());
    let line = line.collect::<Vec<_>>().join("; ");
    let line = if line.is_empty() { text(&value, "message") + &text(&value, "details") } else { line };
    line.chars().take(LIMIT).collect()
}

struct Words(String, String);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_str(), self.1.as_str()) {
            (code, "") => f.write_str(code),
            ("", message) => f.write_str(message),
            (code, message) => write!(f, "{code} ({message})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_words_are_kept_to_one_harmless_line() {
        let two = br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob \u001b[31munknown\n"},{"code":"DENIED"}]}"#;
        assert_eq!(words(two), "BLOB_UNKNOWN (blob [31munknown); DENIED");
        assert_eq!(words(br#"{"details":"incorrect username or password"}"#), "incorrect username or password");
        assert_eq!(words(b"<html>"), "");
        assert_eq!(words(format!(r#"{{"message":"{}"}}"#, "x".repeat(900)).as_bytes()).len(), 300);
    }
}
