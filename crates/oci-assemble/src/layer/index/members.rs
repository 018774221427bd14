//! Splits a tar stream into members: a header, the extensions before it, and its bytes.

use std::io::{self, BufRead};

use super::{IndexError, IndexOptions};
use crate::image::{Digest, Hasher};
use crate::layer::gate::{Gate, Rule, Violation, Violations};
use crate::layer::header::{self, BLOCK, Header};
use crate::layer::pax::{self, Pax};

/// A header with the extensions before it.
pub(super) struct Member {
    pub(super) header: Header,
    pub(super) pax: Option<Pax>,
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
}

impl Member {
    /// Bytes of the extensions that an index keeps, with the room that each attribute takes beside its own bytes.
    pub(super) fn kept(&self) -> u64 {
        const ATTRIBUTE: usize = size_of::<[Box<[u8]>; 2]>();
        let xattrs =
            self.pax.iter().flat_map(|pax| &pax.xattrs).map(|(name, value)| name.len() + value.len() + ATTRIBUTE);
        let names = [&self.long_name, &self.long_link]
            .into_iter()
            .chain(self.pax.iter().flat_map(|pax| [&pax.path, &pax.link]));
        let bytes = xattrs.sum::<usize>() + names.flatten().map(Vec::len).sum::<usize>();
        bytes as u64
    }
}

/// A tar stream that is hashed, measured and held against the gate while it is read.
pub(super) struct Members<R> {
    stream: R,
    options: IndexOptions,
    pub(super) hasher: Hasher,
    pub(super) offset: u64,
    pub(super) violations: Violations,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(stream: R, options: IndexOptions) -> Self {
        Self { stream, options, hasher: Hasher::default(), offset: 0, violations: Violations::default() }
    }

    pub(super) fn broken(&mut self, rule: Rule, offset: u64, path: &[u8]) -> Result<(), IndexError> {
        let violation = Violation { rule, offset, path: path.iter().copied().take(crate::tree::PATH_MAX).collect() };
        if rule.is_ambiguous() && self.options.gate == Gate::Refuse {
            return Err(IndexError::Ambiguous(violation));
        }
        self.violations.record(violation);
        Ok(())
    }

    fn limit(&self, what: &'static str, limit: u64) -> IndexError {
        IndexError::Limit { what, limit, offset: self.offset }
    }

