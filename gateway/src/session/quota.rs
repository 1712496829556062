//! How much a node has published: its quota in messages a minute and octets a day (D-42).
//!
//! A node's count goes on over its connections and outlives its session, so that connecting
//! anew gains it nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use shared::time::{Duration, Instant};

use super::output::DropReason;
use super::policy::Quota;
use super::rate::{Rate, TokenBucket};

/// What one node has published of late. It holds nothing of what its quota does not limit.
#[derive(Debug, Default)]
pub(super) struct Meter {
    minute: Option<TokenBucket>,
    day: Option<Box<Day>>,
}

impl Meter {
    /// Counts a publication of `octets`, topic and payload together.
    ///
    /// # Errors
    /// The limit that it would exceed; it is not counted then.
    pub(super) fn charge(
        &mut self,
        now: Instant,
        quota: &Quota,
        octets: usize,
    ) -> Result<(), DropReason> {
        let octets = octets as u64;
        if let Some(bytes_max) = quota.bytes_per_day {
            let day = self.day.get_or_insert_with(|| Box::new(Day::new(now)));
            day.move_on(now);
            if day.octets().saturating_add(octets) > bytes_max {
                return Err(DropReason::QuotaBytes);
            }
        } else {
            self.day = None;
        }
        if let Some(messages_max) = quota.messages_per_min {
            let rate = Rate::per_min(messages_max);
            let bucket = TokenBucket::full(now, rate);
            if !self.minute.get_or_insert(bucket).take(now, rate) {
                return Err(DropReason::QuotaMessages);
            }
        } else {
            self.minute = None;
        }
        if let Some(day) = &mut self.day {
            day.add(octets);
        }
        Ok(())
    }

    /// Takes a publication off the count again that went nowhere.
    pub(super) fn refund(&mut self, octets: usize) {
        if let Some(minute) = &mut self.minute {
            minute.give_back();
        }
        if let Some(day) = &mut self.day {
            day.remove(octets as u64);
        }
    }

    /// Returns when the count is as if the node had never published.
    fn clear_at(&self, quota: &Quota) -> Instant {
        let rate = Rate::per_min(quota.messages_per_min.unwrap_or(u32::MAX));
        let minute = self.minute.map(|bucket| bucket.full_at(rate));
        let day = self.day.as_ref().map(|day| day.clear_at());
        minute
            .into_iter()
            .chain(day)
            .fold(Instant::ZERO, Instant::max)
    }
}

/// The octets of the hours that make up a day. The hours are the gateway's, counted from its
/// start; the oldest counts as a whole until a day after its end, so that in no 24 hours more is
/// published than the quota says.
#[derive(Debug)]
struct Day {
    hours: [u64; Self::HOURS],
    /// The number of the hour under way.
    hour: u64,
}

impl Day {
    /// The hours that 24 hours can touch.
    const HOURS: usize = 25;
    const HOUR: Duration = Duration::from_secs(3600);

    const fn new(now: Instant) -> Self {
        Self {
            hours: [0; Self::HOURS],
            hour: hour(now),
        }
    }

    fn move_on(&mut self, now: Instant) {
        let passed = hour(now).saturating_sub(self.hour);
        for _ in 0..passed.min(Self::HOURS as u64) {
            self.hours.rotate_right(1);
            self.hours[0] = 0;
        }
        self.hour += passed;
    }

    fn octets(&self) -> u64 {
        self.hours
            .iter()
            .fold(0, |sum, octets| sum.saturating_add(*octets))
    }

    const fn add(&mut self, octets: u64) {
        self.hours[0] = self.hours[0].saturating_add(octets);
    }

    /// Takes off what was added in this hour or, at its turn, in the last one.
    fn remove(&mut self, octets: u64) {
        let mut rest = octets;
        for hour in &mut self.hours {
            let taken = rest.min(*hour);
            *hour -= taken;
            rest -= taken;
        }
    }

    fn clear_at(&self) -> Instant {
        let Some(youngest) = self.hours.iter().position(|octets| *octets > 0) else {
            return Instant::ZERO;
        };
        let left = (Self::HOURS - youngest) as u64;
        Instant::ZERO + Self::HOUR.saturating_mul(self.hour.saturating_add(left))
    }
}

const fn hour(now: Instant) -> u64 {
    now.as_millis() / Day::HOUR.as_millis()
}

/// The meters of nodes that have no session any more, until they have run clear.
#[derive(Debug, Default)]
pub(super) struct Meters {
    by_client_id: HashMap<Arc<str>, (Instant, Meter)>,
    by_end: BTreeSet<(Instant, Arc<str>)>,
}

