//! What stands at one path: kind, metadata, and where a file's bytes are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::path::TreePath;
use crate::image::Digest;

/// Extended attributes, by full name (`security.capability`).
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Ownership, permissions and times of an inode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Meta {
    /// The twelve permission bits (`0o7777`); the file type is [`Kind`]'s.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Extended attributes, sorted by name.
    pub xattrs: Xattrs,
}

impl Meta {
    /// Metadata of something root owns, with `mode` and `mtime` and no extended attributes.
    pub fn root_owned(mode: u32, mtime: i64) -> Self {
        Self { mode, mtime, ..Self::default() }
    }
}

/// Where the bytes of a regular file are.
///
/// Equal values have equal bytes; the same bytes may have several values (a file on disk and the digest of it).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Named by digest: somewhere in a layer whose index is known.
    Stored {
        /// Digest of the file's bytes.
        digest: Digest,
        /// Size in bytes.
        size: u64,
    },
    /// Made by this program, small.
    Bytes(Arc<[u8]>),
    /// A file, or a part of one, below the directory that [`Contents`](crate::layer::Contents) was opened on.
    OnDisk(HostFile),
}

/// A range of a file on this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostFile {
    /// Path relative to the recipe's directory.
    pub path: PathBuf,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub size: u64,
    /// Its state when it was listed: a later change is an error, not another image.
    pub stamp: Stamp,
}

/// What identifies one state of a file on disk, without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i128,
    /// Time of the last change of the inode, nanoseconds since 1970.
    pub ctime: i128,
}

impl Content {
    /// Size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Stored { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::OnDisk(file) => file.size,
        }
    }

    /// Content made of `bytes`.
    pub fn of(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(Arc::from(bytes.into()))
    }

    /// The content's digest, where it is known without reading a file.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Stored { digest, .. } => Some(*digest),
            Self::Bytes(bytes) => Some(Digest::of(bytes)),
            Self::OnDisk(_) => None,
        }
    }
}

/// The kind of an inode with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link with its target, as it is written.
    Symlink(Box<[u8]>),
    /// One more name of the inode at this path, which is of any kind but a directory: a file, a symbolic link, a device
    /// or a pipe. In a [`FileTree`](super::FileTree) it is the first name of the inode in path order, and no hardlink
    /// itself.
    Hardlink(TreePath),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

impl Kind {
    /// The kind's name in dumps and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Directory => "dir",
            Self::File(_) => "file",
            Self::Symlink(_) => "symlink",
            Self::Hardlink(_) => "hardlink",
            Self::CharDevice { .. } => "char",
            Self::BlockDevice { .. } => "block",
            Self::Fifo => "fifo",
        }
    }

    /// Whether an inode of this kind can have several names: all but directories. A hardlink is no inode of its own.
    pub fn can_have_names(&self) -> bool {
        !matches!(self, Self::Directory | Self::Hardlink(_))
    }

    /// Whether this is one more name of an inode.
    pub fn is_hardlink(&self) -> bool {
        matches!(self, Self::Hardlink(_))
    }
}

/// What stands at one path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inode {
    /// Metadata; a hardlink carries that of its target.
    pub meta: Meta,
    /// Kind and content.
    pub kind: Kind,
}

impl Inode {
    /// A directory.
    pub fn directory(meta: Meta) -> Self {
        Self { meta, kind: Kind::Directory }
    }

    /// A regular file.
    pub fn file(meta: Meta, content: Content) -> Self {
        Self { meta, kind: Kind::File(content) }
    }

    /// A symbolic link; its mode is 0777, as everywhere on Linux.
    pub fn symlink(target: impl AsRef<[u8]>, mtime: i64) -> Self {
        Self { meta: Meta::root_owned(0o777, mtime), kind: Kind::Symlink(target.as_ref().into()) }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// The content, when this is a regular file (a hardlink has none of its own).
    pub fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::File(content) => Some(content),
            _ => None,
        }
    }
}
