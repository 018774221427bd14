//! `assemble publish --recipe F`: build, and bring the image to where the recipe says.
//!
//! Nothing of the base is stored that the build did not have to read: layers of a base in the registry that is pushed to
//! are mounted there, others go through from one registry to the other. What is new is kept in the cache.

use std::path::Path;

use oci_assemble::image::{Descriptor, Digest, Image, ImageReference, Index, MediaType, PinnedReference};
use oci_assemble::plan::recipe::Recipe;
use oci_assemble::publish::{Content, Mounts, TagWords, fill};
use oci_assemble::store::layers::ClaimedIndexes;
use oci_assemble::store::{Ambient, BaseImage, BlobSource, StoreError, VerifiedReader};
use serde_json::json;

use super::attach::Attaching;
use super::build::{self, Assembled};
use super::intended::Intended;
use super::plan::index_cache;
use super::push::{Pushing, ReceiptFile, Target, finish, planned, say, shown, value};
use crate::args::PublishArgs;
use crate::exit::{Class, Context, Failure};
use crate::indexed::{self, Claims};
use crate::ui::{Ui, bytes};
use crate::wire::{self, BlobCache, Job, OpenedImage};

/// One image of the recipe, and where its blobs are.
struct Made {
    image: Image,
    /// What is new.
    own: Box<dyn BlobSource>,
    base: OpenedImage,
    kernel: Option<String>,
}

pub(crate) fn run(args: &PublishArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let job = wire::read(&args.build.recipe)?;
    let recipe = job.recipe();
    let repository = place(recipe)?;
    let platforms = match &job.platform {
        Some(platform) => vec![Some(platform.clone())],
        None if recipe.image.platforms.is_empty() => vec![None],
        None => recipe.image.platforms.iter().cloned().map(Some).collect(),
    };
    // What would happen can be told without keys.
    let attaching =
        if args.output.dry_run { None } else { Some(Attaching::prepare(&job, &platforms, &repository, args, ui)?) };
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let mut made = Vec::new();
    for platform in platforms {
        let job = Job { platform, ..wire::read(&args.build.recipe)? };
        made.push(open(build::assembled(&job, &args.build, &blobs, cache.as_ref(), ui)?)?);
    }

    let index = (made.len() > 1).then(|| Index { manifests: entries(&made), ..Index::default() }.to_bytes());
    let source = Everything { made: &made, index: index.as_deref() };
    let top = match &index {
        Some(bytes) => Descriptor::of(MediaType::ImageIndex, bytes),
        None => entries(&made).remove(0),
    };
    let content = Content::gather(&source, &top).context(Class::Data, "reading the image")?;
    let target = Target { repository, tags: tags(recipe, &made)? };
    let file = ReceiptFile::prepare(args.output.receipt.as_deref().filter(|_| !args.output.dry_run))?;
    let pushing = Pushing::new(&target, &content, &mounts(&made, &target), &args.build.source, ui)?;
    if args.output.dry_run {
        let mut intended = Intended::by_recipe(&pushing.plan, recipe, &entries(&made));
        if args.index {
            intended.extend(Intended::indexes(&content, &intended));
        }
        let plan = json!({ "plans": [planned(&pushing.plan, &intended)] });
        return if ui.json { ui.document("push-plan", plan) } else { ui.data(&shown(&pushing.plan, &intended)) };
    }
    let instances = entries(&made);
    let mut receipt = pushing.run(&source, |untagged| {
        let (untagged, indexes) = if args.index {
            // What was verified of a base is passed on.
            let claims = || made.iter().filter_map(|made| made.base.claims.as_ref()).flat_map(Claims::ask).collect();
            let known = ClaimedIndexes::new(index_cache(cache.as_ref()), claims);
            // An image that was published before is one that was built before: its indexes are known.
            indexed::attach(untagged, &source, &known, &|_, _| false, ui)?
        } else {
            (untagged, Vec::new())
        };
        match &attaching {
            Some(attaching) => attaching.attach(&target.repository, &instances, &indexes, untagged, ui),
            None => Ok(untagged),
        }
    })?;
    receipt.bytes.fetched = made.iter().map(|made| made.base.fetched()).sum();
    for made in &made {
        say_base(&made.base, ui);
    }
    say(&receipt, ui);
    finish(&[value(&receipt)?], file, ui, &top.digest.to_string())
}

