//! `assemble mirror`: copy an image, byte for byte.

use std::cell::LazyCell;
use std::path::Path;
use std::sync::Arc;

use oci_assemble::image::{Descriptor, ImageReference, PinnedReference, RegistryReference};
use oci_assemble::publish::sign::Signer;
use oci_assemble::publish::verify::What;
use oci_assemble::publish::{Content, Mounts, ReferrerSource, Untagged};
use oci_assemble::store::registry::{Access, Kept, Repository};
use oci_assemble::store::{
    Ambient, BlobSource, CacheDir, MirrorOptions, Mirrored, Platforms, Transaction, mirror, open_local,
};
use serde_json::json;

use super::attach::Signing;
use super::intended::Intended;
use super::plan::index_cache;
use super::push::{Pushing, ReceiptFile, Target, attachments, carried, planned, say, shown, value};
use super::verify::Demanded;
use crate::args::{MirrorArgs, SignerArgs};
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::indexed;
use crate::output::Output;
use crate::registry::{self, Watch};
use crate::signable::Signable;
use crate::signers;
use crate::ui::Ui;
use crate::wire::{self, BlobCache};

pub(crate) fn run(args: &MirrorArgs, ui: Ui, explicit: Option<&Path>) -> Result<(), Failure> {
    let cache = wire::cache(explicit)?;
    let from = wire::reference(&args.source_image)?;
    let to = wire::reference(&args.destination)?;
    let signers = args.signing.signers();
    if let Some(signers) = &signers {
        if !matches!(to, ImageReference::Registry(_)) {
            return Err(Failure::new(Class::Usage, "copies are signed in registries only")
                .hint("sign a copy on disk with `assemble sign`, which takes the --name that it is pulled by"));
        }
        // What is missing is found before anything is copied.
        if !args.output.dry_run {
            signers::ready(signers, ui)?;
        }
    }
    let from = verified(args, from, ui)?;
    let platforms = match &args.platform {
        Some(text) => Platforms::Only(wire::platform(text)?),
        None => Platforms::All,
    };
    match &to {
        ImageReference::Registry(_) => {
            let blobs = BlobCache::new(explicit, ui);
            to_registry(args, &from, &platforms, signers.as_ref(), (&blobs, cache.as_ref()), ui)
        }
        _ if args.index => Err(Failure::new(Class::Usage, "indexes of layers are attached in registries only")
            .hint("builds upon a copy on disk need none")),
        _ => to_layout(args, &from, &to, platforms, ui, cache.as_ref()),
    }
}

/// Copies into a registry: what is there is left alone, what the source's repository in the same registry has is mounted,
/// and the rest goes straight through.
fn to_registry(
    args: &MirrorArgs,
    from: &ImageReference,
    platforms: &Platforms,
    signers: Option<&SignerArgs>,
    (blobs, cache): (&BlobCache, Option<&Arc<CacheDir>>),
    ui: Ui,
) -> Result<(), Failure> {
    let targets = Target::all(std::slice::from_ref(&args.destination))?;
    let doing = || format!("opening {from}");
    let (source, top): (Box<dyn BlobSource>, Descriptor) = match from {
        ImageReference::OciDir(_) | ImageReference::OciArchive(_) => {
            open_local(from, &Ambient).context(Class::Data, doing())?
        }
        _ => {
            let name = registry::native(from).ok_or_else(|| elsewhere(from))?;
            let repository = repository(name, args, ui)?;
            let found = repository.find(name).context(Class::Data, doing())?;
            // Layers that are indexed are read twice: kept, they are fetched once.
            let source: Box<dyn BlobSource> =
                if args.index { Box::new(Kept::new(repository, blobs.open(cache)?)) } else { Box::new(repository) };
            (source, found.descriptor)
        }
    };
    let attached = attachments(from, &args.source, ui)?;
    let image = platforms.choose(&*source, top).context(Class::Data, doing())?;
    let content = Content::gather(&*source, &image).context(Class::Data, doing())?;
    let file = ReceiptFile::prepare(args.output.receipt.as_deref().filter(|_| !args.output.dry_run))?;
    for target in &targets {
        let mut mounts = Mounts::new();
        if let ImageReference::Registry(name) = from
            && name.host == target.repository.host
        {
            mounts.extend(content.blobs.iter().map(|blob| (blob.digest, vec![name.repository.clone()])));
        }
        let pushing = Pushing::new(target, &content, &mounts, &args.source, ui)?;
        if args.output.dry_run {
            let mut intended =
                signers.map(|signers| Intended::by_arguments(&pushing.plan, signers)).unwrap_or_default();
            if args.index {
                intended.extend(Intended::indexes(&content, &intended));
            }
            let plan = json!({ "plans": [planned(&pushing.plan, &intended)] });
            return if ui.json { ui.document("push-plan", plan) } else { ui.data(&shown(&pushing.plan, &intended)) };
        }
        let receipt = pushing.run(&*source, |untagged| {
            let untagged = carried(attached.as_ref(), untagged, ui)?;
            let (untagged, indexes) = if args.index {
                // Asked for once something is there; what signs later begins anew, as reading layers takes its time.
                let early = LazyCell::new(|| signers.map(|signers| signers::open(signers, ui)));
                let own = |store: &dyn ReferrerSource, artifact: &Descriptor| {
                    let Some(Ok(signers)) = &*early else { return false };
                    indexed::signed_by(&signers.iter().map(AsRef::as_ref).collect::<Vec<_>>(), store, artifact)
                };
                indexed::attach(untagged, &*source, index_cache(cache), &own, ui)?
            } else {
                (untagged, Vec::new())
            };
            signed(&target.repository, signers, untagged, &indexes, ui)
        })?;
        say(&receipt, ui);
        let fields = json!({
            "image": image.digest, "media_type": image.media_type.as_str(), "to": args.destination,
            "receipt": value(&receipt)?,
        });
        if let Some(file) = &file {
            file.finish(&Ui::text_of("receipt", json!({ "receipts": [value(&receipt)?] })))?;
        }
        if ui.json {
            return ui.document("mirror", fields);
        }
    }
    ui.data(&image.digest.to_string())
}

