//! Packages, versions, kernels, and the builder.

use super::fault::{ValueFault, characters, line, refuse};
use crate::plan::nearest::nearest;

/// The longest name or version that is accepted; far more than any distribution has.
const NAME_MAX: usize = 255;
/// Options of `podman run` that a builder may be given: limits and networks, nothing that opens the machine to it.
const PODMAN_OPTIONS: &[&str] =
    &["--add-host", "--cgroups", "--cpus", "--dns", "--memory", "--network", "--pids-limit", "--shm-size", "--ulimit"];

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "+._-".contains(character)
}

/// A name, or a name with version: what a package manager is asked for.
pub(super) fn name(text: &str) -> Result<(), ValueFault> {
    let allowed = |c: char| is_name(c) || ":~^=".contains(c);
    characters(text, "letters, digits and + . _ - : ~ ^ =", allowed, NAME_MAX)?;
    refuse(!text.starts_with(|c: char| c.is_ascii_alphanumeric()), ValueFault::Start { allowed: "a letter or digit" })
}

pub(super) fn exact(text: &str) -> Result<(), ValueFault> {
    let version = text.strip_prefix('=').ok_or(ValueFault::Start { allowed: "=" })?;
    characters(version, "letters, digits and + . _ - : ~ ^", |c| is_name(c) || ":~^".contains(c), NAME_MAX)
}

pub(super) fn kernel_release(text: &str) -> Result<(), ValueFault> {
    characters(text, "letters, digits and + . _ - ~ ^", |c| is_name(c) || "~^".contains(c), NAME_MAX)?;
    refuse(!text.starts_with(|c: char| c.is_ascii_digit()), ValueFault::Start { allowed: "a digit" })
}

pub(super) fn kernel_pin(text: &str) -> Result<(), ValueFault> {
    match text.strip_prefix('=') {
        Some(release) => kernel_release(release),
        None if matches!(text, "base" | "devel") => Ok(()),
        None => Err(ValueFault::Form { form: "base, devel or =RELEASE" }),
    }
}

pub(super) fn podman_argument(text: &str) -> Result<(), ValueFault> {
    line(text)?;
    let (option, value) = text.split_once('=').ok_or(ValueFault::Form { form: "--OPTION=VALUE" })?;
    let nearest = nearest(option, PODMAN_OPTIONS.iter().copied());
    refuse(!PODMAN_OPTIONS.contains(&option), ValueFault::Choice { words: PODMAN_OPTIONS, nearest })?;
    refuse(value.is_empty(), ValueFault::Empty)
}
