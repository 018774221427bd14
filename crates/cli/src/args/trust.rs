//! What users type of signatures, attestations and policies.
#![expect(rustdoc::broken_intra_doc_links, reason = "doc comments are the help here, where [:TAG] is no link")]

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::SourceArgs;

/// Who signs. Without --key, the identity of the pipeline.
#[derive(Args, Clone, Debug)]
pub(crate) struct SignerArgs {
    /// Private key to sign with, a file or env:VARIABLE; can be repeated. The password of cosign's keys is in COSIGN_PASSWORD
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Sign with the identity of the pipeline, also beside keys
    #[arg(long)]
    pub(crate) keyless: bool,
    /// How signatures are stored
    #[arg(long, value_enum, default_value_t = SignatureForm::Both)]
    pub(crate) format: SignatureForm,
    #[command(flatten)]
    pub(crate) services: ServiceArgs,
}

/// What signing with an identity needs, and logging.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServiceArgs {
    /// File with the identity token [default: $SIGSTORE_ID_TOKEN, else the one that GitHub gives]
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    /// Have signatures of keys logged, too
    #[arg(long)]
    pub(crate) log: bool,
    /// Version of the log's interface; the legacy form needs the first
    #[arg(long, value_enum, default_value_t = LogVersion::V1)]
    pub(crate) log_version: LogVersion,
    /// File that names the services, as cosign signing-config makes it [default: sigstore's public ones]
    #[arg(long, value_name = "FILE")]
    pub(crate) signing_config: Option<PathBuf>,
    /// Trust root that new signatures are held against before they are stored [default: sigstore's public one]
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_root: Option<PathBuf>,
}

/// How signatures are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignatureForm {
    /// Under a tag, for policies of hosts
    Legacy,
    /// As a referrer, as cosign 3 does
    Bundle,
    /// Each of them
    Both,
}

/// Version of a log's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogVersion {
    /// The first
    #[value(name = "1")]
    V1,
    /// The second
    #[value(name = "2")]
    V2,
}

#[derive(Args, Debug)]
pub(crate) struct SignArgs {
    /// Image to sign, as oci:DIR[:TAG] or docker://REF
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) signers: SignerArgs,
    /// Name that the image is pulled by, as HOST/REPOSITORY[:TAG] [default: the image's, in a registry]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct AttestArgs {
    /// Image to attest, as oci:DIR[:TAG] or docker://REF
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) signers: SignerArgs,
    /// Name that the image is pulled by, as HOST/REPOSITORY[:TAG] [default: the image's, in a registry]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) what: Attested,
    /// Platform of the recipe that was built, as OS/ARCH [default: the recipe's first, else this machine's]
    #[arg(long, value_name = "OS/ARCH", requires = "provenance")]
    pub(crate) platform: Option<String>,
    /// URI of the predicate's type
    #[arg(long = "type", value_name = "URI", requires = "predicate")]
    pub(crate) kind: Option<String>,
}

/// What is attested.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Attested {
    /// Document to attest: CycloneDX, SPDX or OpenVEX, known by its content
    #[arg(long, value_name = "FILE")]
    pub(crate) document: Option<PathBuf>,
    /// Recipe that made the image: with its lock, it says how (SLSA provenance)
    #[arg(long, value_name = "RECIPE")]
    pub(crate) provenance: Option<PathBuf>,
    /// Any JSON to attest, as the predicate of a statement
    #[arg(long, value_name = "FILE", requires = "kind")]
    pub(crate) predicate: Option<PathBuf>,
}

/// Who must have signed.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SignatoryArgs {
    /// Public key of who must have signed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["identity", "issuer"])]
    pub(crate) key: Option<PathBuf>,
    /// Exact identity of who must have signed: a URI, as for pipelines, or an e-mail address
    #[arg(long, value_name = "IDENTITY", requires = "issuer")]
    pub(crate) identity: Option<String>,
    /// Exact URL of who issued the identity's token, such as https://gitlab.com
    #[arg(long, value_name = "URL", requires = "identity")]
    pub(crate) issuer: Option<String>,
    /// Demand an entry in a transparency log from signatures of a key, too
    #[arg(long, requires = "key")]
    pub(crate) log: bool,
    /// File with the authorities and logs that are believed [default: sigstore's public ones, as this program knows them]
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_root: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Image to verify, as oci:DIR[:TAG] or docker://REF
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) signatory: SignatoryArgs,
    /// Demand an attestation of this type instead of a signature
    #[arg(long, value_name = "URI")]
    pub(crate) attestation: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct PolicyArgs {
    /// Recipe whose [policy] table to use
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["trust", "accept", "accept_others", "matching"])]
    pub(crate) recipe: Option<PathBuf>,
    /// Registry, repository or image whose images must be signed by the key in FILE; can be repeated
    #[arg(long, value_name = "SCOPE=FILE", required_unless_present = "recipe")]
    pub(crate) trust: Vec<String>,
    /// Registry, repository or image that is accepted without signature; can be repeated
    #[arg(long, value_name = "SCOPE")]
    pub(crate) accept: Vec<String>,
    /// Accept everything that is not named, instead of rejecting it
    #[arg(long)]
    pub(crate) accept_others: bool,
    /// What of the signed name must be that of the image that is pulled
    #[arg(long = "match", value_enum, default_value_t = Matching::Repository)]
    pub(crate) matching: Matching,
    /// Directory to write the files below, as below / of the host [default: print policy.json]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// What of the signed name must be that of the image that is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Matching {
    /// The repository
    Repository,
    /// Repository and tag
    Tag,
}
