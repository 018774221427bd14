//! Sigstore on loopback: Fulcio, Rekor v1 and v2, a certificate log and a timestamp authority, with a trusted root.
//!
//! A real peer of the protocols as far as they go: proofs of possession, signatures and requests are checked, entries go
//! into a Merkle tree, certificates carry a stamp of the certificate log. Tokens are believed, whoever signed them.
//! All keys are made when it starts and end with it.
#![expect(clippy::expect_used, reason = "a fixture that cannot be made ends the test")]

mod authority;
mod der;
mod http;
mod log;
mod timestamps;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sigstore_crypto::{KeyPair, VerificationKey};
use sigstore_types::{DerPublicKey, SignatureBytes};

use self::authority::{Holder, Leaf, Request as Certified, public};
use self::http::{Answer, Request};
use self::log::Log;
use crate::image::Epoch;
use crate::publish::sigstore::{Rekor, RekorVersion, Retry, Services};

/// Long enough for every test.
const YEAR: i64 = 365 * 86_400;
/// As long as certificates of Fulcio are good.
const TEN_MINUTES: i64 = 600;

/// A running instance. It ends when it is dropped.
#[derive(Debug)]
pub struct Sigstore {
    state: Arc<State>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

struct State {
    now: fn() -> i64,
    /// Seconds that clocks of the logs and of the timestamp authority are wrong.
    skew: AtomicI64,
    /// How many requests the logs refuse from now on, with status 503.
    refusals: AtomicUsize,
    stopped: AtomicBool,
    root: Holder,
    intermediate: Holder,
    tsa_root: Holder,
    tsa: Holder,
    certificates: KeyPair,
    v1: Log,
    v2: Log,
    started: i64,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("started", &self.started).finish_non_exhaustive()
    }
}

impl Sigstore {
    /// Starts on a free port of loopback. `now` is the clock, in seconds since 1970.
    pub fn start(now: fn() -> i64) -> io::Result<Self> {
        Self::start_at(now, 0)
    }

