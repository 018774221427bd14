//! Blobs on their way into a repository.
//!
//! A blob that is there is not sent; one that another repository of the registry has is mounted. What has to be sent is
//! one POST and one PUT of the whole blob, streamed from where it lies. A try that fails is given up with its session,
//! because registries lose count of sessions that were cut off (distribution 2.8 keeps the bytes and forgets them), and
//! the next one begins by looking whether the last byte arrived after all. So does what a registry does not know of any
//! more, or counts otherwise. Only a registry, or a proxy before it, that
//! refuses the whole blob as too large gets it in pieces.

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RANGE};
use reqwest::{Method, Url};

use super::client::{Answer, Body, Request, location, no_stream, origin};
use super::connection::{Outgoing, Payload, SendError};
use super::error::{LOCATION, RegistryError, Result};
use super::manifest::DIGEST;
use super::origin::check_step;
use super::repository::Repository;
use crate::image::{Descriptor, Digest};
use crate::store::blob::BlobSource;
use crate::store::error::{StoreError, mismatch};

/// Bytes of the answer to an upload that are read: it has none.
const MAX_ANSWER: usize = 64 << 10;
/// The smallest piece that a registry wants (distribution-spec, "Pushing a blob in chunks").
const LEAST: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// How a blob came into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    /// It was there.
    Present,
    /// From another repository of the registry, without a byte sent.
    Mounted,
    /// It was sent.
    Uploaded,
}

/// A place that the registry made for one blob.
#[derive(Debug)]
pub(super) struct Session {
    url: Url,
    authenticated: bool,
    least: u64,
}

impl Repository {
    /// Whether the repository has a blob, of the right size.
    pub fn has_blob(&self, blob: &Descriptor) -> Result<bool> {
        self.client.retry(|_| self.has_blob_once(blob))
    }

    fn has_blob_once(&self, blob: &Descriptor) -> Result<bool> {
        let request = Request::new(Method::HEAD, self.place.blob(&blob.digest));
        match self.client.ask_once(&self.place, &request, &self.scopes, 0) {
            Ok(Answer { headers, .. }) => {
                let size = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
                Ok(size.is_none_or(|size| size == blob.size))
            }
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Brings in a blob: mounted from the first of the repositories `from` of the same registry that has it, else read
    /// from `source` and sent. What is there already is left alone. The blob is verified as it is read; a registry that
    /// got the last byte verifies it again.
    pub fn put_blob(&self, blob: &Descriptor, from: &[String], source: &dyn BlobSource) -> Result<Arrival> {
        if self.has_blob(blob)? {
            return Ok(Arrival::Present);
        }
        match self.mount_blob(blob, from)? {
            Some(arrival) => Ok(arrival),
            None => self.upload_blob(blob, source),
        }
    }

    /// Mounts a blob from the first of the repositories `from` of the same registry that has it; `None` when none has,
    /// or lets us.
    pub fn mount_blob(&self, blob: &Descriptor, from: &[String]) -> Result<Option<Arrival>> {
        for other in from.iter().filter(|other| **other != self.place.repository) {
            if self.client.retry(|_| self.mount_once(blob, other))? {
                return Ok(Some(Arrival::Mounted));
            }
        }
        Ok(None)
    }

    fn mount_once(&self, blob: &Descriptor, from: &str) -> Result<bool> {
        let mut url = self.place.uploads();
        url.query_pairs_mut().append_pair("mount", &blob.digest.to_string()).append_pair("from", from);
        let mut scopes = self.scopes.clone();
        scopes.push(format!("repository:{from}:pull"));
        let request = Request { bytes: Some(&[]), ..Request::new(Method::POST, url) };
        match self.client.ask_once(&self.place, &request, &scopes, MAX_ANSWER) {
            Ok(Answer { status: 201, .. }) => Ok(true),
            // A session for sending the blob, which may not come to that: another repository may have it.
            Ok(answer) => {
                if let Ok(session) = self.session(&answer, &request) {
                    self.cancel(session);
                }
                Ok(false)
            }
            // Whoever may not read there, or asks a registry that does not know of mounting, sends it.
            Err(error) if error.is_denied() || matches!(error.status(), Some(400 | 404 | 405 | 422)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a blob from `source` and sends it, again if need be.
    pub fn upload_blob(&self, blob: &Descriptor, source: &dyn BlobSource) -> Result<Arrival> {
        let (mut renewed, mut pieces) = (false, None);
        self.client.retry(|number| {
            if number > 1 && self.has_blob_once(blob)? {
                return Ok(Arrival::Uploaded);
            }
            loop {
                match self.upload_once(blob, source, pieces) {
                    Err(error) if error.status() == Some(401) && !renewed => renewed = true,
                    Err(error) if error.status() == Some(413) && pieces.is_none() => {
                        pieces = Some(self.client.options().chunk.max(1)).filter(|chunk| *chunk < blob.size);
                        if pieces.is_none() {
                            return Err(error);
                        }
                    }
                    outcome => return outcome.map(|()| Arrival::Uploaded),
                }
            }
        })
    }

    fn upload_once(&self, blob: &Descriptor, source: &dyn BlobSource, pieces: Option<u64>) -> Result<()> {
        let local = |source| RegistryError::Local { digest: Box::new(blob.digest), source: Box::new(source) };
        let mut reader = source.open(blob).map_err(local)?;
        let mut session = self.begin()?;
        let mut offset = 0;
        if let Some(piece) = pieces {
            let piece = piece.max(session.least);
            while blob.size - offset > piece {
                session = self.send_piece(session, &mut reader, offset, piece, blob)?;
                offset += piece;
            }
        }
        self.finish(session, &mut reader, blob, offset, pieces.is_some())
    }

    /// Has the registry make a place for a blob.
    fn begin(&self) -> Result<Session> {
        let request = Request { bytes: Some(&[]), ..Request::new(Method::POST, self.place.uploads()) };
        let answer = self.client.ask_once(&self.place, &request, &self.scopes, MAX_ANSWER)?;
        self.session(&answer, &request)
    }

    fn session(&self, answer: &Answer, request: &Request<'_>) -> Result<Session> {
        let missing = || RegistryError::Protocol { request: request.name(), missing: LOCATION };
        let url = location(&answer.headers, &request.url).ok_or_else(missing)?;
        self.session_at(url, answer)
    }

    fn session_at(&self, url: Url, answer: &Answer) -> Result<Session> {
        let step = check_step(&self.place.base, &url);
        let authenticated = step.map_err(|fault| origin(&self.place, "uploads", &url, fault))?;
        let least = answer.headers.get(LEAST).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Session { url, authenticated, least: least.unwrap_or(0) })
    }

    /// Sends the rest of a blob and names it.
    fn finish(&self, session: Session, reader: Body<'_>, blob: &Descriptor, offset: u64, ranged: bool) -> Result<()> {
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let size = blob.size - offset;
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))];
        if ranged && size > 0 {
            headers.push((CONTENT_RANGE, range(offset, size)));
        }
        let outgoing = Outgoing { method: Method::PUT, url, headers, payload: Payload::Stream(size, reader) };
        match self.client.stream(&self.place, outgoing, &self.scopes, session.authenticated) {
            Ok(answer) => match answer.headers.get(DIGEST) {
                Some(said) => self.same(&blob.digest, &String::from_utf8_lossy(said.as_bytes())),
                None => Ok(()),
            },
            Err(error) => {
                self.cancel(session);
                Err(sent(error, &blob.digest, &self.place.base))
            }
        }
    }

    /// Sends one piece, and says where the next one goes.
    fn send_piece(
        &self,
        session: Session,
        reader: Body<'_>,
        offset: u64,
        size: u64,
        blob: &Descriptor,
    ) -> Result<Session> {
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (CONTENT_RANGE, range(offset, size)),
        ];
        let url = session.url.clone();
        let payload = Payload::Stream(size, reader);
        let outgoing = Outgoing { method: Method::PATCH, url: url.clone(), headers, payload };
        let answer = match self.client.stream(&self.place, outgoing, &self.scopes, session.authenticated) {
            Ok(answer) => answer,
            Err(error) => {
                self.cancel(session);
                return Err(sent(error, &blob.digest, &self.place.base));
            }
        };
        // What the registry says it has must be what was sent, or the pieces would be put together wrongly.
        let expected = format!("0-{}", offset + size - 1);
        let said = answer.headers.get(RANGE).and_then(|value| value.to_str().ok());
        if said.is_some_and(|said| said != expected && said.strip_prefix("bytes=") != Some(&expected)) {
            self.cancel(session);
            let request = format!("PATCH of {}", blob.digest);
            let answer = format!("another end of what was sent in its Range than {expected}");
            return Err(RegistryError::Session { request, answer });
        }
        match location(&answer.headers, &url) {
            Some(next) => self.session_at(next, &answer).map(|next| Session { least: session.least, ..next }),
            None => Ok(session),
        }
    }

