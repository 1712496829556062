//! Bounds on how often senders are served or answered.

use std::collections::HashMap;
use std::hash::Hash;

use shared::time::{Duration, Instant};

/// So many in the long run, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    per_min: u64,
    burst: u32,
}

impl Rate {
    pub(super) fn per_s(count: u32, burst: u32) -> Self {
        let per_min = u64::from(count) * 60;
        Self { per_min, burst }
    }

    /// Creates the rate of `count` a minute, all of which may come at once.
    pub(super) fn per_min(count: u32) -> Self {
        let per_min = u64::from(count);
        Self {
            per_min,
            burst: count,
        }
    }

    fn full(self) -> u64 {
        u64::from(self.burst) * TokenBucket::TOKEN
    }
}

/// A token bucket, whose [`Rate`] may change.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    /// In parts of a token, of which one a minute gives one each millisecond.
    level: u64,
    at: Instant,
}

impl TokenBucket {
    const TOKEN: u64 = 60_000;

    pub(super) fn full(now: Instant, rate: Rate) -> Self {
        Self {
            level: rate.full(),
            at: now,
        }
    }

    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let refill = now.since(self.at).as_millis().saturating_mul(rate.per_min);
        self.level = self.level.saturating_add(refill).min(rate.full());
        self.at = now;
        let taken = self.level >= Self::TOKEN;
        if taken {
            self.level -= Self::TOKEN;
        }
        taken
    }

    /// Puts a token back that was taken for nothing.
    pub(super) fn give_back(&mut self) {
        self.level = self.level.saturating_add(Self::TOKEN);
    }

    /// Returns when the bucket is as if nothing had ever been taken.
    pub(super) fn full_at(&self, rate: Rate) -> Instant {
        let missing = rate.full().saturating_sub(self.level);
        self.at + Duration::from_millis(missing.div_ceil(rate.per_min.max(1)))
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

    pub(super) fn take(&mut self, now: Instant, sender: K, rate: Rate) -> bool {
        if !self.buckets.contains_key(&sender) {
            self.make_room(now, rate);
            if self.buckets.len() >= Self::SENDERS_MAX {
                return false;
            }
        }
        self.buckets
            .entry(sender)
            .or_insert_with(|| TokenBucket::full(now, rate))
            .take(now, rate)
    }

    /// Forgets senders whose bucket would be full again: nothing changes for them by that.
    fn make_room(&mut self, now: Instant, rate: Rate) {
        if self.buckets.len() >= Self::SENDERS_MAX {
            self.buckets.retain(|_, bucket| bucket.full_at(rate) > now);
        }
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
            all: TokenBucket::full(Instant::ZERO, Self::all()),
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

    fn all() -> Rate {
        Rate::per_s(Self::ANSWERS_PER_S, Self::ANSWERS_PER_S)
    }
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
        if self.last.len() >= Self::STRANGERS_MAX || !self.all.take(now, Self::all()) {
            return false;
        }
        self.last.insert(stranger, now);
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.last.len()
    }
}

/// Decides which refused senders are told: each a few times in a row, as it repeats itself, then
/// once a second, and all together at most [`Self::REFUSALS_PER_S`] times a second (A.19 row 28).
#[derive(Debug)]
pub(super) struct Refusals<K> {
    senders: Buckets<K>,
    all: TokenBucket,
}

impl<K> Refusals<K> {
    /// The most refusals in a second.
    pub(super) const REFUSALS_PER_S: u32 = 100;
    /// The refusals that one sender is told in a row: its first request and three repetitions.
    pub(super) const IN_A_ROW: u32 = 4;

    fn all() -> Rate {
        Rate::per_s(Self::REFUSALS_PER_S, Self::REFUSALS_PER_S)
    }
}

impl<K> Default for Refusals<K> {
    fn default() -> Self {
        Self {
            senders: Buckets::default(),
            all: TokenBucket::full(Instant::ZERO, Self::all()),
        }
    }
}

impl<K: Eq + Hash> Refusals<K> {
    pub(super) fn allow(&mut self, now: Instant, sender: K) -> bool {
        let own = Rate::per_s(1, Self::IN_A_ROW);
        self.senders.take(now, sender, own) && self.all.take(now, Self::all())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.senders.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let rate = Rate::per_s(2, 3);
        let mut bucket = TokenBucket::full(Instant::ZERO, rate);
        let mut take = |ms| bucket.take(Instant::from_millis(ms), rate);
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
    fn a_bucket_by_the_minute_fills_up_in_a_minute() {
        let rate = Rate::per_min(4);
        let mut bucket = TokenBucket::full(Instant::ZERO, rate);
        assert_eq!(bucket.full_at(rate), Instant::ZERO);
        let mut taken = |ms| {
            let now = Instant::from_millis(ms);
            std::iter::repeat_with(|| bucket.take(now, rate))
                .take_while(|taken| *taken)
                .count()
        };
        assert_eq!(
            [taken(0), taken(14_999), taken(15_000), taken(75_000)],
            [4, 0, 1, 4]
        );
        assert_eq!(bucket.full_at(rate), Instant::from_millis(135_000));
        bucket.give_back();
        assert_eq!(bucket.full_at(rate), Instant::from_millis(120_000));
        // Another rate holds from the next time on.
        assert!(bucket.take(Instant::from_millis(75_000), Rate::per_min(1)));
        assert!(!bucket.take(Instant::from_millis(75_000), Rate::per_min(1)));
        assert!(!bucket.take(Instant::from_millis(900_000), Rate::per_min(0)));
    }

    #[test]
    fn a_stranger_is_answered_once_in_five_seconds() {
        let mut answers = Answers::default();
        assert!(answers.allow(Instant::from_millis(0), 1));
        assert!(!answers.allow(Instant::from_millis(4999), 1));
        assert!(answers.allow(Instant::from_millis(5000), 1));
    }

    #[test]
    fn a_refused_sender_is_told_as_often_as_it_repeats_itself_and_no_flood_is() {
        let mut refusals = Refusals::default();
        let mut told = |ms, sender| refusals.allow(Instant::from_millis(ms), sender);
        assert_eq!(
            [0, 10, 20, 30, 40].map(|ms| told(ms, 1)),
            [true, true, true, true, false]
        );
        assert!((1..=20).all(|n| told(40 + n * 1000, 1)));
        // One that floods takes nothing from the others.
        let flood = (0..5000).filter(|_| told(30_000, 2)).count();
        assert_eq!(flood, 4);
        assert!(told(30_000, 3));
        let flood = (10..5000).filter(|n| told(40_000, *n)).count();
        assert_eq!(flood, 100);
        assert!(refusals.len() <= Buckets::<u64>::SENDERS_MAX);
        assert!(refusals.allow(Instant::from_millis(42_000), 9999));
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
            buckets.take(Instant::ZERO, n, Rate::per_s(1, 1));
        }
        assert!(buckets.buckets.len() <= Buckets::<i32>::SENDERS_MAX);
        assert!(buckets.take(Instant::from_millis(2000), 7777, Rate::per_s(1, 1)));
    }
}
