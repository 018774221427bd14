//! Everything of `assemble` that runs a process.
//!
//! `kernel` names kernels and `module` judges their modules, both pure; `sandbox` runs one program of an untrusted
//! image with nothing but the files it needs; `depmod` uses all three to index the modules of a tree, and `stage` makes
//! both modules and indexes steps of a plan. `private` makes the directories for temporary files.
//!
//! `builder` says what runs in a container of its own, as plain values, and `podman` runs it.

pub mod builder;
pub mod depmod;
pub mod kernel;
pub mod module;
pub mod podman;
pub mod private;
pub mod sandbox;
pub mod stage;
