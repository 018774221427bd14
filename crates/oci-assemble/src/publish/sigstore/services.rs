//! Where certificates, log entries and timestamps are had.

use std::fmt;
use std::time::Duration;

use reqwest::redirect::Policy;
use sigstore_trust_root::{SIGSTORE_PRODUCTION_SIGNING_CONFIG, SigningConfig};

use super::retry::Retry;

/// Time to connect. Ten times what a slow link takes.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for a whole request. Rekor answers when the entry is in the log, which takes seconds.
const REQUEST: Duration = Duration::from_mins(1);

/// The services of a keyless signature.
#[derive(Clone, Debug)]
pub struct Services {
    /// Certificate authority.
    pub fulcio: String,
    /// Transparency log.
    pub rekor: Rekor,
    /// Timestamp authority (RFC 3161); needed with logs of version 2.
    pub tsa: Option<String>,
    /// How often they are asked.
    pub retry: Retry,
}

/// A transparency log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekor {
    /// Base URL.
    pub url: String,
    /// What it speaks.
    pub version: RekorVersion,
}

/// The interface of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RekorVersion {
    /// Promises inclusion with a time; the legacy form needs it.
    V1,
    /// Proves inclusion and knows no time.
    V2,
}

/// The largest statement that a log of version 1 is sent whole, in bytes. The public one takes about a hundred kilobytes in one
/// request, and base64 adds a third.
const LARGEST_LOGGED: usize = 64 << 10;

impl RekorVersion {
    /// The largest statement that such a log is given, in bytes; `None` where it gets a digest only.
    pub fn largest_statement(self) -> Option<usize> {
        (self == Self::V1).then_some(LARGEST_LOGGED)
    }
}

/// Which services cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServicesError {
    /// Not a signing configuration (`signing_config.v0.2.json`).
    #[error("it is not a signing configuration")]
    Config(#[source] sigstore_trust_root::Error),
    /// The configuration names no such service that is valid now.
    #[error("it names no {service} that can be used")]
    None {
        /// Which.
        service: Service,
    },
    /// The URL is not one, or would send a token in the clear.
    #[error("{url:?} is not an https URL (http is for this machine only)")]
    Url {
        /// The URL.
        url: String,
    },
    /// No timestamps with a log that knows no time.
    #[error("a log of version 2 needs a timestamp authority")]
    NoTimestamps,
}

/// A kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The certificate authority.
    Fulcio,
    /// The transparency log.
    Rekor,
    /// The timestamp authority.
    Timestamps,
    /// The provider of identity tokens.
    Tokens,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fulcio => "certificate authority (Fulcio)",
            Self::Rekor => "transparency log (Rekor)",
            Self::Timestamps => "timestamp authority",
            Self::Tokens => "provider of identity tokens",
        })
    }
}

/// A service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the {service} did not answer as it should")]
pub struct ServiceError {
    /// Which.
    pub service: Service,
    /// Status of the answer, when there was one.
    pub status: Option<u16>,
    /// Whether there was no answer at all.
    pub silent: bool,
    /// What it said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl ServiceError {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        self.silent || self.status.is_some_and(|status| status >= 500 || matches!(status, 408 | 429))
    }

    /// Whether the identity was not accepted.
    pub fn is_denied(&self) -> bool {
        matches!(self.status, Some(401 | 403)) || (self.service == Service::Fulcio && self.status == Some(400))
    }

    pub(super) fn fulcio(error: sigstore_fulcio::Error) -> Self {
        use sigstore_fulcio::Error::{Http, Status};
        let status = if let Status { status, .. } = &error { Some(*status) } else { None };
        Self { service: Service::Fulcio, status, silent: matches!(error, Http(_)), source: error.into() }
    }

    pub(super) fn rekor(error: sigstore_rekor::Error) -> Self {
        use sigstore_rekor::Error::{Http, Status};
        let status = if let Status { status, .. } = &error { Some(*status) } else { None };
        Self { service: Service::Rekor, status, silent: matches!(error, Http(_)), source: error.into() }
    }

    pub(super) fn tsa(error: sigstore_tsa::Error) -> Self {
        let silent = matches!(error, sigstore_tsa::Error::Http(_));
        Self { service: Service::Timestamps, status: None, silent, source: error.into() }
    }

    pub(super) fn http(service: Service, error: reqwest::Error) -> Self {
        let status = error.status().map(|status| status.as_u16());
        // The URL may hold what nobody else should see.
        Self { service, status, silent: status.is_none(), source: error.without_url().into() }
    }
}

