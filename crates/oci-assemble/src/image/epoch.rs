//! The one time an image knows, as a value.
//!
//! Nothing here reads a clock: the binary makes an [`Epoch`] from `SOURCE_DATE_EPOCH`
//! (<https://reproducible-builds.org/specs/source-date-epoch/>) or from the `created` time of the base image, and
//! every time an image's configuration carries follows from it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Seconds since 1970-01-01T00:00:00Z, from 0 to [`Epoch::MAX`].
///
/// Law: `Epoch::from_rfc3339(&epoch.to_string()) == Ok(epoch)`, and the same for the decimal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(i64);

/// Why a number or a text is not an [`Epoch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// Before 1970 or after the year 9999.
    #[error("time {seconds} is not between 0 and {} seconds since 1970", Epoch::MAX.0)]
    Range {
        /// The seconds given.
        seconds: i64,
    },
    /// Something other than decimal digits.
    #[error("{text:?} is not a number of seconds since 1970")]
    Decimal {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// Not `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`.
    #[error("{text:?} is not an RFC 3339 time")]
    Rfc3339 {
        /// The text, cut to 64 characters.
        text: String,
    },
}

const DAY: i64 = 86_400;
/// Days before each month in a year that is no leap year.
const MONTHS: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

impl Epoch {
    /// The time of files that have none of their own, as ostree gives it to every file on a host. With the image's epoch, a
    /// layer would be another blob for every base it goes on, and be fetched again though nothing in it changed.
    pub const UNDATED: Self = Self(0);

    /// 9999-12-31T23:59:59Z, the last second RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799);

    /// The time `seconds` after 1970 began.
    pub fn new(seconds: i64) -> Result<Self, EpochError> {
        if (0..=Self::MAX.0).contains(&seconds) { Ok(Self(seconds)) } else { Err(EpochError::Range { seconds }) }
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// The value of `SOURCE_DATE_EPOCH`: decimal digits only.
    pub fn from_decimal(text: &str) -> Result<Self, EpochError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = if digits { text.parse().ok() } else { None };
        Self::new(seconds.ok_or_else(|| EpochError::Decimal { text: cut(text) })?)
    }

    /// An RFC 3339 time, as the `created` property of an image has it. A fraction of a second is dropped.
    pub fn from_rfc3339(text: &str) -> Result<Self, EpochError> {
        Self::new(parse(text).ok_or_else(|| EpochError::Rfc3339 { text: cut(text) })?)
    }

