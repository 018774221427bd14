//! Results of builders in a registry: taken from there instead of being made, and brought there.
//!
//! A bundle is tagged with the digits of its key, as in the cache. What is taken is held against its own digests and
//! against the key; that its content is what the key's inputs give is only known to who made it. So whoever may write to
//! the repository decides about what images get, as whoever may write to the cache does.

use kmod_stage::build::Made;
use kmod_stage::bundle::{BundleFault, BundleSource, BundleStore, Examined, take};
use oci_assemble::image::{Digest, ImageReference, RegistryReference};
use oci_assemble::plan::recipe::spec;
use oci_assemble::publish::{Content, Mounts};
use oci_assemble::store::registry::{Access, Name, Repository};
use oci_assemble::store::{StoreError, Transaction};

use crate::args::SourceArgs;
use crate::cmd::push::{Pushing, Target};
use crate::exit::{Class, Context, Failure};
use crate::registry::{self, Watch};
use crate::ui::Ui;

/// Bundles of a repository.
#[derive(Debug)]
struct InRegistry {
    repository: Repository,
    name: String,
}

impl BundleSource for InRegistry {
    fn place(&self) -> String {
        self.name.clone()
    }

    fn fetch(&self, key: &Digest, into: &Transaction) -> Result<Option<Examined>, BundleFault> {
        let found = self.repository.manifest(Name::Tag(&key.hex())).map_err(StoreError::from)?;
        found.map(|manifest| take(&self.repository, &manifest.descriptor, key, into)).transpose()
    }
}

fn named(builder: &spec::Builder) -> Option<&RegistryReference> {
    match &builder.bundles {
        Some(ImageReference::Registry(name)) => Some(name),
        _ => None,
    }
}

/// The repository that a recipe names.
pub(crate) fn source(
    builder: &spec::Builder,
    access: &SourceArgs,
    ui: Ui,
) -> Result<Vec<Box<dyn BundleSource>>, Failure> {
    let Some(name) = named(builder) else { return Ok(Vec::new()) };
    let client = registry::client(&name.host, access, ui, Watch::default())?;
    let text = format!("{}/{}", name.host, name.repository);
    let repository = Repository::new(&client, name, Access::Pull).context(Class::Usage, format!("opening {text}"))?;
    Ok(vec![Box::new(InRegistry { repository, name: text })])
}

/// Brings a bundle into the repository that a recipe names.
pub(crate) fn push(
    builder: &spec::Builder,
    store: &BundleStore,
    made: &Made,
    access: &SourceArgs,
    ui: Ui,
) -> Result<(), Failure> {
    let Some(name) = named(builder) else { return Ok(()) };
    let doing = || format!("pushing the bundle {}", made.bundle);
    let kept = store.lookup(&made.key).context(Class::Io, doing())?;
    let (layout, manifest) = kept.ok_or_else(|| Failure::new(Class::Io, format!("{}: it is not kept", doing())))?;
    let content = Content::gather(&layout, &manifest).context(Class::Data, doing())?;
    let target = Target { repository: name.clone(), tags: vec![made.key.hex()] };
    let pushing = Pushing::new(&target, &content, &Mounts::new(), access, ui)?;
    if !pushing.plan.is_done() {
        let receipt = pushing.run(&layout, |untagged| Ok(untagged))?;
        ui.say(&format!("pushed {} to {}", made.bundle, receipt.repository));
    }
    Ok(())
}
