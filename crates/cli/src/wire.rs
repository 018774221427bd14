//! Chooses what the library's traits are made of: directories, caches, stages.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use kmod_stage::sandbox::SandboxPolicy;
use kmod_stage::stage::{DepmodStage, ModulesStage};
use oci_assemble::elf::is_module_name;
use oci_assemble::image::{Digest, Epoch, Image, ImageReference, Platform};
use oci_assemble::layer::Compression;
use oci_assemble::plan::configure::ConfigurationStage;
use oci_assemble::plan::files::FilesStage;
use oci_assemble::plan::recipe::spec::{self, KernelPin, Level};
use oci_assemble::plan::recipe::{Merged, Recipe, StageKind, recipe_root};
use oci_assemble::plan::step::Group;
use oci_assemble::store::{
    Ambient, BaseImage, BlobSource, CacheDir, Fetch, Layout, SkopeoOptions, Transaction, Verified,
};
use oci_assemble::tree::TreePath;

use crate::args::{RecipeArgs, Sandbox, SourceArgs};
use crate::env;
use crate::exit::{Class, Context, Failure};

/// A recipe with the directory its files lie below.
pub(crate) struct Job {
    pub(crate) root: Dir,
    pub(crate) merged: Merged,
    pub(crate) platform: Option<Platform>,
}

impl Job {
    pub(crate) fn recipe(&self) -> &Recipe {
        &self.merged.recipe
    }
}

/// Reads the recipe that the arguments name.
pub(crate) fn load(args: &RecipeArgs) -> Result<Job, Failure> {
    let current = env::current_dir().context(Class::Io, "finding the current directory")?;
    let recipe = args.recipe.as_deref().unwrap_or(Path::new(""));
    let (root, path) = recipe_root(recipe, &current, args.root.as_deref())
        .context(Class::Usage, format!("finding {}", recipe.display()))?;
    let root = open_dir(&root, Class::Usage)?;
    let merged =
        Merged::load(&root, &path).context(Class::Usage, format!("reading the recipe {}", recipe.display()))?;
    let explicit = args.platform.as_deref().map(platform).transpose()?;
    let platform = explicit.or_else(|| merged.recipe.image.platforms.first().cloned());
    Ok(Job { root, merged, platform })
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
    let path = match explicit {
        Some(path) => Some(path.to_owned()),
        None => env::cache_dir(),
    };
    path.map(|path| make_dir(&path).map(|dir| Arc::new(CacheDir::new(dir)))).transpose()
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
    pub(crate) image: Image,
    pub(crate) blobs: Box<dyn BlobSource>,
}

/// Opens an image for reading, wherever it is.
pub(crate) fn image(
    wanted: &ImageReference,
    platform: Option<&Platform>,
    source: &SourceArgs,
    cache: Option<&Arc<CacheDir>>,
    blobs: &BlobCache,
) -> Result<OpenedImage, Failure> {
    let name = wanted.to_string();
    let here = platform_of_machine()?;
    let platform = Some(platform.unwrap_or(&here));
    let opened = if is_local(wanted) {
        BaseImage::open(wanted, platform, &Ambient)
    } else {
        let fetch = Fetch { cache: blobs.open(cache)?, skopeo: skopeo(source) };
        BaseImage::fetch(wanted, platform, &Ambient, fetch)
    };
    let BaseImage { image, manifest, blobs, .. } = opened.context(Class::Data, format!("opening {name}"))?;
    Ok(OpenedImage { name, digest: manifest.digest, image, blobs })
}

pub(crate) fn is_local(reference: &ImageReference) -> bool {
    matches!(reference, ImageReference::OciDir(_) | ImageReference::OciArchive(_))
}

/// How skopeo is called.
pub(crate) fn skopeo(source: &SourceArgs) -> SkopeoOptions {
    SkopeoOptions { insecure: source.insecure, authfile: source.authfile.clone(), ..SkopeoOptions::default() }
}

/// Where the blobs of images are kept that are not on this machine.
pub(crate) struct BlobCache(pub(crate) Option<PathBuf>);

