//! Running builder containers: the one place that starts podman.
//!
//! [`ContainerRuntime`] is what the rest of the crate needs of it; [`Podman`] calls the program, rootful or rootless,
//! from 4.0 on. What it is called with are the pure functions of module `builder`.
//!
//! Invariants: no call outlives the value that made it; a container is removed when the value that stands for it is
//! dropped, on every path; images are pinned by digest and checked by ID before anything runs in them; names of the
//! user's images are never touched. podman runs in a process group of its own, so that ctrl-c in a terminal reaches
//! this program, which then ends the container in order. When this program is killed, the container ends after its
//! time, and `podman ps --all --filter label=io.assemble.builder` shows it.

mod call;
mod cancel;
mod container;
mod error;
mod import;
mod restriction;
mod run;
mod runtime;
mod stream;
mod tail;
mod version;
mod withheld;

use std::path::PathBuf;

use crate::builder::{ImageId, LocalImage, PodmanSettings};
use call::Call;

pub use cancel::Cancel;
pub use error::RuntimeError;
pub use restriction::Restriction;
pub use runtime::{ContainerRuntime, Finished, ImageSource};
pub use version::Version;
pub use withheld::Withheld;

/// podman on this machine.
#[derive(Debug)]
pub struct Podman {
    settings: PodmanSettings,
    scratch: PathBuf,
    version: Version,
}

impl Podman {
    /// Asks podman for its version. `scratch` is an existing directory for small temporary files.
    pub fn new(settings: PodmanSettings, scratch: PathBuf) -> Result<Self, RuntimeError> {
        let version = version::installed(&settings)?;
        Ok(Self { settings, scratch, version })
    }

    /// The version that runs.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// A call with these words after the options of every call.
    fn call<'a>(&'a self, words: &[&str]) -> Call<'a> {
        self.plain(self.settings.command(words.iter().map(|word| (*word).to_owned())))
    }

    /// A call with exactly these words.
    fn plain(&self, words: Vec<String>) -> Call<'_> {
        Call::new(&self.settings.program, words)
    }

    /// The ID of an image podman has, by ID or name.
    fn image_id(&self, image: &str) -> Result<Option<ImageId>, RuntimeError> {
        let known = self.call(&["image", "exists", image]);
        if !known.succeeds()? {
            return Ok(None);
        }
        let inspect = self.call(&["image", "inspect", "--format={{.Id}}", image]);
        inspect.parse(&inspect.output()?).map(Some)
    }

    /// Takes the name of an image away, and the image when that was its last one.
    fn remove_image(&self, name: &LocalImage) -> Result<(), RuntimeError> {
        if self.image_id(&name.to_string())?.is_some() {
            self.call(&["rmi", &name.to_string()]).output()?;
        }
        Ok(())
    }
}
