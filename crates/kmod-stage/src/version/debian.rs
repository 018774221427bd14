//! `[EPOCH:]UPSTREAM[-REVISION]` as Debian has it (deb-version(7), Debian policy 5.6.12).
//!
//! The order is dpkg's `verrevcmp`: digits are compared as numbers; of other characters `~` sorts before the end,
//! letters before the rest. The crate `debversion` has it too, behind a calendar, big integers and regular expressions.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::{Family, VERSION_MAX, VersionError, VersionFault, characters, split_epoch};

/// The version of a Debian package.
///
/// Laws: `dpkg --compare-versions` gives the same order; `version.to_string().parse() == Ok(version)`.
#[derive(Clone, Debug)]
pub struct DebianVersion {
    epoch: u32,
    upstream: String,
    revision: Option<String>,
}

impl DebianVersion {
    /// The epoch; 0 where none was given.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The version of the program.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The revision of the package; packages that only Debian has come without.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }
}

/// Weight of what a text goes on with, when that is no digit.
fn weight(rest: &[u8]) -> i32 {
    match rest.first() {
        None | Some(b'0'..=b'9') => 0,
        Some(b'~') => -1,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

/// Splits the digits off the front, without the zeros before them: longer is larger.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let zeros = text.iter().take_while(|byte| **byte == b'0').count();
    let (_, text) = text.split_at(zeros);
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// The order of two upstream versions or two revisions.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    let text = |rest: &[u8]| rest.first().is_some_and(|byte| !byte.is_ascii_digit());
    while !a.is_empty() || !b.is_empty() {
        while text(a) || text(b) {
            let order = weight(a).cmp(&weight(b));
            if order.is_ne() {
                return order;
            }
            // Equal weights, one of them of a character: both are that character.
            a = a.split_first().map_or(a, |(_, rest)| rest);
            b = b.split_first().map_or(b, |(_, rest)| rest);
        }
        let ((first, rest_a), (second, rest_b)) = (number(a), number(b));
        let order = first.len().cmp(&second.len()).then_with(|| first.cmp(second));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

impl Ord for DebianVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        // A missing revision is as good as "0".
        let revision = |version: &Self| version.revision.clone().unwrap_or_default();
        let upstream = || compare(&self.upstream, &other.upstream);
        self.epoch.cmp(&other.epoch).then_with(upstream).then_with(|| compare(&revision(self), &revision(other)))
    }
}

impl PartialOrd for DebianVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebianVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for DebianVersion {}

impl FromStr for DebianVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |fault| VersionError::new(text, Family::Debian, fault);
        if text.len() > VERSION_MAX {
            return Err(refuse(VersionFault::TooLong));
        }
        let (epoch, rest) = split_epoch(text).map_err(refuse)?;
        let (upstream, revision) = rest.rsplit_once('-').map_or((rest, None), |(u, r)| (u, Some(r)));
        if upstream.is_empty() {
            return Err(refuse(VersionFault::NoVersion));
        }
        if revision == Some("") {
            return Err(refuse(VersionFault::NoRelease));
        }
        // Colons are for versions that have an epoch, too.
        let also = if rest.len() == text.len() { ".-+~" } else { ".-+~:" };
        characters(upstream, also).map_err(refuse)?;
        characters(revision.unwrap_or_default(), ".+~").map_err(refuse)?;
        Ok(Self { epoch, upstream: upstream.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for DebianVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its epoch, a colon in the upstream version would be taken for the end of one.
        if self.epoch != 0 || self.upstream.contains(':') {
            write!(f, "{}:", self.epoch)?;
        }
        f.write_str(&self.upstream)?;
        self.revision.iter().try_for_each(|revision| write!(f, "-{revision}"))
    }
}
