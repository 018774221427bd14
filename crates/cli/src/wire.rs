//! Chooses what the library's traits are made of: directories, caches, stages.

use std::cell::OnceCell;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use kmod_stage::private::PrivateDir;
use kmod_stage::sandbox::SandboxPolicy;
use kmod_stage::stage::{CertificateStage, DepmodStage, ModulesStage, SignedStage};
use oci_assemble::image::{Descriptor, Digest, Epoch, Image, ImageReference, PinnedReference, Platform};
use oci_assemble::layer::Compression;
use oci_assemble::plan::configure::ConfigurationStage;
use oci_assemble::plan::files::FilesStage;
use oci_assemble::plan::recipe::spec::{self, Level};
use oci_assemble::plan::recipe::{Merged, Recipe, RecipePath, StageKind, recipe_root};
use oci_assemble::plan::step::{Group, Stage};
use oci_assemble::store::{
    Ambient, BaseImage, BlobSource, CacheDir, Fetch, Layout, SkopeoOptions, Transaction, Verified,
};

use crate::args::{RecipeArgs, Sandbox, SourceArgs};
use crate::builders::Builds;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::indexed::Claims;
use crate::keys::{self, Signing};
use crate::registry::{self, Watch};
use crate::ui::Ui;
use crate::works;

/// A recipe with the directory its files lie below.
pub(crate) struct Job {
    pub(crate) root: Dir,
    /// The recipe's file, below the root.
    pub(crate) path: RecipePath,
    /// The recipe's file as the user named it.
    pub(crate) file: PathBuf,
    pub(crate) merged: Merged,
    pub(crate) platform: Option<Platform>,
}

impl Job {
    pub(crate) fn recipe(&self) -> &Recipe {
        &self.merged.recipe
    }

    /// The platform, as locks name it.
    pub(crate) fn platform_name(&self) -> String {
        self.platform.as_ref().map_or_else(|| env::platform().to_owned(), ToString::to_string)
    }
}

/// Reads the recipe that the arguments name, for one platform.
pub(crate) fn load(args: &RecipeArgs) -> Result<Job, Failure> {
    let mut job = read(args)?;
    let platforms = &job.recipe().image.platforms;
    if job.platform.is_none() && platforms.len() > 1 {
        let list: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        return Err(Failure::new(Class::Usage, format!("the recipe is for several platforms: {}", list.join(", ")))
            .hint("choose one with --platform"));
    }
    job.platform = job.platform.or_else(|| job.merged.recipe.image.platforms.first().cloned());
    Ok(job)
}

/// Reads the recipe that the arguments name, for the platform that they name.
pub(crate) fn read(args: &RecipeArgs) -> Result<Job, Failure> {
    let current = env::current_dir().context(Class::Io, "finding the current directory")?;
    let recipe = args.recipe.as_deref().unwrap_or(Path::new(""));
    let (root, path) = recipe_root(recipe, &current, args.root.as_deref())
        .context(Class::Usage, format!("finding {}", recipe.display()))?;
    let root = open_dir(&root, Class::Usage)?;
    let merged =
        Merged::load(&root, &path).context(Class::Usage, format!("reading the recipe {}", recipe.display()))?;
    let platform = args.platform.as_deref().map(platform).transpose()?;
    Ok(Job { root, path, file: recipe.to_owned(), merged, platform })
}

pub(crate) fn platform(text: &str) -> Result<Platform, Failure> {
    text.parse().context(Class::Usage, "reading the platform")
}

pub(crate) fn open_dir(path: &Path, class: Class) -> Result<Dir, Failure> {
    Dir::open_ambient_dir(path, ambient_authority()).context(class, format!("opening the directory {}", path.display()))
}

/// Opens or makes a directory.
pub(crate) fn make_dir(path: &Path) -> Result<Dir, Failure> {
    std::fs::create_dir_all(path).context(Class::Io, format!("making the directory {}", path.display()))?;
    open_dir(path, Class::Io)
}

/// The cache directory that the arguments or the environment name.
pub(crate) fn cache(explicit: Option<&Path>) -> Result<Option<Arc<CacheDir>>, Failure> {
    let made = |path: &Path| make_dir(path).map(|dir| Arc::new(CacheDir::new(dir)));
    match explicit {
        Some(path) => made(path).map(Some),
        // Nobody asked for this one: without it things take longer, and that is all.
        None => Ok(env::cache_dir().and_then(|path| made(&path).ok())),
    }
}

