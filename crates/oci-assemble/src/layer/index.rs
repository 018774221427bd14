//! Reads a layer's tar stream into a [`LayerIndex`]: what it says of the tree, and where each file's bytes are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use self::members::{Member, Members};
pub use self::merged::{MergedIndex, Places};
use self::names::Names;
use super::gate::{Gate, Rule, Violation, Violations, at};
use crate::image::Digest;
use crate::tree::{Content, Inode, Kind, Meta, PATH_MAX, TreeDelta, TreePath};

mod bytes;
mod members;
mod merged;
mod names;

/// How much a layer may hold. The defaults are those of containers/image and tar-core where they have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed stream: bombs expand 32,000 times, so bytes are capped and not the ratio.
    pub inflated: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of one extension header (PAX record block or long name).
    pub extension: u64,
    /// Bytes of names and attributes from extension headers that are kept, all together: they compress well, and the index
    /// is held in memory. Labels of 100,000 files are 5 MiB.
    pub kept: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inflated: 32 << 30, entries: 2_000_000, extension: 1 << 20, kept: 64 << 20 }
    }
}

/// How to read a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct IndexOptions {
    /// What to do about streams that readers disagree about.
    pub gate: Gate,
    /// Caps.
    pub limits: Limits,
}

/// What a layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerIndex {
    /// Digest of the uncompressed stream.
    pub diff_id: Digest,
    /// Bytes of the uncompressed stream.
    pub size: u64,
    /// What it says of the tree; file contents are named by digest.
    pub delta: TreeDelta,
    /// Where in the uncompressed stream a content starts: the first place, for files that are not empty.
    pub offsets: BTreeMap<Digest, u64>,
    /// Rules it breaks.
    pub violations: Violations,
}

/// Why a layer cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Readers disagree about what the stream holds.
    #[error("ambiguous tar stream")]
    Ambiguous(#[source] Violation),
    /// A cap of [`Limits`] is exceeded.
    #[error("more than {limit} {what} in one layer, at byte {offset}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The cap.
        limit: u64,
        /// Where it was exceeded.
        offset: u64,
    },
    /// The stream cannot be read or decompressed.
    #[error("cannot read the stream behind byte {offset}")]
    Read {
        /// Bytes read before.
        offset: u64,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
}

/// Reads `stream` to its end. Bytes are hashed where the stream has them at hand: a buffer that fits the processor's
/// cache (64 to 256 KiB) is best.
pub fn index(stream: impl BufRead, options: IndexOptions) -> Result<LayerIndex, IndexError> {
    let mut indexer = Indexer::new(stream, options);
    while let Some((member, offset)) = indexer.members.next_member()? {
        indexer.add(member, offset)?;
    }
    indexer.members.read_rest()?;
    let Indexer { members, mut delta, names, offsets, .. } = indexer;
    names.finish(&mut delta);
    let Members { hasher, offset: size, violations, .. } = members;
    let diff_id = hasher.finish();
    Ok(LayerIndex { diff_id, size, delta, offsets, violations })
}

struct Indexer<R> {
    members: Members<R>,
    limits: Limits,
    entries: u64,
    kept: u64,
    /// The whiteouts and opaque marks.
    delta: TreeDelta,
    names: Names,
    /// Paths of entries as they are written, with whether they were hardlinks.
    seen: BTreeMap<TreePath, bool>,
    directories: BTreeSet<TreePath>,
    /// Directories with a listed entry somewhere below that is no directory.
    populated: BTreeSet<TreePath>,
    offsets: BTreeMap<Digest, u64>,
}

impl<R: BufRead> Indexer<R> {
    fn new(stream: R, options: IndexOptions) -> Self {
        Self {
            members: Members::new(stream, options),
            limits: options.limits,
            entries: 0,
            kept: 0,
            delta: TreeDelta::new(),
            names: Names::default(),
            seen: BTreeMap::new(),
            directories: BTreeSet::new(),
            populated: BTreeSet::new(),
            offsets: BTreeMap::new(),
        }
    }

