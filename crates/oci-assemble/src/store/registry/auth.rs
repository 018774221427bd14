//! Who we are to which registry: challenges, credentials and tokens that are known.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};

use super::challenge::{Challenge, choose};
use super::client::{Client, Lease, lock, no_stream, origin, token_time};
use super::connection::{Outgoing, Payload, host_of};
use super::credential::{Credential, Keychain};
use super::error::{RegistryError, Result, words};
use super::origin::check_realm;
use super::place::Place;
use super::token::{MAX_TOKEN, Token, TokenRequest, request};

/// What the client calls itself to OAuth 2 servers.
const CLIENT_ID: &str = "assemble";

/// Registry, repository.
type Name = (String, String);
/// Registry, scopes.
type Key = (String, Vec<String>);

/// What is known of authentication. Each thing is asked for once, by one thread; others wait for it.
pub(super) struct Auth {
    keychain: Box<dyn Keychain>,
    credentials: Mutex<BTreeMap<Name, Option<Credential>>>,
    challenges: Mutex<BTreeMap<String, Challenge>>,
    tokens: Mutex<BTreeMap<Key, Token>>,
}

impl Auth {
    pub(super) fn new(keychain: Box<dyn Keychain>) -> Self {
        Self { keychain, credentials: Mutex::default(), challenges: Mutex::default(), tokens: Mutex::default() }
    }

    fn credential(&self, place: &Place) -> Result<Option<Credential>> {
        let name = (place.host.clone(), place.repository.clone());
        let mut known = lock(&self.credentials);
        if let Some(credential) = known.get(&name) {
            return Ok(credential.clone());
        }
        let found = self.keychain.find(&place.host, &place.repository);
        let found = found.map_err(|source| RegistryError::Keychain { host: place.host.clone(), source })?;
        known.insert(name, found.clone());
        Ok(found)
    }

    /// Whether there are credentials.
    pub(super) fn has(&self, place: &Place) -> Result<bool> {
        Ok(self.credential(place)?.is_some())
    }

    /// The `Authorization` for a request, as far as it is known that the registry wants one.
    pub(super) fn header(
        &self,
        client: &Client,
        lease: &Lease<'_>,
        place: &Place,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>> {
        self.renew(client, lease, place, scopes, None)
    }

    /// Takes in what a registry wants.
    pub(super) fn learn(&self, place: &Place, values: &[&str]) -> Result<()> {
        let challenge = choose(values.iter().copied());
        let challenge = challenge.map_err(|source| RegistryError::Challenge { host: place.host.clone(), source })?;
        lock(&self.challenges).insert(place.host.clone(), challenge);
        Ok(())
    }

    /// Another `Authorization` than the one that was refused; none when there is none to be had.
    pub(super) fn renew(
        &self,
        client: &Client,
        lease: &Lease<'_>,
        place: &Place,
        scopes: &[String],
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let challenge = lock(&self.challenges).get(&place.host).cloned();
        let header = match challenge {
            None => None,
            Some(Challenge::Basic) => self.credential(place)?.and_then(|credential| credential.basic()),
            Some(Challenge::Bearer { realm, service }) => {
                let key = (place.host.clone(), scopes.to_vec());
                let mut tokens = lock(&self.tokens);
                let known = tokens.get(&key).filter(|token| token.is_fresh(Instant::now()));
                let known = known.map(|token| format!("Bearer {}", token.bearer));
                let stale = |header: &String| refused.is_some_and(|refused| refused.as_bytes() == header.as_bytes());
                let known = known.filter(|header| !stale(header));
                if known.is_some() {
                    known
                } else {
                    let credential = self.credential(place)?;
                    let service = service.as_deref();
                    let token = fetch(client, lease, place, &realm, service, &key.1, credential.as_ref())?;
                    let header = format!("Bearer {}", token.bearer);
                    tokens.insert(key, token);
                    Some(header)
                }
            }
        };
        let header = header.map(|text| HeaderValue::from_str(&text)).transpose();
        let header =
            header.map_err(|error| RegistryError::Client { what: "its Authorization", source: error.into() })?;
        Ok(header
            .map(|mut value| {
                value.set_sensitive(true);
                value
            })
            .filter(|value| refused != Some(value)))
    }

    /// Takes a token as spent that was refused.
    pub(super) fn forget(&self, place: &Place, scopes: &[String], refused: Option<&HeaderValue>) {
        let mut tokens = lock(&self.tokens);
        tokens.retain(|(host, known), token| {
            let same =
                refused.is_some_and(|refused| refused.as_bytes() == format!("Bearer {}", token.bearer).as_bytes());
            !(same && *host == place.host && scopes.iter().all(|scope| known.contains(scope)))
        });
    }
}

fn fetch(
    client: &Client,
    lease: &Lease<'_>,
    place: &Place,
    realm: &Url,
    service: Option<&str>,
    scopes: &[String],
    credential: Option<&Credential>,
) -> Result<Token> {
    let allowed = &client.options().token_hosts;
    check_realm(&place.base, realm, allowed, credential.is_some())
        .map_err(|fault| origin(place, "passwords", realm, fault))?;
    let (mut url, mut body, mut headers) =
        (realm.clone(), None, vec![(ACCEPT, HeaderValue::from_static("application/json"))]);
    match request(service, scopes, credential, CLIENT_ID) {
        TokenRequest::Get { query, authorization } => {
            url.query_pairs_mut().extend_pairs(query);
            if let Some(text) = authorization {
                let value = HeaderValue::from_str(&text);
                let mut value =
                    value.map_err(|error| RegistryError::Client { what: "its Authorization", source: error.into() })?;
                value.set_sensitive(true);
                headers.push((AUTHORIZATION, value));
            }
        }
        TokenRequest::Post { form } => {
            // The form is what a query would be.
            let mut encoded = realm.clone();
            encoded.set_query(None);
            encoded.query_pairs_mut().extend_pairs(form);
            body = encoded.query().map(|text| text.as_bytes().to_vec());
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")));
        }
    }
    let time = token_time(client);
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let name = format!("{method} {}{}", host_of(&url), url.path());
    let payload = body.as_deref().map_or(Payload::None, Payload::Bytes);
    let incoming = lease.send(Outgoing { method, url: url.clone(), headers, payload }, time, &|_| ());
    let incoming = incoming.map_err(|error| no_stream(error, &url))?;
    let status = incoming.status;
    let answer = lease.body(incoming, MAX_TOKEN, time)?;
    let answer = answer.ok_or_else(|| RegistryError::TooLarge { request: name.clone(), limit: MAX_TOKEN })?;
    match status {
        200..300 => {
            Token::parse(&answer, Instant::now()).map_err(|source| RegistryError::Json { request: name, source })
        }
        400 | 401 | 403 => Err(RegistryError::Unauthorized {
            host: host_of(&url),
            repository: place.name(),
            with: credential.is_some(),
            message: words(&answer),
        }),
        // A redirect, too: where it leads nobody vouches for.
        _ => Err(RegistryError::Status { request: name, status, message: words(&answer), retry_after: None }),
    }
}