    /// Gives a session up, so that the registry need not wait for it. Whether that went well does not matter.
    fn cancel(&self, session: Session) {
        if session.authenticated {
            let request = Request::new(Method::DELETE, session.url);
            let _ = self.client.ask_once(&self.place, &request, &self.scopes, MAX_ANSWER);
        }
    }
}

fn range(offset: u64, size: u64) -> HeaderValue {
    let text = format!("{offset}-{}", offset + size - 1);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Tells what is wrong with the blob from what is wrong with the way.
fn sent(error: SendError, digest: &Digest, base: &Url) -> RegistryError {
    let local = |source| RegistryError::Local { digest: Box::new(*digest), source: Box::new(source) };
    match error {
        SendError::Local(error) => match mismatch(&error) {
            Some(mismatch) => local(StoreError::Blob(mismatch)),
            None => match error.downcast::<RegistryError>() {
                // The blob came from a registry, too.
                Ok(error) => error,
                Err(error) => local(StoreError::Io { action: "read", path: digest.to_string(), source: error }),
            },
        },
        // Inside a session that is not about the blob or the repository, which were there when it began.
        SendError::Registry(RegistryError::Status { request, status: status @ (404 | 416), message, .. }) => {
            RegistryError::Session { request, answer: format!("{status} {message}").trim_end().to_owned() }
        }
        other @ SendError::Registry(_) => no_stream(other, base),
    }
}

/// Bytes in memory as a source of one blob.
#[derive(Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl BlobSource for Bytes<'_> {
    fn has(&self, descriptor: &Descriptor) -> std::result::Result<bool, StoreError> {
        Ok(Descriptor::of(descriptor.media_type.clone(), self.0).digest == descriptor.digest)
    }

    fn open(&self, descriptor: &Descriptor) -> std::result::Result<crate::store::VerifiedReader<'_>, StoreError> {
        Ok(crate::store::VerifiedReader::new(descriptor, self.0))
    }
}