/// An image reference as the user wrote it.
pub(crate) fn reference(text: &str) -> Result<ImageReference, Failure> {
    let reference: Result<ImageReference, _> = text.parse();
    reference.context(Class::Usage, format!("reading the image reference {text}"))
}

/// An image that is read, pinned by digest.
pub(crate) struct OpenedImage {
    /// As the user named it.
    pub(crate) name: String,
    /// Digest of its manifest.
    pub(crate) digest: Digest,
    /// What the name gave, and the manifest chosen from it where that is an index.
    pub(crate) named: Vec<Descriptor>,
    pub(crate) image: Image,
    pub(crate) blobs: Box<dyn BlobSource>,
    fetched: Arc<AtomicU64>,
    /// What its registry may say of its layers.
    pub(crate) claims: Option<Claims>,
}

impl OpenedImage {
    /// The index that its name gave.
    pub(crate) fn index(&self) -> Option<Digest> {
        self.named.first().filter(|first| first.media_type.is_index()).map(|index| index.digest)
    }

    /// Counts the bytes that are fetched of it.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.fetched)
    }

    /// Bytes of blobs that had to be fetched from its registry so far.
    pub(crate) fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }
}

/// Opens an image for reading, wherever it is.
pub(crate) fn image(
    wanted: &ImageReference,
    platform: Option<&Platform>,
    source: &SourceArgs,
    cache: Option<&Arc<CacheDir>>,
    blobs: &BlobCache,
) -> Result<OpenedImage, Failure> {
    pinned(wanted, None, platform, source, cache, blobs)
}

/// Opens an image for reading, wherever it is; with `digest`, exactly the manifest of that digest.
pub(crate) fn pinned(
    wanted: &ImageReference,
    digest: Option<Digest>,
    platform: Option<&Platform>,
    source: &SourceArgs,
    cache: Option<&Arc<CacheDir>>,
    blobs: &BlobCache,
) -> Result<OpenedImage, Failure> {
    let name = wanted.to_string();
    let here = platform_of_machine()?;
    let platform = Some(platform.unwrap_or(&here));
    let watch = Watch::default();
    let fetched = Arc::clone(&watch.received);
    let fetch = || {
        let native = registry::native(wanted);
        let client = native.map(|name| registry::client(&name.host, source, blobs.ui, watch)).transpose()?;
        Ok(Fetch { cache: blobs.open(cache)?, client, skopeo: skopeo(wanted, source) })
    };
    let pin = digest.map(|digest| PinnedReference::new(wanted.clone(), digest));
    let opened = match (&pin, is_local(wanted)) {
        (None, true) => BaseImage::open(wanted, platform, &Ambient),
        (None, false) => BaseImage::fetch(wanted, platform, &Ambient, fetch()?),
        (Some(pin), true) => BaseImage::open_pinned(pin, platform, &Ambient),
        (Some(pin), false) => BaseImage::fetch_pinned(pin, platform, &Ambient, fetch()?),
    };
    let BaseImage { image, manifest, top, blobs } = opened.map_err(|error| match pin {
        None => Failure::of(Class::Data, format!("opening {name}"), error),
        Some(pin) => Failure::of(Class::Data, format!("opening {pin}, which is locked"), error)
            .hint("`assemble lock --recipe FILE --update base builder` pins what the tags name now"),
    })?;
    let digest = manifest.digest;
    let mut named = vec![top];
    if named[0].digest != digest {
        named.push(manifest);
    }
    Ok(OpenedImage { name, digest, named, image, blobs, fetched, claims: None })
}

pub(crate) fn is_local(reference: &ImageReference) -> bool {
    matches!(reference, ImageReference::OciDir(_) | ImageReference::OciArchive(_))
}

/// How skopeo is called for an image.
pub(crate) fn skopeo(of: &ImageReference, source: &SourceArgs) -> SkopeoOptions {
    let insecure = matches!(of, ImageReference::Registry(name) if registry::is_plain(&name.host, source));
    SkopeoOptions { insecure, authfile: source.authfile.clone(), ..SkopeoOptions::default() }
}

