//! Recipes with `layers.mode = "full"`: base and additions, cut into layers together.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use oci_assemble::chunk::{ComponentMap, Settled, settle};
use oci_assemble::image::{Digest, Image, ImageReference, Layer, RegistryReference};
use oci_assemble::layer::{Contents, LayerDraft};
use oci_assemble::plan::assemble::Drafted;
use oci_assemble::plan::recipe::Recipe;
use oci_assemble::plan::recipe::spec::LayerMode;
use oci_assemble::publish::{TagWords, fill};
use oci_assemble::store::CacheDir;
use oci_assemble::tree::{FileTree, TreePath};

use super::build::Prepared;
use crate::args::{BuildArgs, SourceArgs};
use crate::chunking::{self, Compressing, Cut, CutOptions, WriteOptions};
use crate::exit::{Class, Context, Failure};
use crate::normal::Normalizing;
use crate::output::Writing;
use crate::previous::{Opening, Previous, Wanted};
use crate::ui::Ui;
use crate::wire::{BlobCache, Job};

/// What the layer of a stage's kernel modules is called behind the stage's name.
const MODULES: &str = "-modules";

/// How the whole image is cut.
pub(crate) struct Recut {
    max: usize,
    map: ComponentMap,
    /// Of the map's bytes.
    map_digest: Digest,
    previous: Option<Previous>,
    normalizing: Normalizing,
}

impl Recut {
    /// What the recipe says of it; nothing when layers are appended.
    pub(crate) fn new(
        job: &Job,
        args: &BuildArgs,
        prepared: &Prepared,
        cache: Option<&Arc<CacheDir>>,
        blobs: &BlobCache,
        ui: Ui,
    ) -> Result<Option<Self>, Failure> {
        let recut = Self::of(job, args.previous.as_deref(), &args.source, prepared, cache, blobs, ui)?;
        if recut.is_none() && args.memory.is_some() {
            let text = "--memory is for recipes with layers.mode = \"full\"";
            return Err(Failure::new(Class::Usage, text).hint("appended layers are written in little memory"));
        }
        Ok(recut)
    }

    /// As [`Recut::new`], with the words of any command line.
    pub(crate) fn of(
        job: &Job,
        named: Option<&str>,
        source: &SourceArgs,
        prepared: &Prepared,
        cache: Option<&Arc<CacheDir>>,
        blobs: &BlobCache,
        ui: Ui,
    ) -> Result<Option<Self>, Failure> {
        let layers = &job.recipe().layers;
        if layers.mode != LayerMode::Full {
            if named.is_some() {
                let text = "--previous is for recipes with layers.mode = \"full\"";
                return Err(Failure::new(Class::Usage, text)
                    .hint("appended layers keep their digests by themselves where their content is the same"));
            }
            return Ok(None);
        }
        let (map, map_digest) = match &layers.components {
            None => (ComponentMap::default(), Digest::of(b"")),
            Some(path) => {
                let path: &Path = path.as_path();
                let context = || format!("reading the component map {}", path.display());
                let text = job.root.read_to_string(path).context(Class::Usage, context())?;
                (ComponentMap::parse(&text).context(Class::Usage, context())?, Digest::of(text.as_bytes()))
            }
        };
        let wanted = match &layers.previous {
            Some(own) if named.is_none() => Wanted::Recipe(own.clone()),
            // What is published replaces what is there, and the output is only a place to keep what is new.
            _ if prepared.partial => Wanted::new(named, published(job.recipe())),
            _ => Wanted::new(named, vec![prepared.output.clone()]),
        };
        let platform = &prepared.base.image.config().platform;
        let previous = wanted.open(Opening { platform, source, cache, blobs, ui })?;
        let normalizing = Normalizing { wanted: layers.normalize_rpmdb, ui };
        let max = usize::try_from(layers.max).unwrap_or(usize::MAX);
        Ok(Some(Self { max, map, map_digest, previous, normalizing }))
    }

    /// Whether rpm's database is normalized.
    pub(crate) fn normalizes(&self) -> bool {
        self.normalizing.wanted
    }

