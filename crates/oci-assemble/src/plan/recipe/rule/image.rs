//! Paths, names and references of images.

use super::super::path::RecipePath;
use super::fault::{ValueFault, characters, line, refuse};
use crate::tree::TreePath;

/// Directories that are mounted over at run time, belong to the client or are made by it.
const RESERVED: [&str; 8] = ["/dev", "/proc", "/sys", "/run", "/tmp", "/boot", "/sysroot", "/usr/etc"];
/// Where images may come from and go to.
const TRANSPORTS: &[&str] = &["docker://", "oci:", "oci-archive:", "containers-storage:"];
/// What a tag may be made of besides text.
const PLACEHOLDERS: &[&str] = &["{kernel}", "{date}", "{version}"];
/// The longest tag (OCI distribution-spec, "Pulling manifests").
const TAG_MAX: usize = 128;
/// The longest repository name that common registries accept.
const NAME_MAX: usize = 255;

pub(super) fn path(text: &str) -> Result<TreePath, ValueFault> {
    refuse(text.is_empty(), ValueFault::Empty)?;
    line(text)?;
    refuse(!text.starts_with('/'), ValueFault::Relative)?;
    let path = TreePath::new(text).map_err(|error| ValueFault::Path(error.fault))?;
    refuse(path.is_root(), ValueFault::Root)?;
    Ok(path)
}

/// A path as a recipe writes it.
pub(super) fn text(path: &TreePath) -> String {
    format!("/{}", path.to_str().unwrap_or_default())
}

pub(super) fn content_path(text: &str) -> Result<TreePath, ValueFault> {
    if !text.is_empty() && text.bytes().all(|byte| byte == b'/') {
        return Ok(TreePath::root());
    }
    let path = path(text)?;
    for above in RESERVED {
        let reserved = TreePath::new(above).map_err(|error| ValueFault::Path(error.fault))?;
        refuse(path == reserved || path.is_below(&reserved), ValueFault::Reserved { above })?;
    }
    refuse(path.components().next() == Some(b"var"), ValueFault::Var)?;
    Ok(path)
}

pub(super) fn target(text: &str) -> Result<(), ValueFault> {
    refuse(text.is_empty(), ValueFault::Empty)?;
    refuse(text.len() > crate::tree::PATH_MAX, ValueFault::TooLong { max: crate::tree::PATH_MAX })?;
    line(text)
}

/// One component of a repository name (OCI distribution-spec, "Pulling manifests").
pub(super) fn name(text: &str) -> Result<(), ValueFault> {
    const ALLOWED: &str = "a-z, 0-9, and single ., _ or - between them";
    let is_plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    characters(text, ALLOWED, |character| is_plain(character) || "._-".contains(character), NAME_MAX)?;
    let ends = text.starts_with(is_plain) && text.ends_with(is_plain);
    refuse(!ends || text.contains("..") || text.contains("___"), ValueFault::Characters { allowed: ALLOWED })
}

pub(super) fn reference(text: &str) -> Result<(), ValueFault> {
    let place = TRANSPORTS.iter().find_map(|transport| text.strip_prefix(transport));
    let Some(place) = place else { return Err(ValueFault::Transport { transports: TRANSPORTS }) };
    refuse(place.is_empty(), ValueFault::Form { form: "TRANSPORT:IMAGE" })?;
    refuse(
        place.chars().any(|c| c.is_control() || c.is_whitespace()),
        ValueFault::Characters { allowed: "visible characters" },
    )
}

/// `docker://HOST/PATH` without tag or digest.
pub(super) fn repository(text: &str) -> Result<(), ValueFault> {
    const FORM: ValueFault = ValueFault::Form { form: "docker://HOST/PATH, without tag" };
    let place = text.strip_prefix("docker://").ok_or(FORM)?;
    let (host, path) = place.split_once('/').ok_or(FORM)?;
    self::host(host)?;
    for part in path.split('/') {
        name(part)?;
    }
    Ok(())
}

fn host(text: &str) -> Result<(), ValueFault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    characters(text, "the characters of a host name", allowed, NAME_MAX)
}

pub(super) fn tag(text: &str) -> Result<(), ValueFault> {
    let mut plain = text.to_owned();
    for placeholder in PLACEHOLDERS {
        plain = plain.replace(placeholder, "x");
    }
    refuse(plain.contains(['{', '}']), ValueFault::Placeholder { known: PLACEHOLDERS })?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    characters(&plain, "A-Z, a-z, 0-9, _, . and -", |c| is_word(c) || ".-".contains(c), TAG_MAX)?;
    refuse(!plain.starts_with(is_word), ValueFault::Start { allowed: "a letter, a digit or _" })
}

pub(super) fn label_key(text: &str) -> Result<(), ValueFault> {
    characters(text, "visible ASCII characters", |c| c.is_ascii_graphic(), NAME_MAX)
}

/// A host with a path of repositories (containers-policy.json(5), "docker:" scopes).
pub(super) fn scope(text: &str) -> Result<(), ValueFault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-:/*@".contains(c);
    characters(text, "the characters of a registry name", allowed, NAME_MAX)
}

pub(super) fn url(text: &str) -> Result<(), ValueFault> {
    let place = text.strip_prefix("https://").ok_or(ValueFault::Start { allowed: "https://" })?;
    characters(place, "visible ASCII characters", |c| c.is_ascii_graphic(), 2048)
}

/// A file below the recipe root, or the name of the variable that the binary reads the key from.
pub(super) fn key_source(text: &str, directory: &RecipePath) -> Result<String, ValueFault> {
    let Some(name) = text.strip_prefix("env:") else {
        return directory.join(text).map(|path| path.as_str().to_owned());
    };
    characters(name, "A-Z, a-z, 0-9 and _", |c| c.is_ascii_alphanumeric() || c == '_', NAME_MAX)?;
    refuse(name.starts_with(|c: char| c.is_ascii_digit()), ValueFault::Start { allowed: "a letter or _" })?;
    Ok(text.to_owned())
}
