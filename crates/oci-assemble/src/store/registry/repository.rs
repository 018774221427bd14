//! A repository of a registry, and what can be asked of it (distribution-spec).

use std::num::NonZero;

use super::client::{Client, Request};
use super::error::Result;
use super::place::Place;
use crate::image::{Descriptor, Digest, RegistryReference};
use crate::store::error::Result as StoreResult;

/// What is going to be done with a repository: tokens are asked for accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reading.
    Pull,
    /// Reading and writing.
    Push,
}

/// A repository. Cheap to clone; may be used by several threads.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) client: Client,
    pub(super) place: Place,
    pub(super) scopes: Vec<String>,
}

impl Repository {
    /// The repository that a reference names. Nothing is asked yet.
    pub fn new(client: &Client, reference: &RegistryReference, access: Access) -> Result<Self> {
        let place = Place::new(&reference.host, &reference.repository, client.options().plain_http)?;
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scopes = vec![format!("repository:{}:{actions}", place.repository)];
        Ok(Self { client: client.clone(), place, scopes })
    }

    /// The registry, as references name it.
    pub fn host(&self) -> &str {
        &self.place.host
    }

    /// The name of the repository in it.
    pub fn name(&self) -> &str {
        &self.place.repository
    }

    /// A reference to something in it.
    pub fn reference(&self, tag: Option<&str>, digest: Option<Digest>) -> RegistryReference {
        RegistryReference {
            host: self.place.host.clone(),
            repository: self.place.repository.clone(),
            tag: tag.map(str::to_owned),
            digest,
        }
    }

    /// How many things may be asked of it at the same time.
    pub fn connections(&self) -> NonZero<usize> {
        self.client.options().connections
    }

    /// Does `work` on each item, as many at a time as there may be connections. The first error ends it.
    pub(crate) fn for_each<T: Sync>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> StoreResult<()> + Sync,
    ) -> StoreResult<()> {
        crate::store::parallel::for_each(items, self.connections(), work)
    }

    pub(super) fn ask(&self, request: &Request<'_>, limit: usize) -> Result<super::client::Answer> {
        self.client.ask(&self.place, request, &self.scopes, limit)
    }
}

/// What names a manifest in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// Whatever the tag names now.
    Tag(&'a str),
    /// One document for ever.
    Digest(&'a Digest),
}

impl Name<'_> {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Tag(tag) => (*tag).to_owned(),
            Self::Digest(digest) => digest.to_string(),
        }
    }
}

impl<'a> From<&'a Descriptor> for Name<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self::Digest(&descriptor.digest)
    }
}
