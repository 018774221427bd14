//! Blobs on their way out of a repository: bounded and verified by their descriptors, and taken up where they broke off.

use std::io::{self, Read};
use std::time::Instant;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};

use super::client::{Lease, Request};
use super::connection::Incoming;
use super::error::{RegistryError, Result};
use super::options::Event;
use super::repository::Repository;
use crate::image::Descriptor;
use crate::store::blob::VerifiedReader;

/// Progress that makes up for a failed try: with less, a download that breaks at every byte would never end
/// (containers/image has the same amount).
const PROGRESS: u64 = 1 << 20;

impl Repository {
    /// Opens a blob for reading. What breaks off is taken up again behind what was read, as often as
    /// [`RetryPolicy`](super::RetryPolicy) says since the last progress.
    pub fn blob(&self, blob: &Descriptor) -> Result<VerifiedReader<'_>> {
        let mut download = Download {
            repository: self,
            blob: blob.clone(),
            open: None,
            at: 0,
            piece: Bytes::new(),
            told: 0,
            failures: 0,
            since: 0,
        };
        download.connect()?;
        Ok(VerifiedReader::new(blob, download))
    }
}

struct Download<'r> {
    repository: &'r Repository,
    blob: Descriptor,
    open: Option<(Lease<'r>, Incoming, Instant)>,
    /// Bytes given so far.
    at: u64,
    piece: Bytes,
    /// Bytes that were told of.
    told: u64,
    /// Failures since the last progress, and where that was.
    failures: u32,
    since: u64,
}

impl Download<'_> {
    /// Asks for what is left, again if need be.
    fn connect(&mut self) -> Result<()> {
        let Repository { client, place, scopes } = self.repository;
        let mut request = Request::new(Method::GET, place.blob(&self.blob.digest));
        if self.at > 0 {
            let from = HeaderValue::from_str(&format!("bytes={}-", self.at));
            request.headers.extend(from.map(|from| (RANGE, from)));
        }
        let at = self.at;
        let (lease, incoming) = client.retry(|_| {
            let (lease, mut incoming) = client.open(place, &request, scopes)?;
            let mut behind = begins_at(&incoming, &request)?;
            if behind > at {
                return Err(RegistryError::Protocol {
                    request: request.name(),
                    missing: "the part that was asked for",
                });
            }
            // A registry that does not know of parts begins at the beginning: what is known is passed over.
            let mut rest = Bytes::new();
            while behind < at {
                rest = lease.next(&mut incoming)?;
                if rest.is_empty() {
                    return Err(RegistryError::Protocol { request: request.name(), missing: "all of the blob" });
                }
                let known = usize::try_from(at - behind).unwrap_or(usize::MAX).min(rest.len());
                behind += known as u64;
                rest = rest.slice(known..);
            }
            Ok((lease, (incoming, rest)))
        })?;
        let (incoming, rest) = incoming;
        self.piece = rest;
        self.open = Some((lease, incoming, Instant::now()));
        Ok(())
    }

    /// The next piece; empty at the end of what the registry sends.
    fn next(&mut self) -> Result<Bytes> {
        let timeouts = self.repository.client.options().timeouts;
        let limit = timeouts.transfer(self.blob.size);
        let Some((lease, incoming, begun)) = &mut self.open else { return Ok(Bytes::new()) };
        if begun.elapsed() > limit {
            let host = self.repository.place.host.clone();
            return Err(RegistryError::Timeout { host, what: "come to an end", after: limit });
        }
        lease.next(incoming)
    }
}

/// The offset of the first byte of an answer.
fn begins_at(incoming: &Incoming, request: &Request<'_>) -> Result<u64> {
    if incoming.status != 206 {
        return Ok(0);
    }
    let range = incoming.headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let begin = range.and_then(|text| text.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
    begin.ok_or_else(|| RegistryError::Protocol { request: request.name(), missing: "a Content-Range" })
}

impl Read for Download<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let error = match self.next() {
                Ok(piece) if !piece.is_empty() => {
                    self.piece = piece;
                    break;
                }
                // Whatever comes behind the last byte.
                _ if self.at >= self.blob.size => return Ok(0),
                // A body without a length that ends early.
                Ok(_) => {
                    let request = format!("GET {}", self.blob.digest);
                    RegistryError::Protocol { request, missing: "all of the blob" }
                }
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(io::Error::other(error)),
            };
            if let Some((lease, ..)) = self.open.take() {
                lease.discard();
            }
            if self.at >= self.since + PROGRESS {
                (self.failures, self.since) = (0, self.at);
            }
            self.failures += 1;
            if self.failures >= self.repository.client.options().retry.tries {
                return Err(io::Error::other(error));
            }
            self.connect().map_err(io::Error::other)?;
        }
        let taken = out.len().min(self.piece.len());
        out[..taken].copy_from_slice(&self.piece.split_to(taken));
        self.at += taken as u64;
        if self.at - self.told >= PROGRESS || self.at >= self.blob.size {
            self.repository.client.tell(&Event::Received { bytes: self.at - self.told });
            self.told = self.at;
        }
        Ok(taken)
    }
}
