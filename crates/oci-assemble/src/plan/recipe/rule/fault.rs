//! Why a string is not of its form.

use crate::image::ReferenceFault;
use crate::tree::PathFault;

/// Why a value breaks the rule of its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueFault {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// A control character, such as a line break.
    #[error("it contains a control character")]
    Control,
    /// Too long.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The most that is accepted, in bytes.
        max: usize,
    },
    /// A number outside its range.
    #[error("{}", range(*.min, *.max))]
    Range {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// More than the twelve permission bits.
    #[error("a mode has the twelve bits 0o0000 to 0o7777")]
    Mode,
    /// A character that may not stand there.
    #[error("only {allowed} are accepted")]
    Characters {
        /// What is accepted.
        allowed: &'static str,
    },
    /// The wrong first character.
    #[error("it must begin with {allowed}")]
    Start {
        /// What is accepted.
        allowed: &'static str,
    },
    /// None of the known words.
    #[error("known are {}{}", words.join(", "), nearest.map(|word| format!("; did you mean {word}?")).unwrap_or_default())]
    Choice {
        /// The known words.
        words: &'static [&'static str],
        /// The one that may have been meant.
        nearest: Option<&'static str>,
    },
    /// A path relative to the recipe begins with a slash.
    #[error("it must be relative")]
    Absolute,
    /// A path relative to the recipe climbs out of its root.
    #[error("it leaves the recipe root")]
    Escapes,
    /// A path in the image does not begin with a slash.
    #[error("it must begin with /")]
    Relative,
    /// The root directory of the image.
    #[error("it is the root directory")]
    Root,
    /// No path of an image.
    #[error("{0}")]
    Path(PathFault),
    /// A directory that is mounted over, or belongs to the client.
    #[error("an image carries nothing at or below {above}")]
    Reserved {
        /// The directory.
        above: &'static str,
    },
    /// `/var` is filled at first boot only.
    #[error("content of /var would be seen by the first installation only, use [[tmpfile]]")]
    Var,
    /// No image reference, or no part of one.
    #[error("{0}")]
    Reference(ReferenceFault),
    /// Something that lacks a part.
    #[error("it must have the form {form}")]
    Form {
        /// The form.
        form: &'static str,
    },
    /// A placeholder of a tag.
    #[error("known placeholders are {}", known.join(", "))]
    Placeholder {
        /// The known ones.
        known: &'static [&'static str],
    },
    /// A unit name without a known type.
    #[error("it must end in one of {}", suffixes.join(", "))]
    Suffix {
        /// The known types.
        suffixes: &'static [&'static str],
    },
    /// A blank outside quotes, or a quote that is not closed.
    #[error("one argument has no blanks outside closed double quotes")]
    Blank,
    /// A type of line that tmpfiles.d does not have.
    #[error("{found:?} is no type of tmpfiles.d(5)")]
    TmpfileType {
        /// The first word.
        found: String,
    },
}

fn range(min: i64, max: i64) -> String {
    if min == max { format!("it must be {min}") } else { format!("it must lie between {min} and {max}") }
}

pub(super) fn refuse(condition: bool, fault: ValueFault) -> Result<(), ValueFault> {
    if condition { Err(fault) } else { Ok(()) }
}

/// Text without control characters.
pub(super) fn line(text: &str) -> Result<(), ValueFault> {
    refuse(text.chars().any(char::is_control), ValueFault::Control)
}

/// A word of `allowed` characters, of 1 to `max` bytes.
pub(super) fn characters(
    text: &str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
    max: usize,
) -> Result<(), ValueFault> {
    refuse(text.is_empty(), ValueFault::Empty)?;
    refuse(text.len() > max, ValueFault::TooLong { max })?;
    refuse(!text.chars().all(is_allowed), ValueFault::Characters { allowed })
}