impl Services {
    /// The services of sigstore's public instance, as they stood when this program was made, with a log of `version`.
    pub fn public_good(version: RekorVersion) -> Result<Self, ServicesError> {
        Self::from_config(SIGSTORE_PRODUCTION_SIGNING_CONFIG, version)
    }

    /// The services of a signing configuration (JSON, as `cosign signing-config create` writes it), with a log of `version`.
    pub fn from_config(text: &str, version: RekorVersion) -> Result<Self, ServicesError> {
        let config = SigningConfig::from_json(text).map_err(ServicesError::Config)?;
        let none = |service| move || ServicesError::None { service };
        let major = match version {
            RekorVersion::V1 => 1,
            RekorVersion::V2 => 2,
        };
        let services = Self {
            fulcio: config.fulcio_url().ok_or_else(none(Service::Fulcio))?.url.clone(),
            rekor: Rekor { url: config.rekor_url(Some(major)).ok_or_else(none(Service::Rekor))?.url.clone(), version },
            tsa: config.tsa_url().map(|endpoint| endpoint.url.clone()),
            retry: Retry::default(),
        };
        services.check()?;
        Ok(services)
    }

    /// Whether a signature can be made with them.
    pub fn check(&self) -> Result<(), ServicesError> {
        for url in [Some(&self.fulcio), Some(&self.rekor.url), self.tsa.as_ref()].into_iter().flatten() {
            is_safe(url)?;
        }
        if self.rekor.version == RekorVersion::V2 && self.tsa.is_none() {
            return Err(ServicesError::NoTimestamps);
        }
        Ok(())
    }
}

/// Tokens go to these URLs: over TLS, or not beyond this machine.
pub(super) fn is_safe(url: &str) -> Result<(), ServicesError> {
    let refused = || ServicesError::Url { url: url.to_owned() };
    let parsed = reqwest::Url::parse(url).map_err(|_| refused())?;
    let local = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if local => Ok(()),
        _ => Err(refused()),
    }
}

/// The client that all of them are reached with. Redirects are not followed: a token is for the one that was named.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    let agent = concat!("assemble/", env!("CARGO_PKG_VERSION"));
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(REQUEST)
        .redirect(Policy::none())
        .user_agent(agent)
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_does_not_travel_in_the_clear() {
        for url in ["https://fulcio.example.com", "http://127.0.0.1:5000", "http://[::1]:5000", "http://localhost"] {
            is_safe(url).unwrap();
        }
        for url in ["http://fulcio.example.com", "ftp://localhost", "fulcio", "http://127.0.0.1.example.com"] {
            assert!(is_safe(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_public_instance_has_a_log_of_version_1() {
        let services = Services::public_good(RekorVersion::V1).unwrap();
        assert_eq!(services.fulcio, "https://fulcio.sigstore.dev");
        assert_eq!(services.rekor.url, "https://rekor.sigstore.dev");
        assert!(services.tsa.is_some());
    }

    #[test]
    fn a_log_without_time_needs_an_authority_for_it() {
        let rekor = Rekor { url: "https://rekor.example.com".into(), version: RekorVersion::V2 };
        let services =
            Services { fulcio: "https://fulcio.example.com".into(), rekor, tsa: None, retry: Retry::default() };
        assert!(matches!(services.check(), Err(ServicesError::NoTimestamps)));
    }
}
