//! One HTTP connection after another, driven by the thread that uses it.
//!
//! The HTTP crate is asynchronous. Each connection here has a runtime of its own that runs only while its thread waits
//! for it, and nothing asynchronous is visible outside. A streamed body is read by a thread of its own. A connection is used
//! by one thread at a time and kept for the next.

use std::cell::OnceCell;
use std::error::Error;
use std::future::Future;
use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, NoProxy, Proxy, Response, Url, redirect};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::{RegistryError, Result};
use super::options::{ClientOptions, Timeouts};

/// Bytes read from a file and handed to the connection at once.
const PIECE: usize = 256 << 10;

/// What goes out.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) payload: Payload<'a>,
}

/// The body of a request.
pub(super) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    /// Exactly so many bytes.
    Stream(u64, &'a mut (dyn Read + Send)),
}

/// What comes back, before its body is read.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    response: Response,
}

/// Why nothing came back.
#[derive(Debug)]
pub(super) enum SendError {
    /// The network's fault.
    Registry(RegistryError),
    /// The body could not be read.
    Local(io::Error),
}

impl From<RegistryError> for SendError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

pub(super) struct Connection {
    runtime: Runtime,
    options: ClientOptions,
    /// Without TLS and with: the latter reads all certificates of the machine, which whoever needs none is spared.
    plain: OnceCell<Client>,
    secure: OnceCell<Client>,
}

impl Connection {
    /// Connects to nothing yet.
    pub(super) fn new(options: &ClientOptions) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unmade("its runtime")(error.into()))?;
        Ok(Self { runtime, options: options.clone(), plain: OnceCell::new(), secure: OnceCell::new() })
    }

    fn client(&self, url: &Url) -> Result<&Client> {
        // A proxy may be spoken to with TLS when the registry behind it is not.
        let by_proxy = self.options.proxies.http.as_deref().is_some_and(|proxy| proxy.starts_with("https:"));
        let tls = url.scheme() == "https" || by_proxy;
        let cell = if tls { &self.secure } else { &self.plain };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let client = make(&self.options, tls)?;
        Ok(cell.get_or_init(|| client))
    }

    /// Sends a request and waits for the head of the answer: `answer` long, but for a streamed body as long as that may
    /// take. `sent` hears of the bytes of such a body.
    pub(super) fn send(
        &self,
        outgoing: Outgoing<'_>,
        answer: Duration,
        sent: &dyn Fn(u64),
    ) -> std::result::Result<Incoming, SendError> {
        let host = host_of(&outgoing.url);
        let mut builder = self.client(&outgoing.url)?.request(outgoing.method, outgoing.url);
        for (name, value) in outgoing.headers {
            builder = builder.header(name, value);
        }
        let failed = |error: reqwest::Error| SendError::Registry(network(&host, error));
        let silent = |after| SendError::Registry(RegistryError::Timeout { host: host.clone(), what: "answer", after });
        let response = match outgoing.payload {
            Payload::Stream(size, reader) => {
                let (pipe, taken) = mpsc::channel(1);
                let (feed, pieces) = mpsc::channel(1);
                let body = reqwest::Body::wrap(Pieces { pieces, left: size });
                let sending = builder.header(CONTENT_LENGTH, size).body(body).send();
                let Timeouts { idle, .. } = self.options.timeouts;
                let limit = self.options.timeouts.transfer(size);
                // Another thread reads, for what it reads may come through a connection of its own, and two runtimes do not
                // run on one thread. It ends when nobody takes its pieces any more.
                std::thread::scope(|scope| {
                    scope.spawn(move || pump(size, reader, &pipe));
                    self.runtime.block_on(async {
                        let mut sending = pin!(sending);
                        let relaying = pin!(relay(taken, feed, idle, &host, sent));
                        tokio::select! {
                            biased;
                            // An answer before the end of the body says that the rest is not wanted.
                            response = &mut sending => response.map_err(failed),
                            relayed = relaying => {
                                relayed?;
                                // Registries move a blob to its place before they answer, which takes as its size.
                                timeout(limit, sending).await.map_err(|_| silent(limit))?.map_err(failed)
                            }
                            () = tokio::time::sleep(limit) => Err(silent(limit)),
                        }
                    })
                })?
            }
            payload => {
                if let Payload::Bytes(bytes) = payload {
                    builder = builder.body(bytes.to_vec());
                }
                let response = self.wait(answer, builder.send()).ok_or_else(|| silent(answer))?;
                response.map_err(failed)?
            }
        };
        Ok(Incoming { status: response.status().as_u16(), headers: response.headers().clone(), response })
    }

    fn wait<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async { timeout(limit, work).await }).ok()
    }

    /// The next bytes of a body; empty at its end.
    pub(super) fn next(&self, incoming: &mut Incoming) -> Result<Bytes> {
        let host = host_of(incoming.response.url());
        let after = self.options.timeouts.idle;
        match self.wait(after, incoming.response.chunk()) {
            Some(Ok(bytes)) => Ok(bytes.unwrap_or_default()),
            Some(Err(error)) => Err(network(&host, error)),
            None => Err(RegistryError::Timeout { host, what: "send more", after }),
        }
    }

    /// The whole body, which may have at most `limit` bytes, within `time`; `None` when it has more.
    pub(super) fn body(&self, mut incoming: Incoming, limit: usize, time: Duration) -> Result<Option<Vec<u8>>> {
        let mut whole = Vec::new();
        let begun = Instant::now();
        loop {
            let bytes = self.next(&mut incoming)?;
            if begun.elapsed() > time {
                let host = host_of(incoming.response.url());
                return Err(RegistryError::Timeout { host, what: "come to an end", after: time });
            }
            if bytes.is_empty() {
                return Ok(Some(whole));
            }
            if whole.len() + bytes.len() > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&bytes);
        }
    }
}