impl Meters {
    /// Keeps a meter while it counts, at most `len_max` of them: beyond it the one goes that
    /// would have run clear first.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        client_id: &Arc<str>,
        meter: Meter,
        quota: &Quota,
        len_max: usize,
    ) {
        self.forget_clear(now);
        let end = meter.clear_at(quota);
        if end <= now {
            return;
        }
        self.by_client_id
            .insert(Arc::clone(client_id), (end, meter));
        self.by_end.insert((end, Arc::clone(client_id)));
        while self.by_end.len() > len_max {
            self.forget_first();
        }
    }

    /// Returns the meter of a node that comes back.
    pub(super) fn take(&mut self, client_id: &Arc<str>) -> Meter {
        if self.by_client_id.is_empty() {
            return Meter::default();
        }
        let Some((end, meter)) = self.by_client_id.remove(client_id) else {
            return Meter::default();
        };
        self.by_end.remove(&(end, Arc::clone(client_id)));
        meter
    }

    fn forget_clear(&mut self, now: Instant) {
        while self.by_end.first().is_some_and(|(end, _)| *end <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, client_id)) = self.by_end.pop_first() {
            self.by_client_id.remove(&client_id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_client_id.len(), self.by_end.len());
        self.by_end.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: u64 = 24 * 3600 * 1000;

    fn bytes(bytes_max: u64) -> Quota {
        Quota {
            messages_per_min: None,
            bytes_per_day: Some(bytes_max),
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn what_exceeds_one_limit_is_not_counted_towards_the_other() {
        let quota = Quota {
            messages_per_min: Some(2),
            bytes_per_day: Some(10),
        };
        let mut meter = Meter::default();
        let mut charge = |octets| meter.charge(at(0), &quota, octets);
        assert_eq!(charge(11), Err(DropReason::QuotaBytes));
        assert_eq!(charge(4), Ok(()));
        assert_eq!(charge(4), Ok(()));
        assert_eq!(charge(1), Err(DropReason::QuotaMessages));
        assert_eq!(charge(3), Err(DropReason::QuotaBytes));
        meter.refund(4);
        assert_eq!(meter.charge(at(0), &quota, 6), Ok(()));
    }

    #[test]
    fn a_limit_that_is_lifted_leaves_nothing_behind() {
        let mut meter = Meter::default();
        meter.charge(at(0), &bytes(9), 9).unwrap();
        meter.charge(at(1), &Quota::UNLIMITED, 100).unwrap();
        assert_eq!(meter.clear_at(&bytes(9)), at(0));
        assert_eq!(meter.charge(at(2), &bytes(9), 9), Ok(()));
    }

    #[test]
    fn octets_count_for_a_day_and_no_longer_than_an_hour_more() {
        let mut meter = Meter::default();
        assert_eq!(meter.charge(at(1), &bytes(5), 5), Ok(()));
        let full = Err(DropReason::QuotaBytes);
        assert_eq!(meter.charge(at(DAY_MS), &bytes(5), 1), full);
        assert_eq!(meter.charge(at(DAY_MS + 3_599_999), &bytes(5), 1), full);
        assert_eq!(meter.clear_at(&bytes(5)), at(DAY_MS + 3_600_000));
        assert_eq!(meter.charge(at(DAY_MS + 3_600_000), &bytes(5), 5), Ok(()));
        assert_eq!(meter.charge(at(100 * DAY_MS), &bytes(5), 5), Ok(()));
    }

    #[test]
    fn meters_of_nodes_that_left_are_bounded_and_go_when_they_are_clear() {
        let mut meters = Meters::default();
        for n in 0..100_u64 {
            let mut meter = Meter::default();
            let now = at(n * 3_600_000);
            meter.charge(now, &bytes(9), 9).unwrap();
            meters.keep(now, &n.to_string().into(), meter, &bytes(9), 10);
        }
        assert_eq!(meters.len(), 10);
        let now = at(99 * 3_600_000);
        assert_eq!(
            meters.take(&"99".into()).charge(now, &bytes(9), 1),
            Err(DropReason::QuotaBytes)
        );
        assert_eq!(meters.take(&"89".into()).charge(now, &bytes(9), 1), Ok(()));
        assert_eq!(meters.len(), 9);
        let now = at(99 * 3_600_000 + DAY_MS);
        meters.keep(now, &"x".into(), Meter::default(), &bytes(9), 10);
        assert_eq!(meters.len(), 0);
    }

    proptest! {
        #[test]
        fn in_no_day_is_more_published_than_the_quota_says(
            sent in proptest::collection::vec((0..DAY_MS / 4, 1..40_usize), 1..80),
        ) {
            let quota = bytes(100);
            let mut meter = Meter::default();
            let mut now = 0;
            let mut taken: Vec<(u64, usize)> = Vec::new();
            for (gap, octets) in sent {
                now += gap;
                if meter.charge(at(now), &quota, octets).is_ok() {
                    taken.push((now, octets));
                }
                let of_a_day = taken.iter().filter(|(then, _)| now - then < DAY_MS);
                prop_assert!(of_a_day.map(|(_, octets)| octets).sum::<usize>() <= 100);
            }
        }
    }
}
