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
    /// The answer of the rung that was used.
    pub value: T,
    /// The rungs that were tried before and were unavailable, with the reason.
    pub unavailable: Vec<(Rung, E)>,
}

/// Tries `rungs` in order until one is available.
///
/// `attempt` runs one rung; `is_unavailable` tells a missing rung, which goes on to the next, from a failing program,
/// which ends the climb: a program that misbehaved in a better sandbox is not given a worse one. When no rung is left,
/// `exhausted` makes the error of what was tried.
pub fn climb<T, E>(
    rungs: &[Rung],
    mut attempt: impl FnMut(Rung) -> Result<T, E>,
    is_unavailable: impl Fn(&E) -> bool,
    exhausted: impl FnOnce(Vec<(Rung, E)>) -> E,
) -> Result<Climbed<T, E>, E> {
    let mut unavailable = Vec::new();
    for &rung in rungs {
        match attempt(rung) {
            Ok(value) => return Ok(Climbed { value, unavailable }),
            Err(error) if is_unavailable(&error) => unavailable.push((rung, error)),
            Err(error) => return Err(error),
        }
    }
    Err(exhausted(unavailable))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Answer {
        Missing(u8),
        Failed,
        Exhausted(Vec<(Rung, Answer)>),
    }

    type Used = (u8, Vec<(Rung, Answer)>);

    /// A climb over fixed answers, of which each must be asked for.
    fn over(policy: SandboxPolicy, answers: Vec<Result<u8, Answer>>) -> Result<Used, Answer> {
        let mut answers = answers.into_iter();
        let attempt = |_| answers.next().unwrap();
        let missing = |answer: &Answer| matches!(answer, Answer::Missing(_));
        let climbed = climb(policy.rungs(), attempt, missing, Answer::Exhausted);
        assert_eq!(answers.next(), None, "a rung was not tried");
        climbed.map(|climbed| (climbed.value, climbed.unavailable))
    }

    #[test]
    fn the_ladder_goes_down_only_for_missing_rungs() {
        use Answer::{Exhausted, Failed, Missing};
        use Rung::{Landlock, Namespaces};
        use SandboxPolicy::{AllowChroot, Auto, Require};
        assert_eq!(over(Auto, vec![Ok(7)]), Ok((7, vec![])));
        assert_eq!(over(Auto, vec![Err(Missing(1)), Ok(7)]), Ok((7, vec![(Namespaces, Missing(1))])));
        assert_eq!(over(Auto, vec![Err(Failed)]), Err(Failed));
        assert_eq!(over(Auto, vec![Err(Missing(1)), Err(Failed)]), Err(Failed));
        assert_eq!(over(Require, vec![Err(Missing(1))]), Err(Exhausted(vec![(Namespaces, Missing(1))])));
        assert_eq!(
            over(Auto, vec![Err(Missing(1)), Err(Missing(2))]),
            Err(Exhausted(vec![(Namespaces, Missing(1)), (Landlock, Missing(2))]))
        );
        assert_eq!(
            over(AllowChroot, vec![Err(Missing(1)), Err(Missing(2)), Ok(7)]),
            Ok((7, vec![(Namespaces, Missing(1)), (Landlock, Missing(2))]))
        );
    }
}
