//! Images into and between registries.

use std::path::PathBuf;

use clap::Args;

use super::{BuildArgs, ServiceArgs, SignatoryArgs, SourceArgs};

/// What is told of a push.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PushOutput {
    /// Print what would be sent, mounted and tagged, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// File for the receipt, as --json prints it
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct MirrorArgs {
    /// Image to copy
    pub(crate) source_image: String,
    /// Where to copy it, as docker://HOST/NAME:TAG, oci:DIR[:TAG] or oci-archive:FILE[:TAG]
    pub(crate) destination: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) output: PushOutput,
    /// Copy one platform of an index instead of all
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) signatory: SignatoryArgs,
}

#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// Image to push, as oci:DIR[:TAG] or oci-archive:FILE[:TAG]
    pub(crate) image: String,
    /// Where to push it, as docker://HOST/NAME:TAG
    #[arg(required = true, value_name = "REF")]
    pub(crate) references: Vec<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) output: PushOutput,
    /// Push one platform of an index instead of all
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    #[command(flatten)]
    pub(crate) output: PushOutput,
    #[command(flatten)]
    pub(crate) services: ServiceArgs,
    /// Bill of materials to attest, where the recipe asks for one (CycloneDX or SPDX, JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) sbom: Option<PathBuf>,
}
