//! Users, units, tmpfiles and kernel arguments, by the rules of systemd.

use super::fault::{ValueFault, characters, line, refuse};

/// The longest user name (`UT_NAMESIZE` of utmp(5), less its NUL; systemd's strict rule).
const USER_MAX: usize = 31;
/// The longest unit name (systemd.unit(5)).
const UNIT_MAX: usize = 255;
/// The longest kernel argument: the smallest command line that common architectures take.
const KARG_MAX: usize = 2048;
/// Types of units that have files (systemd.unit(5)).
const SUFFIXES: &[&str] =
    &[".service", ".socket", ".target", ".mount", ".automount", ".swap", ".timer", ".path", ".slice"];
/// Types of lines (tmpfiles.d(5)).
const TMPFILE_TYPES: &str = "fwdDevqQpLcbCxXrRzZtThHaA";

/// systemd's strict rule for names it creates (sysusers.d(5), "Name").
pub(super) fn user(text: &str) -> Result<(), ValueFault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    characters(text, "A-Z, a-z, 0-9, _ and -", allowed, USER_MAX)?;
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    refuse(!starts, ValueFault::Start { allowed: "a letter or _" })
}

pub(super) fn unit(text: &str) -> Result<(), ValueFault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    characters(text, "letters, digits and : - _ . \\ @", allowed, UNIT_MAX)?;
    let prefix = SUFFIXES.iter().find_map(|suffix| text.strip_suffix(suffix));
    let prefix = prefix.ok_or(ValueFault::Suffix { suffixes: SUFFIXES })?;
    refuse(prefix.is_empty() || prefix.starts_with('@'), ValueFault::Form { form: "NAME.TYPE or NAME@INSTANCE.TYPE" })
}

/// The type, its modifiers and an absolute path; the rest is left to systemd.
pub(super) fn tmpfile(text: &str) -> Result<(), ValueFault> {
    line(text)?;
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let first = words.next().ok_or(ValueFault::Empty)?;
    let mut characters = first.chars();
    let known = characters.next().is_some_and(|kind| TMPFILE_TYPES.contains(kind))
        && characters.all(|modifier| "+!-=~^$?".contains(modifier));
    refuse(!known, ValueFault::TmpfileType { found: first.to_owned() })?;
    let path = words.next().ok_or(ValueFault::Form { form: "TYPE PATH [MODE USER GROUP AGE ARGUMENT]" })?;
    refuse(!path.trim_start_matches(['"', '\'']).starts_with(['/', '%']), ValueFault::Relative)
}

/// One argument; blanks only inside double quotes, as the kernel reads them.
pub(super) fn karg(text: &str) -> Result<(), ValueFault> {
    refuse(text.is_empty(), ValueFault::Empty)?;
    refuse(text.len() > KARG_MAX, ValueFault::TooLong { max: KARG_MAX })?;
    refuse(!text.is_ascii(), ValueFault::Characters { allowed: "ASCII characters" })?;
    line(text)?;
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => return Err(ValueFault::Blank),
            _ => {}
        }
    }
    refuse(quoted, ValueFault::Blank)
}
