//! Root file systems as values.
//!
//! [`FileTree`] is a whole tree, [`TreeDelta`] what one layer says of it. Both have a readable text form ([`dump`]).
//! No code here touches a file: a file's bytes are named by a [`Content`].

pub mod dump;
pub mod glob;

mod delta;
mod inode;
mod inodes;
mod merge;
mod path;

pub use delta::TreeDelta;
pub use inode::{Content, HostFile, Inode, Kind, Meta, Stamp, Xattrs};
pub use merge::{FileTree, MergeError, Resolved};
pub use path::{Escaped, NAME_MAX, PATH_MAX, PathError, PathFault, TreePath, unescape};

#[cfg(test)]
mod tests;
