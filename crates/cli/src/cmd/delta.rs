//! `assemble delta`: what a client that has one image downloads for another.

use std::path::Path;
use std::sync::Arc;

use oci_assemble::chunk::{ComponentMap, Components, ImageSide, Recorded, delta};
use oci_assemble::layer::{Gate, LayerIndex};
use oci_assemble::pkgdb;
use oci_assemble::store::CacheDir;
use oci_assemble::store::layers::ImageLayers;
use oci_assemble::tree::FileTree;
use serde_json::json;

use super::plan::layers;
use crate::args::DeltaArgs;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::ui::{Ui, bytes};
use crate::wire::{self, BlobCache, OpenedImage};

pub(crate) fn run(args: &DeltaArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let platform = args.platform.as_deref().map(wire::platform).transpose()?;
    let open =
        |name: &str| wire::image(&wire::reference(name)?, platform.as_ref(), &args.source, cache.as_ref(), &blobs);
    let (from, to) = (open(&args.from)?, open(&args.to)?);
    let from = Read::new(&from, cache.as_ref(), ui)?;
    let to = Read::new(&to, cache.as_ref(), ui)?;
    let (before, after) = (from.layers(), to.layers());
    let found = delta(from.side(&before), to.side(&after));
    if ui.json {
        let mut value = serde_json::to_value(&found).context(Class::Usage, "writing the delta")?;
        value["from"] = json!(from.image.digest);
        value["to"] = json!(to.image.digest);
        return ui.document("delta", value);
    }
    ui.data(&found.render(bytes))
}

/// An image with everything that is compared.
struct Read<'a> {
    image: &'a OpenedImage,
    layers: ImageLayers<'a>,
    tree: FileTree,
    components: Components,
}

impl<'a> Read<'a> {
    fn new(image: &'a OpenedImage, cache: Option<&Arc<CacheDir>>, ui: Ui) -> Result<Self, Failure> {
        let layers = layers(image, cache, env::processors(), Gate::Record, ui)?;
        let tree = layers.tree().context(Class::Data, format!("merging the layers of {}", image.name))?;
        let context = || format!("reading the package database of {}", image.name);
        let packages = pkgdb::read_at_once(&tree, &layers).context(Class::Data, context())?;
        let mut components = Components::new(&tree, &tree, packages.as_ref(), &ComponentMap::default());
        // What the image says of itself counts; where that cannot be read, the rules say as much as they do.
        if let Ok(Some(recorded)) = Recorded::of(&image.image) {
            let indexes: Vec<&LayerIndex> = layers.layers().map(|(_, index)| index).collect();
            components = components.as_recorded(&tree, &recorded, &indexes);
        }
        Ok(Self { image, layers, tree, components })
    }

    fn layers(&self) -> Vec<(&oci_assemble::image::Descriptor, &LayerIndex)> {
        self.layers.layers().collect()
    }

    fn side<'s>(&'s self, layers: &'s [(&'s oci_assemble::image::Descriptor, &'s LayerIndex)]) -> ImageSide<'s> {
        ImageSide { layers, tree: &self.tree, components: &self.components }
    }
}
