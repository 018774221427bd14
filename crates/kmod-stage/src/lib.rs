//! Everything of `assemble` that runs a process.
//!
//! `sandbox` runs one program of an untrusted image with nothing but the files it needs.

pub mod sandbox;
