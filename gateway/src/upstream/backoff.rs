//! How long to wait before the next connection, and how often to speak of it.

use std::time::Duration;

use shared::rng::Rng;
use tokio::time::Instant;

/// Waits that double from `min` to `max`, each moved by up to a quarter, so that gateways that
/// lost the same broker do not return to it all at once.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    rng: Rng,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, rng: Rng) -> Self {
        Self {
            min,
            max,
            next: min,
            rng,
        }
    }

    /// Returns the next wait.
    pub(super) fn delay(&mut self) -> Duration {
        let span = self.next;
        self.next = (span * 2).min(self.max);
        let quarter = u64::try_from(span.as_micros() / 4).unwrap_or(u64::MAX);
        let moved = self.rng.below(quarter.saturating_mul(2).saturating_add(1));
        (span - span / 4 + Duration::from_micros(moved)).min(self.max)
    }

    /// Begins with the shortest wait again.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }

    /// Goes on with the longest wait: what is wrong needs somebody to put it right.
    pub(super) fn give_time(&mut self) {
        self.next = self.max;
    }
}

/// Lets one report of a kind through in [`QUIET`], and at most [`REPORTS_MAX`] of all kinds:
/// a broker that answers by ever other reasons must not fill the disk.
#[derive(Debug, Default)]
pub(super) struct LogGate {
    said: Vec<(Instant, String)>,
    suppressed: u64,
}

impl LogGate {
    /// Returns whether to report `text`, and how many reports were held back before it.
    pub(super) fn pass(&mut self, now: Instant, text: &str) -> Option<u64> {
        self.said.retain(|(at, _)| now.duration_since(*at) < QUIET);
        if self.said.len() >= REPORTS_MAX || self.said.iter().any(|(_, said)| said == text) {
            self.suppressed += 1;
            return None;
        }
        self.said.push((now, text.to_owned()));
        Some(std::mem::take(&mut self.suppressed))
    }
}

const QUIET: Duration = Duration::from_mins(1);

const REPORTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_their_bounds_and_start_over() {
        let (min, max) = (Duration::from_millis(250), Duration::from_secs(30));
        let mut backoff = Backoff::new(min, max, Rng::new(1));
        let mut nominal = min;
        for _ in 0..12 {
            let delay = backoff.delay();
            assert!(delay >= nominal * 3 / 4 && delay <= (nominal * 5 / 4).min(max));
            nominal = (nominal * 2).min(max);
        }
        backoff.reset();
        assert!(backoff.delay() <= min * 5 / 4);
        backoff.give_time();
        assert!(backoff.delay() >= max * 3 / 4);
    }

    #[test]
    fn a_repeated_report_is_held_back_for_a_while() {
        let mut gate = LogGate::default();
        let now = Instant::now();
        assert_eq!(gate.pass(now, "refused"), Some(0));
        assert_eq!(gate.pass(now, "refused"), None);
        assert_eq!(gate.pass(now, "closed"), Some(1));
        assert_eq!(gate.pass(now + QUIET, "closed"), Some(0));
    }

    #[test]
    fn reports_that_take_turns_are_held_back_too() {
        let mut gate = LogGate::default();
        let now = Instant::now();
        let passed = (0..1000).filter(|n| gate.pass(now, ["refused", "closed"][n % 2]).is_some());
        assert_eq!(passed.count(), 2);
        let now = now + QUIET;
        let passed = (0..1000).filter(|n| gate.pass(now, &n.to_string()).is_some());
        assert_eq!(passed.count(), REPORTS_MAX);
    }
}
