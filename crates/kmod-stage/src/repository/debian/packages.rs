//! `Packages`: the packages of one component and architecture.

use std::io::BufRead;

use crate::repository::deb822::{Paragraph, Paragraphs};
use crate::repository::error::{RepositoryError, RepositoryFault};
use crate::repository::{PACKAGES_MAX, Package, digest, location};
use crate::version::DebianVersion;

/// The packages of a Packages file, plain, whose names are `wanted`, in the order of the file. Only those must be
/// correct.
pub fn read_packages(
    text: impl BufRead,
    file: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Package>, RepositoryError> {
    let mut paragraphs = Paragraphs::new(text, file);
    let mut packages = Vec::new();
    while let Some(paragraph) = paragraphs.next_paragraph()? {
        let Some(name) = paragraph.get("Package") else {
            let fault = RepositoryFault::Missing { owner: "a package".to_owned(), key: "Package" };
            return Err(paragraphs.error_at(paragraph.line, fault));
        };
        if !wanted(name) {
            continue;
        }
        if packages.len() == PACKAGES_MAX {
            let limit = u64::try_from(PACKAGES_MAX).unwrap_or(u64::MAX);
            return Err(paragraphs.error_at(paragraph.line, RepositoryFault::TooMuch { limit, what: "packages" }));
        }
        packages.push(package(&paragraph, name).map_err(|(line, fault)| paragraphs.error_at(line, fault))?);
    }
    Ok(packages)
}

fn package(paragraph: &Paragraph, name: &str) -> Result<Package, (u64, RepositoryFault)> {
    let get = |key: &'static str| {
        let fault = || RepositoryFault::Missing { owner: format!("the package {name:?}"), key };
        paragraph.get(key).filter(|value| !value.is_empty()).ok_or_else(|| (paragraph.line, fault()))
    };
    let at = |key: &str| {
        let line = paragraph.line_of(key);
        move |fault| (line, fault)
    };
    let version: DebianVersion = get("Version")?.parse().map_err(RepositoryFault::from).map_err(at("Version"))?;
    let size = get("Size")?;
    let value = || RepositoryFault::Value { key: "Size", value: size.chars().take(64).collect(), expected: "a number" };
    Ok(Package {
        name: name.to_owned(),
        version: version.into(),
        architecture: get("Architecture")?.to_owned(),
        digest: digest("sha256", get("SHA256")?).map_err(at("SHA256"))?,
        size: size.parse().map_err(|_| value()).map_err(at("Size"))?,
        location: location(get("Filename")?).map_err(at("Filename"))?,
        location_base: None,
        depends: paragraph.get("Depends").map(str::to_owned),
    })
}