    /// As [`Sigstore::start`], on a certain port.
    pub fn start_at(now: fn() -> i64, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        let started = now() - 3600;
        let root = Holder::root("root", started, started + YEAR);
        let intermediate = root.below("intermediate", started, started + YEAR, Leaf::Authority);
        let tsa_root = Holder::root("timestamp root", started, started + YEAR);
        let tsa = tsa_root.below("timestamps", started, started + YEAR, Leaf::Timestamps);
        let state = Arc::new(State {
            now,
            skew: AtomicI64::new(0),
            refusals: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            root,
            intermediate,
            tsa_root,
            tsa,
            certificates: authority::key(),
            v1: Log::new("rekor.test - 1"),
            v2: Log::new("127.0.0.1"),
            started,
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || http::serve(stream, |request| shared.answer(&request)));
            }
        });
        Ok(Self { state, port, thread: Some(thread) })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The services, with a log of `version`; `tsa` says whether signatures are timed.
    pub fn services(&self, version: RekorVersion, tsa: bool) -> Services {
        let url = self.url();
        let log = match version {
            RekorVersion::V1 => url.clone(),
            RekorVersion::V2 => format!("{url}/v2"),
        };
        let tsa = tsa.then(|| format!("{url}/api/v1/timestamp"));
        // As often as others ask, and not as slowly.
        let retry = Retry { base: Duration::from_millis(1), ..Retry::default() };
        Services { fulcio: url, rekor: Rekor { url: log, version }, tsa, retry }
    }

    /// Lets the clocks of the logs and of the timestamp authority be wrong by this many seconds.
    pub fn skew(&self, seconds: i64) {
        self.state.skew.store(seconds, Ordering::SeqCst);
    }

    /// Lets the logs answer, or not.
    pub fn answers(&self, answers: bool) {
        self.state.refusals.store(if answers { 0 } else { usize::MAX }, Ordering::SeqCst);
    }

    /// Lets the logs refuse the next requests, so many of them.
    pub fn refuses(&self, requests: usize) {
        self.state.refusals.store(requests, Ordering::SeqCst);
    }

    /// A token of GitLab for the pipeline of a project, good for five minutes.
    pub fn gitlab_token(&self, project: &str) -> String {
        let file = format!("gitlab.com/{project}//.gitlab-ci.yml@refs/heads/main");
        self.token(&json!({
            "iss": "https://gitlab.com",
            "sub": format!("project_path:{project}:ref_type:branch:ref:main"),
            "aud": "sigstore",
            "ci_config_ref_uri": file,
        }))
    }

    /// A token of a provider of e-mail identities.
    pub fn email_token(&self, email: &str) -> String {
        let issuer = "https://accounts.example.com";
        self.token(&json!({ "iss": issuer, "sub": email, "email": email, "email_verified": true, "aud": "sigstore" }))
    }

    /// A token with these claims, good for five minutes.
    pub fn token(&self, claims: &Value) -> String {
        let mut claims = claims.clone();
        let now = (self.state.now)();
        if let Some(claims) = claims.as_object_mut() {
            claims.entry("iat").or_insert(now.into());
            claims.entry("exp").or_insert((now + 300).into());
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        // Nobody checks the signature; its place must hold some text.
        format!("{}.{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims), URL_SAFE_NO_PAD.encode("-"))
    }

    /// The trusted root, JSON.
    pub fn trusted_root(&self) -> String {
        let state = &self.state;
        let url = self.url();
        let start = Epoch::new(state.started).map(|epoch| epoch.to_string()).unwrap_or_default();
        let window = json!({ "start": start });
        let log = |url: &str, key: &[u8]| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": window,
                },
                "logId": { "keyId": STANDARD.encode(crate::image::Digest::of(key).bytes()) },
            })
        };
        let authority = |url: &str, chain: [&Holder; 2]| {
            let certificates: Vec<Value> =
                chain.iter().map(|one| json!({ "rawBytes": STANDARD.encode(&one.certificate) })).collect();
            json!({
                "subject": { "organization": "assemble tests", "commonName": "test" },
                "uri": url,
                "certChain": { "certificates": certificates },
                "validFor": window,
            })
        };
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&url, &state.v1.public()), log(&format!("{url}/v2"), &state.v2.public())],
            "certificateAuthorities": [authority(&url, [&state.intermediate, &state.root])],
            "ctlogs": [log(&format!("{url}/ct"), &public(&state.certificates))],
            "timestampAuthorities": [authority(&format!("{url}/api/v1/timestamp"), [&state.tsa, &state.tsa_root])],
        });
        format!("{root:#}\n")
    }

    /// The signing configuration, JSON, with a log of `version`.
    pub fn signing_config(&self, version: RekorVersion) -> String {
        let services = self.services(version, true);
        let start = Epoch::new(self.state.started).map(|epoch| epoch.to_string()).unwrap_or_default();
        let major = match version {
            RekorVersion::V1 => 1,
            RekorVersion::V2 => 2,
        };
        let service = |url: &str, version: u32| json!([{ "url": url, "majorApiVersion": version, "validFor": { "start": start }, "operator": "test" }]);
        let config = json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": service(&services.fulcio, 1),
            "oidcUrls": [],
            "rekorTlogUrls": service(&services.rekor.url, major),
            "rekorTlogConfig": { "selector": "ANY" },
            "tsaUrls": service(services.tsa.as_deref().unwrap_or_default(), 1),
            "tsaConfig": { "selector": "ANY" },
        });
        format!("{config:#}\n")
    }

    /// PEM files for clients that take no trusted root: the chain of the authority, the key of the first log, the key
    /// of the certificate log.
    pub fn pem_files(&self) -> [(&'static str, String); 3] {
        let block = |label: &str, der: &[u8]| pem::encode(&pem::Pem::new(label, der)).replace('\r', "");
        let chain: String =
            [&self.state.intermediate, &self.state.root].map(|one| block("CERTIFICATE", &one.certificate)).concat();
        [
            ("fulcio.pem", chain),
            ("rekor.pub", block("PUBLIC KEY", &self.state.v1.public())),
            ("ctfe.pub", block("PUBLIC KEY", &public(&self.state.certificates))),
        ]
    }
}

impl Drop for Sigstore {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _connected = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl State {
    fn log_time(&self) -> i64 {
        (self.now)() + self.skew.load(Ordering::SeqCst)
    }

