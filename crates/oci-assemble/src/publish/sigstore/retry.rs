//! When a service of sigstore is asked again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::services::ServiceError;
use crate::image::Digest;

/// Hears of a failure, and how long is waited before the next try.
type Heard = Arc<dyn Fn(&ServiceError, Duration) + Send + Sync>;

/// How often a service is asked, with full jitter between tries: each wait is drawn between nothing and a bound that
/// doubles. What failed for good is not tried again.
#[derive(Clone)]
pub struct Retry {
    /// Tries in all.
    pub tries: u32,
    /// Bound of the first wait; it doubles.
    pub base: Duration,
    /// Hears of each wait.
    pub heard: Option<Heard>,
}

impl Default for Retry {
    /// Five tries in ten seconds or so: the certificate, which is good for ten minutes, must outlive them for every image.
    fn default() -> Self {
        Self { tries: 5, base: Duration::from_secs(1), heard: None }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("tries", &self.tries).field("base", &self.base).finish_non_exhaustive()
    }
}

impl Retry {
    /// Does `work` until it succeeds, fails for good, or was tried often enough. `salt` is something that no other process
    /// has: it stands in for randomness.
    pub(super) fn run<T>(
        &self,
        salt: &[u8],
        mut work: impl FnMut() -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut number = 1;
        loop {
            let error = match work() {
                Err(error) if error.is_transient() && number < self.tries => error,
                outcome => return outcome,
            };
            let wait = self.wait(number, salt);
            if let Some(heard) = &self.heard {
                heard(&error, wait);
            }
            std::thread::sleep(wait);
            number += 1;
        }
    }

    /// How long to wait after try number `number`, the first being 1.
    fn wait(&self, number: u32, salt: &[u8]) -> Duration {
        let bound = self.base.saturating_mul(1_u32.checked_shl(number - 1).unwrap_or(u32::MAX));
        let drawn = Digest::of(&[salt, &number.to_be_bytes()].concat());
        let drawn = drawn.bytes().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        bound.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::services::Service;
    use super::*;

    fn error(status: u16) -> ServiceError {
        ServiceError { service: Service::Rekor, status: Some(status), silent: false, source: "no".into() }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_stays_is_not() {
        let retry = Retry { tries: 3, base: Duration::from_millis(1), heard: None };
        for (status, tries) in [(503, 3), (429, 3), (400, 1), (403, 1)] {
            let mut count = 0;
            let outcome: Result<(), _> = retry.run(b"salt", || {
                count += 1;
                Err(error(status))
            });
            assert_eq!((outcome.unwrap_err().status, count), (Some(status), tries));
        }
        let mut count = 0;
        let outcome = retry.run(b"salt", || {
            count += 1;
            if count < 3 { Err(error(500)) } else { Ok(count) }
        });
        assert_eq!(outcome.unwrap(), 3);
    }

    #[test]
    fn waits_stay_below_their_bounds_and_differ() {
        let retry = Retry::default();
        for number in 1..5 {
            let wait = retry.wait(number, b"one");
            assert!(wait <= retry.base * 2_u32.pow(number - 1));
            assert_ne!(wait, retry.wait(number, b"other"));
        }
    }
}
