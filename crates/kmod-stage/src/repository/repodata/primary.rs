//! `primary.xml`: the packages of a repository.

use std::io::BufRead;

use super::document::{Document, Step};
use super::repomd::number;
use crate::repository::error::{RepositoryError, RepositoryFault};
use crate::repository::{PACKAGES_MAX, Package, digest, location};
use crate::version::RpmVersion;

/// What is known of a package before it ends.
#[derive(Default)]
struct Draft {
    name: String,
    architecture: String,
    epoch: String,
    version: String,
    release: String,
    algorithm: String,
    hex: String,
    size: String,
    location: String,
    location_base: Option<String>,
}

/// The packages of primary.xml, plain, whose names are `wanted`, in the order of the file. Only those must be correct.
pub fn read_primary(
    xml: impl BufRead,
    file: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Package>, RepositoryError> {
    let mut document = Document::new(xml, file);
    let mut packages = Vec::new();
    let mut draft = Draft::default();
    loop {
        match document.step()? {
            Step::Complete => return Ok(packages),
            Step::Start => {
                let attribute = |name| document.attribute(name).unwrap_or_default().to_owned();
                match *document.path() {
                    [root] if root != "metadata" => {
                        return Err(document.error(RepositoryFault::OtherKind { expected: "a metadata element" }));
                    }
                    [_, "package"] => draft = Draft::default(),
                    [_, "package", "version"] => {
                        draft.epoch = attribute("epoch");
                        draft.version = attribute("ver");
                        draft.release = attribute("rel");
                    }
                    [_, "package", "checksum"] => draft.algorithm = attribute("type"),
                    [_, "package", "size"] => draft.size = attribute("package"),
                    [_, "package", "location"] => {
                        draft.location = attribute("href");
                        draft.location_base = document.attribute("xml:base").map(str::to_owned);
                    }
                    _ => {}
                }
            }
            Step::End(text) => {
                match *document.path() {
                    [_, "package", "name"] => draft.name = text,
                    [_, "package", "arch"] => draft.architecture = text,
                    [_, "package", "checksum"] => draft.hex = text,
                    [_, "package"] if wanted(&draft.name) => {
                        if packages.len() == PACKAGES_MAX {
                            let limit = u64::try_from(PACKAGES_MAX).unwrap_or(u64::MAX);
                            return Err(document.error(RepositoryFault::TooMuch { limit, what: "packages" }));
                        }
                        let package = std::mem::take(&mut draft).finish();
                        packages.push(package.map_err(|fault| document.error(fault))?);
                    }
                    _ => {}
                }
                document.close();
            }
        }
    }
}

impl Draft {
    fn finish(self) -> Result<Package, RepositoryFault> {
        let has = |key, value: &str| match value {
            "" => Err(RepositoryFault::Missing { owner: format!("the package {:?}", self.name), key }),
            _ => Ok(()),
        };
        has("name", &self.name)?;
        has("arch", &self.architecture)?;
        has("version", &self.version)?;
        has("release", &self.release)?;
        has("checksum", &self.hex)?;
        has("size", &self.size)?;
        has("location", &self.location)?;
        let epoch = number("epoch", if self.epoch.is_empty() { "0" } else { &self.epoch })?;
        let expected = "an epoch";
        let epoch = u32::try_from(epoch).map_err(|_| RepositoryFault::Value {
            key: "epoch",
            value: self.epoch.clone(),
            expected,
        })?;
        Ok(Package {
            version: RpmVersion::new(epoch, &self.version, Some(&self.release))?.into(),
            digest: digest(&self.algorithm, &self.hex)?,
            size: number("size", &self.size)?,
            location: location(&self.location)?,
            location_base: self.location_base,
            name: self.name,
            architecture: self.architecture,
            depends: None,
        })
    }
}
