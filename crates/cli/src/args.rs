//! What users type. No logic here.
#![expect(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "doc comments are the help here, where [:TAG] is no link"
)]

mod rechunk;
mod registry;
mod trust;

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::rechunk::{Compressor, DeltaArgs, RechunkArgs};
pub(crate) use self::registry::{MirrorArgs, PublishArgs, PushArgs};
pub(crate) use self::trust::{
    AttestArgs, Attested, LogVersion, Matching, PolicyArgs, ServiceArgs, SignArgs, SignatoryArgs, SignatureForm,
    SignerArgs, VerifyArgs,
};

/// Assemble bootable container images from recipes
///
/// Without a subcommand it builds: `assemble --recipe base.toml`.
#[derive(Debug, Parser)]
#[command(name = "assemble", version, subcommand_negates_reqs = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) build: Build,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How results are shown.
#[derive(Args, Clone, Debug)]
pub(crate) struct Output {
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no talk on standard error, only errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more detail; can be repeated
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Directory for caches [default: $XDG_CACHE_HOME/assemble, ~/.cache/assemble]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

/// Which recipe, and where its files may be.
#[derive(Args, Clone, Debug)]
pub(crate) struct RecipeArgs {
    /// Recipe to read
    // Optional in type only: a subcommand takes its place.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) recipe: Option<PathBuf>,
    /// Directory that the recipe's files must stay below [default: the current directory when the recipe lies below it, else the recipe's]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Platform to build, as OS/ARCH [default: the recipe's first, else this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
}

/// How base images are reached.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SourceArgs {
    /// Talk without TLS to registries on this machine; with =HOST, to that registry, which gets passwords in the clear, too; can be repeated
    #[arg(long, value_name = "HOST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) insecure: Vec<String>,
    /// File with registry credentials
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE", hide_env_values = true)]
    pub(crate) authfile: Option<PathBuf>,
    /// Host besides the registry itself that may be sent its password for a token; can be repeated
    #[arg(long = "token-host", value_name = "HOST")]
    pub(crate) token_hosts: Vec<String>,
}

/// Build an image.
#[derive(Args, Clone, Debug)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    /// Where to write the image, as oci:DIR[:TAG] or oci-archive:FILE[:TAG] [default: the recipe's]
    #[arg(short = 'o', long = "output", value_name = "IMAGE")]
    pub(crate) destination: Option<String>,
}

/// What a build takes, wherever its image goes.
#[derive(Args, Clone, Debug)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Build even when nothing changed since the last build, and use or keep no result of builders
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Run builders even when their results are kept, and keep the new ones
    #[arg(long, conflicts_with = "no_cache")]
    pub(crate) rebuild: bool,
    /// Refuse to build when the lock beside the recipe does not fit, or when there is none
    #[arg(long)]
    pub(crate) locked: bool,
    /// With layers.mode = "full": image whose layers to keep where nothing changed, or a file with the document of rechunk --json; none for a fresh start [default: the recipe's, else the image that is replaced]
    #[arg(long, value_name = "IMAGE|FILE")]
    pub(crate) previous: Option<String>,
    /// With layers.mode = "full": memory to use at most for cutting the image, in bytes or, with K, M or G, in 1024 times as many; uncompressed layers that do not fit go to a file without a name at the destination [default: a quarter of this machine's]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// How far depmod must be confined
    #[arg(long, value_enum, default_value_t = Sandbox::Auto)]
    pub(crate) sandbox: Sandbox,
    /// Threads to use [default: all processors]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
}

/// How far depmod must be confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sandbox {
    /// Namespaces, or Landlock where those are forbidden
    Auto,
    /// Namespaces only
    Require,
    /// Also a plain chroot as root, for containers that allow nothing else
    Chroot,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what a build would do
    Plan(PlanArgs),
    /// Run builder containers and leave their results in the cache
    Stage(StageArgs),
    /// Pin everything that a recipe leaves open, in a file beside it
    Lock(LockArgs),
    /// Check an image
    Lint(LintArgs),
    /// Show what an image holds
    Inspect(InspectArgs),
    /// Boot an image in QEMU, load modules and run a command in it
    Boot(BootArgs),
    /// Copy an image, byte for byte
    Mirror(MirrorArgs),
    /// Bring an image into registries
    Push(PushArgs),
    /// Build an image and bring it to where the recipe says
    Publish(PublishArgs),
    /// Cut an image into other layers, so that updates download only what changed
    Rechunk(RechunkArgs),
    /// Say what a client that has one image downloads for another, and why
    Delta(DeltaArgs),
    /// Sign an image, and every instance of an index
    Sign(SignArgs),
    /// Sign a statement about an image: what it is made of, or anything else
    Attest(AttestArgs),
    /// Say whether an image is signed by whom it has to be
    Verify(VerifyArgs),
    /// Print or write the files that make a host demand signatures
    Policy(PolicyArgs),
    /// Verify every blob of a layout
    Fsck(FsckArgs),
    /// List blobs that no image of a layout needs, and remove them on request
    Gc(GcArgs),
    /// List what the cache holds, and remove what is old
    Cache(CacheArgs),
    /// Print a completion script
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StageArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Stages to run, and `packages` [default: all that need a builder]
    pub(crate) names: Vec<String>,
    /// Run builders even when their results are kept, and keep the new ones
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// Push results to the repository that the recipe's [builder] table names for bundles
    #[arg(long)]
    pub(crate) push: bool,
    /// Threads to use [default: all processors]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
}