/// Redirects are followed by our own rules, and proxies are those we are given. A connection goes when its thread has not
/// used it for a while: registries close idle ones after a minute or so.
fn make(options: &ClientOptions, tls: bool) -> Result<Client> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(options.timeouts.connect)
        .pool_idle_timeout(Duration::from_secs(20))
        .tcp_nodelay(true)
        .user_agent(&options.user_agent);
    let except = || options.proxies.except.as_deref().and_then(NoProxy::from_string);
    if let Some(url) = &options.proxies.http {
        let proxy = Proxy::http(url).map_err(|error| unmade("the proxy for http")(error.into()))?;
        builder = builder.proxy(proxy.no_proxy(except()));
    }
    if let Some(url) = &options.proxies.https {
        let proxy = Proxy::https(url).map_err(|error| unmade("the proxy for https")(error.into()))?;
        builder = builder.proxy(proxy.no_proxy(except()));
    }
    if !tls {
        let built = builder.tls_certs_only([]).build();
        return built.map_err(|error| unmade("the part for http")(error.into()));
    }
    let mut roots = Vec::new();
    for pem in &options.roots {
        let bundle = Certificate::from_pem_bundle(pem);
        roots.extend(bundle.map_err(|error| unmade("a certificate to trust")(error.into()))?);
    }
    if !roots.is_empty() {
        builder = builder.tls_certs_merge(roots);
    }
    builder.build().map_err(|error| unmade("the part for https")(error.into()))
}

/// Reads a body of `size` bytes piece by piece, until nobody takes them.
fn pump(size: u64, reader: &mut (dyn Read + Send), pipe: &mpsc::Sender<io::Result<Bytes>>) {
    let mut left = size;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
        let mut piece = Vec::with_capacity(room);
        let read = match (&mut *reader).take(room as u64).read_to_end(&mut piece) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        left -= read.as_ref().map_or(left, |read| *read as u64);
        if pipe.blocking_send(read.map(|_| piece.into())).is_err() {
            return;
        }
    }
}

/// Hands pieces on to the connection. Whoever does not take them says why elsewhere.
async fn relay(
    mut taken: mpsc::Receiver<io::Result<Bytes>>,
    feed: mpsc::Sender<Bytes>,
    idle: Duration,
    host: &str,
    sent: &dyn Fn(u64),
) -> std::result::Result<(), SendError> {
    while let Some(piece) = taken.recv().await {
        let piece = piece.map_err(SendError::Local)?;
        let size = piece.len() as u64;
        match timeout(idle, feed.send(piece)).await {
            Ok(Ok(())) => sent(size),
            // The connection is gone or the answer is there: the other side of the select has it.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => {
                let error = RegistryError::Timeout { host: host.to_owned(), what: "take more", after: idle };
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// A body of known size that comes in pieces.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(bytes) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Some(Ok(Frame::data(bytes)))
            }
            None if self.left > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Host and port, as errors name them.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn unmade(what: &'static str) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> RegistryError {
    move |source| RegistryError::Client { what, source }
}

/// What the HTTP crate says went wrong. Its text has the URL, and with it what may be a secret of a token server.
fn network(host: &str, error: reqwest::Error) -> RegistryError {
    let transient = !error.is_builder() && !is_refusal(&error);
    RegistryError::Network { host: host.to_owned(), transient, source: error.without_url().into() }
}

/// Certificates and protocols that do not fit will not fit the next time.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        cause = match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::InvalidData => return true,
            // An error of the system gives the source of what is in it, and passes over that itself.
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}
