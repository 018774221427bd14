//! OCI layout directories (image-spec, "image-layout.md"), read and written so that they survive.
//!
//! What is in `index.json` is complete and on disk, whatever happens while it is written. The protocol of a writer:
//!
//! 1. It takes the lock `.assemble/users` (shared: writers of different images do not wait for each other) and makes a
//!    directory of its own, `.assemble/tx-N`, with a lock in it that is held until it is done. Directories whose owner
//!    is gone are removed on that occasion.
//! 2. Every blob is written to that directory, hashed, its size checked, and renamed to `blobs/ALGORITHM/HEX`. A file
//!    that is there already counts only if it was hashed: after a power cut the right name and the right size may
//!    hold zeros.
//! 3. When all blobs are in, one `syncfs` brings them to disk, which costs the same for three hundred as for one.
//! 4. Under the exclusive lock `.assemble/lock` the index is read again, changed, written beside, synchronised, renamed
//!    over the old one, and its directory synchronised. Entries of others stay as they are.
//!
//! An error of a synchronisation ends the commit: what the kernel failed to write once it may drop and then report as
//! written. The directory `.assemble` is ours alone; the specification allows additional files, and skopeo, umoci and
//! podman pass over it. Only [`gc`](super::gc) deletes blobs, and only while nobody holds `.assemble/users`.

mod commit;
mod own;
mod read;
mod sink;
mod take;
mod transaction;

pub use commit::Committed;
pub use read::Layout;
pub use sink::{BlobSink, BlobWriter};
pub use take::Taken;
pub use transaction::Transaction;

pub(super) use own::{HEADER_TEXT, abandoned, lock_index};
pub use read::is_attached;
pub(super) use read::{find, parse_header};

/// The private directory.
pub(super) const PRIVATE: &str = ".assemble";
/// Lock of the index, in the private directory.
pub(super) const INDEX_LOCK: &str = "lock";
/// Lock held shared by all who use blobs.
pub(super) const USERS_LOCK: &str = "users";
/// Beginning of the names of writers' directories.
pub(super) const TRANSACTION: &str = "tx-";
/// Lock in a writer's directory, held as long as the writer lives.
pub(super) const OWNER_LOCK: &str = "owner";
/// The file that marks a layout.
pub(super) const HEADER: &str = "oci-layout";
/// The list of images.
pub(in crate::store) const INDEX: &str = "index.json";

#[cfg(test)]
mod tests;
