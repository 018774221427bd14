//! What a client needs to know, as one value.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use super::retry::RetryPolicy;

/// How registries are talked to.
#[derive(Clone)]
pub struct ClientOptions {
    /// Registries without TLS: http instead of https for every registry named.
    pub plain_http: bool,
    /// Certificates to trust beside the system's: PEM, one or several in each.
    pub roots: Vec<Vec<u8>>,
    /// Hosts beside the registry's own that may get its passwords for a token.
    pub token_hosts: BTreeSet<String>,
    /// Proxies.
    pub proxies: Proxies,
    /// When and how often to try again.
    pub retry: RetryPolicy,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Requests at the same time.
    pub connections: NonZero<usize>,
    /// Bytes of one request of an upload that is split, because the registry refuses it whole.
    pub chunk: u64,
    /// What the client calls itself.
    pub user_agent: String,
    /// A seed for the jitter of waits. Two programs that start together should have two.
    pub seed: u64,
    /// Hears what happens.
    pub listener: Option<Listener>,
}

/// Hears what happens while it happens.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("plain_http", &self.plain_http)
            .field("token_hosts", &self.token_hosts)
            .field("retry", &self.retry)
            .field("timeouts", &self.timeouts)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            plain_http: false,
            roots: Vec::new(),
            token_hosts: BTreeSet::new(),
            proxies: Proxies::default(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            // Registries limit how many connections one client may have; six is what container tools open.
            connections: NonZero::<usize>::MIN.saturating_add(5),
            // Above it proxies in front of registries refuse; far above what a round trip costs.
            chunk: 64 << 20,
            user_agent: concat!("assemble/", env!("CARGO_PKG_VERSION")).into(),
            seed: 0,
            listener: None,
        }
    }
}

/// Proxies, as URLs. None are used that are not given here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For registries without TLS.
    pub http: Option<String>,
    /// For registries with TLS.
    pub https: Option<String>,
    /// Hosts that are reached without one, separated by commas.
    pub except: Option<String>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes, and for the answer to a request without a body.
    pub idle: Duration,
    /// For a token, from the request to its last byte.
    pub token: Duration,
    /// The slowest transfer that is waited for, in bytes a second: a blob may take as long as that makes it, and
    /// [`Timeouts::idle`] on top.
    pub slowest: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            idle: Duration::from_mins(1),
            token: Duration::from_secs(30),
            slowest: 64 << 10,
        }
    }
}

impl Timeouts {
    /// How long a transfer of `size` bytes may take.
    pub(super) fn transfer(&self, size: u64) -> Duration {
        self.idle.saturating_add(Duration::from_secs(size / self.slowest.max(1)))
    }
}

/// Something that happened while talking to registries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A request failed and will be tried again.
    Retry {
        /// What failed, as one line.
        cause: String,
        /// In how long.
        wait: Duration,
    },
    /// Bytes of a blob went to a registry.
    Sent {
        /// How many, since the last such event.
        bytes: u64,
    },
    /// Bytes of a blob came from a registry.
    Received {
        /// How many, since the last such event.
        bytes: u64,
    },
}