    /// What the stream has at hand; nothing at its end.
    fn at_hand(&mut self) -> Result<&[u8], IndexError> {
        let offset = self.offset;
        loop {
            match self.stream.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(IndexError::Read { offset, source }),
                Ok(_) => break,
            }
        }
        self.stream.fill_buf().map_err(|source| IndexError::Read { offset, source })
    }

    /// Goes on by bytes that were at hand, and were hashed.
    fn advance(&mut self, count: usize) -> Result<(), IndexError> {
        self.stream.consume(count);
        self.offset += count as u64;
        if self.offset > self.options.limits.inflated {
            return Err(self.limit("bytes", self.options.limits.inflated));
        }
        Ok(())
    }

    /// Fills `out` as far as the stream goes, and hashes it.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, IndexError> {
        let mut filled = 0;
        while filled < out.len() {
            let bytes = self.at_hand()?;
            let taken = bytes.len().min(out.len() - filled);
            if taken == 0 {
                break;
            }
            out[filled..filled + taken].copy_from_slice(&bytes[..taken]);
            self.hasher.update(&out[filled..filled + taken]);
            self.advance(taken)?;
            filled += taken;
        }
        Ok(filled)
    }

    /// A whole block, or `None` at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, IndexError> {
        let mut block = [0; BLOCK];
        match self.read(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => {
                self.truncated(b"")?;
                Ok(None)
            }
        }
    }

    /// A stream that ends inside an entry never becomes an index, whatever the gate.
    fn truncated(&mut self, path: &[u8]) -> Result<(), IndexError> {
        let violation = Violation { rule: Rule::Truncated, offset: self.offset, path: path.to_vec() };
        Err(IndexError::Ambiguous(violation))
    }

    pub(super) fn next_member(&mut self) -> Result<Option<(Member, u64)>, IndexError> {
        let start = self.offset;
        let (mut pax, mut long_name, mut long_link) = (None, None, None);
        let mut broken = Vec::new();
        loop {
            let at = self.offset;
            let Some(block) = self.block()? else {
                if self.offset > start {
                    self.truncated(b"")?;
                }
                self.broken(Rule::NoEndMarker, at, b"")?;
                return Ok(None);
            };
            if block == [0; BLOCK] {
                if self.end_marker(at)? {
                    return Ok(None);
                }
                continue;
            }
            let header = header::parse(&block, &mut broken);
            let extension = match header.kind {
                b'x' => {
                    let bytes = self.extension(&header)?;
                    pax.replace(pax::parse(&bytes, &mut broken)).is_some()
                }
                b'g' => {
                    let bytes = self.extension(&header)?;
                    pax::check_global(&bytes, &mut broken);
                    false
                }
                b'L' => long_name.replace(self.long_name(&header, &mut broken)?).is_some(),
                b'K' => long_link.replace(self.long_name(&header, &mut broken)?).is_some(),
                _ => {
                    for rule in broken.drain(..) {
                        self.broken(rule, at, &header.name)?;
                    }
                    return Ok(Some((Member { header, pax, long_name, long_link }, at)));
                }
            };
            if extension {
                broken.push(Rule::Extension);
            }
            for rule in broken.drain(..) {
                self.broken(rule, at, &header.name)?;
            }
        }
    }

    /// The second zero block of the end; anything else behind the first is ambiguous.
    fn end_marker(&mut self, at: u64) -> Result<bool, IndexError> {
        let mut block = [0; BLOCK];
        match self.read(&mut block)? {
            BLOCK if block == [0; BLOCK] => Ok(true),
            BLOCK => {
                self.broken(Rule::EndMarker, at, b"")?;
                // Reading on would need the block again; what follows the marker is no part of the tree.
                Ok(true)
            }
            _ => {
                self.broken(Rule::NoEndMarker, at, b"")?;
                Ok(true)
            }
        }
    }

    /// Zeros may fill the stream behind the end marker, nothing else.
    pub(super) fn read_rest(&mut self) -> Result<(), IndexError> {
        loop {
            let at = self.offset;
            let rest = self.at_hand()?;
            let (count, zeros) = (rest.len(), rest.iter().all(|byte| *byte == 0));
            if count == 0 {
                return Ok(());
            }
            self.hash(count, None)?;
            if !zeros {
                self.broken(Rule::Trailing, at, b"")?;
            }
        }
    }

    /// Hashes `count` bytes at hand, also for `other`, and goes on by them.
    fn hash(&mut self, count: usize, other: Option<&mut Hasher>) -> Result<(), IndexError> {
        let offset = self.offset;
        let bytes = self.stream.fill_buf().map_err(|source| IndexError::Read { offset, source })?;
        match other {
            Some(other) => self.hasher.update_both(other, &bytes[..count]),
            None => self.hasher.update(&bytes[..count]),
        }
        self.advance(count)
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, IndexError> {
        if header.size > self.options.limits.extension {
            return Err(self.limit("bytes in an extension header", self.options.limits.extension));
        }
        let padded = header.size.next_multiple_of(BLOCK as u64);
        let mut bytes = vec![0; usize::try_from(padded).unwrap_or(0)];
        if self.read(&mut bytes)? < bytes.len() {
            self.truncated(&header.name)?;
        }
        bytes.truncate(usize::try_from(header.size).unwrap_or(0));
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header, broken: &mut Vec<Rule>) -> Result<Vec<u8>, IndexError> {
        let mut bytes = self.extension(header)?;
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        if bytes.is_empty() || bytes.contains(&0) {
            broken.push(Rule::LongName);
        }
        Ok(bytes)
    }

    /// Reads a member's bytes with their padding. The digest is of the bytes of a regular file, else of none.
    pub(super) fn digest(&mut self, name: &[u8], size: u64, regular: bool) -> Result<Digest, IndexError> {
        let mut hasher = Hasher::default();
        let mut left = size;
        while left > 0 {
            let count = self.at_hand()?.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                self.truncated(name)?;
            }
            self.hash(count, regular.then_some(&mut hasher))?;
            left -= count as u64;
        }
        let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0);
        if self.read(&mut [0; BLOCK][..padding])? < padding {
            self.truncated(name)?;
        }
        Ok(hasher.finish())
    }
}
