//! A tree as an EROFS image: the root disk of the guest, made without root, mounts or programs of the host.
//!
//! EROFS is the one file system that every bootc kernel must have (composefs stands on it), and without compression its
//! format is small (kernel documentation, `filesystems/erofs`; `fs/erofs/erofs_fs.h`): a superblock, inodes of 64 bytes
//! with their attributes, directories as sorted tables, and files at block boundaries. So all places are known before
//! any file is read (`Erofs::plan`, pure), and files can be written in the order their layers give them.
//!
//! Layout: block 0 with the superblock, then the inodes, with short symlinks and directories inside them, then longer
//! ones, then files. Equal files share their blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Seek, SeekFrom, Write};

use oci_assemble::layer::Contents;
use oci_assemble::tree::{Content, FileTree, Inode, Kind, Meta, TreePath};

use super::erofs_dir::{Entry, table, table_size};

/// Bytes of a block: the page size of the guests, the only size that old kernels take.
pub(super) const BLOCK: usize = 4096;
/// Inodes are named by their distance from the start, in these units.
const SLOT: u64 = 32;
/// Bytes of an extended inode.
const INODE: usize = 64;
/// Where the superblock stands.
const SUPERBLOCK: usize = 1024;
/// `EROFS_SUPER_MAGIC_V1`.
const MAGIC: u32 = 0xE0F5_E1E2;
/// Layouts of `i_format`, with the bit of the extended inode.
const PLAIN: u16 = 1;
const INLINE: u16 = (2 << 1) | 1;

/// Why a tree cannot be an EROFS image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErofsError {
    /// It stands in no directory.
    #[error("{path} stands in no directory")]
    Orphan {
        /// The path.
        path: TreePath,
    },
    /// More of something than the format can count.
    #[error("{path}: {what} do not fit into the file system")]
    TooLarge {
        /// The path.
        path: TreePath,
        /// What there is too much of.
        what: &'static str,
    },
}

/// Where everything of a tree stands in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Erofs {
    /// The bytes before the files: superblock, inodes, directories, symlinks.
    metadata: Vec<u8>,
    /// First byte of each file.
    files: BTreeMap<Content, u64>,
    /// Bytes of the image, a multiple of the block size.
    size: u64,
}

/// An inode on its way to its place.
struct Planned<'a> {
    path: &'a TreePath,
    inode: &'a Inode,
    xattrs: Vec<u8>,
    /// Bytes of a directory's table or of a symlink's target.
    body: usize,
    links: u32,
    /// Its first byte.
    at: usize,
    inline: bool,
    /// First byte of its content, when that is not inline.
    data: u64,
}

impl Erofs {
    /// Finds a place for everything in `tree`, which has its directories, the root among them. Costs one pass, and memory
    /// for the metadata: about 100 bytes for a name.
    pub(super) fn plan(tree: &FileTree) -> Result<Self, ErofsError> {
        let children = children(tree)?;
        let mut inodes = Vec::with_capacity(tree.len());
        let mut end = BLOCK;
        for (path, inode) in tree.iter().filter(|(_, inode)| !inode.kind.is_hardlink()) {
            let mut planned = planned(tree, path, inode, &children)?;
            end = planned.place(end);
            inodes.push(planned);
        }
        let mut end = (end as u64).next_multiple_of(BLOCK as u64);
        for inode in inodes.iter_mut().filter(|inode| inode.body > 0 && !inode.inline) {
            inode.data = end;
            end += (inode.body as u64).next_multiple_of(BLOCK as u64);
        }
        let length = usize::try_from(end).map_err(|_| too_large(&TreePath::root(), "names"))?;
        let mut files = BTreeMap::new();
        for inode in &mut inodes {
            if let Kind::File(content) = &inode.inode.kind
                && content.size() > 0
            {
                inode.data = *files.entry(content.clone()).or_insert_with(|| {
                    let at = end;
                    end += content.size().next_multiple_of(BLOCK as u64);
                    at
                });
            }
        }
        let blocks = u32::try_from(end / BLOCK as u64).map_err(|_| too_large(&TreePath::root(), "files"))?;
        let mut image = Self { metadata: vec![0; length], files, size: end };
        image.superblock(blocks, inodes.len());
        let places: BTreeMap<&TreePath, u64> =
            inodes.iter().map(|inode| (inode.path, inode.at as u64 / SLOT)).collect();
        for (number, inode) in (1..).zip(&inodes) {
            image.inode(inode, number);
            image.body(inode, tree, &children, &places);
        }
        Ok(image)
    }