impl BlobCache {
    /// The cache's own layout. Without a cache, one in a temporary place, which the system clears.
    fn open(&self, cache: Option<&Arc<CacheDir>>) -> Result<Transaction, Failure> {
        let path = self.0.clone().or_else(env::cache_dir).unwrap_or_else(env::temp_dir).join("images");
        let verified = cache.map_or_else(Verified::default, |cache| Verified::in_cache(Arc::clone(cache)));
        Layout::write_with(make_dir(&path)?, verified)
            .context(Class::Io, format!("opening the image cache {}", path.display()))
    }
}

fn platform_of_machine() -> Result<Platform, Failure> {
    platform(env::platform())
}

/// The date of everything new: `SOURCE_DATE_EPOCH`, else the base's, else 1970.
pub(crate) fn epoch(base: &Image) -> Result<Epoch, Failure> {
    if let Some(text) = env::source_date_epoch() {
        return Epoch::from_decimal(&text).context(Class::Usage, "reading SOURCE_DATE_EPOCH");
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
}

/// The stages of a recipe, grouped into layers: each `files` stage its own, all kernel modules with their indexes one, the
/// configuration last. A `files` stage that brings modules counts among those.
pub(crate) fn groups(job: &Job, settings: &StageSettings) -> Result<Vec<Group>, Failure> {
    let recipe = job.recipe();
    recipe.available().context(Class::Unavailable, format!("preparing {}", recipe.image.name))?;
    let root = || job.root.try_clone().context(Class::Io, "opening the recipe's directory again");
    let mut groups: Vec<Group> = Vec::new();
    let mut modules: Option<(usize, Group)> = None;
    let mut kernel = match &recipe.kernel.pin {
        KernelPin::Exact(release) => Some(release.clone()),
        _ => None,
    };
    for stage in &recipe.stages {
        stage.available().context(Class::Unavailable, "preparing the stages")?;
        let (made, has_modules): (Box<dyn oci_assemble::plan::step::Stage>, bool) = match &stage.kind {
            StageKind::Files(files) => {
                let source = files.source.as_path().to_owned();
                let files = FilesStage::new(&stage.name, root()?, source, files.into.clone());
                let bring = brings_modules(&files);
                (Box::new(files), bring)
            }
            StageKind::Modules(built) => {
                kernel = kernel.or_else(|| built.kernel.clone());
                let sources = built.source.iter().map(|path| path.as_path().to_owned()).collect();
                (Box::new(ModulesStage::new(&stage.name, root()?, sources, built.kernel.clone())), true)
            }
            // `available` has refused every other kind.
            _ => continue,
        };
        if has_modules {
            let position = groups.len();
            let group = modules.get_or_insert_with(|| (position, Group { name: "modules".into(), stages: Vec::new() }));
            group.1.stages.push(made);
        } else {
            groups.push(Group { name: stage.name.clone(), stages: vec![made] });
        }
    }
    if let Some((position, mut group)) = modules {
        let policy = match settings.sandbox {
            Sandbox::Auto => SandboxPolicy::Auto,
            Sandbox::Require => SandboxPolicy::Require,
            Sandbox::Chroot => SandboxPolicy::AllowChroot,
        };
        group.stages.push(Box::new(DepmodStage::new(kernel, policy, settings.workspace.clone(), settings.jobs)));
        groups.insert(position, group);
    }
    let configuration = ConfigurationStage::new(recipe.clone(), root()?);
    groups.push(Group { name: "configuration".into(), stages: vec![Box::new(configuration)] });
    Ok(groups)
}

/// Where modules are below a prefix that the base may or may not have as a link: it is not opened yet.
const MODULES: [&[u8]; 2] = [b"usr/lib/modules/", b"lib/modules/"];

/// Whether a `files` stage puts modules where kernels look for them. An error of the listing is the stage's own to report.
/// A tar file is read for that.
fn brings_modules(files: &FilesStage) -> bool {
    let is_module =
        |path: &TreePath| MODULES.iter().any(|place| path.as_bytes().starts_with(place)) && is_module_name(path.name());
    match files.listing() {
        Ok(Some(listed)) => listed.entries().keys().any(is_module),
        Ok(None) => files.delta(0).is_ok_and(|delta| delta.entries().keys().any(is_module)),
        Err(_) => false,
    }
}

/// Everything that decides the digest of a build, as one: equal keys mean equal images.
pub(crate) fn build_key(parts: &[&str]) -> Digest {
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("{} {part}\n", part.len()));
    }
    Digest::of(text.as_bytes())
}
