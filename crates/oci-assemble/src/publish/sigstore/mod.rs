//! Sigstore's services and formats; the only module that knows the crates they come from.
//!
//! # Why these crates
//!
//! The family `sigstore-*` 0.15.1 (sigstore-rust) takes GitLab's tokens, speaks Rekor v1 and v2 and to timestamp
//! authorities, reads bundles up to version 0.3 and verifies them offline; its parser and verifier were audited. The older
//! crate `sigstore` (0.14) refuses GitLab's tokens, cannot store a keyless signature in a registry and does not
//! build beside current releases of its own dependencies. The family changes its interface every few weeks, so its version is pinned and
//! everything else here speaks of the values below.
//!
//! What it does not do is done by us: the legacy form of cosign (annotations instead of a bundle), encrypted
//! keys, verification with a key alone. Its crate `sigstore-sign` is not used: it drops the certificate chain, which
//! policies of hosts need, and logs envelopes in an order of fields that other verifiers refuse.
//!
//! # Clock
//!
//! `sigstore-verify` compares times of logs with the clock of the machine: an entry from the future is refused. Nothing
//! else here reads a clock.

mod annotations;
mod cosign_key;
mod key;
mod keyless;
mod proof;
mod refusal;
mod retry;
mod services;
mod trust;

pub use key::{KeyError, PublicKey, SigningKey};
pub use keyless::{Session, Token, TokenError, github_token};
pub use proof::{CertifiedIdentity, Entry, Message, Proof};
pub use refusal::Refusal;
pub use retry::Retry;
pub use services::{Rekor, RekorVersion, Service, ServiceError, Services, ServicesError};
pub use trust::{Evidence, TrustError, TrustRoot, Vouched};

pub(in crate::publish) use annotations::{PREDICATE_TYPE, SIGNATURE};
pub(in crate::publish) use proof::BUNDLE_TYPE;
pub(in crate::publish) use trust::LARGEST;