    /// Bytes of the image.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Writes the image into an empty file. Costs one pass over the layers that have its files.
    pub(super) fn write(&self, contents: &dyn Contents, file: &mut (impl Write + Seek)) -> io::Result<()> {
        file.write_all(&self.metadata)?;
        let mut stored = BTreeSet::new();
        for (content, at) in &self.files {
            if let Content::Bytes(bytes) = content {
                file.seek(SeekFrom::Start(*at))?;
                file.write_all(bytes)?;
            } else {
                stored.insert(content.clone());
            }
        }
        contents.visit(&stored, &mut |content, stream| {
            let at = self.files.get(content).ok_or(io::ErrorKind::NotFound)?;
            file.seek(SeekFrom::Start(*at))?;
            // One byte more would be written over the next file.
            let copied = io::copy(&mut io::Read::take(stream, content.size()), file)?;
            if copied == content.size() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        })?;
        // The last block is whole.
        let padding = self.size.saturating_sub(1);
        if file.seek(SeekFrom::End(0))? < self.size {
            file.seek(SeekFrom::Start(padding))?;
            file.write_all(&[0])?;
        }
        Ok(())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.metadata[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn superblock(&mut self, blocks: u32, inodes: usize) {
        self.put(SUPERBLOCK, &MAGIC.to_le_bytes());
        self.put(SUPERBLOCK + 12, &[12]); // blkszbits: 2^12
        let root = u16::try_from(BLOCK as u64 / SLOT).unwrap_or(0);
        self.put(SUPERBLOCK + 14, &root.to_le_bytes());
        self.put(SUPERBLOCK + 16, &(inodes as u64).to_le_bytes());
        self.put(SUPERBLOCK + 36, &blocks.to_le_bytes());
    }

    fn inode(&mut self, planned: &Planned<'_>, number: u32) {
        let Planned { inode: Inode { meta, kind }, at, .. } = planned;
        let (kind_bits, size, place) = match kind {
            Kind::Directory => (0o04_0000, planned.body as u64, block(planned.data)),
            Kind::Symlink(_) => (0o12_0000, planned.body as u64, block(planned.data)),
            Kind::File(content) => (0o10_0000, content.size(), block(planned.data)),
            Kind::CharDevice { major, minor } => (0o02_0000, 0, device(*major, *minor)),
            Kind::BlockDevice { major, minor } => (0o06_0000, 0, device(*major, *minor)),
            Kind::Fifo | Kind::Hardlink(_) => (0o01_0000, 0, 0),
        };
        let mode = u16::try_from(kind_bits | (meta.mode & 0o7777)).unwrap_or(0);
        let attributes = if planned.xattrs.is_empty() { 0 } else { (planned.xattrs.len() - 12) / 4 + 1 };
        let mut raw = Vec::with_capacity(INODE);
        raw.extend(if planned.inline { INLINE } else { PLAIN }.to_le_bytes());
        raw.extend(u16::try_from(attributes).unwrap_or(0).to_le_bytes());
        raw.extend(mode.to_le_bytes());
        raw.extend([0; 2]);
        raw.extend(size.to_le_bytes());
        raw.extend(place.to_le_bytes());
        raw.extend(number.to_le_bytes());
        raw.extend(owner(meta.uid).to_le_bytes());
        raw.extend(owner(meta.gid).to_le_bytes());
        raw.extend(meta.mtime.to_le_bytes());
        raw.extend([0; 4]);
        raw.extend(planned.links.to_le_bytes());
        self.put(*at, &raw);
        self.put(*at + INODE, &planned.xattrs);
    }

    fn body(
        &mut self,
        planned: &Planned<'_>,
        tree: &FileTree,
        children: &BTreeMap<TreePath, Vec<TreePath>>,
        places: &BTreeMap<&TreePath, u64>,
    ) {
        let body = match &planned.inode.kind {
            Kind::Symlink(target) => target.to_vec(),
            Kind::Directory => {
                let place = |path: &TreePath| places.get(path).copied().unwrap_or_default();
                let own = [(&b"."[..], planned.path.clone()), (b"..", planned.path.parent().unwrap_or_default())];
                let below = children.get(planned.path).map(Vec::as_slice).unwrap_or_default();
                let below = below.iter().filter_map(|path| {
                    let inode = tree.get(path)?;
                    let owner = if let Kind::Hardlink(owner) = &inode.kind { owner } else { path };
                    let kind = file_type(&tree.linked(inode).kind);
                    Some(Entry { name: path.name(), place: place(owner), kind })
                });
                let own = own.iter().map(|(name, path)| Entry { name, place: place(path), kind: 2 });
                table(own.chain(below).collect())
            }
            _ => return,
        };
        let at = if planned.inline {
            planned.at + INODE + planned.xattrs.len()
        } else {
            usize::try_from(planned.data).unwrap_or(usize::MAX)
        };
        self.put(at, &body);
    }
}

impl Planned<'_> {
    /// Takes the first place from `end` on; what follows it.
    fn place(&mut self, end: usize) -> usize {
        let slot = usize::try_from(SLOT).unwrap_or(BLOCK);
        let head = INODE + self.xattrs.len();
        self.inline = self.body > 0 && head + self.body <= BLOCK;
        // Neither the inode proper nor what is inline may stand on two blocks.
        let whole = if self.inline { head + self.body } else { INODE };
        let mut at = end.next_multiple_of(slot);
        if at % BLOCK + whole > BLOCK {
            at = at.next_multiple_of(BLOCK);
        }
        self.at = at;
        at + head + if self.inline { self.body } else { 0 }
    }
}

/// What stands directly in each directory.
fn children(tree: &FileTree) -> Result<BTreeMap<TreePath, Vec<TreePath>>, ErofsError> {
    let mut children: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
    let mut found_root = false;
    for (path, inode) in tree.iter() {
        match path.parent() {
            None => found_root = inode.is_directory(),
            Some(above) if tree.get(&above).is_some_and(Inode::is_directory) => {
                children.entry(above).or_default().push(path.clone());
            }
            Some(_) => return Err(ErofsError::Orphan { path: path.clone() }),
        }
    }
    if found_root { Ok(children) } else { Err(ErofsError::Orphan { path: TreePath::root() }) }
}

fn planned<'a>(
    tree: &FileTree,
    path: &'a TreePath,
    inode: &'a Inode,
    children: &BTreeMap<TreePath, Vec<TreePath>>,
) -> Result<Planned<'a>, ErofsError> {
    let below = children.get(path).map(Vec::as_slice).unwrap_or_default();
    let (body, links) = match &inode.kind {
        Kind::Directory => {
            let directories = below.iter().filter(|path| tree.get(path).is_some_and(Inode::is_directory)).count();
            let names: Vec<&[u8]> = [&b"."[..], b".."].into_iter().chain(below.iter().map(TreePath::name)).collect();
            (table_size(names), directories + 2)
        }
        Kind::Symlink(target) => (target.len(), tree.names(path).len()),
        _ => (0, tree.names(path).len()),
    };
    let links = u32::try_from(links).map_err(|_| too_large(path, "links"))?;
    let xattrs = attributes(&inode.meta).ok_or_else(|| too_large(path, "extended attributes"))?;
    Ok(Planned { path, inode, xattrs, body, links, at: 0, inline: false, data: 0 })
}

