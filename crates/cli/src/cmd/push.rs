//! `assemble push`: bring an image into registries.

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use oci_assemble::image::{Descriptor, ImageReference, RegistryReference};
use oci_assemble::publish::referrers::{LayoutReferrers, Place, RegistryReferrers};
use oci_assemble::publish::{
    Attached, BlobAction, Content, Mounts, PushPlan, Receipt, ReferrerSource, Untagged, base_mounts, carry, observe,
    push as carry_out,
};
use oci_assemble::store::registry::{Access, Repository};
use oci_assemble::store::{Ambient, BlobSource, Platforms, open_local};
use serde_json::{Value, json};

use super::intended::Intended;
use crate::args::{PushArgs, SourceArgs};
use crate::exit::{Class, Context, Failure};
use crate::registry::{self, Watch};
use crate::ui::{Ui, bytes};
use crate::wire;

/// A repository, and the tags that an image gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) repository: RegistryReference,
    pub(crate) tags: Vec<String>,
}

impl Target {
    /// The targets that references name, each repository once.
    pub(crate) fn all(names: &[String]) -> Result<Vec<Self>, Failure> {
        let mut targets: Vec<Self> = Vec::new();
        for text in names {
            let ImageReference::Registry(name) = wire::reference(text)? else {
                return Err(Failure::new(Class::Usage, format!("images cannot be pushed to {text}"))
                    .hint("registries are docker://HOST/NAME:TAG; `assemble mirror` writes layouts and archives"));
            };
            if name.digest.is_some() {
                return Err(Failure::new(Class::Usage, format!("{text} names a digest, which is the image's own"))
                    .hint("name a tag instead"));
            }
            let tag = name.tag.clone().ok_or_else(|| {
                Failure::new(Class::Usage, format!("{text} has no tag")).hint(format!("write {text}:TAG"))
            })?;
            let repository = RegistryReference { tag: None, ..name };
            match targets.iter_mut().find(|target| target.repository == repository) {
                Some(target) => target.tags.push(tag),
                None => targets.push(Self { repository, tags: vec![tag] }),
            }
        }
        Ok(targets)
    }
}

/// Where receipts go that are asked for in a file. Opened before anything is pushed: a push whose receipt is lost would
/// have to be looked up.
pub(crate) struct ReceiptFile {
    path: PathBuf,
    part: PathBuf,
}

impl ReceiptFile {
    pub(crate) fn prepare(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let file = Self { path: path.to_owned(), part: part.into() };
        std::fs::File::create(&file.part).context(Class::Io, format!("creating {}", path.display()))?;
        Ok(Some(file))
    }

    pub(crate) fn finish(&self, text: &str) -> Result<(), Failure> {
        let written = std::fs::write(&self.part, text).and_then(|()| std::fs::rename(&self.part, &self.path));
        written.context(Class::Io, format!("writing {}", self.path.display()))
    }
}

impl Drop for ReceiptFile {
    fn drop(&mut self) {
        // Gone by now if it was finished.
        let _ = std::fs::remove_file(&self.part);
    }
}

pub(crate) fn run(args: &PushArgs, ui: Ui) -> Result<(), Failure> {
    let targets = Target::all(&args.references)?;
    let from = wire::reference(&args.image)?;
    if !wire::is_local(&from) {
        return Err(Failure::new(Class::Usage, format!("{from} is not on this machine's disk"))
            .hint("`assemble mirror SRC docker://HOST/NAME:TAG` copies between registries"));
    }
    let (source, top) = open_local(&from, &Ambient).context(Class::Data, format!("opening {from}"))?;
    let platforms = args.platform.as_deref().map(wire::platform).transpose()?;
    let platforms = platforms.map_or(Platforms::All, Platforms::Only);
    let top = platforms.choose(&*source, top).context(Class::Data, format!("opening {from}"))?;
    let attached = attachments(&from, &args.source, ui)?;
    push(&*source, &top, &targets, attached.as_ref(), args, ui)
}

/// What is attached to an image that is copied.
pub(crate) struct Attachments {
    source: Box<dyn ReferrerSource>,
    /// Whether it is somebody else's: what a registry cannot say or give is no reason not to copy the image.
    far: bool,
}

