//! A registry in this process, on a port of this machine that is free.
//!
//! It keeps what the distribution-spec says, with or without the list of referrers and with or without tokens, holds
//! everything in memory, writes down what it was asked, and fails where a script says so.

mod http;
mod serve;
mod state;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::http::Asked;
use self::state::State;

/// What a registry of the tests is like.
#[derive(Clone, Default)]
pub struct Settings {
    /// Whether it lists referrers, and takes note of subjects.
    pub referrers: bool,
    /// Whom it lets in.
    pub auth: AuthSettings,
    /// Tags or referrers on one page; all of them without.
    pub page: Option<usize>,
    /// What fails: decided for each request before it is served.
    pub script: Option<Arc<Script>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("referrers", &self.referrers).field("auth", &self.auth).finish_non_exhaustive()
    }
}

/// Decides what becomes of a request.
pub type Script = dyn Fn(&Asked) -> Act + Send + Sync;

/// Whom a registry lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuthSettings {
    /// Everybody.
    #[default]
    Open,
    /// Who gives this name and password with each request.
    Basic(String, String),
    /// Who has a token from its server, which gives one for this name and password, and to pull for nothing; a token is
    /// good for so many requests. `realm` names another server than the registry itself.
    Bearer {
        /// The name.
        name: String,
        /// The password.
        password: String,
        /// Requests that a token is good for.
        uses: usize,
        /// The token server; the registry itself without.
        realm: Option<String>,
    },
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Act {
    /// It is served.
    #[default]
    Serve,
    /// It is answered with a status, headers and a body instead.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// The connection is closed when so many bytes of its body have been read.
    Reset(usize),
    /// It is served, and the connection closed before the answer.
    Swallow,
    /// It is served, and the connection closed after so many bytes of the answer's body.
    Cut(usize),
    /// It is served, in pieces of so many bytes with a pause before each.
    Drip(usize, Duration),
    /// It is served, without this header.
    Without(&'static str),
    /// It is served, with this header.
    With(&'static str, String),
}

/// A registry that runs until it is dropped.
pub struct TestRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    end: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl std::fmt::Debug for TestRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestRegistry").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Shared {
    settings: Settings,
    host: String,
    state: Mutex<State>,
    log: Mutex<Vec<Asked>>,
}

impl TestRegistry {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Shared { settings, host: address.to_string(), state: Mutex::default(), log: Mutex::default() };
        let (shared, end) = (Arc::new(shared), Arc::new(AtomicBool::new(false)));
        let (serving, ending) = (Arc::clone(&shared), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, ending) = (Arc::clone(&serving), Arc::clone(&ending));
                std::thread::spawn(move || serve::connection(&stream, &shared, &ending));
            }
        });
        Ok(Self { address, shared, end, thread: Some(thread) })
    }

    /// Host and port, as references name it.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// What it was asked so far, oldest first; bodies left out.
    pub fn log(&self) -> Vec<Asked> {
        lock(&self.shared.log).clone()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        lock(&self.shared.log).clear();
    }

    /// The digests of the blobs in a repository, sorted.
    pub fn blobs(&self, repository: &str) -> Vec<String> {
        lock(&self.shared.state).blobs(repository)
    }

    /// The digest and the bytes of what a tag or a digest names in a repository.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        lock(&self.shared.state).manifest(repository, name).map(|(digest, manifest)| (digest, manifest.bytes.clone()))
    }

    /// Whether everything that a repository's tags name is there.
    pub fn is_whole(&self, repository: &str) -> bool {
        lock(&self.shared.state).is_whole(repository)
    }

    /// Uploads that were begun and neither ended nor given up.
    pub fn open_uploads(&self) -> usize {
        lock(&self.shared.state).open_uploads()
    }

    /// Loses a blob.
    pub fn lose(&self, repository: &str, digest: &str) {
        lock(&self.shared.state).lose(repository, digest);
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        // The listener wakes up and sees it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