/// Where the blobs of images are kept that are not on this machine: in the cache, or for this run only.
pub(crate) struct BlobCache {
    explicit: Option<PathBuf>,
    private: OnceCell<PrivateDir>,
    /// Hears what happens while they are fetched.
    ui: Ui,
}

impl BlobCache {
    pub(crate) fn new(explicit: Option<&Path>, ui: Ui) -> Self {
        Self { explicit: explicit.map(Path::to_owned), private: OnceCell::new(), ui }
    }

    /// The cache directory, when there is one.
    pub(crate) fn root(&self, cache: Option<&Arc<CacheDir>>) -> Option<PathBuf> {
        self.explicit.clone().or_else(|| cache.and_then(|_| env::cache_dir()))
    }

    /// The layout that blobs are in.
    pub(crate) fn layout(&self, cache: Option<&Arc<CacheDir>>) -> Result<PathBuf, Failure> {
        Ok(match (&self.explicit, cache) {
            (Some(path), _) => path.join("images"),
            (None, Some(_)) => env::cache_dir().unwrap_or_default().join("images"),
            (None, None) => {
                if self.private.get().is_none() {
                    let private = PrivateDir::new(&env::temp_dir(), "assemble-images-");
                    let private = private.context(Class::Io, "making a temporary directory")?;
                    self.private.get_or_init(|| private);
                }
                self.private.get().map_or(Path::new(""), PrivateDir::path).join("images")
            }
        })
    }

    pub(crate) fn open(&self, cache: Option<&Arc<CacheDir>>) -> Result<Transaction, Failure> {
        let path = self.layout(cache)?;
        let verified = cache.map_or_else(Verified::default, |cache| Verified::in_cache(Arc::clone(cache)));
        Layout::write_with(make_dir(&path)?, verified)
            .context(Class::Io, format!("opening the image cache {}", path.display()))
    }
}

fn platform_of_machine() -> Result<Platform, Failure> {
    platform(env::platform())
}

/// `SOURCE_DATE_EPOCH`.
pub(crate) fn explicit_epoch() -> Result<Option<Epoch>, Failure> {
    let text = env::source_date_epoch();
    let epoch = text.map(|text| Epoch::from_decimal(&text)).transpose();
    epoch.context(Class::Usage, "reading SOURCE_DATE_EPOCH")
}

/// The date of the image: `SOURCE_DATE_EPOCH`, else the locked one, else the base's, else 1970.
pub(crate) fn epoch(base: &Image, locked: Option<Epoch>) -> Result<Epoch, Failure> {
    if let Some(epoch) = explicit_epoch()?.or(locked) {
        return Ok(epoch);
    }
    match &base.config().created {
        Some(created) => Epoch::from_rfc3339(created).context(Class::Data, "reading the base's date"),
        None => Epoch::new(0).context(Class::Usage, "dating the image"),
    }
}

/// The compressor that a recipe asks for.
pub(crate) fn compression(layers: &spec::Layers) -> Compression {
    match (layers.compression, layers.level) {
        (spec::Compression::Zstd, Level::Fast) => Compression::Zstd(1),
        (spec::Compression::Zstd, Level::Default) => Compression::DEFAULT,
        (spec::Compression::Zstd, Level::Small) => Compression::Zstd(9),
        (spec::Compression::Zstd, Level::Max) => Compression::Zstd(19),
        (spec::Compression::Gzip, Level::Fast) => Compression::Gzip(1),
        (spec::Compression::Gzip, Level::Default) => Compression::GZIP_DEFAULT,
        (spec::Compression::Gzip, Level::Small) => Compression::Gzip(6),
        (spec::Compression::Gzip, Level::Max) => Compression::Gzip(9),
    }
}

/// What decides how stages are run, beside the recipe.
pub(crate) struct StageSettings {
    pub(crate) sandbox: Sandbox,
    pub(crate) workspace: PathBuf,
    pub(crate) jobs: NonZero<usize>,
    /// Whether modules will be signed: only then the private key is read.
    pub(crate) sign: bool,
}