/// Prefixes of attribute names (`EROFS_XATTR_INDEX_*`); a name of another prefix cannot be stored, and no kernel would
/// show it.
const PREFIXES: &[(&[u8], u8)] = &[
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// The attributes behind an inode; none when they are too many.
fn attributes(meta: &Meta) -> Option<Vec<u8>> {
    let mut entries = Vec::new();
    for (name, value) in &meta.xattrs {
        let Some((prefix, index)) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)) else { continue };
        let name = &name[prefix.len()..];
        entries.extend([u8::try_from(name.len()).ok()?, *index]);
        entries.extend(u16::try_from(value.len()).ok()?.to_le_bytes());
        entries.extend(name);
        entries.extend(&value[..]);
        entries.resize(entries.len().next_multiple_of(4), 0);
    }
    if entries.is_empty() {
        return Some(entries);
    }
    // A header of 12 bytes: nothing filtered, nothing shared.
    let whole = [vec![0; 12], entries].concat();
    u16::try_from((whole.len() - 12) / 4 + 1).ok().map(|_| whole)
}

fn too_large(path: &TreePath, what: &'static str) -> ErofsError {
    ErofsError::TooLarge { path: path.clone(), what }
}

/// The block that starts at `byte`; the whole image was counted in blocks before.
fn block(byte: u64) -> u32 {
    u32::try_from(byte / BLOCK as u64).unwrap_or(u32::MAX)
}

/// `new_encode_dev` of linux/kdev_t.h.
fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn owner(id: u64) -> u32 {
    u32::try_from(id).unwrap_or(65534)
}

/// `EROFS_FT_*`.
fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) | Kind::Hardlink(_) => 1,
        Kind::Directory => 2,
        Kind::CharDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Fifo => 5,
        Kind::Symlink(_) => 7,
    }
}

#[cfg(test)]
mod tests;
