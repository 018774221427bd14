//! An image with what is attached to it, wherever it is.

use std::path::Path;

use oci_assemble::image::{Descriptor, ImageReference, Index, LayoutReference, MAX_MANIFEST, RegistryReference, name};
use oci_assemble::publish::referrers::{Artifact, LayoutReferrers, RegistryReferrers, fetch};
use oci_assemble::publish::{ReferrerSource, ReferrerStore};
use oci_assemble::store::Layout;
use oci_assemble::store::registry::{Access, Repository};

use crate::args::SourceArgs;
use crate::exit::{Class, Context, Failure};
use crate::registry::{self, Watch};
use crate::ui::Ui;
use crate::wire;

/// An image that can be signed and verified.
pub(crate) struct Signable {
    reference: ImageReference,
    descriptor: Descriptor,
    attached: Box<dyn Attached>,
}

/// A repository that attachments are read from and stored in.
trait Attached: ReferrerStore {
    fn source(&self) -> &dyn ReferrerSource;
}

impl<T: ReferrerStore> Attached for T {
    fn source(&self) -> &dyn ReferrerSource {
        self
    }
}

impl Signable {
    /// Resolves what the user named to a digest. Everything after works on that digest.
    pub(crate) fn open(image: &str, source: &SourceArgs, access: Access, ui: Ui) -> Result<Self, Failure> {
        Self::of(&wire::reference(image)?, source, access, ui)
    }

    pub(crate) fn of(reference: &ImageReference, source: &SourceArgs, access: Access, ui: Ui) -> Result<Self, Failure> {
        match reference {
            ImageReference::OciDir(place) => Self::layout(reference, place),
            ImageReference::Registry(name) => {
                let repository = repository(name, source, access, ui)?;
                let found = repository.find(name).context(Class::Data, format!("opening {reference}"))?;
                let attached = Box::new(RegistryReferrers::new(repository));
                Ok(Self { reference: reference.clone(), descriptor: found.descriptor, attached })
            }
            other => Err(nowhere(other)),
        }
    }

    fn layout(reference: &ImageReference, place: &LayoutReference) -> Result<Self, Failure> {
        let dir = wire::open_dir(Path::new(&place.path), Class::Usage)?;
        let what = || format!("opening {reference}");
        let again = dir.try_clone().context(Class::Io, what())?;
        let layout = Layout::open(dir).context(Class::Data, what())?;
        let descriptor = layout.find(place.tag.as_deref(), place.digest.as_ref()).context(Class::Usage, what())?;
        let attached = LayoutReferrers::open(again).context(Class::Data, what())?;
        // Annotations and tags are those of the layout's list, not of the image.
        let descriptor = Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size);
        Ok(Self { reference: reference.clone(), descriptor, attached: Box::new(attached) })
    }

    /// The manifest or index of this descriptor, where the reference is.
    pub(crate) fn at(
        reference: &ImageReference,
        descriptor: &Descriptor,
        source: &SourceArgs,
        ui: Ui,
    ) -> Result<Self, Failure> {
        let attached: Box<dyn Attached> = match reference {
            ImageReference::OciDir(place) => {
                let dir = wire::open_dir(Path::new(&place.path), Class::Usage)?;
                Box::new(LayoutReferrers::open(dir).context(Class::Data, format!("opening {reference}"))?)
            }
            ImageReference::Registry(name) => {
                Box::new(RegistryReferrers::new(repository(name, source, Access::Pull, ui)?))
            }
            other => return Err(nowhere(other)),
        };
        Ok(Self { reference: reference.clone(), descriptor: descriptor.clone(), attached })
    }

    pub(crate) fn reference(&self) -> &ImageReference {
        &self.reference
    }

    /// The manifest or index.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    pub(crate) fn source(&self) -> &dyn ReferrerSource {
        self.attached.source()
    }

    /// The instances of an index, then the index itself; a manifest is alone.
    pub(crate) fn with_instances(&self) -> Result<Vec<Descriptor>, Failure> {
        if !self.descriptor.media_type.is_index() {
            return Ok(vec![self.descriptor.clone()]);
        }
        let what = || format!("reading {}", self.reference);
        let bytes = fetch(self.source(), &self.descriptor, MAX_MANIFEST).context(Class::Data, what())?;
        let index = Index::parse(&bytes, Some(&self.descriptor.media_type)).context(Class::Data, what())?;
        let instances = index.manifests.into_iter();
        let mut all: Vec<Descriptor> =
            instances.map(|one| Descriptor::new(one.media_type, one.digest, one.size)).collect();
        all.push(self.descriptor.clone());
        Ok(all)
    }

    /// The name that is signed: the one given, else that of a registry.
    pub(crate) fn name(&self, given: Option<&str>) -> Result<String, Failure> {
        let text = match (given, &self.reference) {
            (Some(given), _) => given.strip_prefix("docker://").unwrap_or(given).to_owned(),
            (None, ImageReference::Registry(registry)) => {
                let tag = registry.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
                format!("{}/{}{tag}", registry.host, registry.repository)
            }
            (None, _) => {
                let text = format!("nothing says under which name {} will be pulled", self.reference);
                return Err(Failure::new(Class::Usage, text).hint(
                    "give --name HOST/REPOSITORY:TAG: hosts compare the name that is signed with the one they pull",
                ));
            }
        };
        let parsed: Result<ImageReference, _> = format!("docker://{text}").parse();
        match parsed.context(Class::Usage, "reading the name to sign")? {
            ImageReference::Registry(registry) if registry.digest.is_none() && name::is_host(&registry.host) => {
                Ok(text)
            }
            _ => Err(Failure::new(Class::Usage, format!("{text} names a digest; the digest is signed anyway"))
                .hint("give HOST/REPOSITORY:TAG")),
        }
    }

    /// Stores what was made.
    pub(crate) fn store(&self, artifacts: &[Artifact]) -> Result<(), Failure> {
        self.attached.store(artifacts).context(Class::Io, format!("storing what is attached to {}", self.reference))
    }
}

fn repository(name: &RegistryReference, source: &SourceArgs, access: Access, ui: Ui) -> Result<Repository, Failure> {
    let client = registry::client(&name.host, source, ui, Watch::default())?;
    Repository::new(&client, name, access).context(Class::Usage, format!("opening {name}"))
}

fn nowhere(reference: &ImageReference) -> Failure {
    Failure::new(Class::Usage, format!("nothing can be attached to {reference}"))
        .hint("name an image in a layout (oci:DIR:TAG) or in a registry (docker://REF)")
}
