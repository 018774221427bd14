//! Requests to registries: authenticated, tried again, followed where they are sent.

use std::cell::Cell;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Url};

use super::auth::Auth;
use super::connection::{Connection, Incoming, Outgoing, Payload, SendError, host_of};
use super::credential::Keychain;
use super::error::{RegistryError, Result, words};
use super::options::{ClientOptions, Event};
use super::origin::check_step;
use super::place::Place;
use super::retry::{Gate, Jitter, retry, retry_after};

/// Bytes of an error's body that are read.
const MAX_ERROR: usize = 64 << 10;
/// Redirects of one request. Registries send downloads to one other place.
const MAX_REDIRECTS: usize = 5;

/// Tries at a registry that has never answered.
const FIRST_TRIES: u32 = 3;

/// Talks to registries. Clones share connections, tokens and limits.
///
/// Its functions wait, and must not be called from within an asynchronous runtime.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    auth: Auth,
    jitter: Jitter,
    gate: Gate,
    idle: Mutex<Vec<Connection>>,
    /// Whether any request was answered.
    answered: AtomicBool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// A request without a streamed body.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) bytes: Option<&'a [u8]>,
}

impl Request<'_> {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: Vec::new(), bytes: None }
    }

    /// For errors: what was asked, without the query, which may hold a secret.
    pub(super) fn name(&self) -> String {
        name(&self.method, &self.url)
    }
}

fn name(method: &Method, url: &Url) -> String {
    format!("{method} {}{}", host_of(url), url.path())
}

/// An answer with its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A connection for one thread, given back when dropped.
pub(super) struct Lease<'c> {
    client: &'c Client,
    connection: Option<Connection>,
    broken: Cell<bool>,
}

impl Lease<'_> {
    /// Takes the connection out of use, and with it all that nobody uses now: when one broke, the registry may have gone
    /// away and come back, and the others would break in turn, a try each.
    pub(super) fn discard(&self) {
        self.broken.set(true);
        lock(&self.client.0.idle).clear();
    }
}

impl std::ops::Deref for Lease<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a lease has its connection until it is dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if !self.broken.get() {
            lock(&self.client.0.idle).extend(self.connection.take());
        }
    }
}

impl Client {
    /// A client. Nothing is asked yet.
    pub fn new(options: ClientOptions, keychain: impl Keychain + 'static) -> Self {
        let (jitter, gate) = (Jitter::new(options.seed), Gate::new(options.connections.get()));
        let auth = Auth::new(Box::new(keychain));
        Self(Arc::new(Inner { options, auth, jitter, gate, idle: Mutex::default(), answered: AtomicBool::new(false) }))
    }

    /// How it talks.
    pub fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    pub(super) fn tell(&self, event: &Event) {
        if let Some(listener) = &self.0.options.listener {
            listener(event);
        }
    }

    /// Does `work` as often as the policy says; less often when nobody there has answered yet, for then it is more likely
    /// the name that is wrong.
    pub(super) fn retry<T>(&self, work: impl FnMut(u32) -> Result<T>) -> Result<T> {
        let before = |error: &RegistryError, next, wait| {
            let nobody = matches!(error, RegistryError::Network { .. }) && !self.0.answered.load(Ordering::Relaxed);
            let worth = !nobody || next <= FIRST_TRIES;
            if worth {
                self.tell(&Event::Retry { cause: line(error), wait });
            }
            worth
        };
        retry(&self.0.options.retry, &self.0.jitter, &before, work)
    }

