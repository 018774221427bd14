//! `repodata/repomd.xml`: which metadata files there are, and their digests.

use std::io::BufRead;

use super::document::{Document, Step};
use crate::repository::error::{RepositoryError, RepositoryFault};
use crate::repository::{MetadataFile, MetadataFiles, digest, location};

/// Most files that a repository's metadata have; createrepo_c writes some ten.
const FILES_MAX: usize = 1000;

/// What `repomd.xml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repomd {
    /// Revision, usually the time of creation.
    pub revision: Option<String>,
    /// The files by type: `primary`, `filelists`, `other`, `updateinfo`, ….
    pub files: MetadataFiles,
}

#[derive(Default)]
struct Draft {
    kind: String,
    location: Option<String>,
    algorithm: String,
    hex: String,
    size: Option<String>,
}

impl Repomd {
    /// Reads the file, called `file` in errors.
    pub fn parse(bytes: impl BufRead, file: &str) -> Result<Self, RepositoryError> {
        let mut document = Document::new(bytes, file);
        let mut repomd = Self { revision: None, files: MetadataFiles::new() };
        let mut draft = Draft::default();
        loop {
            match document.step()? {
                Step::Complete => return Ok(repomd),
                Step::Start => {
                    let attribute = |name| document.attribute(name).unwrap_or_default().to_owned();
                    match *document.path() {
                        [root] if root != "repomd" => {
                            return Err(document.error(RepositoryFault::OtherKind { expected: "a repomd element" }));
                        }
                        [_, "data"] => draft = Draft { kind: attribute("type"), ..Draft::default() },
                        [_, "data", "checksum"] => draft.algorithm = attribute("type"),
                        [_, "data", "location"] => draft.location = Some(attribute("href")),
                        _ => {}
                    }
                }
                Step::End(text) => {
                    match *document.path() {
                        [_, "revision"] => repomd.revision = Some(text),
                        [_, "data", "checksum"] => draft.hex = text,
                        [_, "data", "size"] => draft.size = Some(text),
                        [_, "data"] => {
                            let (kind, found) =
                                std::mem::take(&mut draft).finish().map_err(|fault| document.error(fault))?;
                            if repomd.files.len() == FILES_MAX {
                                let limit = u64::try_from(FILES_MAX).unwrap_or(u64::MAX);
                                return Err(document.error(RepositoryFault::TooMuch { limit, what: "files" }));
                            }
                            if repomd.files.insert(kind.clone(), found).is_some() {
                                return Err(document.error(RepositoryFault::Twice(kind)));
                            }
                        }
                        _ => {}
                    }
                    document.close();
                }
            }
        }
    }
}

impl Draft {
    fn finish(self) -> Result<(String, MetadataFile), RepositoryFault> {
        let owner = || format!("the file of type {:?}", self.kind);
        if self.kind.is_empty() {
            return Err(RepositoryFault::Missing { owner: "a file".to_owned(), key: "type" });
        }
        let href = self.location.as_deref();
        let href = href.ok_or_else(|| RepositoryFault::Missing { owner: owner(), key: "location" })?;
        if self.hex.is_empty() {
            return Err(RepositoryFault::Missing { owner: owner(), key: "checksum" });
        }
        let size = self.size.as_deref().map(|text| number("size", text)).transpose()?;
        let file = MetadataFile { location: location(href)?, digest: digest(&self.algorithm, &self.hex)?, size };
        Ok((self.kind, file))
    }
}

/// A number of bytes.
pub(super) fn number(key: &'static str, text: &str) -> Result<u64, RepositoryFault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
    let refuse = || RepositoryFault::Value { key, value: text.chars().take(64).collect(), expected: "a number" };
    digits.flatten().ok_or_else(refuse)
}
