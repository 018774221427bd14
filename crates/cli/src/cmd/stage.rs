//! `assemble stage --recipe F [NAME…]`: runs builder containers, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

use kmod_stage::build::Made;
use kmod_stage::bundle::Reuse;
use oci_assemble::layer::Gate;
use oci_assemble::plan::assemble::draft;
use oci_assemble::plan::step::Group;
use oci_assemble::store::KeptContents;
use oci_assemble::store::dir::HostContents;
use serde_json::json;

use super::build::{Prepared, check_kernel};
use super::plan::merged;
use crate::args::{Sandbox, StageArgs};
use crate::builders::Building;
use crate::bundles;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::locks::Held;
use crate::ui::Ui;
use crate::wire::{self, BlobCache, StageSettings};

/// Kinds of stages that need a builder.
const KINDS: [&str; 4] = ["packages", "dkms", "zfs", "nvidia-open"];

pub(crate) fn run(args: &StageArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let job = wire::load(&args.recipe)?;
    let jobs = args.jobs.unwrap_or_else(env::processors);
    let settings = StageSettings { sandbox: Sandbox::Auto, workspace: env::temp_dir(), jobs, sign: false };
    let reuse = if args.rebuild { Reuse::Rebuild } else { Reuse::Allow };
    let nowhere = Some("oci:unused:unused");
    if args.push && job.recipe().builder.bundles.is_none() {
        return Err(Failure::new(Class::Usage, "the recipe names no repository to push bundles to")
            .hint("set bundles = \"docker://HOST/NAME\" in its [builder] table"));
    }
    let mut held = Held::new(&job, false)?;
    let prepared =
        Prepared::new(&job, &args.source, cache.as_ref(), &blobs, &settings, Some(reuse), ui, nowhere, &held)?;
    held.check_sources(&job)?;
    held.warn(ui);
    let Prepared { base, epoch, groups, workshop, .. } = prepared;
    let chosen = chosen(groups, &args.names)?;
    let Some(workshop) = workshop else { return print(&BTreeMap::new(), ui) };
    let layers = merged(&base, cache.as_ref(), jobs, Gate::Refuse, ui)?;
    check_kernel(&job, layers.tree())?;
    let kept = KeptContents::new(&layers, cache.as_deref());
    let building = Building::begin();
    let bar = ui.bar(None, "building");
    let architecture = &base.image.config().platform.architecture;
    let host = HostContents::new(job.root.try_clone().context(Class::Io, "opening the recipe's directory again")?);
    let drafted = draft(&chosen, layers.tree(), &[&kept, &host], epoch, architecture);
    bar.finish_and_clear();
    drop(building);
    let drafted = drafted.context(Class::Data, format!("staging {}", job.recipe().image.name))?;
    for note in &drafted.notes {
        ui.say(note);
    }
    let made = workshop.builder.made.lock().unwrap_or_else(PoisonError::into_inner);
    if args.push {
        let builder = &job.recipe().builder;
        made.values().try_for_each(|made| bundles::push(builder, &workshop.builder.store, made, &args.source, ui))?;
    }
    print(&made, ui)
}

/// The groups up to the last one that needs a builder and is asked for. What comes before comes along: it decides which
/// files of packages are missing in the image, and what is compiled may be for a kernel that packages bring.
fn chosen(mut groups: Vec<Group>, names: &[String]) -> Result<Vec<Group>, Failure> {
    let built = |group: &Group| {
        let mut stages = group.stages.iter();
        // What else a stage brings has its name; its modules are with the other modules, behind all stages.
        stages.len() == 1 && stages.all(|stage| KINDS.contains(&stage.kind()) && stage.name() == group.name)
    };
    let known: Vec<&str> = groups.iter().filter(|group| built(group)).map(|group| group.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let failure = Failure::new(Class::Usage, format!("the recipe has no stage {name} that needs a builder"));
        return Err(failure.hint(match known.as_slice() {
            [] => "none of its stages does".to_owned(),
            known => format!("those that do: {}", known.join(", ")),
        }));
    }
    let wanted = |group: &Group| built(group) && (names.is_empty() || names.contains(&group.name));
    let count = groups.iter().rposition(wanted).map_or(0, |last| last + 1);
    groups.truncate(count);
    Ok(groups)
}

fn print(made: &BTreeMap<String, Made>, ui: Ui) -> Result<(), Failure> {
    if ui.json {
        let stages: BTreeMap<_, _> = made
            .iter()
            .map(|(name, made)| (name, json!({ "key": made.key, "bundle": made.bundle, "reused": made.reused })))
            .collect();
        return ui.document("stage", json!({ "stages": stages }));
    }
    if made.is_empty() {
        ui.say("no stage of the recipe needs a builder");
    }
    let line = |(name, made): (&String, &Made)| {
        let how = if made.reused { "kept" } else { "built" };
        format!("{name} {} {how}\n", made.bundle)
    };
    let text: String = made.iter().map(line).collect();
    ui.data(text.trim_end())
}