    fn add(&mut self, member: Member, offset: u64) -> Result<(), IndexError> {
        self.entries += 1;
        self.kept += member.kept();
        for (what, count, limit) in [
            ("entries", self.entries, self.limits.entries),
            ("bytes of long names and attributes", self.kept, self.limits.kept),
        ] {
            if count > limit {
                return Err(IndexError::Limit { what, limit, offset: self.members.offset });
            }
        }
        let Member { header, pax, long_name, long_link } = member;
        let pax = pax.unwrap_or_default();
        let (two_names, two_links) =
            (long_name.is_some() && pax.path.is_some(), long_link.is_some() && pax.link.is_some());
        let from_pax = pax.path.is_some();
        let name = pax.path.or(long_name).unwrap_or(header.name);
        let link = pax.link.or(long_link).unwrap_or(header.link);
        if two_names || two_links {
            self.members.broken(Rule::TwoNames, offset, &name)?;
        }
        let regular = matches!(header.kind, b'0' | 0);
        let size = pax.size.unwrap_or(header.size);
        if pax.size.is_some_and(|size| header.size != 0 && header.size != size) {
            self.members.broken(Rule::PaxSize, offset, &name)?;
        }
        if !regular && size != 0 {
            self.members.broken(Rule::Payload, offset, &name)?;
        }
        if regular && name.last() == Some(&b'/') {
            self.members.broken(Rule::TrailingSlash, offset, &name)?;
        }
        let meta = Meta {
            mode: u32::try_from(header.mode & 0o7777).unwrap_or(0),
            uid: pax.uid.unwrap_or(header.uid),
            gid: pax.gid.unwrap_or(header.gid),
            mtime: pax.mtime.unwrap_or(header.mtime),
            xattrs: pax.xattrs,
        };
        let start = self.members.offset;
        let digest = self.members.digest(&name, size, regular)?;
        if regular && size > 0 {
            self.offsets.entry(digest).or_insert(start);
        }
        let kind = match header.kind {
            b'0' | 0 => Kind::File(Content::Stored { digest, size }),
            b'1' => Kind::Hardlink(TreePath::root()),
            b'2' => Kind::Symlink(link.as_slice().into()),
            b'3' => Kind::CharDevice { major: header.major, minor: header.minor },
            b'4' => Kind::BlockDevice { major: header.major, minor: header.minor },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return self.members.broken(Rule::Sparse, offset, &name),
            _ => return self.members.broken(Rule::Type, offset, &name),
        };
        let Ok(path) = TreePath::relative(&name) else {
            return self.members.broken(Rule::Name, offset, &name);
        };
        if link.len() > PATH_MAX {
            return self.members.broken(Rule::Name, offset, &name);
        }
        if path.is_root() && (kind != Kind::Directory || name.is_empty()) {
            return self.members.broken(Rule::RootEntry, offset, &name);
        }
        if from_pax && name.len() > 100 && path.as_bytes().starts_with(b"etc/") {
            self.members.broken(Rule::LongPaxPath, offset, &name)?;
        }
        self.place(path, Inode { meta, kind }, &link, offset)
    }

