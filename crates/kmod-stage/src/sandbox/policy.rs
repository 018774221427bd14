//! How far down the ladder a caller may be taken.

use std::fmt;

/// One way to confine a program, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// New user, mount, network, pid, ipc and uts namespaces with the sparse root as root
    /// directory; needs user namespaces, no privilege.
    Namespaces,
    /// A program of the host under Landlock path rules; needs Linux 5.13 with Landlock on.
    Landlock,
    /// A bare change of root directory; needs `CAP_SYS_CHROOT`, and is no isolation from other
    /// processes of the container.
    Chroot,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "landlock",
            Self::Chroot => "chroot",
        })
    }
}

/// Which rungs are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxPolicy {
    /// Namespaces, else Landlock.
    #[default]
    Auto,
    /// Namespaces or nothing.
    Require,
    /// Namespaces, else Landlock, else a bare chroot: for containers that allow neither.
    AllowChroot,
}

impl SandboxPolicy {
    /// The rungs to try, in order.
    pub fn rungs(self) -> &'static [Rung] {
        match self {
            Self::Auto => &[Rung::Namespaces, Rung::Landlock],
            Self::Require => &[Rung::Namespaces],
            Self::AllowChroot => &[Rung::Namespaces, Rung::Landlock, Rung::Chroot],
        }
    }
}

/// What a climb gave, and which better rungs could not be had.
#[derive(Debug)]
pub struct Climbed<T, E> {
    /// The answer of the rung that was used, or why the last one failed.
    pub result: Result<T, E>,
    /// The rungs that were tried before and were unavailable, with the reason.
    pub unavailable: Vec<(Rung, E)>,
}

/// Tries `rungs` in order until one is available.
///
/// `attempt` runs one rung; `is_unavailable` tells a missing rung, which goes on to the next, from
/// a failing program, which ends the climb: a program that misbehaved in a better sandbox is not
/// given a worse one. Without any rung the answer is `none`.
pub fn climb<T, E>(
    rungs: &[Rung],
    none: impl FnOnce() -> E,
    mut attempt: impl FnMut(Rung) -> Result<T, E>,
    is_unavailable: impl Fn(&E) -> bool,
) -> Climbed<T, E> {
    let mut unavailable = Vec::new();
    for &rung in rungs {
        match attempt(rung) {
            Err(error) if is_unavailable(&error) => unavailable.push((rung, error)),
            result => {
                return Climbed { result, unavailable };
            }
        }
    }
    let last = unavailable.pop().map_or_else(none, |(_, error)| error);
    Climbed { result: Err(last), unavailable }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A climb over fixed answers; an error below 100 means the rung is missing.
    fn over(policy: SandboxPolicy, answers: &[Result<u8, u8>]) -> (Result<u8, u8>, Vec<(Rung, u8)>) {
        let mut answers = answers.iter();
        let climbed = climb(policy.rungs(), || 0, |_| *answers.next().unwrap(), |error| *error < 100);
        assert_eq!(answers.next(), None, "a rung was not tried");
        (climbed.result, climbed.unavailable)
    }

    #[test]
    fn the_ladder_goes_down_only_for_missing_rungs() {
        use Rung::{Landlock, Namespaces};
        use SandboxPolicy::{AllowChroot, Auto, Require};
        assert_eq!(over(Auto, &[Ok(7)]), (Ok(7), vec![]));
        assert_eq!(over(Auto, &[Err(1), Ok(7)]), (Ok(7), vec![(Namespaces, 1)]));
        assert_eq!(over(Auto, &[Err(1), Err(2)]), (Err(2), vec![(Namespaces, 1)]));
        assert_eq!(over(Auto, &[Err(100)]), (Err(100), vec![]));
        assert_eq!(over(Require, &[Err(1)]), (Err(1), vec![]));
        assert_eq!(over(AllowChroot, &[Err(1), Err(2), Ok(7)]), (Ok(7), vec![(Namespaces, 1), (Landlock, 2)]));
    }
}
