//! The version of podman.

use std::fmt;

use super::RuntimeError;
use super::call::Call;
use crate::builder::PodmanSettings;

/// A version: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// The first with `--unsetenv-all` and `rm --time`.
const NEEDED: Version = Version(4, 0, 0);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The version of the podman of `settings`, if it is new enough.
pub(super) fn installed(settings: &PodmanSettings) -> Result<Version, RuntimeError> {
    // Without the options of every call: this one asks for nothing but the program.
    let call = Call::new(&settings.program, vec!["--version".into()]);
    let answer = call.output()?;
    let found = parse(&answer).ok_or_else(|| call.misunderstood(&answer))?;
    if found < NEEDED {
        return Err(RuntimeError::TooOld { found, needed: NEEDED });
    }
    Ok(found)
}

/// Reads `podman version 5.4.0-rc1`.
fn parse(answer: &str) -> Option<Version> {
    let mut numbers = answer.strip_prefix("podman version ")?.split(['.', '-', '+']).map(|part| part.trim().parse());
    Some(Version(numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_podman_prints() {
        assert_eq!(parse("podman version 4.3.1\n"), Some(Version(4, 3, 1)));
        assert_eq!(parse("podman version 5.4.0-dev"), Some(Version(5, 4, 0)));
        assert_eq!(parse("podman version 5.0-rc1"), Some(Version(5, 0, 0)));
        for text in ["", "podman", "docker version 20.10.1", "podman version x.1.2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
