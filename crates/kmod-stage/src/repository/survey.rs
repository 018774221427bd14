//! The repositories of a configuration, read without a container where that can be done.

use std::collections::BTreeMap;
use std::fmt;

use super::debian::{Release, read_packages};
use super::error::RepositoryError;
use super::fetch::{Fetch, FetchError};
use super::repodata::{Repomd, read_primary};
use super::variables::Variables;
use super::{MetadataFile, Package, decompress, list_file, repo_file, sources_file};
use crate::version::Family;

/// The largest `repomd.xml` or `Release` that is read; real ones have some 10 and 250 KB.
pub(crate) const ROOT_MAX: u64 = 4 << 20;
/// The largest list of packages, compressed; Fedora's has some 20 MB.
pub(crate) const LIST_MAX: u64 = 512 << 20;

/// A repository that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// What people call it: its id (rpm), or `SUITE/COMPONENT of URI` (Debian).
    pub name: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Any of the URLs; else those that a list at a URL has.
    Rpm { urls: Vec<String>, list: Option<String> },
    /// The directory of the suite, the list of packages below it, and where locations of packages begin.
    Debian { suite: String, list: String },
}

/// Why a repository is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// A file of it cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A file of it makes no sense.
    #[error(transparent)]
    Metadata(#[from] RepositoryError),
    /// It names no place of its own.
    #[error("its place is looked up at {url}, which only builder containers do")]
    Elsewhere {
        /// The list of mirrors.
        url: String,
    },
    /// Something is not there.
    #[error("there is no {what}")]
    Missing {
        /// The URL, or what kind of file.
        what: String,
    },
}

/// A repository, or a file of the configuration, that was not read.
#[derive(Debug)]
pub struct Unread {
    /// Its name, or that of the file.
    pub name: String,
    /// Why.
    pub error: SurveyError,
}

impl fmt::Display for Unread {
    /// The reason with all its causes, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        let mut cause = std::error::Error::source(&self.error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The repositories that are in use by `files` (the text by the name of the file; others than configuration are left
/// out), in the order in which package managers read them, and the files that cannot be read.
pub fn configured(
    family: Family,
    files: &BTreeMap<String, Vec<u8>>,
    architecture: &str,
    variables: &Variables,
) -> (Vec<Repository>, Vec<Unread>) {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        let repositories = match (family, extension) {
            (Family::Rpm, Some("repo")) => repo_file::parse(bytes, name, variables).map(rpm),
            (Family::Debian, Some("sources")) => {
                sources_file::parse(bytes, name, variables).map(|own| debian(&own, architecture))
            }
            (Family::Debian, Some("list")) => {
                list_file::parse(bytes, name, variables).map(|own| debian(&own, architecture))
            }
            _ => continue,
        };
        match repositories {
            // Of one name, the first counts, in use or not.
            Ok(repositories) => repositories.into_iter().for_each(|own| {
                if found.iter().all(|(other, _): &(Repository, bool)| other.name != own.0.name) {
                    found.push(own);
                }
            }),
            Err(error) => unread.push(Unread { name: name.clone(), error: error.into() }),
        }
    }
    (found.into_iter().filter(|(_, used)| *used).map(|(repository, _)| repository).collect(), unread)
}

/// Each with whether it is in use.
fn rpm(repositories: Vec<repo_file::RpmRepository>) -> Vec<(Repository, bool)> {
    let place = |own: repo_file::RpmRepository| {
        let place = Place::Rpm { urls: own.baseurl, list: own.metalink.or(own.mirrorlist) };
        (Repository { place, name: own.id }, own.enabled)
    };
    repositories.into_iter().map(place).collect()
}

