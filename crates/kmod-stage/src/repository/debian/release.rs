//! `Release` and `InRelease`: what a suite is, and the digests of its files.

use crate::repository::deb822::{Paragraph, Paragraphs};
use crate::repository::error::{Place, RepositoryError, RepositoryFault};
use crate::repository::{MetadataFile, MetadataFiles, digest, location};

/// First line of a message signed in place (RFC 9580, 7).
const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
/// First line of its signature.
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// What a suite says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// `stable`, `bookworm-security`.
    pub suite: Option<String>,
    /// `bookworm`.
    pub codename: Option<String>,
    /// When it was made, as written (RFC 2822).
    pub date: Option<String>,
    /// Until when it is to be believed, as written. Comparing it needs a clock, which the caller has.
    pub valid_until: Option<String>,
    /// Architectures.
    pub architectures: Vec<String>,
    /// Components.
    pub components: Vec<String>,
    /// Whether files are also found by their digest, which mirrors in the middle of an update need.
    pub by_hash: bool,
    /// The files by path below the suite's directory.
    pub files: MetadataFiles,
}

impl Release {
    /// Reads `Release`, called `file` in errors.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, RepositoryError> {
        let mut paragraphs = Paragraphs::new(bytes, file);
        let none = || RepositoryError::new(file, Place::File, RepositoryFault::Truncated);
        let paragraph = paragraphs.next_paragraph()?.ok_or_else(none)?;
        if let Some(second) = paragraphs.next_paragraph()? {
            let fault = RepositoryFault::Syntax { expected: "one paragraph" };
            return Err(paragraphs.error_at(second.line, fault));
        }
        let text = |key| paragraph.get(key).map(str::to_owned);
        let words = |key| paragraph.get(key).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Ok(Self {
            suite: text("Suite"),
            codename: text("Codename"),
            date: text("Date"),
            valid_until: text("Valid-Until"),
            architectures: words("Architectures"),
            components: words("Components"),
            by_hash: paragraph.get("Acquire-By-Hash") == Some("yes"),
            files: files(&paragraph).map_err(|(line, fault)| paragraphs.error_at(line, fault))?,
        })
    }

    /// Reads the signed text of `InRelease`; line numbers in errors are those of that text. Whether the signature is
    /// good is for the caller to know. Text beside the signed one is refused, as no reader may believe it.
    pub fn parse_signed(bytes: &[u8], file: &str) -> Result<Self, RepositoryError> {
        let fault = |line: usize, expected| {
            let place = Place::Line(u64::try_from(line).unwrap_or(u64::MAX).saturating_add(1));
            RepositoryError::new(file, place, RepositoryFault::Syntax { expected })
        };
        let text = std::str::from_utf8(bytes).map_err(|_| fault(0, "UTF-8 text"))?;
        let mut lines = text.lines().map(str::trim_end).enumerate();
        if lines.next().map(|(_, line)| line) != Some(BEGIN) {
            return Err(fault(0, BEGIN));
        }
        // The headers end with an empty line. Nothing but the kind of digest may stand there: it is not signed.
        let header = lines.by_ref().find(|(_, line)| !line.starts_with("Hash: "));
        if let Some((number, _)) = header.filter(|(_, line)| !line.is_empty()) {
            return Err(fault(number, "an empty line after the headers"));
        }
        let mut signed = String::new();
        let mut signature = false;
        for (_, line) in lines.by_ref() {
            if line == SIGNATURE {
                signature = true;
                break;
            }
            signed.push_str(line.strip_prefix("- ").unwrap_or(line));
            signed.push('\n');
        }
        if !signature {
            return Err(RepositoryError::new(file, Place::File, RepositoryFault::Truncated));
        }
        lines.by_ref().find(|(_, line)| *line == "-----END PGP SIGNATURE-----");
        if let Some((number, _)) = lines.find(|(_, line)| !line.is_empty()) {
            return Err(fault(number, "nothing after the signature"));
        }
        Self::parse(signed.as_bytes(), file)
    }
}

/// The files under `SHA256`: a line each with digest, size and path.
fn files(paragraph: &Paragraph) -> Result<MetadataFiles, (u64, RepositoryFault)> {
    let first = paragraph.line_of("SHA256");
    let mut files = MetadataFiles::new();
    let Some(list) = paragraph.get("SHA256") else {
        let fault = RepositoryFault::Missing { owner: "the suite".to_owned(), key: "SHA256" };
        return Err((paragraph.line, fault));
    };
    for (line, text) in (first..).zip(list.lines()).filter(|(_, text)| !text.is_empty()) {
        let expected = "\"DIGEST SIZE PATH\"";
        let [hex, size, path] = *text.split_whitespace().collect::<Vec<_>>() else {
            return Err((line, RepositoryFault::Syntax { expected }));
        };
        let size = size.parse().map_err(|_| (line, RepositoryFault::Syntax { expected }))?;
        let digest = digest("sha256", hex).map_err(|fault| (line, fault))?;
        let location = location(path).map_err(|fault| (line, fault))?;
        let file = MetadataFile { location: location.clone(), digest, size: Some(size) };
        // The same path may be listed twice, but not with other bytes.
        if files.insert(location.clone(), file.clone()).is_some_and(|other| other != file) {
            return Err((line, RepositoryFault::Twice(location)));
        }
    }
    Ok(files)
}