/// The stages of a recipe, grouped into layers: packages first, as everything else builds upon them; each other stage its
/// own, in order; then the kernel modules of each stage; the indexes of all modules, which are made anew when any set of
/// them changes; the configuration last, with the certificate that modules are signed for.
///
/// Clients merge all layers before a kernel looks for modules, so indexes may lie in another layer than modules, as long as
/// all that one run of depmod wrote are in one: a set that did not change is not downloaded for the sake of another.
pub(crate) fn groups(job: &Job, settings: &StageSettings, builds: &mut Builds<'_>) -> Result<Vec<Group>, Failure> {
    let recipe = job.recipe();
    let root = || job.root.try_clone().context(Class::Io, "opening the recipe's directory again");
    let mut groups: Vec<Group> = Vec::new();
    if let Some(work) = works::packages(job)? {
        let stage: Box<dyn Stage> = if works::moves_kernel(job) {
            Box::new(builds.pinned(works::PACKAGES, work)?)
        } else {
            Box::new(builds.stage(works::PACKAGES, Arc::new(work))?)
        };
        groups.push(Group { name: works::PACKAGES.into(), stages: vec![stage] });
    }
    let sign = recipe.modules.sign.as_ref();
    let signing = sign.map(|names| keys::signing(&job.root, names, settings.sign)).transpose()?;
    let workspace = &settings.workspace;
    let signed = |stage: Box<dyn Stage>| signed(stage, signing.as_ref(), workspace);
    let mut modules: Vec<Group> = Vec::new();
    let set = |name: &str, stage: Box<dyn Stage>| Group { name: format!("{name}-modules"), stages: vec![stage] };
    // Whether the image has the kernel that the recipe pins is known by now; it has only one.
    let mut kernel = None;
    for stage in &recipe.stages {
        match &stage.kind {
            StageKind::Files(files) => {
                let source = files.source.as_path().to_owned();
                let mut files = FilesStage::new(&stage.name, root()?, source, files.into.clone());
                if files.may_bring_modules() {
                    let [own, rest] = files.split().context(Class::Io, "opening the recipe's directory again")?;
                    modules.push(set(&stage.name, signed(Box::new(own))));
                    files = rest;
                }
                groups.push(Group { name: stage.name.clone(), stages: vec![Box::new(files)] });
            }
            StageKind::Modules(built) => {
                kernel = kernel.or_else(|| built.kernel.clone());
                let sources = built.source.iter().map(|path| path.as_path().to_owned()).collect();
                let own = ModulesStage::new(&stage.name, root()?, sources, built.kernel.clone());
                modules.push(set(&stage.name, signed(Box::new(own))));
            }
            StageKind::Dkms(_) | StageKind::Zfs(_) | StageKind::NvidiaOpen(_) => {
                let [own, rest] = builds.stage(&stage.name, works::compiled(job, stage)?)?.split();
                modules.push(set(&stage.name, signed(Box::new(own))));
                groups.push(Group { name: stage.name.clone(), stages: vec![Box::new(rest)] });
            }
        }
    }
    let mut last: Vec<Box<dyn Stage>> = Vec::new();
    if let Some(Signing { certificate, name, .. }) = &signing {
        let stage = CertificateStage::new(certificate.clone(), name);
        last.push(Box::new(stage.context(Class::Usage, "naming the certificate of modules.sign")?));
    }
    if !modules.is_empty() {
        let policy = match settings.sandbox {
            Sandbox::Auto => SandboxPolicy::Auto,
            Sandbox::Require => SandboxPolicy::Require,
            Sandbox::Chroot => SandboxPolicy::AllowChroot,
        };
        let depmod = DepmodStage::new(kernel, policy, settings.workspace.clone(), settings.jobs);
        groups.append(&mut modules);
        groups.push(Group { name: "module-indexes".into(), stages: vec![Box::new(depmod)] });
    }
    last.push(Box::new(ConfigurationStage::new(recipe.clone(), root()?)));
    groups.push(Group { name: "configuration".into(), stages: last });
    Ok(groups)
}

/// The stage with its modules signed, where they shall be.
fn signed(stage: Box<dyn Stage>, signing: Option<&Signing>, workspace: &Path) -> Box<dyn Stage> {
    let Some(Signing { certificate, signer, .. }) = signing else { return stage };
    Box::new(SignedStage::new(stage, certificate.clone(), signer.clone(), workspace.to_owned()))
}

/// Everything that decides the digest of a build, as one: equal keys mean equal images.
pub(crate) fn build_key(parts: &[&str]) -> Digest {
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("{} {part}\n", part.len()));
    }
    Digest::of(text.as_bytes())
}
