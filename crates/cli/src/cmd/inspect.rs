//! `assemble inspect`: what an image holds.

use std::path::Path;

use kmod_stage::kernel::Kernels;
use oci_assemble::image::LayerRole;
use oci_assemble::layer::Gate;
use oci_assemble::store::layers::ImageLayers;
use oci_assemble::tree::FileTree;
use serde_json::{Value, json};

use super::plan::layers;
use crate::args::InspectArgs;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::ui::{Ui, bytes};
use crate::wire::{self, BlobCache, OpenedImage};

pub(crate) fn run(args: &InspectArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let platform = args.platform.as_deref().map(wire::platform).transpose()?;
    let image = wire::image(&wire::reference(&args.image)?, platform.as_ref(), &args.source, cache.as_ref(), &blobs)?;
    let layers = layers(&image, cache.as_ref(), env::processors(), Gate::Record, ui)?;
    if let Some(wanted) = &args.layer {
        return show_layer(&layers, wanted, ui);
    }
    let tree = layers.tree().context(Class::Data, "merging the layers")?;
    if args.tree {
        return show_dump("tree", &tree.dump(), ui);
    }
    let value = describe(&image, &layers, &tree);
    if ui.json { ui.document("inspect", value) } else { ui.data(&text(&value)) }
}

fn show_layer(layers: &ImageLayers<'_>, wanted: &str, ui: Ui) -> Result<(), Failure> {
    let found = layers.layers().enumerate().find(|(position, (descriptor, index))| {
        let digests = [descriptor.digest.to_string(), index.diff_id.to_string()];
        position.to_string() == wanted || digests.iter().any(|digest| digest == wanted)
    });
    match found {
        Some((_, (_, index))) => show_dump("layer", &index.delta.dump(), ui),
        None => Err(Failure::new(Class::Usage, format!("there is no layer {wanted}"))
            .hint(format!("layers have the numbers 0 to {}", layers.layers().len().saturating_sub(1)))),
    }
}

fn show_dump(schema: &str, dump: &str, ui: Ui) -> Result<(), Failure> {
    if ui.json { ui.document(schema, json!({ "lines": dump.lines().collect::<Vec<_>>() })) } else { ui.data(dump) }
}

fn describe(image: &OpenedImage, layers: &ImageLayers<'_>, tree: &FileTree) -> Value {
    let config = image.image.config();
    let roles = image.image.layer_roles().unwrap_or_default();
    let layers: Vec<Value> = layers
        .layers()
        .enumerate()
        .map(|(position, (descriptor, index))| {
            let role = match roles.get(position) {
                Some(LayerRole::Commit) => "ostree commit",
                Some(LayerRole::Objects) => "ostree objects",
                _ => "plain",
            };
            let annotation = |key: &str| descriptor.annotations.get(key).filter(|text| !text.is_empty()).cloned();
            json!({
                "digest": descriptor.digest,
                "diff_id": index.diff_id,
                "media_type": descriptor.media_type.as_str(),
                "size": descriptor.size,
                "uncompressed": index.size,
                "entries": index.delta.entries().len(),
                "whiteouts": index.delta.whiteouts().len(),
                "role": role,
                "content": annotation(super::build::LAYER_ANNOTATION).or_else(|| annotation("ostree.components")),
            })
        })
        .collect();
    let kernels = Kernels::find(tree);
    let releases =
        |list: &[kmod_stage::kernel::KernelRelease]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "image": image.name,
        "digest": image.digest,
        "platform": config.platform.to_string(),
        "created": config.created,
        "kernels": releases(&kernels.bootable),
        "module_directories_without_kernel": releases(&kernels.without_image),
        "inodes": tree.len(),
        "labels": config.labels,
        "annotations": image.image.manifest().annotations,
        "layers": layers,
    })
}

/// Characters of what a layer holds, which may be a list of a thousand packages: lines of about 120 characters.
const CONTENT_WIDTH: usize = 60;

/// `text`, or as much of its beginning as leaves room for an ellipsis.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn text(value: &Value) -> String {
    let word = |key: &str| value[key].as_str().unwrap_or("unknown").to_owned();
    let mut text = format!(
        "image     {}\ndigest    {}\nplatform  {}\ncreated   {}\nkernel    {}\ninodes    {}\n",
        word("image"),
        word("digest"),
        word("platform"),
        word("created"),
        value["kernels"]
            .as_array()
            .map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
            .unwrap_or_default(),
        value["inodes"],
    );
    for title in ["labels", "annotations"] {
        for (number, (key, entry)) in value[title].as_object().into_iter().flatten().enumerate() {
            if number == 0 {
                text.push_str(&format!("{title}\n"));
            }
            text.push_str(&format!("  {key}={}\n", entry.as_str().unwrap_or_default()));
        }
    }
    text.push_str("layers\n");
    for (position, layer) in value["layers"].as_array().into_iter().flatten().enumerate() {
        let size = |key: &str| bytes(layer[key].as_u64().unwrap_or(0));
        let content = layer["content"].as_str().or(layer["role"].as_str()).unwrap_or_default();
        let content = shortened(content, CONTENT_WIDTH);
        text.push_str(&format!(
            "  {position:>3}  {:.19}  {:>10}  {:>10}  {:>6} entries  {content}\n",
            layer["digest"].as_str().unwrap_or_default(),
            size("size"),
            size("uncompressed"),
            layer["entries"],
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        for (text, width, short) in [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("äöü", 3, "äöü"), ("äöüß", 3, "äö…")]
        {
            assert_eq!(shortened(text, width), short);
        }
    }
}
