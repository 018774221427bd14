//! Signatures without a key that stays: a certificate of ten minutes for an identity token.

use std::fmt;

use serde::Deserialize;
use serde_json::json;
use sigstore_fulcio::FulcioClient;
use sigstore_oidc::IdentityToken;
use sigstore_rekor::{HashedRekord, HashedRekordV2, RekorClient, RekorV2Client, RekorV2KeyDetails};
use sigstore_tsa::TimestampClient;
use sigstore_types::{DerCertificate, KindVersion, SignatureBytes, TransparencyLogEntry};

use super::key::{KeyError, SigningKey, pem_text};
use super::proof::{Maker, Message, Proof, encode, envelope_json};
use super::retry::Retry;
use super::services::{RekorVersion, Service, ServiceError, Services, ServicesError, client, is_safe};
use crate::image::Epoch;

/// The audience that sigstore's tokens are for.
const AUDIENCE: &str = "sigstore";
/// The largest answer of a provider of tokens, in bytes. Tokens have two thousand.
const TOKEN_MAX: usize = 64 << 10;

/// An identity token (JWT, RFC 7519). What it claims is checked by Fulcio only.
#[derive(Clone)]
pub struct Token(IdentityToken);

/// Why a text is not a token that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a JWT, or without the claims that every token has.
    #[error("it is not an identity token")]
    Form(#[source] sigstore_oidc::Error),
    /// Its time is over.
    #[error("it expired {seconds} seconds ago")]
    Expired {
        /// How long ago.
        seconds: i64,
    },
    /// For somebody else.
    #[error("its audience is not {AUDIENCE:?}")]
    Audience,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

impl Token {
    /// Reads a token, which must not be over at `now`.
    pub fn parse(text: &str, now: Epoch) -> Result<Self, TokenError> {
        let token = IdentityToken::from_jwt(text.trim()).map_err(TokenError::Form)?;
        if !token.claims().aud.contains(AUDIENCE) {
            return Err(TokenError::Audience);
        }
        let seconds = now.seconds().saturating_sub(token.expiration().as_second());
        if seconds >= 0 {
            return Err(TokenError::Expired { seconds });
        }
        Ok(Self(token))
    }

    /// Who issued it, as it claims.
    pub fn issuer(&self) -> &str {
        self.0.issuer()
    }

    /// Who it is for, as it claims. A certificate may name the identity otherwise: GitLab's names the pipeline's file.
    pub fn subject(&self) -> &str {
        self.0.identity()
    }
}

/// The token that a job of GitHub may ask for: `url` and `bearer` are the job's `ACTIONS_ID_TOKEN_REQUEST_URL` and
/// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
pub fn github_token(url: &str, bearer: &str, retry: &Retry) -> Result<String, ServiceError> {
    retry.run(bearer.as_bytes(), || asked_once(url, bearer))
}

fn asked_once(url: &str, bearer: &str) -> Result<String, ServiceError> {
    #[derive(Deserialize)]
    struct Answer {
        value: String,
    }
    let service = Service::Tokens;
    let failed = |error: reqwest::Error| ServiceError::http(service, error);
    let malformed = |source: Box<dyn std::error::Error + Send + Sync>| ServiceError {
        service,
        status: None,
        silent: false,
        source,
    };
    is_safe(url).map_err(|error| malformed(error.into()))?;
    let runtime = runtime().map_err(|error| malformed(error.into()))?;
    let mut parsed = reqwest::Url::parse(url).map_err(|error| malformed(error.into()))?;
    parsed.query_pairs_mut().append_pair("audience", AUDIENCE);
    let body = runtime.block_on(async {
        let request = client()?.get(parsed).bearer_auth(bearer);
        let mut answer = request.send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > TOKEN_MAX {
                break;
            }
        }
        Ok(body)
    });
    let body = body.map_err(failed)?;
    let answer: Answer = serde_json::from_slice(&body).map_err(|error| malformed(error.into()))?;
    Ok(answer.value)
}

/// One thread is enough: one request follows the other.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Connections to a log and an authority, with the certificate that was given for a token, if one was.
pub struct Session {
    services: Services,
    key: SigningKey,
    chain: Vec<DerCertificate>,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("services", &self.services).finish_non_exhaustive()
    }
}

impl From<ServicesError> for ServiceError {
    fn from(error: ServicesError) -> Self {
        Self { service: Service::Fulcio, status: None, silent: false, source: error.into() }
    }
}

impl From<KeyError> for ServiceError {
    fn from(error: KeyError) -> Self {
        Self { service: Service::Fulcio, status: None, silent: false, source: error.into() }
    }
}

impl Session {
    /// Makes a key for this session and has it certified. Costs a request; the certificate is good for about ten
    /// minutes and any number of signatures.
    pub fn begin(services: Services, token: &Token) -> Result<Self, ServiceError> {
        let mut session = Self::open(services, SigningKey::generate()?)?;
        let fulcio = FulcioClient::builder(&session.services.fulcio).with_http_client(session.http.clone());
        let fulcio = fulcio.build().map_err(ServiceError::fulcio)?;
        let certificate = session.services.retry.run(session.key.public().der().as_bytes(), || {
            let answer = fulcio.create_signing_certificate(&token.0, session.key.pair());
            session.runtime.block_on(answer).map_err(ServiceError::fulcio)
        })?;
        session.chain = certificate.certificate_chain().to_vec();
        Ok(session)
    }

