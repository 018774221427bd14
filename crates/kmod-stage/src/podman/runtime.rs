//! What the rest of the crate needs of a container runtime.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::path::PathBuf;

use oci_assemble::image::{Digest, RegistryReference, StorageImage};

use super::{Cancel, RuntimeError};
use crate::builder::{ContainerSpec, ImageId, LocalImage};

/// Where an image comes from, pinned by the digest of its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A directory with an OCI layout.
    Layout {
        /// The directory; it stays where it is until the import has ended.
        directory: PathBuf,
        /// Digest of the manifest (of one image, not of an index). The layout's index need not name it.
        manifest: Digest,
    },
    /// A registry.
    Registry {
        /// The name; tag and digest in it are not used.
        name: RegistryReference,
        /// Digest of the manifest or index.
        manifest: Digest,
        /// File with credentials; podman's own when absent.
        authfile: Option<PathBuf>,
        /// Whether the registry must prove who it is.
        tls_verify: bool,
    },
    /// The runtime's own storage.
    Storage {
        /// Name or ID.
        image: StorageImage,
        /// Digest of the manifest or index it was pulled by.
        manifest: Digest,
    },
}

/// Runs containers.
///
/// Laws:
/// - `import` gives the ID of the image with that manifest, or an error; importing twice is importing once, and no name
///   of another image changes.
/// - After `commit` of a container as `name`, `find(name)` is its ID; after `remove(name)` it is none.
/// - When `run` fails, or the value it gives is dropped, no container of that name is there any more.
pub trait ContainerRuntime: Debug + Send + Sync {
    /// Brings an image into the runtime's storage.
    fn import(&self, source: &ImageSource, cancel: &Cancel) -> Result<ImageId, RuntimeError>;

    /// The image of that name, when there is one.
    fn find(&self, name: &LocalImage) -> Result<Option<ImageId>, RuntimeError>;

    /// Runs a container to its end, and writes its stdout and stderr to `log` as they come. An exit code other than 0
    /// is an error ([`RuntimeError::Exit`]) with the last lines of the log. `cancel` ends this call, and every
    /// later one for the same container.
    fn run<'a>(
        &'a self,
        spec: &ContainerSpec,
        log: &mut dyn Write,
        cancel: &Cancel,
    ) -> Result<Box<dyn Finished + 'a>, RuntimeError>;

    /// Takes the name away from an image, and removes the image when it has no other; fine when there is none.
    fn remove(&self, name: &LocalImage) -> Result<(), RuntimeError>;
}

/// A container that ended with exit code 0. Its files are there until it is dropped.
pub trait Finished: Debug + Send {
    /// The whole file system as a tar. Names have neither `/` nor `./` in front, and mount points are empty. The last
    /// read fails when the runtime did.
    fn export(&self) -> Result<Box<dyn Read + Send + '_>, RuntimeError>;

    /// What is at the absolute `path`, as a tar that begins with its last component. The last read fails when there is
    /// nothing, or when the runtime failed.
    fn copy_out(&self, path: &str) -> Result<Box<dyn Read + Send + '_>, RuntimeError>;

    /// Makes an image of it, which has the name from then on.
    fn commit(&self, name: &LocalImage) -> Result<ImageId, RuntimeError>;

    /// Removes it, and says when that fails.
    fn remove(self: Box<Self>) -> Result<(), RuntimeError>;
}
