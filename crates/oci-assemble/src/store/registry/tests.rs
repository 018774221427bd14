#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
//! Against the registry of the tests, which fails as it is told to.

mod auth;
mod faults;
mod lists;
mod transfer;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::image::{Descriptor, Encoding, MediaType, RegistryReference};
use crate::testing::registry::{Act, Asked, AuthSettings, Settings, TestRegistry};

/// A policy whose times are short, so that tests are.
fn quick() -> RetryPolicy {
    let millisecond = Duration::from_millis(1);
    RetryPolicy {
        tries: 4,
        base: millisecond,
        cap: 4 * millisecond,
        longest_asked: 5 * millisecond,
        deadline: Duration::from_secs(20),
    }
}

fn options() -> ClientOptions {
    let timeouts = Timeouts { idle: Duration::from_millis(400), ..Timeouts::default() };
    ClientOptions { plain_http: true, retry: quick(), timeouts, seed: 7, ..ClientOptions::default() }
}

fn client() -> Client {
    Client::new(options(), Anonymous)
}

fn place(registry: &TestRegistry, name: &str) -> RegistryReference {
    RegistryReference { host: registry.host().to_owned(), repository: name.into(), tag: None, digest: None }
}

fn repository(client: &Client, registry: &TestRegistry, name: &str) -> Repository {
    Repository::new(client, &place(registry, name), Access::Push).unwrap()
}

/// A registry that does what the script says.
fn scripted(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> TestRegistry {
    TestRegistry::start(Settings { script: Some(Arc::new(script)), ..Settings::default() }).unwrap()
}

fn open() -> TestRegistry {
    TestRegistry::start(Settings::default()).unwrap()
}

/// A blob that is not the same everywhere.
fn noise(size: usize) -> Vec<u8> {
    (0..size).map(|at| ((at * at / 7 + at / 251) % 256).to_le_bytes()[0]).collect()
}

fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::layer(Encoding::Plain), bytes)
}

/// Knows one name and password for one host, and writes down where it was asked.
#[derive(Clone)]
struct Me(Arc<Mutex<Vec<String>>>, String);

impl Me {
    fn at(registry: &TestRegistry) -> Self {
        Self(Arc::default(), registry.host().to_owned())
    }
}

impl Keychain for Me {
    fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, KeychainError> {
        self.0.lock().unwrap().push(format!("{host}/{repository}"));
        let mine = Credential::Password { name: "me".into(), password: "secret".into() };
        Ok((host == self.1).then_some(mine))
    }
}

fn bearer(uses: usize, realm: Option<String>) -> AuthSettings {
    AuthSettings::Bearer { name: "me".into(), password: "secret".into(), uses, realm }
}

/// What a registry was asked, as `METHOD PATH`, the beginning of the path left out.
fn asked(registry: &TestRegistry) -> Vec<String> {
    let short = |one: &Asked| format!("{} {}", one.method, one.path.trim_start_matches("/v2/"));
    registry.log().iter().map(short).collect()
}