    pub(super) fn lease(&self) -> Result<Lease<'_>> {
        let idle = lock(&self.0.idle).pop();
        let connection = idle.map_or_else(|| Connection::new(&self.0.options), Ok)?;
        Ok(Lease { client: self, connection: Some(connection), broken: Cell::new(false) })
    }

    /// Asks, again if need be. An answer that says no is an error.
    pub(super) fn ask(&self, place: &Place, request: &Request<'_>, scopes: &[String], limit: usize) -> Result<Answer> {
        self.retry(|_| self.ask_once(place, request, scopes, limit))
    }

    /// Asks once.
    pub(super) fn ask_once(
        &self,
        place: &Place,
        request: &Request<'_>,
        scopes: &[String],
        limit: usize,
    ) -> Result<Answer> {
        let (lease, incoming) = self.open(place, request, scopes)?;
        let (status, headers) = (incoming.status, incoming.headers.clone());
        let time = self.0.options.timeouts.transfer(limit as u64);
        let body = lease.body(incoming, limit, time)?;
        let body = body.ok_or_else(|| RegistryError::TooLarge { request: request.name(), limit })?;
        Ok(Answer { status, headers, body })
    }

    /// Asks once, and leaves the body to be read. Tokens are renewed once.
    pub(super) fn open(
        &self,
        place: &Place,
        request: &Request<'_>,
        scopes: &[String],
    ) -> Result<(Lease<'_>, Incoming)> {
        let lease = self.lease()?;
        let known = self.0.auth.header(self, &lease, place, scopes)?;
        let mut incoming = self.follow(&lease, place, request, known.as_ref())?;
        if incoming.status == 401 {
            let values = incoming.headers.get_all(WWW_AUTHENTICATE);
            let values: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).collect();
            self.0.auth.learn(place, &values)?;
            let fresh = self.0.auth.renew(self, &lease, place, scopes, known.as_ref())?;
            if let Some(fresh) = fresh {
                incoming = self.follow(&lease, place, request, Some(&fresh))?;
            }
        }
        self.check(&lease, place, &request.name(), incoming).map(|incoming| (lease, incoming))
    }

    /// Sends exactly `size` bytes of `reader`, once. `url` was named by the registry and passed by [`check_step`].
    pub(super) fn stream(
        &self,
        place: &Place,
        mut outgoing: Outgoing<'_>,
        scopes: &[String],
        authenticated: bool,
    ) -> std::result::Result<Answer, SendError> {
        let lease = self.lease()?;
        let header = if authenticated { self.0.auth.header(self, &lease, place, scopes)? } else { None };
        outgoing.headers.extend(header.clone().map(|value| (AUTHORIZATION, value)));
        let request = name(&outgoing.method, &outgoing.url);
        let incoming = self.send(&lease, outgoing)?;
        if incoming.status == 401 {
            // The whole upload is done again; until then there may be a token that is good for it.
            self.0.auth.forget(place, scopes, header.as_ref());
        }
        let incoming = self.check(&lease, place, &request, incoming)?;
        Ok(Answer { status: incoming.status, headers: incoming.headers, body: Vec::new() })
    }

    /// One request, one answer.
    pub(super) fn send(&self, lease: &Lease<'_>, outgoing: Outgoing<'_>) -> std::result::Result<Incoming, SendError> {
        // Reading is not held up: what is sent may be read from another repository by this client, and would wait for itself.
        let _pass = (outgoing.method != Method::GET).then(|| self.0.gate.enter());
        let sent = lease.send(outgoing, self.0.options.timeouts.idle, &|bytes| self.tell(&Event::Sent { bytes }));
        if matches!(sent, Err(SendError::Registry(_))) {
            lease.discard();
        }
        let incoming = sent?;
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.gate.heard(incoming.status == 429);
        Ok(incoming)
    }

    fn follow(
        &self,
        lease: &Lease<'_>,
        place: &Place,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Incoming> {
        let mut url = request.url.clone();
        let mut own = check_step(&place.base, &url).map_err(|fault| origin(place, "request", &url, fault))?;
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = request.headers.clone();
            headers.extend(authorization.filter(|_| own).map(|value| (AUTHORIZATION, value.clone())));
            let payload = request.bytes.map_or(Payload::None, Payload::Bytes);
            let outgoing = Outgoing { method: request.method.clone(), url: url.clone(), headers, payload };
            let incoming = self.send(lease, outgoing).map_err(|error| no_stream(error, &url))?;
            let reads = matches!(request.method, Method::GET | Method::HEAD);
            if !reads || !matches!(incoming.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(incoming);
            }
            url = location(&incoming.headers, &url)
                .ok_or_else(|| RegistryError::Protocol { request: request.name(), missing: super::error::LOCATION })?;
            let back = check_step(&place.base, &url).map_err(|fault| origin(place, "downloads", &url, fault))?;
            // Who has been elsewhere comes back without credentials.
            own = own && back;
        }
        Err(RegistryError::Protocol { request: request.name(), missing: "an end to its redirects" })
    }

    /// An answer that says no, as an error.
    fn check(&self, lease: &Lease<'_>, place: &Place, request: &str, incoming: Incoming) -> Result<Incoming> {
        if incoming.status < 300 {
            return Ok(incoming);
        }
        let (status, headers) = (incoming.status, incoming.headers.clone());
        let time = self.0.options.timeouts.transfer(MAX_ERROR as u64);
        let body = lease.body(incoming, MAX_ERROR, time).ok().flatten().unwrap_or_default();
        let message = words(&body);
        if status == 401 {
            let with = self.0.auth.has(place)?;
            return Err(RegistryError::Unauthorized {
                host: place.host.clone(),
                repository: place.name(),
                with,
                message,
            });
        }
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let retry_after = text(RETRY_AFTER).and_then(|value| retry_after(value, text(DATE)));
        Err(RegistryError::Status { request: request.to_owned(), status, message, retry_after })
    }
}

/// What went wrong with a request whose body cannot go wrong.
pub(super) fn no_stream(error: SendError, url: &Url) -> RegistryError {
    match error {
        SendError::Registry(error) => error,
        SendError::Local(error) => {
            RegistryError::Network { host: host_of(url), transient: false, source: error.into() }
        }
    }
}

/// The `Location` of an answer to a request to `url`.
pub(super) fn location(headers: &HeaderMap, url: &Url) -> Option<Url> {
    url.join(headers.get(LOCATION)?.to_str().ok()?).ok()
}

pub(super) fn origin(place: &Place, what: &'static str, url: &Url, fault: super::origin::OriginFault) -> RegistryError {
    let target = format!("{}://{}", url.scheme(), host_of(url));
    RegistryError::Origin { host: place.host.clone(), what, target, fault }
}

/// An error with its causes, on one line.
fn line(error: &RegistryError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a reader of a streamed body is.
pub(super) type Body<'a> = &'a mut (dyn Read + Send);

/// How long to wait for a token.
pub(super) fn token_time(client: &Client) -> Duration {
    client.0.options.timeouts.token
}