/// Where what is attached to an image is read from. In archives nothing is looked for.
pub(crate) fn attachments(from: &ImageReference, access: &SourceArgs, ui: Ui) -> Result<Option<Attachments>, Failure> {
    let what = || format!("opening {from}");
    Ok(match from {
        ImageReference::OciDir(place) => {
            let dir = wire::open_dir(Path::new(&place.path), Class::Usage)?;
            let source = LayoutReferrers::open(dir).context(Class::Data, what())?;
            Some(Attachments { source: Box::new(source), far: false })
        }
        ImageReference::Registry(name) => {
            let client = registry::client(&name.host, access, ui, Watch::default())?;
            let repository = Repository::new(&client, name, Access::Pull).context(Class::Usage, what())?;
            Some(Attachments { source: Box::new(RegistryReferrers::new(repository)), far: true })
        }
        _ => None,
    })
}

/// Brings what is attached to an image along, before a tag names the image.
pub(crate) fn carried<'r>(from: Option<&Attachments>, untagged: Untagged<'r>, ui: Ui) -> Result<Untagged<'r>, Failure> {
    let Some(from) = from else { return Ok(untagged) };
    let store = RegistryReferrers::new(untagged.repository());
    let mut attached = Vec::new();
    for Descriptor { digest: subject, .. } in untagged.manifests() {
        let what = || format!("copying what is attached to {subject}");
        let found = carry(&*from.source, &store, subject).context(Class::Data, what());
        let found = match found {
            Err(failure) if from.far => {
                ui.say(&format!("warning: what is attached to {subject} stays behind: {failure}"));
                continue;
            }
            found => found?,
        };
        for one in found {
            if one.left {
                ui.say(&format!("warning: {} is attached to {subject} and stays behind: it is too large", one.digest));
                continue;
            }
            let before = if one.before { ", there before" } else { "" };
            ui.say(&format!("{subject}: {} ({}) goes along{before}", one.kind, one.format));
            attached.push(Attached {
                kind: one.kind.to_owned(),
                format: one.format.to_owned(),
                subject: *subject,
                digest: one.digest,
                tag: match one.place {
                    Place::Tag(tag) => Some(tag),
                    Place::Referrer(_) => None,
                },
                identity: None,
                log_index: None,
                before: one.before,
            });
        }
    }
    Ok(untagged.attached(attached))
}

/// Pushes an image to all targets, and prints what was, or would be, done.
fn push(
    source: &dyn BlobSource,
    top: &Descriptor,
    targets: &[Target],
    attached: Option<&Attachments>,
    args: &PushArgs,
    ui: Ui,
) -> Result<(), Failure> {
    let PushArgs { source: access, output, .. } = args;
    let content = Content::gather(source, top).context(Class::Data, "reading the image")?;
    let file = ReceiptFile::prepare(output.receipt.as_deref().filter(|_| !output.dry_run))?;
    let mut done = Vec::new();
    for target in targets {
        let one = || -> Result<Value, Failure> {
            let pushing = Pushing::new(target, &content, &Mounts::new(), access, ui)?;
            if output.dry_run {
                if !ui.json {
                    ui.data(&shown(&pushing.plan, &[]))?;
                }
                return Ok(pushing.plan.to_value());
            }
            let receipt = pushing.run(source, |untagged| carried(attached, untagged, ui))?;
            say(&receipt, ui);
            value(&receipt)
        };
        match one() {
            Ok(receipt) => done.push(receipt),
            Err(failure) => {
                // Tags were moved: what was done is no less true for what was not.
                if let Some(file) = file.filter(|_| !done.is_empty()) {
                    file.finish(&Ui::text_of("receipt", json!({ "receipts": done })))?;
                }
                return Err(failure);
            }
        }
    }
    if output.dry_run {
        return if ui.json { ui.document("push-plan", json!({ "plans": done })) } else { Ok(()) };
    }
    finish(&done, file, ui, &top.digest.to_string())
}

/// Writes and prints receipts.
pub(crate) fn finish(receipts: &[Value], file: Option<ReceiptFile>, ui: Ui, digest: &str) -> Result<(), Failure> {
    let document = json!({ "receipts": receipts });
    if let Some(file) = file {
        file.finish(&Ui::text_of("receipt", document.clone()))?;
    }
    if ui.json { ui.document("receipt", document) } else { ui.data(digest) }
}

/// A push that was planned.
pub(crate) struct Pushing<'c> {
    repository: Repository,
    content: &'c Content,
    pub(crate) plan: PushPlan,
    bar: ProgressBar,
}

