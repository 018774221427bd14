//! When to try again.
//!
//! Full jitter: each wait is drawn between nothing and a bound that doubles, so that clients that failed together do not
//! come back together. Randomness is a seed that the caller gives; time is measured by [`Instant`], never by the clock.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::{RegistryError, Result};

/// How often and how long something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all.
    pub tries: u32,
    /// Bound of the first wait; it doubles.
    pub base: Duration,
    /// Largest bound.
    pub cap: Duration,
    /// The longest wait that a registry may ask for; a longer one is cut to it.
    pub longest_asked: Duration,
    /// No new try begins after this long.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    /// Six tries in half a minute or so, as long as nothing moves; registries that ask for more get up to two minutes a
    /// try and a quarter of an hour in all.
    fn default() -> Self {
        Self {
            tries: 6,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(30),
            longest_asked: Duration::from_mins(2),
            deadline: Duration::from_mins(15),
        }
    }
}

impl RetryPolicy {
    /// How long to wait before try number `next` (the second is 2), or `None` when there is none. `random` is uniform.
    fn wait(&self, next: u32, since: Duration, asked: Option<Duration>, random: u64) -> Option<Duration> {
        if next > self.tries || since > self.deadline {
            return None;
        }
        let bound = self.base.saturating_mul(1_u32.checked_shl(next - 2).unwrap_or(u32::MAX)).min(self.cap);
        let nanoseconds = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let jittered = (u128::from(random) * u128::from(nanoseconds)) >> 64;
        let jittered = Duration::from_nanos(u64::try_from(jittered).unwrap_or(nanoseconds));
        // What the registry asks for is the least; on top of it comes the jitter.
        Some(asked.map_or(jittered, |asked| asked.min(self.longest_asked) + jittered))
    }
}

/// Random numbers from a seed (SplitMix64, Steele, Lea and Flood 2014): for jitter, not for secrets.
#[derive(Debug)]
pub(super) struct Jitter(Mutex<u64>);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn next(&self) -> u64 {
        let mut state = lock(&self.0);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Does `work` until it succeeds, fails for good, or was tried often enough. `work` gets the number of the try, from 1;
/// `before` hears of each wait, and says whether it is worth while.
pub(super) fn retry<T>(
    policy: &RetryPolicy,
    jitter: &Jitter,
    before: &dyn Fn(&RegistryError, u32, Duration) -> bool,
    mut work: impl FnMut(u32) -> Result<T>,
) -> Result<T> {
    let begun = Instant::now();
    let mut number = 1;
    loop {
        let error = match work(number) {
            Err(error) if error.is_transient() => error,
            outcome => return outcome,
        };
        number += 1;
        let Some(wait) = policy.wait(number, begun.elapsed(), error.retry_after(), jitter.next()) else {
            return Err(error);
        };
        if !before(&error, number, wait) {
            return Err(error);
        }
        std::thread::sleep(wait);
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, which is held against the date of the answer itself, so
/// that no clock of ours has a part in it.
pub(super) fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let (until, now) = (http_date(value.trim())?, http_date(date?.trim())?);
    Some(Duration::from_secs(until.saturating_sub(now)))
}

/// Seconds of `Sun, 06 Nov 1994 08:49:37 GMT` since some day.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok().filter(|year| (1970..10_000).contains(year))?);
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let clock: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    if !(1..=31).contains(&day) || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    // Days from March on, so that the leap day is a year's last (Hinnant, "chrono-compatible low-level date algorithms").
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Lets a number of requests through at the same time: fewer after each 429, and slowly more again.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<Flow>,
    freed: Condvar,
    most: usize,
}

#[derive(Debug)]
struct Flow {
    inside: usize,
    limit: usize,
    /// Successes since the limit changed.
    smooth: usize,
}

/// Successes after which one request more is let through.
const SMOOTH: usize = 16;

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { state: Mutex::new(Flow { inside: 0, limit: most, smooth: 0 }), freed: Condvar::new(), most }
    }

    /// Waits for a place.
    pub(super) fn enter(&self) -> Pass<'_> {
        let mut flow = lock(&self.state);
        while flow.inside >= flow.limit {
            flow = self.freed.wait(flow).unwrap_or_else(PoisonError::into_inner);
        }
        flow.inside += 1;
        Pass(self)
    }

    /// Says how a request went.
    pub(super) fn heard(&self, too_many: bool) {
        let mut flow = lock(&self.state);
        if too_many {
            (flow.limit, flow.smooth) = ((flow.limit / 2).max(1), 0);
        } else if flow.limit < self.most {
            flow.smooth += 1;
            if flow.smooth >= SMOOTH {
                (flow.limit, flow.smooth) = (flow.limit + 1, 0);
                self.freed.notify_one();
            }
        }
    }
}

/// A place in the gate, free again when dropped.
pub(super) struct Pass<'g>(&'g Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).inside -= 1;
        self.0.freed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    proptest! {
        #[test]
        fn waits_stay_below_their_bounds(next in 2..40_u32, random: u64, asked in prop::option::of(0..1000_u64)) {
            let policy = RetryPolicy { tries: 40, ..RetryPolicy::default() };
            let asked = asked.map(Duration::from_secs);
            let wait = policy.wait(next, Duration::ZERO, asked, random).unwrap();
            let least = asked.unwrap_or_default().min(policy.longest_asked);
            let bound = (SECOND * 2_u32.pow((next - 2).min(20))).min(policy.cap);
            prop_assert!(wait >= least && wait <= least + bound);
        }
    }

    #[test]
    fn it_ends() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait(2, Duration::ZERO, None, u64::MAX).unwrap().as_millis(), 999);
        assert_eq!(policy.wait(6, Duration::ZERO, None, 0), Some(Duration::ZERO));
        assert_eq!(policy.wait(7, Duration::ZERO, None, 0), None);
        assert_eq!(policy.wait(2, policy.deadline + SECOND, None, 0), None);
    }

    #[test]
    fn dates_are_held_against_the_answers_own() {
        let (date, later) = ("Wed, 28 Feb 2024 23:59:58 GMT", "Thu, 29 Feb 2024 00:00:03 GMT");
        for (value, date, expected) in [
            ("17", None, Some(17 * SECOND)),
            (later, Some(date), Some(5 * SECOND)),
            (date, Some(later), Some(Duration::ZERO)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some("Thu, 29 Feb 2024 00:00:00 GMT"), Some(86_400 * SECOND)),
            ("Sun, 01 Jan 2023 00:00:00 GMT", Some("Sat, 31 Dec 2022 23:59:59 GMT"), Some(SECOND)),
            (later, None, None),
            ("soon", Some(date), None),
            ("-1", Some(date), None),
        ] {
            assert_eq!(retry_after(value, date), expected, "{value} at {date:?}");
        }
    }

    #[test]
    fn too_many_requests_halve_what_is_done_at_once() {
        let gate = Gate::new(6);
        gate.heard(true);
        gate.heard(true);
        assert_eq!(lock(&gate.state).limit, 1);
        gate.heard(true);
        assert_eq!(lock(&gate.state).limit, 1);
        for _ in 0..SMOOTH * 20 {
            gate.heard(false);
        }
        assert_eq!(lock(&gate.state).limit, 6);
        let places: Vec<_> = (0..6).map(|_| gate.enter()).collect();
        assert_eq!(lock(&gate.state).inside, 6);
        drop(places);
        assert_eq!(lock(&gate.state).inside, 0);
    }
}
