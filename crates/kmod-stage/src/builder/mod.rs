//! Builder containers, as plain values: what runs in one, and the words podman is called with.
//!
//! A builder compiles modules or installs packages, and what it leaves behind becomes part of an image. So everything
//! it can see is in its [`ContainerSpec`]: the image by ID, read-only directories, a fixed host name, an environment
//! that takes nothing over from the machine or the image, and no network unless it is there to fetch.
//!
//! Nothing here touches disk, network or processes; module `podman` does. Every argument list is a function of the
//! settings and the specification, so a plan can show it before anything runs.

mod arguments;
mod environment;
mod image;
mod settings;
mod spec;

pub use arguments::{HOSTNAME, LABEL, create_arguments};
pub(crate) use arguments::{
    commit_arguments, copy_arguments, export_arguments, remove_arguments, start_arguments, state_arguments,
};
pub use environment::environment;
pub use image::{ImageId, ImageIdError, LocalImage};
pub use settings::{ArgumentError, PodmanArgument, PodmanSettings};
pub use spec::{ContainerName, ContainerSpec, Mount, Network, SpecError};
