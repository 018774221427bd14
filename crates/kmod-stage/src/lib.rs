//! Everything of `assemble` that runs a process.
//!
//! From the bottom up: `version` orders versions of packages, `repository` reads what package repositories offer,
//! `kernel` names kernels and chooses one, `module` reads, judges, normalises and signs kernel modules, `dkms` reads how they are
//! compiled. `builder` describes containers and `podman` runs them; `capture` tells what a package manager changed in
//! one, `manifest` picks the files of packages, `bundle` keeps what was made, and `build` drives all of it. `sandbox`
//! runs one program of an untrusted image with nothing but the files it needs; `depmod` uses it to index the modules of
//! a tree, `boot` starts an image in a virtual machine, `bootc` asks the one that an image carries, and `stage` makes modules and indexes steps of a plan. `private`
//! makes the directories for temporary files.

pub mod archive;
pub mod boot;
pub mod bootc;
pub mod build;
pub mod builder;
pub mod bundle;
pub mod capture;
pub mod depmod;
pub mod dkms;
pub mod kernel;
pub mod manifest;
pub mod module;
pub mod podman;
pub mod private;
pub mod record;
pub mod repository;
pub mod sandbox;
pub mod stage;
pub mod version;
