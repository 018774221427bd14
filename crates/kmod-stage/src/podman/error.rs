//! Why a container could not be run, or what came of it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use oci_assemble::image::{Digest, DocumentError};

use super::{Restriction, Version};

/// Why a container could not be run, or what came of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// This is a plan.
    #[error("plans run no containers")]
    Withheld,
    /// podman is not installed.
    #[error("{} is not installed", program.display())]
    Missing {
        /// The program that was looked for.
        program: PathBuf,
    },
    /// podman could not be started or watched.
    #[error("running {} failed", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// podman is too old.
    #[error("podman {found} is too old: {needed} is needed")]
    TooOld {
        /// What is installed.
        found: Version,
        /// The oldest that will do.
        needed: Version,
    },
    /// The machine or the container this program runs in forbids something.
    #[error("podman {call} failed: {message}")]
    Restricted {
        /// The subcommand.
        call: String,
        /// What is forbidden.
        restriction: Restriction,
        /// What podman said.
        message: String,
    },
    /// podman reported failure.
    #[error("podman {call} failed: {message}")]
    Failed {
        /// The subcommand.
        call: String,
        /// What podman said.
        message: String,
    },
    /// podman did not answer in time.
    #[error("podman {call} did not end within {} s", limit.as_secs())]
    NoAnswer {
        /// The subcommand.
        call: String,
        /// The limit.
        limit: Duration,
    },
    /// podman said something other than what it is asked for.
    #[error("podman {call} gave an answer that cannot be understood: {text:?}")]
    Answer {
        /// The subcommand.
        call: String,
        /// Its answer, cut to 160 characters.
        text: String,
    },
    /// The layout's manifest cannot be read.
    #[error("cannot read {manifest} of the layout {}", directory.display())]
    Layout {
        /// The layout.
        directory: PathBuf,
        /// The manifest asked for.
        manifest: Digest,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The layout's manifest is none.
    #[error("{manifest} of the layout {} is no manifest of an image", directory.display())]
    Manifest {
        /// The layout.
        directory: PathBuf,
        /// The manifest asked for.
        manifest: Digest,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// A temporary file could not be written.
    #[error("cannot write temporary files to {}", path.display())]
    Scratch {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// podman's storage does not have the image.
    #[error("podman has no image {image}")]
    NoImage {
        /// Its name or ID.
        image: String,
    },
    /// What podman has under that name is another image.
    #[error("podman's image {image} is not the one that was asked for: expected {expected}, found {found}")]
    Mismatch {
        /// Its name or ID.
        image: String,
        /// The digest expected.
        expected: Digest,
        /// What podman says.
        found: String,
    },
    /// The command ended with another code than 0.
    #[error("the container ended with code {code}{}", ending(*out_of_memory, tail))]
    Exit {
        /// The exit code; 128 and the number of the signal that ended it.
        code: i32,
        /// Whether it was ended for want of memory.
        out_of_memory: bool,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// The command ran longer than it may.
    #[error("the container was ended after {} s{}", limit.as_secs_f32(), ending(false, tail))]
    TimedOut {
        /// How long it may run.
        limit: Duration,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The output of the container could not be written to the log.
    #[error("cannot write the log of the container")]
    Log(#[source] io::Error),
}

impl RuntimeError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => Some("install podman 4.0 or newer"),
            Self::TooOld { .. } => Some("update podman, or name a newer one"),
            Self::Restricted { restriction, .. } => Some(restriction.hint()),
            Self::Exit { out_of_memory: true, .. } => {
                Some("give the container more memory: [builder] arguments = [\"--memory=4g\"], and fewer jobs")
            }
            _ => None,
        }
    }

    /// The last lines of the container's output, where there was one.
    pub fn tail(&self) -> &[String] {
        match self {
            Self::Exit { tail, .. } | Self::TimedOut { tail, .. } => tail,
            _ => &[],
        }
    }
}

/// The last line says most; the others are for who asks for them.
fn ending(out_of_memory: bool, tail: &[String]) -> String {
    let memory = if out_of_memory { ", out of memory" } else { "" };
    let last = tail.iter().rev().find(|line| !line.trim().is_empty());
    last.map_or(memory.to_owned(), |line| format!("{memory}: {}", line.trim()))
}
