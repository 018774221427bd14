//! deb822 `.sources` files: where Debian repositories are (sources.list(5)).

use super::deb822::{Paragraph, Paragraphs};
use super::error::{RepositoryError, RepositoryFault};
use super::variables::Variables;

/// One paragraph of a `.sources` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebianSource {
    /// The line it begins at.
    pub line: u64,
    /// `deb`, `deb-src`.
    pub types: Vec<String>,
    /// URLs that the suites are below.
    pub uris: Vec<String>,
    /// Suites; one that ends with a slash is a directory with `Packages` in it.
    pub suites: Vec<String>,
    /// Components; none for suites that are directories.
    pub components: Vec<String>,
    /// Architectures, where limited.
    pub architectures: Vec<String>,
    /// Who signs it.
    pub signed_by: Option<SignedBy>,
    /// Whether it is used.
    pub enabled: bool,
    /// Whether its signature does not matter.
    pub trusted: bool,
}

/// Who signs a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// Absolute paths of keyrings, or fingerprints.
    Keyrings(Vec<String>),
    /// A key, armored.
    Key(String),
}

/// Reads a `.sources` file, called `file` in errors; paragraphs in the order of the file.
pub fn parse(bytes: &[u8], file: &str, variables: &Variables) -> Result<Vec<DebianSource>, RepositoryError> {
    let mut paragraphs = Paragraphs::new(bytes, file);
    let mut sources = Vec::new();
    while let Some(paragraph) = paragraphs.next_paragraph()? {
        let source = source(&paragraph, variables);
        sources.push(source.map_err(|(line, fault)| paragraphs.error_at(line, fault))?);
    }
    Ok(sources)
}

fn source(paragraph: &Paragraph, variables: &Variables) -> Result<DebianSource, (u64, RepositoryFault)> {
    let words = |key: &'static str| -> Result<Vec<String>, (u64, RepositoryFault)> {
        let words = paragraph.get(key).unwrap_or_default().split_whitespace();
        let expanded = words.map(|word| variables.expand(word)).collect::<Result<_, _>>();
        expanded.map_err(|fault| (paragraph.line_of(key), fault))
    };
    let required = |key| match words(key)? {
        words if words.is_empty() => {
            Err((paragraph.line, RepositoryFault::Missing { owner: "the source".to_owned(), key }))
        }
        words => Ok(words),
    };
    let truth = |key: &'static str, default| match paragraph.get(key).map(str::to_ascii_lowercase).as_deref() {
        None => Ok(default),
        Some("yes" | "true" | "1" | "on" | "enable" | "with") => Ok(true),
        Some("no" | "false" | "0" | "off" | "disable" | "without") => Ok(false),
        Some(other) => {
            let value = other.chars().take(64).collect();
            Err((paragraph.line_of(key), RepositoryFault::Value { key, value, expected: "yes or no" }))
        }
    };
    let source = DebianSource {
        line: paragraph.line,
        types: required("Types")?,
        uris: required("URIs")?,
        suites: required("Suites")?,
        components: words("Components")?,
        architectures: words("Architectures")?,
        signed_by: paragraph.get("Signed-By").filter(|text| !text.is_empty()).map(signed_by),
        enabled: truth("Enabled", true)?,
        trusted: truth("Trusted", false)?,
    };
    let types = |kind: &String| kind == "deb" || kind == "deb-src";
    if let Some(strange) = source.types.iter().find(|kind| !types(kind)) {
        let value = strange.chars().take(64).collect();
        let fault = RepositoryFault::Value { key: "Types", value, expected: "deb or deb-src" };
        return Err((paragraph.line_of("Types"), fault));
    }
    let flat = source.suites.iter().all(|suite| suite.ends_with('/'));
    if !flat && source.components.is_empty() {
        let fault = RepositoryFault::Missing { owner: "the source".to_owned(), key: "Components" };
        return Err((paragraph.line, fault));
    }
    Ok(source)
}

/// A key begins with the armor's first line; empty lines inside it are written as a dot.
fn signed_by(text: &str) -> SignedBy {
    let text = text.trim();
    if !text.starts_with("-----BEGIN") {
        let names = text.split(|c: char| c.is_whitespace() || c == ',').filter(|name| !name.is_empty());
        return SignedBy::Keyrings(names.map(str::to_owned).collect());
    }
    let lines = text.lines().map(str::trim).map(|line| if line == "." { "" } else { line });
    SignedBy::Key(lines.flat_map(|line| [line, "\n"]).collect())
}
