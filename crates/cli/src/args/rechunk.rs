//! What users type to cut images and to compare them.
#![expect(rustdoc::broken_intra_doc_links, reason = "doc comments are the help here, where [:TAG] is no link")]

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{SourceArgs, size};

#[derive(Args, Debug)]
pub(crate) struct RechunkArgs {
    /// Image to cut
    pub(crate) source_image: String,
    /// Where to write it, as oci:DIR[:TAG] or oci-archive:FILE[:TAG]
    pub(crate) destination: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The most layers
    // containers-storage refuses more than 500.
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) max_layers: u32,
    /// Image whose layers to keep where nothing changed, or a file with the document of rechunk --json; none for a fresh start [default: the image that is replaced]
    #[arg(long, value_name = "IMAGE|FILE")]
    pub(crate) previous: Option<String>,
    /// File that says which paths belong together
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
    /// Set times of installation in the rpm database to times of building, so that the same packages are the same database
    #[arg(long)]
    pub(crate) normalize_rpmdb: bool,
    /// Print the layers, what is in each and what an update would download; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Memory to use at most, in bytes or, with K, M or G, in 1024 times as many; uncompressed layers that do not fit go to a file without a name at the destination [default: a quarter of this machine's]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Compression of all layers [default: layers that are kept stay as they are, new ones are as those of the image before, or zstd]
    #[arg(long, value_enum)]
    pub(crate) compression: Option<Compressor>,
    /// Threads to use [default: all processors]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// Platform to choose from an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DeltaArgs {
    /// Image that the client has
    pub(crate) from: String,
    /// Image that it updates to
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Platform to choose from an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compressor {
    /// Smaller and faster
    Zstd,
    /// For clients from before zstd
    Gzip,
}
