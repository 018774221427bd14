//! The form in which an index is cached: a word, then fields one after the other.
//!
//! Numbers are LEB128, byte strings and lists are led by their length, a digest is led by its length in bytes, which
//! tells the algorithm. A text took four times as long to read, which every build does once for each layer of the base.

use super::LayerIndex;
use crate::image::Digest;
use crate::layer::gate::{KEPT, Rule, Violation, Violations};
use crate::tree::{Content, Inode, Kind, Meta, TreeDelta, TreePath, Xattrs};

/// First bytes; a change of anything below changes them, so that an old cache is read anew.
const MAGIC: &[u8] = b"assemble layer index 4\n";

impl LayerIndex {
    /// The index as bytes. Law: `LayerIndex::from_bytes(&index.to_bytes()) == Some(index)`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.digest(&self.diff_id);
        out.number(self.size);
        out.violations(&self.violations);
        out.number(self.offsets.len() as u64);
        for (digest, offset) in &self.offsets {
            out.digest(digest);
            out.number(*offset);
        }
        for marks in [self.delta.whiteouts(), self.delta.opaques()] {
            out.number(marks.len() as u64);
            for path in marks {
                out.bytes(path.as_bytes());
            }
        }
        out.number(self.delta.entries().len() as u64);
        for (path, inode) in self.delta.entries() {
            out.bytes(path.as_bytes());
            out.inode(inode);
        }
        out.finish()
    }

    /// Reads what [`LayerIndex::to_bytes`] wrote; `None` when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, MAGIC)?;
        let (diff_id, size, violations) = (from.digest()?, from.number()?, from.violations()?);
        let mut offsets = Vec::new();
        for _ in 0..from.number()? {
            offsets.push((from.digest()?, from.number()?));
        }
        let mut delta = TreeDelta::new();
        for _ in 0..from.number()? {
            delta.whiteout(from.path()?);
        }
        for _ in 0..from.number()? {
            delta.opaque(from.path()?);
        }
        for _ in 0..from.number()? {
            let path = from.path()?;
            delta.insert(path, from.inode()?);
        }
        from.is_empty().then(|| Self { diff_id, size, delta, offsets: offsets.into_iter().collect(), violations })
    }
}

/// Fields, one after the other.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(magic: &[u8]) -> Self {
        Self(magic.to_vec())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn violations(&mut self, violations: &Violations) {
        let rules: Vec<_> = violations.iter().collect();
        self.number(rules.len() as u64);
        for (rule, count, kept) in rules {
            self.bytes(rule.code().as_bytes());
            self.number(count);
            self.number(kept.len() as u64);
            for Violation { offset, path, .. } in kept {
                self.number(*offset);
                self.bytes(path);
            }
        }
    }

    pub(super) fn number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            let more = if number == 0 { 0 } else { 0x80 };
            self.0.push(low & 0x7f | more);
            if number == 0 {
                return;
            }
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn digest(&mut self, digest: &Digest) {
        self.bytes(digest.bytes());
    }

    pub(super) fn inode(&mut self, Inode { meta: Meta { mode, uid, gid, mtime, xattrs }, kind }: &Inode) {
        self.number(u64::from(*mode));
        self.number(*uid);
        self.number(*gid);
        self.number(zigzag(*mtime));
        self.number(xattrs.len() as u64);
        for (name, value) in xattrs {
            self.bytes(name);
            self.bytes(value);
        }
        self.0.push(letter(kind));
        match kind {
            Kind::Directory | Kind::Fifo => {}
            Kind::File(content) => {
                // Contents of an index are named by digest.
                self.digest(&content.digest().unwrap_or(Digest::Sha256([0; 32])));
                self.number(content.size());
            }
            Kind::Symlink(target) => self.bytes(target),
            Kind::Hardlink(target) => self.bytes(target.as_bytes()),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                self.number(u64::from(*major));
                self.number(u64::from(*minor));
            }
        }
    }
}

fn letter(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => b'd',
        Kind::File(_) => b'f',
        Kind::Symlink(_) => b's',
        Kind::Hardlink(_) => b'h',
        Kind::CharDevice { .. } => b'c',
        Kind::BlockDevice { .. } => b'b',
        Kind::Fifo => b'p',
    }
}

/// Small numbers of either sign become small numbers.
fn zigzag(number: i64) -> u64 {
    (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// What a [`Writer`] wrote; `None` wherever it cannot be that.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], magic: &[u8]) -> Option<Self> {
        bytes.strip_prefix(magic).map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn violations(&mut self) -> Option<Violations> {
        let mut violations = Violations::default();
        for _ in 0..self.number()? {
            let code = self.bytes()?;
            let rule = *Rule::ALL.iter().find(|rule| rule.code().as_bytes() == code)?;
            let count = self.number()?;
            let mut kept = Vec::new();
            for number in 0..self.number()? {
                // More are never recorded, and each takes many times the memory that it takes here.
                if number >= KEPT as u64 {
                    return None;
                }
                kept.push(Violation { rule, offset: self.number()?, path: self.bytes()?.to_vec() });
            }
            violations.restore(rule, count, kept);
        }
        Some(violations)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn narrow(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn digest(&mut self) -> Option<Digest> {
        let bytes = self.bytes()?;
        let short = || bytes.try_into().ok().map(Digest::Sha256);
        short().or_else(|| bytes.try_into().ok().map(Digest::Sha512))
    }

    pub(super) fn path(&mut self) -> Option<TreePath> {
        TreePath::exact(self.bytes()?)
    }

    pub(super) fn inode(&mut self) -> Option<Inode> {
        let mut meta = Meta {
            mode: self.narrow()?,
            uid: self.number()?,
            gid: self.number()?,
            mtime: unzigzag(self.number()?),
            xattrs: Xattrs::new(),
        };
        for _ in 0..self.number()? {
            let name = self.bytes()?.into();
            meta.xattrs.insert(name, self.bytes()?.into());
        }
        let (letter, rest) = self.0.split_first()?;
        self.0 = rest;
        let kind = match letter {
            b'd' => Kind::Directory,
            b'f' => Kind::File(Content::Stored { digest: self.digest()?, size: self.number()? }),
            b's' => Kind::Symlink(self.bytes()?.into()),
            b'h' => Kind::Hardlink(self.path()?),
            b'c' => Kind::CharDevice { major: self.narrow()?, minor: self.narrow()? },
            b'b' => Kind::BlockDevice { major: self.narrow()?, minor: self.narrow()? },
            b'p' => Kind::Fifo,
            _ => return None,
        };
        Some(Inode { meta, kind })
    }
}