/// Where the recipe wants the image.
fn place(recipe: &Recipe) -> Result<oci_assemble::image::RegistryReference, Failure> {
    let Some(ImageReference::Registry(place)) = &recipe.publish.to else {
        return Err(Failure::new(Class::Usage, "the recipe does not say where the image is published")
            .hint("set `to` in its [publish] table, or build it and use `assemble push`"));
    };
    Ok(place.clone())
}

fn open(assembled: Assembled) -> Result<Made, Failure> {
    let Assembled { base, image, output, kernel } = assembled;
    let pinned = PinnedReference::new(output, image);
    let opened = BaseImage::open_pinned(&pinned, None, &Ambient).context(Class::Data, format!("opening {pinned}"))?;
    Ok(Made { image: opened.image, own: opened.blobs, base, kernel })
}

fn entries(made: &[Made]) -> Vec<Descriptor> {
    made.iter().map(|made| made.image.descriptor()).collect()
}

/// The tags of the recipe with their words filled in. Images for several platforms have one date and one version, and one
/// kernel if it has the same name for all.
fn tags(recipe: &Recipe, made: &[Made]) -> Result<Vec<String>, Failure> {
    let same = |each: &dyn Fn(&Made) -> Option<String>| {
        let first = made.first().and_then(each);
        first.filter(|first| made.iter().all(|made| each(made).as_ref() == Some(first)))
    };
    let words = TagWords {
        kernel: same(&|made| made.kernel.clone()),
        date: same(&|made| {
            let created = made.image.config().created.as_deref()?;
            Some(created.split('T').next()?.replace('-', ""))
        }),
        version: same(&|made| made.image.config().labels.get("org.opencontainers.image.version").cloned()),
    };
    let filled: Result<Vec<String>, _> = recipe.publish.tags.iter().map(|tag| fill(tag, &words)).collect();
    filled.context(Class::Usage, "making the tags")
}

/// Layers of bases that live in the registry that is pushed to.
fn mounts(made: &[Made], target: &Target) -> Mounts {
    let mut mounts = Mounts::new();
    for made in made {
        if let Ok(ImageReference::Registry(name)) = made.base.name.parse()
            && name.host == target.repository.host
        {
            for (layer, _) in made.base.image.layers() {
                let from = mounts.entry(layer.digest).or_default();
                if !from.contains(&name.repository) {
                    from.push(name.repository.clone());
                }
            }
        }
    }
    mounts
}

fn say_base(base: &OpenedImage, ui: Ui) {
    let all: u64 = base.image.layers().map(|(layer, _)| layer.size).sum();
    if let Ok(ImageReference::Registry(_)) = base.name.parse() {
        let fetched = base.fetched();
        ui.say(&format!("base: {} of {} fetched", bytes(fetched), bytes(all)));
    }
}

/// The blobs of all images: what is new from the cache, the rest from the bases.
struct Everything<'m> {
    made: &'m [Made],
    index: Option<&'m [u8]>,
}

impl Everything<'_> {
    fn source(&self, digest: &Digest) -> Option<&dyn BlobSource> {
        let of_base = |made: &&Made| made.base.image.layers().any(|(layer, _)| layer.digest == *digest);
        let own =
            |made: &&Made| made.image.digest() == *digest || made.image.blobs().any(|blob| blob.digest == *digest);
        let base = self.made.iter().find(of_base).map(|made| &*made.base.blobs);
        base.or_else(|| self.made.iter().find(own).map(|made| &*made.own))
    }
}

impl BlobSource for Everything<'_> {
    fn has(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        self.source(&descriptor.digest).map_or(Ok(false), |source| source.has(descriptor))
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>, StoreError> {
        if let Some(index) = self.index.filter(|bytes| Digest::of(bytes) == descriptor.digest) {
            return Ok(VerifiedReader::new(descriptor, index));
        }
        let source = self.source(&descriptor.digest);
        source.ok_or(StoreError::Missing { digest: descriptor.digest })?.open(descriptor)
    }
}