    /// Everything that decides how the image is cut, and is not in the recipe.
    pub(crate) fn identity(&self) -> String {
        let record = self.previous.as_ref().map(|previous| previous.recorded.to_json()).unwrap_or_default();
        format!("{} {}", self.map_digest, Digest::of(record.as_bytes()))
    }

    /// Cuts `tree`, whose files are in `contents`.
    pub(crate) fn cut(
        &self,
        image: &Image,
        tree: &FileTree,
        contents: &dyn Contents,
        prepared: &Prepared,
    ) -> Result<Cut, Failure> {
        let normal = self.normalizing.held(tree, contents)?;
        self.cut_by(&self.map, image, normal.tree(), normal.contents(), prepared)
    }

    /// Cuts the image of `drafted`, whose files are in `sources`. Gives the contents of its tree as well.
    pub(crate) fn cut_drafted<'a>(
        &self,
        image: &Image,
        drafted: &Drafted,
        sources: &'a dyn Contents,
        prepared: &Prepared,
    ) -> Result<(Cut, Settled<'a>), Failure> {
        let (tree, _) = self.normalizing.tree(&drafted.tree, sources)?;
        let (tree, contents) = settle(&tree, sources).context(Class::Io, "reading what is added")?;
        let map = brought(self.map.clone(), &drafted.drafts);
        let cut = self.cut_by(&map, image, &tree, &contents, prepared)?;
        Ok((cut, contents))
    }

    fn cut_by(
        &self,
        map: &ComponentMap,
        image: &Image,
        tree: &FileTree,
        contents: &dyn Contents,
        prepared: &Prepared,
    ) -> Result<Cut, Failure> {
        let encoding = Compressing::all(prepared.compression).wanted();
        let options =
            CutOptions { max: self.max, map, previous: self.previous.as_ref(), encoding, epoch: prepared.epoch };
        chunking::cut(image, tree, contents, &options)
    }

    /// Writes the image of `drafted`, whose files are in `sources`, some layers at a time. Gives the image with its layers.
    #[expect(clippy::too_many_arguments, reason = "what a build decides")]
    pub(crate) fn write(
        &self,
        image: Image,
        drafted: &Drafted,
        sources: &dyn Contents,
        prepared: &Prepared,
        output: &Writing,
        cache: Option<&Arc<CacheDir>>,
        jobs: NonZero<usize>,
        ui: Ui,
    ) -> Result<(Image, Vec<(String, Layer)>), Failure> {
        let (cut, contents) = self.cut_drafted(&image, drafted, sources, prepared)?;
        let bar = ui.bar(None, "writing layers");
        let options = WriteOptions {
            previous: self.previous.as_ref(),
            compressing: Compressing::all(prepared.compression),
            cache: cache.map(|cache| &**cache),
            jobs,
            ui,
        };
        let written = chunking::write(&cut, &contents, output, options);
        bar.finish_and_clear();
        let written = written?;
        let image = chunking::dress(image, &cut, &written)?;
        chunking::say(&cut, &written, ui);
        let layers = cut.chunking.layers.iter().zip(written);
        Ok((image, layers.map(|(chunk, written)| (chunk.name.clone(), written.layer)).collect()))
    }
}

/// The map with the kernel modules of each stage.
fn brought(map: ComponentMap, drafts: &[LayerDraft]) -> ComponentMap {
    let modules = TreePath::new("usr/lib/modules").unwrap_or_default();
    drafts.iter().fold(map, |map, draft| {
        let files = draft.delta().entries().iter().filter(|(_, inode)| !inode.is_directory());
        let modules = files.filter(|(path, _)| path.is_below(&modules)).map(|(path, _)| path.clone());
        map.with_brought(draft.name().strip_suffix(MODULES).unwrap_or(draft.name()), modules)
    })
}

/// Where the recipe publishes to, under each tag that is known before the image is.
pub(crate) fn published(recipe: &Recipe) -> Vec<ImageReference> {
    let Some(ImageReference::Registry(place)) = &recipe.publish.to else { return Vec::new() };
    let known = recipe.publish.tags.iter().filter_map(|tag| fill(tag, &TagWords::default()).ok());
    known.map(|tag| ImageReference::Registry(RegistryReference { tag: Some(tag), ..place.clone() })).collect()
}
