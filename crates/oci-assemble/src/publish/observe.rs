//! What a repository has of an image before it is pushed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::content::Content;
use super::error::{PublishError, Result};
use crate::image::{Descriptor, Digest, name};
use crate::store::registry::{Name, Repository};

/// What a repository has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Registry and repository.
    pub repository: String,
    /// Blobs that are there.
    pub blobs: BTreeSet<Digest>,
    /// Manifests that are there.
    pub manifests: BTreeSet<Digest>,
    /// The tags asked about, with what they name now.
    pub tags: BTreeMap<String, Option<Digest>>,
}

/// Asks a repository what it has of `content`, and what `tags` name. Costs a request without a body for each.
pub fn observe(repository: &Repository, content: &Content, tags: &[String]) -> Result<Observed> {
    if let Some(tag) = tags.iter().find(|tag| !name::is_tag(tag)) {
        return Err(PublishError::Tag { tag: tag.clone() });
    }
    let named = format!("{}/{}", repository.host(), repository.name());
    let observed = Mutex::new(Observed { repository: named, ..Observed::default() });
    let note = |take: &dyn Fn(&mut Observed)| take(&mut observed.lock().unwrap_or_else(PoisonError::into_inner));
    let questions: Vec<Question<'_>> = (content.blobs.iter().map(Question::Blob))
        .chain(content.manifests.iter().map(|document| Question::Manifest(&document.descriptor)))
        .chain(tags.iter().map(|tag| Question::Tag(tag)))
        .collect();
    let ask = |question: &Question<'_>| {
        match question {
            Question::Blob(blob) => {
                if repository.has_blob(blob)? {
                    note(&|observed| observed.blobs.extend([blob.digest]));
                }
            }
            Question::Manifest(manifest) => {
                if repository.head(Name::Digest(&manifest.digest))?.is_some() {
                    note(&|observed| observed.manifests.extend([manifest.digest]));
                }
            }
            Question::Tag(tag) => {
                let found = repository.head(Name::Tag(tag))?.map(|found| found.digest);
                note(&|observed| observed.tags.extend([((*tag).to_owned(), found)]));
            }
        }
        Ok(())
    };
    // One alone at first: where nobody answers, or lets us in, that is found out once.
    let (first, others) = questions.split_at(1);
    repository.for_each(first, ask)?;
    repository.for_each(others, ask)?;
    Ok(observed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

enum Question<'a> {
    Blob(&'a Descriptor),
    Manifest(&'a Descriptor),
    Tag(&'a str),
}