    fn answer(&self, request: &Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        let refused = || Answer::new(400, "application/json", "{\"message\":\"refused\"}");
        let body = || serde_json::from_slice::<Value>(&request.body).ok();
        let fewer = |left: usize| (left > 0).then(|| if left == usize::MAX { left } else { left - 1 });
        if path.ends_with("/log/entries")
            && self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
        {
            return Answer::new(503, "text/plain", "down");
        }
        let answered = match (request.method.as_str(), path) {
            ("POST", "/api/v2/signingCert") => self.certificate(request, &body().unwrap_or_default()).map(|chain| {
                let chain = json!({ "signedCertificateEmbeddedSct": { "chain": { "certificates": chain } } });
                Answer::new(200, "application/json", chain.to_string())
            }),
            ("POST", "/api/v1/signingCert") => self
                .certificate(request, &body().unwrap_or_default())
                .map(|chain| Answer::new(201, "application/pem-certificate-chain", chain.concat())),
            ("POST", "/api/v1/log/entries") => {
                let entry = body().and_then(|body| self.v1.add_v1(&body, self.log_time()));
                entry.map(|entry| {
                    let uuid = entry.as_object().and_then(|map| map.keys().next().cloned()).unwrap_or_default();
                    let mut answer = Answer::new(201, "application/json", entry.to_string());
                    answer.headers = vec![("etag", uuid.clone()), ("location", format!("/api/v1/log/entries/{uuid}"))];
                    answer
                })
            }
            ("POST", "/v2/api/v2/log/entries") => {
                let entry = body().and_then(|body| self.v2.add_v2(&body));
                entry.map(|entry| Answer::new(201, "application/json", entry.to_string()))
            }
            ("POST", "/api/v1/timestamp") => timestamps::answer(&request.body, &self.tsa, self.log_time())
                .map(|token| Answer::new(201, "application/timestamp-reply", token)),
            _ => return Answer::new(404, "application/json", "{\"message\":\"no such path\"}"),
        };
        answered.unwrap_or_else(refused)
    }

    /// A certificate for the identity of the token, and those above it, PEM.
    fn certificate(&self, request: &Request, body: &Value) -> Option<Vec<String>> {
        let bearer = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let token = body.pointer("/credentials/oidcIdentityToken").and_then(Value::as_str).or(bearer)?;
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let claim = |name: &str| claims.get(name).and_then(Value::as_str);
        let subject = claim("email").or(claim("sub"))?;
        let identity = match (claim("email"), claim("ci_config_ref_uri")) {
            (Some(email), _) => email.to_owned(),
            (None, Some(file)) => format!("https://{file}"),
            (None, None) => subject.to_owned(),
        };
        // The second interface, and the first.
        let second = body.pointer("/publicKeyRequest/publicKey/content").and_then(Value::as_str);
        let (key, proof) = if let Some(key) = second {
            (key.as_bytes().to_vec(), body.pointer("/publicKeyRequest/proofOfPossession")?)
        } else {
            let key = STANDARD.decode(body.pointer("/publicKey/content")?.as_str()?).ok()?;
            (key, body.get("signedEmailAddress")?)
        };
        let key = if key.starts_with(b"-----BEGIN") { pem::parse(key).ok()?.into_contents() } else { key };
        let proof = SignatureBytes::new(STANDARD.decode(proof.as_str()?).ok()?);
        let public = DerPublicKey::new(key.clone());
        VerificationKey::from_spki(&public).ok()?.verify(subject.as_bytes(), &proof).ok()?;
        let now = (self.now)();
        let request = Certified {
            subject: der::sequence(&[]),
            public: key,
            serial: now.to_be_bytes(),
            // Clocks differ.
            from: now - 60,
            to: now + TEN_MINUTES,
            leaf: Leaf::Signer { identity: &identity, issuer: claim("iss")? },
        };
        let leaf = self.intermediate.certify(&request, Some((&self.certificates, now)));
        let chain = [&leaf, &self.intermediate.certificate, &self.root.certificate];
        Some(chain.map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.as_slice())).replace('\r', "")).to_vec())
    }
}
