//! Registries, by a client of our own (OCI distribution-spec).
//!
//! Why of our own: what a push of several gigabytes needs is in no crate. `oci-client` 0.18 tries nothing again, knows no
//! `Retry-After`, does not renew a token in the middle, has no timeouts, sends passwords to whatever token server a
//! registry names, reads manifests of any size into memory, takes a mount that was not made for an error, and panics
//! when a registry leaves out a header. What it does well it does by the HTTP crate that is used here.
//!
//! What holds:
//!
//! - Nothing is sent that is there, and what another repository of the registry has is mounted ([`Repository::put_blob`]).
//! - What may succeed later is tried again, after a wait with full jitter or as long as the registry asks
//!   ([`RetryPolicy`]); a refused token is renewed once; everything has a timeout ([`Timeouts`]) and a limit in bytes.
//! - Credentials go to the registry's own host and, for a token, to hosts that are known or allowed; never along a
//!   redirect or a `Location` to somebody else, and never into a log.
//! - Every byte that comes is held against a digest, and so is what a registry says that it stored.
//!
//! Nothing here reads the environment, the clock or a file: credentials come from a [`Keychain`], programs that know some
//! are run by a [`CredentialHelper`], jitter has a seed, and times are measured from one moment to the next.

mod auth;
mod auth_file;
mod challenge;
mod client;
mod connection;
mod credential;
mod download;
mod error;
mod list;
mod manifest;
mod options;
mod origin;
mod place;
mod referrer;
mod repository;
mod retry;
mod source;
mod token;
mod upload;

pub use auth_file::{AuthFile, AuthFiles, MAX_AUTH_FILE};
pub use challenge::ChallengeError;
pub use client::Client;
pub use credential::{Anonymous, Credential, CredentialHelper, Keychain, KeychainError};
pub use error::RegistryError;
pub use list::Referrers;
pub use manifest::{RemoteManifest, Stored};
pub use options::{ClientOptions, Event, Listener, Proxies, Timeouts};
pub use origin::OriginFault;
pub use referrer::fallback_tag;
pub use repository::{Access, Name, Repository};
pub use retry::RetryPolicy;
pub use source::Kept;
pub(super) use source::of_registry;
pub use upload::{Arrival, Bytes};

#[cfg(test)]
mod tests;