/// Signs a copy that has no tag yet, and the indexes of its layers.
fn signed<'r>(
    place: &RegistryReference,
    signers: Option<&SignerArgs>,
    untagged: Untagged<'r>,
    indexes: &[Descriptor],
    ui: Ui,
) -> Result<Untagged<'r>, Failure> {
    let Some(args) = signers else {
        indexed::unsigned(indexes, ui);
        return Ok(untagged);
    };
    let signers = signers::open(args, ui)?;
    let signers: Vec<&dyn Signer> = signers.iter().map(AsRef::as_ref).collect();
    let signing = Signing { place, signers: &signers, format: args.format.into(), ui };
    let mut attached = signing.manifests(&untagged)?;
    attached.extend(signing.sign(&untagged, indexes)?);
    Ok(untagged.attached(attached))
}

fn repository(name: &RegistryReference, args: &MirrorArgs, ui: Ui) -> Result<Repository, Failure> {
    let client = registry::client(&name.host, &args.source, ui, Watch::default())?;
    Repository::new(&client, name, Access::Pull).context(Class::Usage, format!("opening {name}"))
}

fn elsewhere(from: &ImageReference) -> Failure {
    let text = match from {
        ImageReference::Registry(_) => format!("the signature policy of this machine must look at {from}"),
        _ => format!("{from} cannot be passed on without being stored"),
    };
    Failure::new(Class::Usage, text).hint("mirror it to oci:DIR:TAG, and push that")
}

fn to_layout(
    args: &MirrorArgs,
    from: &ImageReference,
    to: &ImageReference,
    platforms: Platforms,
    ui: Ui,
    cache: Option<&Arc<CacheDir>>,
) -> Result<(), Failure> {
    if args.output.dry_run || args.output.receipt.is_some() {
        let text = "--dry-run and --receipt are for copies into registries";
        return Err(Failure::new(Class::Usage, text));
    }
    let mut moved = Vec::new();
    let context = format!("copying {from}");
    let output = Output::new(to)?.begin(cache)?;
    let native = registry::native(from).map(|name| Ok((name, repository(name, args, ui)?))).transpose()?;
    let bar = ui.bar(None, &context);
    let image = output.mirror(|into: Transaction, tag: Option<&str>| {
        let copied: Result<Mirrored, _> = if let Some((name, repository)) = native {
            let fetched = {
                let kept = Kept::new(repository, &into);
                let image = kept.find(name).and_then(|top| platforms.choose(&kept, top));
                image.and_then(|image| kept.fetch_all(&image).map(|()| image))
            };
            fetched.and_then(|image| {
                let committed = into.commit(tag, &image)?;
                Ok(Mirrored { image, committed })
            })
        } else {
            let options =
                MirrorOptions { skopeo: wire::skopeo(from, &args.source), platforms, threads: env::processors() };
            mirror(from, &Ambient, into, tag, &options)
        };
        let copied = copied.context(Class::Data, context.clone())?;
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

/// What to copy: where somebody must have signed it, exactly the digest that was verified.
fn verified(args: &MirrorArgs, from: ImageReference, ui: Ui) -> Result<ImageReference, Failure> {
    let Some(demanded) = Demanded::new(&args.signatory)? else { return Ok(from) };
    let target = Signable::of(&from, &args.source, Access::Pull, ui)?;
    let verified = demanded.verify(&target, &What::Signature)?;
    ui.say(&format!("verified {}", verified.digest));
    Ok(PinnedReference::new(from, verified.digest).to_reference())
}
