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
use oci_assemble::plan::recipe::spec::{self, Level};
use oci_assemble::plan::recipe::{Merged, Recipe, StageKind, recipe_root};
use oci_assemble::plan::step::Group;
use oci_assemble::store::{BlobSource, CacheDir, Layout, Resolved, resolve};

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

/// Opens an image for reading.
pub(crate) fn image(
    wanted: &ImageReference,
    platform: Option<&Platform>,
    _source: &SourceArgs,
    _cache: Option<&Arc<CacheDir>>,
) -> Result<OpenedImage, Failure> {
    let here = platform_of_machine()?;
    let text = wanted.to_string();
    let ImageReference::OciDir(place) = wanted else {
        return Err(Failure::new(Class::Unavailable, "not yet"));
    };
    let dir = open_dir(Path::new(&place.path), Class::Data)?;
    let layout = Layout::open(dir).context(Class::Data, format!("opening the layout {}", place.path))?;
    let found = layout.find(place.tag.as_deref(), place.digest.as_ref());
    let found = found.context(Class::Data, format!("finding {text}"))?;
    let Resolved { image, .. } =
        resolve(&layout, &found, Some(platform.unwrap_or(&here))).context(Class::Data, format!("opening {text}"))?;
    Ok(OpenedImage { name: text, digest: image.digest(), image, blobs: Box::new(layout) })
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
    let root = || job.root.try_clone().context(Class::Io, "opening the recipe's directory again");
    let mut groups: Vec<Group> = Vec::new();
    let mut modules: Option<(usize, Group)> = None;
    let mut kernel = None;
    for stage in &job.recipe().stages {
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
    let configuration = ConfigurationStage::new(job.recipe().clone(), root()?);
    groups.push(Group { name: "configuration".into(), stages: vec![Box::new(configuration)] });
    Ok(groups)
}

/// Whether a `files` stage puts modules where kernels look for them. An error of the listing is the stage's own to report.
fn brings_modules(files: &FilesStage) -> bool {
    let listed = files.listing().ok().flatten();
    listed.is_some_and(|delta| {
        let mut paths = delta.entries().keys();
        paths.any(|path| path.as_bytes().starts_with(b"usr/lib/modules/") && is_module_name(path.name()))
    })
}

/// Everything that decides the digest of a build, as one: equal keys mean equal images.
pub(crate) fn build_key(parts: &[&str]) -> Digest {
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("{} {part}\n", part.len()));
    }
    Digest::of(text.as_bytes())
}