    fn place(&mut self, path: TreePath, inode: Inode, link: &[u8], offset: u64) -> Result<(), IndexError> {
        self.note(&path, &inode, link, offset)?;
        if let Some(marked) = path.name().strip_prefix(b".wh.") {
            return self.mark(&path, marked, offset);
        }
        let is_link = inode.kind.is_hardlink();
        if self.seen.insert(path.clone(), is_link).is_some() {
            self.members.broken(Rule::Duplicate, offset, path.as_bytes())?;
        }
        if self.names.takes_target(&path, inode.is_directory()) {
            self.members.broken(Rule::LinkFirst, offset, path.as_bytes())?;
        }
        if inode.is_directory() {
            self.directories.insert(path.clone());
        } else {
            let mut above = path.parent();
            while let Some(directory) = above {
                above = directory.parent();
                if !self.populated.insert(directory) {
                    break; // and so are all above it
                }
            }
        }
        if !is_link {
            self.names.insert(path, inode);
            return Ok(());
        }
        let Ok(target) = TreePath::new(link) else {
            return self.members.broken(Rule::LinkTarget, offset, path.as_bytes());
        };
        if target.is_root() || target == path || self.names.is_directory(&target) {
            return self.members.broken(Rule::LinkTarget, offset, path.as_bytes());
        }
        if !self.names.is_linkable(&target) {
            self.members.broken(Rule::LinkLeaves, offset, path.as_bytes())?;
        } else if self.seen.get(&target) == Some(&true) {
            self.members.broken(Rule::LinkChain, offset, path.as_bytes())?;
        }
        self.names.link(path, &target, inode.meta);
        Ok(())
    }

    /// A whiteout or opaque mark (image-spec layer.md, "Whiteouts").
    fn mark(&mut self, path: &TreePath, marked: &[u8], offset: u64) -> Result<(), IndexError> {
        let directory = path.parent().unwrap_or_default();
        if marked == b".wh..opq" {
            if self.populated.contains(&directory) {
                self.members.violations.record(at(Rule::WhiteoutOrder, offset, path));
            }
            self.delta.opaque(directory);
            return Ok(());
        }
        let Some(hidden) = directory.join(marked).ok().filter(|_| !marked.is_empty() && !marked.starts_with(b".wh."))
        else {
            return self.members.broken(Rule::WhiteoutName, offset, path.as_bytes());
        };
        if self.seen.contains_key(&hidden) {
            self.members.violations.record(at(Rule::OwnWhiteout, offset, path));
        }
        self.delta.whiteout(hidden);
        Ok(())
    }

    /// Records what is unwise for bootc images, but means the same to every reader.
    fn note(&mut self, path: &TreePath, inode: &Inode, link: &[u8], offset: u64) -> Result<(), IndexError> {
        let mut rules = Vec::new();
        if path.parent().is_some_and(|parent| !parent.is_root() && !self.directories.contains(&parent)) {
            rules.push(Rule::ImplicitParent);
        }
        let whiteout = path.name().starts_with(b".wh.");
        match inode.kind {
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => rules.push(Rule::Device),
            Kind::Symlink(_) if std::str::from_utf8(link).is_err() => rules.push(Rule::NotUtf8),
            _ => {}
        }
        if path.to_str().is_none() {
            rules.push(Rule::NotUtf8);
        }
        if !whiteout && is_system_place(path) {
            rules.push(Rule::SystemPlace);
        }
        for name in inode.meta.xattrs.keys() {
            if &**name == b"security.selinux" {
                rules.push(Rule::SelinuxLabel);
            } else if name.starts_with(b"trusted.overlay.")
                || name.starts_with(b"user.overlay.")
                || &**name == b"security.ima"
            {
                rules.push(Rule::OverlayAttribute);
            }
        }
        for rule in rules {
            self.members.broken(rule, offset, path.as_bytes())?;
        }
        if let Some(marked) = path.name().strip_prefix(b".wh.") {
            let hidden = path.parent().and_then(|parent| parent.join(marked).ok());
            if hidden.is_some_and(|hidden| self.seen.contains_key(&hidden)) {
                return Ok(()); // counted by the mark itself
            }
        } else if self.delta.whiteouts().contains(path) {
            self.members.violations.record(at(Rule::OwnWhiteout, offset, path));
        }
        Ok(())
    }
}

/// Below a place of the running system. `sysroot/ostree` is where encapsulated images keep their objects.
fn is_system_place(path: &TreePath) -> bool {
    ["dev", "proc", "sys", "run", "tmp", "boot", "usr/etc"]
        .iter()
        .any(|place| path.as_bytes().strip_prefix(place.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/')))
}
