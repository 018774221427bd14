//! `assemble mirror`: copy an image, byte for byte.

use std::path::Path;

use oci_assemble::image::ImageReference;
use oci_assemble::store::{Ambient, MirrorOptions, Platforms, Transaction, mirror};
use serde_json::json;

use crate::args::MirrorArgs;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::output::Output;
use crate::ui::Ui;
use crate::wire;

pub(crate) fn run(args: &MirrorArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let cache = wire::cache(cache)?;
    let from = wire::reference(&args.source_image)?;
    let to = wire::reference(&args.destination)?;
    let platforms = match &args.platform {
        Some(text) => Platforms::Only(wire::platform(text)?),
        None => Platforms::All,
    };
    let options = MirrorOptions { skopeo: wire::skopeo(&args.source), platforms, threads: env::processors() };
    let mut moved = Vec::new();
    let context = format!("copying {from}");
    let output = Output::new(&to)?.begin(cache.as_ref())?;
    let bar = ui.bar(None, &context);
    let image = output.mirror(|into: Transaction, tag: Option<&str>| {
        let copied = mirror(&from, &Ambient, into, tag, &options).context(Class::Data, context.clone())?;
        moved.clone_from(&copied.committed.moved);
        Ok(copied.image)
    });
    bar.finish_and_clear();
    let image = image?;
    for (tag, old) in &moved {
        ui.say(&format!("{tag} was {old} before"));
    }
    if matches!(from, ImageReference::ContainersStorage(_)) {
        ui.say("containers-storage keeps no compressed layers: this copy has its own digest");
    }
    if ui.json {
        let value = json!({ "image": image.digest, "media_type": image.media_type.as_str(), "to": to.to_string() });
        return ui.document("mirror", value);
    }
    ui.say(&format!("wrote {to}"));
    ui.data(&image.digest.to_string())
}