    /// Year, month and day in UTC.
    pub fn date(self) -> (i64, u8, u8) {
        let days = self.0 / DAY;
        // Never past the year sought, and short of it by a few years at most.
        let mut year = 1970 + days / 366;
        while days_before(year + 1) <= days {
            year += 1;
        }
        let of_year = days - days_before(year);
        let mut month = 12;
        while month > 1 && month_start(year, month) > of_year {
            month -= 1;
        }
        let day = of_year - month_start(year, month) + 1;
        (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from 1970-01-01 to the first day of `year`, a year after 0.
fn days_before(year: i64) -> i64 {
    let past = year - 1;
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(past) - leaps(1969)
}

/// Days from the first day of `year` to the first day of `month` (1 to 12).
fn month_start(year: i64, month: i64) -> i64 {
    let index = usize::try_from(month - 1).unwrap_or(0);
    MONTHS.get(index).copied().unwrap_or(0) + i64::from(month > 2 && is_leap(year))
}

fn parse(text: &str) -> Option<i64> {
    let (date, time) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
        return None;
    }
    let [year, month, day] = split(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = split(time.get(..8)?, ':', [2, 2, 2])?;
    let offset = offset(fraction(time.get(8..)?)?)?;
    let next = if month == 12 { days_before(year + 1) - days_before(year) } else { month_start(year, month + 1) };
    let length = next - month_start(year, month);
    let ranges = [(year, 1, 9999), (month, 1, 12), (day, 1, length), (hour, 0, 23), (minute, 0, 59), (second, 0, 60)];
    if ranges.iter().any(|(value, low, high)| value < low || value > high) {
        return None;
    }
    let days = days_before(year) + month_start(year, month) + day - 1;
    Some(days * DAY + hour * 3600 + minute * 60 + second - offset)
}

fn number(digits: &str) -> Option<i64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn split(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut values = [0; 3];
    for (value, width) in values.iter_mut().zip(widths) {
        *value = number(parts.next().filter(|part| part.len() == width)?)?;
    }
    parts.next().is_none().then_some(values)
}

/// What follows the fraction of a second, if there is one.
fn fraction(rest: &str) -> Option<&str> {
    let Some(digits) = rest.strip_prefix('.') else { return Some(rest) };
    let zone = digits.trim_start_matches(|character: char| character.is_ascii_digit());
    (zone.len() < digits.len()).then_some(zone)
}

/// Seconds that local time is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, clock) = match zone.as_bytes().first()? {
        b'Z' | b'z' => return (zone.len() == 1).then_some(0),
        b'+' => (1, zone.get(1..)?),
        b'-' => (-1, zone.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

impl fmt::Display for Epoch {
    /// RFC 3339 in UTC, whole seconds: `2026-11-20T08:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let second = self.0 % DAY;
        write!(f, "{year:04}-{month:02}-{day:02}T")?;
        write!(f, "{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }
}

impl Serialize for Epoch {
    /// The seconds, as a number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_rfc3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_763_625_600, "2025-11-20T08:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (Epoch::MAX.seconds(), "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Epoch::new(seconds).unwrap().to_string(), text);
        }
    }

    #[test]
    fn reads_rfc3339() {
        for (text, seconds) in [
            ("2025-11-20T08:00:00Z", Some(1_763_625_600)),
            ("2025-11-20t08:00:00.123456789z", Some(1_763_625_600)),
            ("2025-11-20T09:30:00+01:30", Some(1_763_625_600)),
            ("2025-11-19T23:00:00-09:00", Some(1_763_625_600)),
            ("2024-12-31T23:59:60Z", Some(1_735_689_600)),
            ("2025-02-29T00:00:00Z", None),
            ("2025-12-32T00:00:00Z", None),
            ("2025-13-01T00:00:00Z", None),
            ("2025-11-20T24:00:00Z", None),
            ("2025-11-20 08:00:00Z", None),
            ("2025-11-20T08:00:00", None),
            ("2025-11-20T08:00:00.Z", None),
            ("2025-11-20T08:00:00+0130", None),
            ("2025-11-20T08:00:00+24:00", None),
            ("+025-11-20T08:00:00Z", None),
            ("2025-11-20Tä8:00:00Z", None),
            ("0001-01-01T00:00:00Z", None),
        ] {
            assert_eq!(Epoch::from_rfc3339(text).ok().map(Epoch::seconds), seconds, "{text}");
        }
    }

    #[test]
    fn reads_decimal() {
        for (text, seconds) in [("0", Some(0)), ("1763625600", Some(1_763_625_600)), ("007", Some(7))] {
            assert_eq!(Epoch::from_decimal(text).ok().map(Epoch::seconds), seconds);
        }
        for text in ["", "-1", "+1", " 1", "1 ", "1.0", "99999999999999999999", "253402300800"] {
            assert!(Epoch::from_decimal(text).is_err(), "{text}");
        }
        assert_eq!(Epoch::new(-1), Err(EpochError::Range { seconds: -1 }));
    }

    proptest! {
        #[test]
        fn round_trips(seconds in 0..=Epoch::MAX.seconds()) {
            let epoch = Epoch::new(seconds).unwrap();
            prop_assert_eq!(Epoch::from_rfc3339(&epoch.to_string()), Ok(epoch));
            prop_assert_eq!(Epoch::from_decimal(&seconds.to_string()), Ok(epoch));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = Epoch::from_rfc3339(&text);
            let _ = Epoch::from_decimal(&text);
        }
    }
}