impl<'c> Pushing<'c> {
    /// Asks the registry what it has. `mounts` are blobs that other repositories of it are known to have, beside those of
    /// the image's base.
    pub(crate) fn new(
        target: &Target,
        content: &'c Content,
        mounts: &Mounts,
        access: &SourceArgs,
        ui: Ui,
    ) -> Result<Self, Failure> {
        let Target { repository: name, tags } = target;
        let doing = || format!("asking {}/{}", name.host, name.repository);
        let bar = ui.bar(Some(0), &format!("pushing to {}/{}", name.host, name.repository));
        let client = registry::client(&name.host, access, ui, Watch { bar: Some(bar.clone()), ..Watch::default() })?;
        let repository = Repository::new(&client, name, Access::Push).context(Class::Usage, doing())?;
        let mut all = base_mounts(&client, &name.host, content).context(Class::Data, doing())?;
        for (blob, from) in mounts {
            all.entry(*blob).or_default().extend(from.iter().cloned());
        }
        let observed = observe(&repository, content, tags).context(Class::Data, doing())?;
        let plan = PushPlan::new(content, &observed, &all, tags);
        Ok(Self { repository, content, plan, bar })
    }

    /// Does it. `attach` may attach manifests to the image before its tags are set.
    pub(crate) fn run(
        &self,
        source: &dyn BlobSource,
        attach: impl for<'r> FnOnce(Untagged<'r>) -> Result<Untagged<'r>, Failure>,
    ) -> Result<Receipt, Failure> {
        let doing = || format!("pushing to {}", self.plan.repository);
        self.bar.set_length(self.plan.bytes(|action| *action != BlobAction::Present));
        let pushed = carry_out(&self.repository, self.content, &self.plan, source);
        self.bar.finish_and_clear();
        let untagged = attach(pushed.context(Class::Data, doing())?)?;
        untagged.tag().context(Class::Data, doing())
    }
}

pub(crate) fn value(receipt: &Receipt) -> Result<Value, Failure> {
    serde_json::to_value(receipt).context(Class::Io, "writing the receipt")
}

/// Says in words what a receipt says.
pub(crate) fn say(receipt: &Receipt, ui: Ui) {
    let totals = receipt.bytes;
    ui.say(&format!(
        "{}: {} sent, {} mounted, {} there before",
        receipt.repository,
        bytes(totals.uploaded),
        bytes(totals.mounted),
        bytes(totals.present)
    ));
    for tag in &receipt.tags {
        let moved = match tag.from {
            None => "new".to_owned(),
            Some(from) if from == tag.to => "as before".to_owned(),
            Some(from) => format!("was {from}"),
        };
        ui.say(&format!("{}:{} is {} ({moved})", receipt.repository, tag.tag, tag.to));
        if tag.raced {
            ui.say(&format!("warning: somebody else moved {} while this ran; one of the two has lost", tag.tag));
        }
    }
}

/// A plan with what would be attached, for machines.
pub(crate) fn planned(plan: &PushPlan, intended: &[Intended]) -> Value {
    let mut value = plan.to_value();
    value["attach"] = intended.iter().map(Intended::to_value).collect();
    value
}

/// A plan in words: a line a blob, manifest, attachment and tag.
pub(crate) fn shown(plan: &PushPlan, intended: &[Intended]) -> String {
    let mut text = format!("{}\n", plan.repository);
    for planned in &plan.blobs {
        let (verb, from) = match &planned.action {
            BlobAction::Present => ("keep  ", String::new()),
            BlobAction::Mount(from) => ("mount ", format!(" from {}", from.join(" or "))),
            BlobAction::Upload => ("send  ", String::new()),
        };
        text.push_str(&format!("  {verb} {}  {}{from}\n", planned.blob.digest, bytes(planned.blob.size)));
    }
    for planned in &plan.manifests {
        let verb = if planned.present { "keep  " } else { "send  " };
        text.push_str(&format!("  {verb} {}  manifest\n", planned.manifest.digest));
    }
    text.extend(intended.iter().map(Intended::line));
    for planned in &plan.tags {
        let from = planned.from.map_or_else(|| "new".to_owned(), |from| format!("now {from}"));
        text.push_str(&format!("  tag    {} → {} ({from})\n", planned.tag, planned.to));
    }
    text
}
