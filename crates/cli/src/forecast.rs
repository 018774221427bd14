//! What a build would write, as far as it is known without a container.

use std::sync::Arc;

use kmod_stage::bundle::Reuse;
use oci_assemble::layer::{Contents, LayerDraft, SealOptions, Sources};
use oci_assemble::plan::assemble::{Drafted, draft};
use oci_assemble::plan::forecast::Forecast;
use oci_assemble::store::dir::HostContents;
use oci_assemble::store::layers::MergedLayers;
use oci_assemble::store::{CacheDir, KeptContents};
use serde_json::{Value, json};

use crate::args::SourceArgs;
use crate::builders::{BuilderSettings, Builds};
use crate::chunking::{self, Cut};
use crate::cmd::build::{LAYER_ANNOTATION, Prepared};
use crate::cmd::full::Recut;
use crate::exit::{Class, Context, Failure};
use crate::locks::Held;
use crate::previous::Opening;
use crate::ui::{Ui, bytes};
use crate::wire::{self, BlobCache, Job, StageSettings};

/// What plans are made of.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) job: &'a Job,
    pub(crate) source: &'a SourceArgs,
    pub(crate) cache: Option<&'a Arc<CacheDir>>,
    pub(crate) blobs: &'a BlobCache,
    pub(crate) held: &'a Held,
    pub(crate) prepared: &'a Prepared,
    pub(crate) settings: &'a StageSettings,
    pub(crate) ui: Ui,
}

/// The layers of the image, as far as they are known.
pub(crate) enum Foreseen {
    /// Appended ones, and what the image before is called.
    Appended(Forecast, Option<String>),
    /// Cut anew.
    Cut(Anew),
    /// A stage has to run first: why. Where the whole image is cut anew, how the base is without it.
    Unknown(String, Option<Anew>),
    /// A build would fail: why.
    Fails(String),
}

/// An image cut anew.
pub(crate) struct Anew {
    cut: Cut,
    /// What compression is expected to leave of a byte.
    ratio: f64,
}

impl Asked<'_> {
    /// Makes the layers as a build does and throws them away. Results of stages are those that are kept; without one, the
    /// layers are unknown.
    pub(crate) fn foresee(self, base: &MergedLayers<'_>) -> Result<Foreseen, Failure> {
        let Self { job, source, cache, blobs, prepared, ui, .. } = self;
        let kept = KeptContents::new(base, cache.map(|cache| &**cache));
        let recut = Recut::of(job, None, source, prepared, cache, blobs, ui)?;
        let root = job.root.try_clone().context(Class::Io, "opening the recipe's directory again")?;
        let host = HostContents::new(root);
        let image = &prepared.base.image;
        let anew = |cut: Cut| Anew { cut, ratio: chunking::ratio(image, base.tree()) };
        let unknown = |why: String| {
            let of_base = |recut: &Recut| recut.cut(image, base.tree(), &kept, prepared).map(anew);
            Ok(Foreseen::Unknown(why, recut.as_ref().map(of_base).transpose()?))
        };
        if job.recipe().modules.sign.is_some() {
            // The key may be elsewhere, and a plan has no use for it but this.
            return unknown("modules are signed when the recipe is built".into());
        }
        let drafted = match self.draft(base, &kept, &host) {
            Ok(drafted) => drafted,
            Err(why) if why.is_withheld() => return unknown(why.to_string()),
            Err(why) => return Ok(Foreseen::Fails(why.to_string())),
        };
        let mut sources: Vec<&dyn Contents> = vec![&kept, &host];
        sources.extend(drafted.contents.iter().map(|contents| &**contents as &dyn Contents));
        let sources = Sources::new(sources);
        if let Some(recut) = recut {
            let (cut, _) = recut.cut_drafted(image, &drafted, &sources, prepared)?;
            return Ok(Foreseen::Cut(anew(cut)));
        }
        let platform = &prepared.base.image.config().platform;
        let previous = Opening { platform, source, cache, blobs, ui }.replaced(std::slice::from_ref(&prepared.output));
        let annotated = |draft: &LayerDraft| draft.clone().with_annotation(LAYER_ANNOTATION, draft.name());
        let drafts: Vec<_> = drafted.drafts.iter().map(annotated).collect();
        let options = SealOptions { compression: prepared.compression, threads: self.settings.jobs };
        let image = previous.as_ref().map(|opened| &opened.image);
        let bar = ui.bar(None, "measuring layers");
        let forecast = Forecast::new(&prepared.base.image, &drafts, &sources, image, options);
        bar.finish_and_clear();
        let forecast = forecast.context(Class::Io, "measuring the layers")?;
        Ok(Foreseen::Appended(forecast, previous.map(|opened| opened.name)))
    }

    fn draft(self, base: &MergedLayers<'_>, kept: &KeptContents<'_>, host: &HostContents) -> Result<Drafted, Failure> {
        let Self { job, source, cache, blobs, held, prepared, settings, ui } = self;
        let builder = BuilderSettings {
            runs: false,
            cache: blobs.root(cache),
            reuse: Reuse::Allow,
            workspace: settings.workspace.clone(),
            jobs: settings.jobs,
            source,
            ui,
        };
        let mut builds = Builds::new(job, &prepared.base, Some(builder), held);
        let groups = wire::groups(job, settings, &mut builds)?;
        let architecture = &prepared.base.image.config().platform.architecture;
        let drafted = draft(&groups, base.tree(), &[kept, host], prepared.epoch, architecture);
        drafted.context(Class::Data, format!("assembling {}", job.recipe().image.name))
    }
}

impl Foreseen {
    /// As part of the document of a plan.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Appended(forecast, previous) => json!({ "previous": previous, "forecast": forecast }),
            Self::Cut(cut) => json!({ "cut": cut.json() }),
            Self::Fails(why) => json!({ "fails": why }),
            Self::Unknown(why, None) => json!({ "unknown": why }),
            Self::Unknown(why, Some(cut)) => json!({ "unknown": why, "cut": cut.json() }),
        }
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        match self {
            Self::Appended(forecast, previous) => {
                format!("\n# The new layers, as they would be now.\n{}", forecast.render(previous.as_deref(), bytes))
            }
            Self::Cut(found) => format!("\n# Base and additions, cut into layers.\n{}", found.render()),
            Self::Fails(why) => format!("\n# A build would fail now.\n  {}\n", why.replace('\n', "\n  ")),
            Self::Unknown(why, of_base) => {
                let why = why.replace('\n', "\n  ");
                let why = format!("\n# The new layers are not known before the recipe is built.\n  {why}\n");
                let of_base = of_base.as_ref().map(Anew::render).unwrap_or_default();
                let title =
                    if of_base.is_empty() { "" } else { "\n# The base, cut into layers, without what is added.\n" };
                format!("{why}{title}{of_base}")
            }
        }
    }
}

impl Anew {
    fn json(&self) -> Value {
        let chunking = &self.cut.chunking;
        json!({ "layers": chunking.layers, "expected_download": chunking.expected_download(self.ratio) })
    }

    fn render(&self) -> String {
        self.cut.chunking.render(self.ratio, bytes)
    }
}