fn debian(sources: &[sources_file::DebianSource], architecture: &str) -> Vec<(Repository, bool)> {
    let mut found = Vec::new();
    let own = |name: &String| name == architecture;
    for source in sources.iter().filter(|source| source.enabled && source.types.iter().any(|kind| kind == "deb")) {
        if !source.architectures.is_empty() && !source.architectures.iter().any(own) {
            continue;
        }
        for (uri, suite) in source.uris.iter().flat_map(|uri| source.suites.iter().map(move |suite| (uri, suite))) {
            let top = uri.trim_end_matches('/');
            if suite.ends_with('/') {
                let place =
                    Place::Debian { suite: format!("{top}/{}", suite.trim_end_matches('/')), list: "Packages".into() };
                found.push((Repository { name: format!("{suite} of {uri}"), place }, true));
                continue;
            }
            for component in &source.components {
                let list = format!("{component}/binary-{architecture}/Packages");
                let place = Place::Debian { suite: format!("{top}/dists/{suite}"), list };
                found.push((Repository { name: format!("{suite}/{component} of {uri}"), place }, true));
            }
        }
    }
    found
}

impl Repository {
    /// The packages whose names are `wanted`, by metadata whose digests were checked from the root on. Whether the root
    /// is to be believed, its signature says, which is not looked at.
    pub fn packages(&self, fetch: &dyn Fetch, wanted: fn(&str) -> bool) -> Result<Vec<Package>, SurveyError> {
        match &self.place {
            Place::Rpm { urls, list } => {
                let mut first = None;
                for url in urls {
                    match rpm_packages(url, fetch, wanted) {
                        Ok(packages) => return Ok(packages),
                        Err(error) => drop(first.get_or_insert(error)),
                    }
                }
                let elsewhere = || list.clone().map(|url| SurveyError::Elsewhere { url });
                Err(first.or_else(elsewhere).unwrap_or_else(|| missing("place")))
            }
            Place::Debian { suite, list } => debian_packages(suite, list, fetch, wanted),
        }
    }
}

fn missing(what: impl Into<String>) -> SurveyError {
    SurveyError::Missing { what: what.into() }
}

fn pinned(url: &str, file: &MetadataFile, fetch: &dyn Fetch) -> Result<Vec<u8>, SurveyError> {
    let bytes = fetch.fetch(url, LIST_MAX)?.ok_or_else(|| missing(url))?;
    file.verify(&bytes)?;
    Ok(bytes)
}

fn rpm_packages(url: &str, fetch: &dyn Fetch, wanted: fn(&str) -> bool) -> Result<Vec<Package>, SurveyError> {
    let url = url.trim_end_matches('/');
    let root = format!("{url}/repodata/repomd.xml");
    let bytes = fetch.fetch(&root, ROOT_MAX)?.ok_or_else(|| missing(root.as_str()))?;
    let repomd = Repomd::parse(&*bytes, &root)?;
    let primary = repomd.files.get("primary").ok_or_else(|| missing(format!("list of packages in {root}")))?;
    let list = format!("{url}/{}", primary.location);
    let bytes = pinned(&list, primary, fetch)?;
    Ok(read_primary(decompress(&bytes, &list)?, &list, wanted)?)
}

fn debian_packages(
    suite: &str,
    list: &str,
    fetch: &dyn Fetch,
    wanted: fn(&str) -> bool,
) -> Result<Vec<Package>, SurveyError> {
    let signed = format!("{suite}/InRelease");
    let release = if let Some(bytes) = fetch.fetch(&signed, ROOT_MAX)? {
        Release::parse_signed(&bytes, &signed)?
    } else {
        let plain = format!("{suite}/Release");
        let bytes = fetch.fetch(&plain, ROOT_MAX)?.ok_or_else(|| missing(plain.as_str()))?;
        Release::parse(&bytes, &plain)?
    };
    // Repositories leave out the plain form, although they list it.
    for suffix in [".xz", ".zst", ".gz", ""] {
        let Some(file) = release.files.get(&format!("{list}{suffix}")) else { continue };
        let url = format!("{suite}/{}", file.location);
        match pinned(&url, file, fetch) {
            Err(SurveyError::Missing { .. }) => {}
            bytes => return Ok(read_packages(decompress(&bytes?, &url)?, &url, wanted)?),
        }
    }
    Err(missing(format!("{list} in {suite}")))
}

#[cfg(test)]
mod tests;