    /// A session that logs signatures of a key that stays.
    pub fn with_key(services: Services, key: SigningKey) -> Result<Self, ServiceError> {
        Self::open(services, key)
    }

    fn open(services: Services, key: SigningKey) -> Result<Self, ServiceError> {
        services.check()?;
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ServiceError {
            service: Service::Fulcio,
            status: None,
            silent: false,
            source,
        };
        let http = client().map_err(|error| failed(error.into()))?;
        let runtime = runtime().map_err(|error| failed(error.into()))?;
        Ok(Self { services, key, chain: Vec::new(), http, runtime })
    }

    /// Signs, logs and, where an authority is given, has the signature timed. Costs a request or two.
    pub fn prove(&self, message: Message<'_>) -> Result<Proof, ServiceError> {
        let covered = message.covered();
        let retry = &self.services.retry;
        let (signature, entry) = retry.run(self.key.sign(&covered)?.as_bytes(), || {
            // Another one each time: a log that got the last one after all refuses to have it twice.
            let signature = self.key.sign(&covered)?;
            let entry = self.runtime.block_on(self.log(message, &covered, &signature)).map_err(ServiceError::rekor)?;
            Ok((signature, entry))
        })?;
        // The legacy form has no place for a timestamp, and the first version of the log says when it was.
        let timed = !matches!((message, self.log_version()), (Message::Payload(_), RekorVersion::V1));
        let timestamp = match self.services.tsa.as_ref().filter(|_| timed) {
            None => None,
            Some(url) => {
                let tsa = TimestampClient::builder(url).with_http_client(self.http.clone()).build();
                let tsa = tsa.map_err(ServiceError::tsa)?;
                Some(retry.run(signature.as_bytes(), || {
                    self.runtime.block_on(tsa.timestamp_signature(&signature)).map_err(ServiceError::tsa)
                })?)
            }
        };
        let maker = if self.chain.is_empty() {
            Maker::Key(self.key.public().clone())
        } else {
            Maker::Certified(self.chain.clone())
        };
        Ok(Proof { signature, maker, entry: Some(entry), timestamp })
    }

    async fn log(
        &self,
        message: Message<'_>,
        covered: &[u8],
        signature: &SignatureBytes,
    ) -> Result<TransparencyLogEntry, sigstore_rekor::Error> {
        let digest = sigstore_crypto::sha256(covered);
        let url = &self.services.rekor.url;
        if self.services.rekor.version == RekorVersion::V2 {
            let details = RekorV2KeyDetails::PkixEcdsaP256Sha256;
            let request = match self.chain.first() {
                Some(leaf) => HashedRekordV2::new_with_certificate(&digest, signature, leaf, details),
                None => HashedRekordV2::new_with_public_key(&digest, signature, self.key.public().der(), details),
            };
            let rekor = RekorV2Client::builder(url).with_http_client(self.http.clone()).build()?;
            return rekor.create_entry(request).await;
        }
        let rekor = RekorClient::builder(url).with_http_client(self.http.clone()).build()?;
        // Requests are built here, as the types have no way to name a key, and write envelopes in another order.
        let verifier = match self.chain.first() {
            Some(leaf) => pem_text("CERTIFICATE", leaf.as_bytes()),
            None => self.key.public().to_pem(),
        };
        let verifier = encode(verifier.as_bytes());
        let (answer, kind) = match message {
            Message::Payload(_) => {
                let request: HashedRekord = serde_json::from_value(json!({
                    "apiVersion": "0.0.1",
                    "kind": "hashedrekord",
                    "spec": {
                        "data": { "hash": { "algorithm": "sha256", "value": digest.to_hex() } },
                        "signature": { "content": signature.to_base64(), "publicKey": { "content": verifier } },
                    },
                }))?;
                (rekor.create_entry(request).await?, KindVersion::HashedRekordV001)
            }
            Message::Statement(statement) => {
                let request = serde_json::from_value(json!({
                    "apiVersion": "0.0.1",
                    "kind": "dsse",
                    "spec": { "proposedContent": {
                        "envelope": envelope_json(statement, signature),
                        "verifiers": [verifier],
                    } },
                }))?;
                (rekor.create_dsse_entry(request).await?, KindVersion::DsseV001)
            }
        };
        let malformed = |error: sigstore_types::Error| sigstore_rekor::Error::InvalidResponse(error.to_string());
        answer.to_bundle_entry(kind).map_err(malformed)
    }

    /// Whom the certificate names; `None` for a key.
    pub fn certified(&self) -> Option<super::CertifiedIdentity> {
        super::CertifiedIdentity::of(self.chain.first()?)
    }

    /// What the log speaks.
    pub fn log_version(&self) -> RekorVersion {
        self.services.rekor.version
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn github_is_asked_again_when_it_is_busy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let body = "{\"count\": 1, \"value\": \"a.b.c\"}";
            let good = format!("200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            ["503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", &good].map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend_from_slice(&byte);
                }
                stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
                String::from_utf8(request).unwrap()
            })
        });
        let retry = Retry { tries: 3, base: Duration::from_millis(1), heard: None };
        assert_eq!(github_token(&url, "bearer", &retry).unwrap(), "a.b.c");
        for request in served.join().unwrap() {
            assert!(request.starts_with("GET /token?api-version=2.0&audience=sigstore HTTP/1.1\r\n"), "{request}");
            assert!(request.to_lowercase().contains("\r\nauthorization: bearer bearer\r\n"), "{request}");
        }
    }
}
