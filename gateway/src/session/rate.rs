//! Bounds on how often senders are served or answered.

use std::collections::HashMap;
use std::hash::Hash;

use shared::time::{Duration, Instant};

/// A token bucket: `burst` at once, `rate_per_s` in the long run.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    /// Thousandths of a token.
    level: u64,
    at: Instant,
}

impl TokenBucket {
    const TOKEN: u64 = 1000;

    pub(super) fn full(now: Instant, burst: u32) -> Self {
        Self {
            level: u64::from(burst) * Self::TOKEN,
            at: now,
        }
    }

    pub(super) fn take(&mut self, now: Instant, rate_per_s: u32, burst: u32) -> bool {
        let refill = now
            .since(self.at)
            .as_millis()
            .saturating_mul(u64::from(rate_per_s));
        self.level = self
            .level
            .saturating_add(refill)
            .min(u64::from(burst) * Self::TOKEN);
        self.at = now;
        let taken = self.level >= Self::TOKEN;
        if taken {
            self.level -= Self::TOKEN;
        }
        taken
    }
}

/// A token bucket for each of a bounded number of senders.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    buckets: HashMap<K, TokenBucket>,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self {
            buckets: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// The most senders that are kept apart; further ones are refused until some go idle.
    pub(super) const SENDERS_MAX: usize = 1024;

    pub(super) fn take(&mut self, now: Instant, sender: K, rate_per_s: u32, burst: u32) -> bool {
        if !self.buckets.contains_key(&sender) {
            self.make_room(now, rate_per_s, burst);
            if self.buckets.len() >= Self::SENDERS_MAX {
                return false;
            }
        }
        self.buckets
            .entry(sender)
            .or_insert_with(|| TokenBucket::full(now, burst))
            .take(now, rate_per_s, burst)
    }

    /// Forgets senders whose bucket would be full again: nothing changes for them by that.
    fn make_room(&mut self, now: Instant, rate_per_s: u32, burst: u32) {
        if self.buckets.len() < Self::SENDERS_MAX {
            return;
        }
        let fill_ms = u64::from(burst) * 1000 / u64::from(rate_per_s.max(1));
        self.buckets
            .retain(|_, bucket| now.since(bucket.at) < Duration::from_millis(fill_ms));
    }
}

/// Decides which strangers are answered: each at most once in an interval, all together at
/// most [`Self::ANSWERS_PER_S`] (D-28).
#[derive(Debug)]
pub(super) struct Answers<K> {
    last: HashMap<K, Instant>,
    all: TokenBucket,
}

impl<K> Default for Answers<K> {
    fn default() -> Self {
        Self {
            last: HashMap::new(),
            all: TokenBucket::full(Instant::ZERO, Self::ANSWERS_PER_S),
        }
    }
}

impl<K> Answers<K> {
    /// The most answers to strangers in a second.
    pub(super) const ANSWERS_PER_S: u32 = 100;
    /// The time between two answers to the same stranger.
    pub(super) const INTERVAL: Duration = Duration::from_secs(5);
    /// The most strangers that are remembered; beyond it none is answered until some age.
    pub(super) const STRANGERS_MAX: usize = 1024;
}

impl<K: Eq + Hash> Answers<K> {
    pub(super) fn allow(&mut self, now: Instant, stranger: K) -> bool {
        if let Some(last) = self.last.get(&stranger)
            && now.since(*last) < Self::INTERVAL
        {
            return false;
        }
        if self.last.len() >= Self::STRANGERS_MAX {
            self.last
                .retain(|_, last| now.since(*last) < Self::INTERVAL);
        }
        if self.last.len() >= Self::STRANGERS_MAX
            || !self.all.take(now, Self::ANSWERS_PER_S, Self::ANSWERS_PER_S)
        {
            return false;
        }
        self.last.insert(stranger, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut bucket = TokenBucket::full(Instant::ZERO, 3);
        let mut take = |ms| bucket.take(Instant::from_millis(ms), 2, 3);
        assert_eq!(
            [take(0), take(0), take(0), take(0)],
            [true, true, true, false]
        );
        assert_eq!(
            [take(499), take(500), take(999), take(1000)],
            [false, true, false, true]
        );
        assert_eq!(
            [take(90_000), take(90_000), take(90_000), take(90_000)],
            [true, true, true, false]
        );
    }

    #[test]
    fn a_stranger_is_answered_once_in_five_seconds() {
        let mut answers = Answers::default();
        assert!(answers.allow(Instant::from_millis(0), 1));
        assert!(!answers.allow(Instant::from_millis(4999), 1));
        assert!(answers.allow(Instant::from_millis(5000), 1));
    }

    #[test]
    fn thousands_of_strangers_cost_bounded_memory_and_answers() {
        let mut answers = Answers::default();
        let answered = (0..5000)
            .filter(|n| answers.allow(Instant::from_millis(1), *n))
            .count();
        assert_eq!(answered, 100);
        assert!(answers.last.len() <= Answers::<i32>::STRANGERS_MAX);
        let mut buckets = Buckets::default();
        for n in 0..5000 {
            buckets.take(Instant::ZERO, n, 1, 1);
        }
        assert!(buckets.buckets.len() <= Buckets::<i32>::SENDERS_MAX);
        assert!(buckets.take(Instant::from_millis(2000), 7777, 1, 1));
    }
}
