//! Indexes of layers beside images in registries: attached to what is brought there, asked for of bases.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci_assemble::image::{Descriptor, Digest, ImageReference, MAX_MANIFEST, Manifest, MediaType};
use oci_assemble::layer::{Gate, LayerIndex};
use oci_assemble::publish::indexes::{Found, artifact, find};
use oci_assemble::publish::referrers::RegistryReferrers;
use oci_assemble::publish::sign::Signer;
use oci_assemble::publish::verify::{What, verify};
use oci_assemble::publish::{Attached, ReferrerSource, ReferrerStore, Untagged};
use oci_assemble::store::layers::{ImageLayers, IndexCache, ReadOptions};
use oci_assemble::store::{BlobSource, read_document, resolve};

use crate::args::SourceArgs;
use crate::cmd::verify::Demanded;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::signable::Signable;
use crate::ui::{Ui, bytes};
use crate::wire::OpenedImage;

/// What is said in a registry of the layers of a base by who must have signed the base: of anybody else's word an image must
/// not depend.
pub(crate) struct Claims {
    reference: ImageReference,
    manifest: Digest,
    demanded: Demanded,
    source: SourceArgs,
    /// Counts what is fetched.
    fetched: Arc<AtomicU64>,
    ui: Ui,
}

impl Claims {
    /// Of an image that was opened; none where its layers are on this machine.
    pub(crate) fn of(
        reference: &ImageReference,
        image: &OpenedImage,
        demanded: Demanded,
        source: &SourceArgs,
        ui: Ui,
    ) -> Option<Self> {
        matches!(reference, ImageReference::Registry(_)).then(|| {
            let (reference, source) = (reference.clone(), source.clone());
            Self { reference, manifest: image.digest, demanded, source, fetched: image.counter(), ui }
        })
    }

    /// The indexes, when there are some to be believed. What stands in the way costs time and nothing else.
    pub(crate) fn ask(&self) -> Vec<(Digest, LayerIndex)> {
        match self.find() {
            Ok(Some(found)) => {
                self.ui.detail(&format!("the indexes of the base's layers are those of {}", found.artifact.digest));
                self.fetched.fetch_add(found.fetched, Ordering::Relaxed);
                found.indexes
            }
            Ok(None) => Vec::new(),
            Err(error) => {
                self.ui.detail(&format!("the indexes of the base's layers are not to be had: {error}"));
                Vec::new()
            }
        }
    }

    fn find(&self) -> Result<Option<Found>, Failure> {
        let Self { reference, manifest, demanded, source, ui, .. } = self;
        let at = |descriptor: &Descriptor| Signable::at(reference, descriptor, source, *ui);
        // Of the image itself no more than its digest is needed here.
        let of_image = at(&Descriptor::new(MediaType::ImageManifest, *manifest, 0))?;
        let trusted = &mut |artifact: &Descriptor| {
            let verified = at(artifact).and_then(|target| demanded.verify(&target, &What::Signature));
            if let Err(error) = &verified {
                ui.detail(&format!("indexes that are attached to the base are not believed: {error}"));
            }
            verified.is_ok()
        };
        find(of_image.source(), manifest, trusted)
            .context(Class::Data, format!("looking for the indexes of {reference}"))
    }
}

/// Whether it is a manifest of layers: of the others that an index lists, attestations of builders are the usual ones.
pub(crate) fn is_image(manifest: &Manifest) -> bool {
    !manifest.layers.is_empty() && manifest.layers.iter().all(|layer| layer.media_type.encoding().is_some())
}

/// Says that indexes which nobody signs are of no use yet.
pub(crate) fn unsigned(indexes: &[Descriptor], ui: Ui) {
    if !indexes.is_empty() {
        ui.say("note: builds believe indexes only of who must have signed the base, and nobody signs these");
    }
}

/// Whether all of these signers have signed something.
pub(crate) fn signed_by(signers: &[&dyn Signer], store: &dyn ReferrerSource, artifact: &Descriptor) -> bool {
    let has_signed = |signer: &&dyn Signer| {
        let who = signer.signatory();
        who.is_some_and(|(who, root)| verify(store, artifact, &What::Signature, &who, root).is_ok())
    };
    !signers.is_empty() && signers.iter().all(has_signed)
}

/// Attaches to each image that is about to be tagged the indexes of its layers, which are read from `blobs` where `known`
/// does not have them. What is there already may be anybody's: it stays if it is `own`, and else only what was made here is
/// given, to be signed.
pub(crate) fn attach<'r>(
    untagged: Untagged<'r>,
    blobs: &dyn BlobSource,
    known: &dyn IndexCache,
    own: &dyn Fn(&dyn ReferrerSource, &Descriptor) -> bool,
    ui: Ui,
) -> Result<(Untagged<'r>, Vec<Descriptor>), Failure> {
    let images: Vec<Descriptor> =
        untagged.manifests().filter(|manifest| manifest.media_type.is_manifest()).cloned().collect();
    let (mut artifacts, mut attached) = (Vec::new(), Vec::new());
    for image in images {
        let store = RegistryReferrers::new(untagged.repository());
        let what = || format!("indexing the layers of {}", image.digest);
        let document = read_document(blobs, &image, MAX_MANIFEST).context(Class::Data, what())?;
        if !is_image(&Manifest::parse(&document, Some(&image.media_type)).context(Class::Data, what())?) {
            continue;
        }
        let there = find(&store, &image.digest, &mut |artifact| own(&store, artifact)).context(Class::Data, what())?;
        if let Some(found) = there {
            attached.push(listed(&image, found.artifact.digest, true));
            artifacts.push(plain(&found.artifact));
            continue;
        }
        let opened = resolve(blobs, &image, None).context(Class::Data, what())?.image;
        let pairs: Vec<_> = opened.layers().map(|(descriptor, diff_id)| (descriptor.clone(), *diff_id)).collect();
        // Who builds upon it decides what a stream may be like.
        let options = ReadOptions { gate: Gate::Record, threads: env::processors() };
        let layers = ImageLayers::open(blobs, &pairs, known, options).context(Class::Data, what())?;
        let made = artifact(&image, layers.layers()).context(Class::Io, what())?;
        let there = store.referrers(&image.digest).context(Class::Data, what())?;
        let descriptor = made.manifest.clone();
        let before = there.iter().any(|there| there.digest == descriptor.digest);
        if !before {
            store.store(std::slice::from_ref(&made)).context(Class::Io, what())?;
            let size: u64 = made.blobs.iter().map(|(blob, _)| blob.size).sum();
            ui.say(&format!("{}: the indexes of its layers are attached, {}", image.digest, bytes(size)));
        }
        attached.push(listed(&image, descriptor.digest, before));
        artifacts.push(plain(&descriptor));
    }
    Ok((untagged.attached(attached), artifacts))
}

/// What is signed: no annotations of a listing.
fn plain(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size)
}

/// As a receipt says it.
fn listed(image: &Descriptor, digest: Digest, before: bool) -> Attached {
    Attached {
        kind: "indexes".to_owned(),
        format: "referrer".to_owned(),
        subject: image.digest,
        digest,
        tag: None,
        identity: None,
        log_index: None,
        before,
    }
}