#[derive(Args, Debug)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Only say whether the lock fits the recipe and its files; asks no registry and changes nothing
    #[arg(long, conflicts_with = "update")]
    pub(crate) check: bool,
    /// Renew what is pinned already: base, builder, kernel, packages or the name of a stage; without WHAT, all of it
    #[arg(long, value_name = "WHAT", num_args = 0..)]
    pub(crate) update: Option<Vec<String>>,
}

#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// Image to check, as oci:DIR[:TAG], oci-archive:FILE, docker://REF or containers-storage:REF
    #[arg(required_unless_present = "list")]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Leave out a lint; can be repeated
    #[arg(long, value_name = "LINT")]
    pub(crate) skip: Vec<String>,
    /// Take warnings for errors
    #[arg(long)]
    pub(crate) fatal_warnings: bool,
    /// Whether the bootc that the image carries judges it as well, in podman
    #[arg(long, value_enum, default_value_t = Bootc::Off, value_name = "WHEN")]
    pub(crate) bootc: Bootc,
    /// Print the lints instead
    #[arg(long)]
    pub(crate) list: bool,
    /// Platform to choose from an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
}

/// Whether the image's own bootc is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bootc {
    /// Where the image has one and podman can run it
    Auto,
    /// Fail where it cannot be asked
    Require,
    /// Native lints only
    Off,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Image to show
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Print the merged tree, a line an inode
    #[arg(long, conflicts_with = "layer")]
    pub(crate) tree: bool,
    /// Print one layer's entries, by number from 0 or by digest
    #[arg(long, value_name = "LAYER")]
    pub(crate) layer: Option<String>,
    /// Platform to choose from an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct BootArgs {
    /// Image to boot, as oci:DIR[:TAG], oci-archive:FILE, docker://REF or containers-storage:REF
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Kernel module to load by name; can be repeated
    #[arg(long = "module", value_name = "NAME")]
    pub(crate) modules: Vec<String>,
    /// Shell command to run as root after the modules; it must exit with 0
    #[arg(long, value_name = "COMMAND", conflicts_with = "script")]
    pub(crate) run: Option<String>,
    /// As --run, from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
    /// Start the image's systemd before, and fail when a unit does
    #[arg(long)]
    pub(crate) systemd: bool,
    /// Memory of the machine, in MiB
    #[arg(long, value_name = "MIB", default_value = "2048")]
    pub(crate) memory: NonZero<u32>,
    /// Processors of the machine
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) cpus: NonZero<u32>,
    /// Empty disk, /dev/vdb and so on, of as many bytes or, with K, M or G, of 1024 times as many; can be repeated
    #[arg(long = "disk", value_name = "SIZE", value_parser = size)]
    pub(crate) disks: Vec<u64>,
    /// Whether to use this machine's processor through KVM
    #[arg(long, value_enum, default_value_t = Kvm::Off)]
    pub(crate) kvm: Kvm,
    /// Seconds until the machine is switched off
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    pub(crate) timeout: NonZero<u32>,
    /// File for what the machine writes to its console
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// QEMU to use [default: qemu-system-x86_64 or qemu-system-aarch64]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) qemu: Option<PathBuf>,
    /// Platform to choose from an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
}

/// Whether to use the host's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kvm {
    /// Emulate; works everywhere
    Off,
    /// Emulate when nothing boots with KVM
    Auto,
    /// Fail without KVM
    Require,
}

/// A number of bytes, with K, M or G for powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_u64),
    };
    let number: Option<u64> = digits.parse().ok().filter(|number| *number > 0);
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| "expected a number, with K, M or G behind".into())
}

#[derive(Args, Debug)]
pub(crate) struct FsckArgs {
    /// Layout to verify
    pub(crate) layout: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct GcArgs {
    /// Layout to clean
    pub(crate) layout: PathBuf,
    /// Remove what is listed
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the results of builders, and how much else is kept
    List,
    /// List what is old, and remove it on request
    ///
    /// The newest result of each stage for each kernel stays, however old it is.
    Gc {
        /// What was kept longer ago is old
        #[arg(long, value_name = "DAYS", default_value = "30")]
        days: u32,
        /// Remove what is listed
        #[arg(long)]
        remove: bool,
    },
}
