//! `assemble lint`: is this a sound bootc image?

use std::collections::BTreeMap;
use std::path::Path;

use oci_assemble::image::Image;
use oci_assemble::inspect::lint::{Forbid, ImageFacts, LINTS, LayerFacts, LintInput, LintOptions, LintReport, lint};
use oci_assemble::layer::Gate;
use oci_assemble::plan::recipe::spec::{self, OwnBootc};
use oci_assemble::store::KeptContents;
use oci_assemble::tree::FileTree;

use super::plan::merged;
use crate::args::{Bootc, LintArgs};
use crate::exit::{Class, Context, Failure};
use crate::judge::{Asked, Asking, Verdict, ask};
use crate::ui::Ui;
use crate::wire::{self, BlobCache, OpenedImage};
use crate::{builders, env};

pub(crate) fn run(args: &LintArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let Some(name) = args.image.as_deref().filter(|_| !args.list) else {
        return list(ui);
    };
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let platform = args.platform.as_deref().map(wire::platform).transpose()?;
    let image = wire::image(&wire::reference(name)?, platform.as_ref(), &args.source, cache.as_ref(), &blobs)?;
    let layers = merged(&image, cache.as_ref(), env::processors(), Gate::Record, ui)?;
    let facts: Vec<LayerFacts> = layers
        .layers()
        .map(|(descriptor, diff_id, violations)| LayerFacts {
            digest: descriptor.digest,
            diff_id: *diff_id,
            media_type: descriptor.media_type.to_string(),
            violations: violations.clone(),
            ours: is_ours(descriptor),
        })
        .collect();
    let kept = KeptContents::new(&layers, cache.as_deref());
    let input = LintInput {
        tree: layers.tree(),
        contents: &kept,
        image: &image_facts(&image.image),
        layers: &facts,
        added: None,
        packages: None,
        forbid: &Forbid::default(),
    };
    let skip = args.skip.iter().map(|name| (name.clone(), "left out on the command line".to_owned())).collect();
    let options = LintOptions { skip, fatal_warnings: args.fatal_warnings };
    let report = lint(&input, &options).context(Class::Data, format!("checking {name}"))?;
    let own = own_bootc(args, name, &image, layers.tree(), &report, ui)?;
    show(&report, own.as_ref(), ui)?;
    verdict(&report, name, "leave out a lint with --skip NAME, when the finding is wanted")?;
    match own {
        Some(own) if !own.passed() => Err(Failure::new(Class::Negative, format!("{name} is refused by its own bootc"))),
        _ => Ok(()),
    }
}

/// Asks the bootc that the image carries, where the user wants that.
fn own_bootc(
    args: &LintArgs,
    name: &str,
    image: &OpenedImage,
    tree: &FileTree,
    native: &LintReport,
    ui: Ui,
) -> Result<Option<Verdict>, Failure> {
    let wanted = match args.bootc {
        Bootc::Auto => OwnBootc::Auto,
        Bootc::Require => OwnBootc::Require,
        Bootc::Off => OwnBootc::Off,
    };
    let (builder, workspace) = (spec::Builder::default(), env::temp_dir());
    let skip = args.skip.iter().map(String::as_str).collect();
    let asking = Asking { wanted, builder: &builder, skip, workspace };
    let platform = &image.image.config().platform;
    let asked = Asked { name, manifest: image.digest, platform, tree, native };
    ask(&asking, &asked, || builders::source(image, &args.source, &asking.workspace, env::processors()), ui)
}

fn is_ours(descriptor: &oci_assemble::image::Descriptor) -> bool {
    descriptor.annotations.contains_key(super::build::LAYER_ANNOTATION)
}

/// What lints look at of the manifest and the configuration.
pub(crate) fn image_facts(image: &Image) -> ImageFacts {
    let config = image.config();
    ImageFacts {
        architecture: config.platform.architecture.clone(),
        os: config.platform.os.clone(),
        created: config.created.clone(),
        labels: config.labels.clone(),
        annotations: image.manifest().annotations.clone(),
    }
}

fn show(report: &LintReport, own: Option<&Verdict>, ui: Ui) -> Result<(), Failure> {
    if ui.json {
        let mut value = serde_json::to_value(report).context(Class::Usage, "writing the report")?;
        if let Some(own) = own {
            value["bootc"] = serde_json::to_value(own).context(Class::Usage, "writing the report")?;
        }
        return ui.document("lint", value);
    }
    let own = own.map(|own| format!("{own}\n")).unwrap_or_default();
    ui.data(&format!("{report}{own}"))
}

/// A failure when the report is a negative answer.
pub(crate) fn verdict(report: &LintReport, name: &str, hint: &str) -> Result<(), Failure> {
    if report.passed {
        return Ok(());
    }
    Err(Failure::new(Class::Negative, format!("{name} does not pass the lints")).hint(hint))
}

fn list(ui: Ui) -> Result<(), Failure> {
    if ui.json {
        let lints: Vec<_> =
            LINTS.iter().map(|lint| BTreeMap::from([("name", lint.name), ("description", lint.about)])).collect();
        return ui.document("lints", serde_json::json!({ "lints": lints }));
    }
    let mut text = String::new();
    for lint in LINTS {
        text.push_str(&format!("{:26} {:8} {}\n", lint.name, lint.severity.to_string(), lint.about));
    }
    ui.data(&text)
}
