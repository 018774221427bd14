//! Paths, names and references of images.

use super::super::path::RecipePath;
use super::fault::{ValueFault, characters, line, refuse};
use crate::image::name::is_tag;
use crate::image::{ImageReference, Platform, ReferenceFault};
use crate::tree::TreePath;

/// Directories that are mounted over at run time, belong to the client or are made by it.
const RESERVED: [&str; 8] = ["/dev", "/proc", "/sys", "/run", "/tmp", "/boot", "/sysroot", "/usr/etc"];
/// What a tag may be made of besides text.
const PLACEHOLDERS: &[&str] = &["{kernel}", "{date}", "{version}"];
/// The longest name, key or host that is accepted.
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

pub(super) fn reference(text: &str) -> Result<ImageReference, ValueFault> {
    line(text)?;
    text.parse::<ImageReference>().map_err(|error| ValueFault::Reference(error.fault))
}

/// `docker://HOST/PATH` without tag or digest.
pub(super) fn repository(text: &str) -> Result<(), ValueFault> {
    let plain = match reference(text)? {
        ImageReference::Registry(registry) => registry.tag.is_none() && registry.digest.is_none(),
        _ => false,
    };
    refuse(!plain, ValueFault::Form { form: "docker://HOST/PATH, without tag" })
}

pub(super) fn platform(text: &str) -> Result<(), ValueFault> {
    let is_linux = text.parse::<Platform>().is_ok_and(|platform| platform.os == "linux");
    refuse(!is_linux, ValueFault::Form { form: "linux/ARCHITECTURE[/VARIANT]" })
}

pub(super) fn tag(text: &str) -> Result<(), ValueFault> {
    let plain = PLACEHOLDERS.iter().fold(text.to_owned(), |text, placeholder| text.replace(placeholder, "x"));
    refuse(plain.contains(['{', '}']), ValueFault::Placeholder { known: PLACEHOLDERS })?;
    refuse(!is_tag(&plain), ValueFault::Reference(ReferenceFault::Tag))
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
