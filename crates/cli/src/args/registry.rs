//! Images into and between registries.

use std::path::PathBuf;

use clap::Args;

use super::{BuildArgs, LogVersion, ServiceArgs, SignatoryArgs, SignatureForm, SignerArgs, SourceArgs};

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
    /// Attach the indexes of the layers to the copy, so that who builds upon it fetches only layers that it needs
    #[arg(long)]
    pub(crate) index: bool,
    #[command(flatten)]
    pub(crate) signatory: SignatoryArgs,
    #[command(flatten)]
    pub(crate) signing: SigningArgs,
}

/// Who signs a copy. Options that `verify` has, too, have names of their own here, as the source may have to be verified.
#[derive(Args, Clone, Debug)]
pub(crate) struct SigningArgs {
    /// Sign the copy before its tag is set: with a private key, a file or env:VARIABLE, or, without one, the identity of the pipeline; can be repeated
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true, default_missing_value = KEYLESS)]
    pub(crate) sign: Vec<String>,
    /// How signatures are stored
    #[arg(long, value_enum, default_value_t = SignatureForm::Both, requires = "sign")]
    pub(crate) format: SignatureForm,
    /// File with the identity token [default: $SIGSTORE_ID_TOKEN, else the one that GitHub gives]
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(crate) token: Option<PathBuf>,
    /// Have signatures of keys logged, too
    #[arg(long, requires = "sign")]
    pub(crate) sign_log: bool,
    /// Version of the log's interface; the legacy form needs the first
    #[arg(long, value_enum, default_value_t = LogVersion::V1, requires = "sign")]
    pub(crate) log_version: LogVersion,
    /// File that names the services, as cosign signing-config makes it [default: sigstore's public ones]
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(crate) signing_config: Option<PathBuf>,
    /// Trust root that new signatures are held against before they are stored [default: sigstore's public one]
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(crate) sign_trust_root: Option<PathBuf>,
}

/// What `--sign` without a key stands for.
const KEYLESS: &str = "keyless";

impl SigningArgs {
    /// Who signs; none for a copy that nobody signs.
    pub(crate) fn signers(&self) -> Option<SignerArgs> {
        let keys: Vec<String> = self.sign.iter().filter(|key| *key != KEYLESS).cloned().collect();
        (!self.sign.is_empty()).then(|| SignerArgs {
            keyless: keys.len() < self.sign.len(),
            keys,
            format: self.format,
            services: ServiceArgs {
                token: self.token.clone(),
                log: self.sign_log,
                log_version: self.log_version,
                signing_config: self.signing_config.clone(),
                trust_root: self.sign_trust_root.clone(),
            },
        })
    }
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
    /// Attach the indexes of the layers to the image, so that who builds upon it fetches only layers that it needs
    #[arg(long)]
    pub(crate) index: bool,
}
