//! Every drop counted, few of them written: a log that no flood can fill.
//!
//! A drop is counted by its reason and, while the reason's token bucket lasts, written with
//! who, why and how large. What was counted and not written is summed up at intervals:
//! `… and 4312 more of crc in the last 10.000 s`. Time is an argument, as everywhere.

use std::collections::BTreeMap;
use std::fmt;

use shared::time::{Duration, Instant};

/// Counts drops by reason and says which of them to write.
#[derive(Debug)]
pub struct DropLog {
    lines_per_s: u64,
    summary_interval: Duration,
    reasons: BTreeMap<&'static str, Reason>,
}

/// Drops that were counted and not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The reason.
    pub reason: &'static str,
    /// How many there were.
    pub more: u64,
    /// The time in which they were.
    pub within: Duration,
}

/// The lines a second and reason where nothing else is asked for.
pub const DEFAULT_LINES_PER_S: u64 = 5;
/// The time between two summaries of a reason where nothing else is asked for.
pub const DEFAULT_SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

impl DropLog {
    /// Creates a log that writes at most `lines_per_s` lines a second for each reason, and
    /// a summary of the rest every `summary_interval`.
    #[must_use]
    pub const fn new(lines_per_s: u64, summary_interval: Duration) -> Self {
        Self {
            lines_per_s,
            summary_interval,
            reasons: BTreeMap::new(),
        }
    }

    /// Counts a drop and writes it, if its reason may have a line now.
    pub fn warn(
        &mut self,
        now: Instant,
        reason: &'static str,
        who: impl fmt::Display,
        octets: usize,
    ) {
        self.warn_many(now, reason, who, octets, 1);
    }

    /// Counts `count` drops for one reason and writes them as one line, if there may be one;
    /// `octets` is the size of one of them, 0 where nobody knows it.
    pub fn warn_many(
        &mut self,
        now: Instant,
        reason: &'static str,
        who: impl fmt::Display,
        octets: usize,
        count: u64,
    ) {
        if count > 0 && self.record(now, reason, count) {
            tracing::warn!(%who, reason, octets, count, "dropped");
        }
        self.flush(now);
    }

    /// Writes the summaries that are due; the owner calls it now and then while it is idle.
    pub fn flush(&mut self, now: Instant) {
        while let Some(summary) = self.poll_summary(now) {
            tracing::warn!(reason = summary.reason, more = summary.more, "{summary}");
        }
    }

    /// Counts `count` drops that are not to be written, not even in a summary.
    pub fn count(&mut self, now: Instant, reason: &'static str, count: u64) {
        let entry = self.reasons.entry(reason);
        let entry = entry.or_insert_with(|| Reason::new(now, self.lines_per_s));
        entry.dropped = entry.dropped.saturating_add(count);
    }

    /// Counts `count` drops and returns whether they may be written, as one line.
    #[must_use]
    pub fn record(&mut self, now: Instant, reason: &'static str, count: u64) -> bool {
        let rate = self.lines_per_s;
        let entry = self.reasons.entry(reason);
        let entry = entry.or_insert_with(|| Reason::new(now, rate));
        entry.dropped = entry.dropped.saturating_add(count);
        let written = entry.take_token(now, rate);
        if !written {
            entry.suppressed_since.get_or_insert(now);
            entry.suppressed = entry.suppressed.saturating_add(count);
        }
        written
    }

    /// Returns one summary that is due at `now`, if any.
    pub fn poll_summary(&mut self, now: Instant) -> Option<Summary> {
        let interval = self.summary_interval;
        self.reasons.iter_mut().find_map(|(reason, entry)| {
            let since = entry.suppressed_since?;
            let within = now.since(since);
            if within < interval {
                return None;
            }
            entry.suppressed_since = None;
            Some(Summary {
                reason,
                more: std::mem::take(&mut entry.suppressed),
                within,
            })
        })
    }

    /// Returns when the next summary is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let entries = self.reasons.values();
        let since = entries.filter_map(|entry| entry.suppressed_since).min()?;
        Some(since + self.summary_interval)
    }

    /// Returns how many drops there were for a reason, written or not.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        self.reasons.get(reason).map_or(0, |entry| entry.dropped)
    }
}

impl Default for DropLog {
    fn default() -> Self {
        Self::new(DEFAULT_LINES_PER_S, DEFAULT_SUMMARY_INTERVAL)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reason,
            more,
            within,
        } = self;
        write!(f, "… and {more} more of {reason} in the last {within}")
    }
}

/// The count and the token bucket of one reason.
#[derive(Debug)]
struct Reason {
    dropped: u64,
    suppressed: u64,
    suppressed_since: Option<Instant>,
    /// Thousandths of a line: one millisecond adds as many as lines a second are allowed.
    tokens: u64,
    refilled: Instant,
}

impl Reason {
    const fn new(now: Instant, lines_per_s: u64) -> Self {
        Self {
            dropped: 0,
            suppressed: 0,
            suppressed_since: None,
            tokens: lines_per_s.saturating_mul(LINE),
            refilled: now,
        }
    }

    fn take_token(&mut self, now: Instant, lines_per_s: u64) -> bool {
        let elapsed = now.since(self.refilled).as_millis();
        let full = lines_per_s.saturating_mul(LINE);
        let refilled = self
            .tokens
            .saturating_add(elapsed.saturating_mul(lines_per_s));
        self.tokens = refilled.min(full);
        self.refilled = now;
        let Some(rest) = self.tokens.checked_sub(LINE) else {
            return false;
        };
        self.tokens = rest;
        true
    }
}

/// The tokens of one line.
const LINE: u64 = 1000;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_flood_yields_few_lines_and_an_exact_count() {
        let mut log = DropLog::new(5, Duration::from_secs(10));
        let mut lines = 0;
        let mut summed = 0;
        // 10,000 drops in 20 s, one every 2 ms.
        for index in 0..10_000 {
            let now = at(index * 2);
            lines += u64::from(log.record(now, "crc", 1));
            while let Some(summary) = log.poll_summary(now) {
                summed += summary.more;
            }
        }
        let end = log.poll_timeout().unwrap();
        assert_eq!(log.poll_summary(end - Duration::from_millis(1)), None);
        summed += log.poll_summary(end).unwrap().more;
        assert_eq!(log.poll_timeout(), None);
        assert_eq!(log.dropped("crc"), 10_000);
        assert_eq!(lines + summed, 10_000);
        assert!((5..=5 + 5 * 20).contains(&lines), "{lines}");
    }

    #[test]
    fn reasons_do_not_take_each_others_lines() {
        let mut log = DropLog::new(1, Duration::from_secs(10));
        assert!(log.record(at(0), "crc", 1));
        assert!(!log.record(at(0), "crc", 1));
        assert!(log.record(at(0), "oversize", 1));
        assert!(log.record(at(1000), "crc", 1));
        assert_eq!(log.dropped("crc"), 3);
        assert_eq!(log.dropped("never"), 0);
    }

    #[test]
    fn a_summary_says_how_many_of_what_and_when() {
        let mut log = DropLog::new(1, Duration::from_secs(10));
        assert!(log.record(at(0), "crc", 1));
        assert!(!log.record(at(100), "crc", 4312));
        assert_eq!(log.poll_timeout(), Some(at(10_100)));
        let summary = log.poll_summary(at(10_100)).unwrap();
        assert_eq!(
            summary.to_string(),
            "… and 4312 more of crc in the last 10.000 s"
        );
        assert_eq!(log.poll_summary(at(30_000)), None);
    }

    #[test]
    fn what_is_only_counted_takes_no_line() {
        let mut log = DropLog::new(1, Duration::from_secs(10));
        log.count(at(0), "too_long", 7);
        assert!(log.record(at(0), "too_long", 1));
        assert_eq!(log.dropped("too_long"), 8);
        assert_eq!(log.poll_timeout(), None);
    }

    #[test]
    fn what_is_written_is_bounded_too() {
        let written = Written::default();
        let sink = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || sink.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut log = DropLog::default();
            for index in 0..10_000 {
                log.warn(at(index), "malformed", "link0/192.0.2.1:9", 7);
            }
            log.flush(at(60_000));
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        // 10 s at 5 lines a second, a full bucket before and a summary.
        assert!((50..=58).contains(&text.lines().count()), "{text}");
        let first = text.lines().next().unwrap();
        for part in [
            "dropped",
            "who=link0/192.0.2.1:9",
            "reason=\"malformed\"",
            "octets=7",
        ] {
            assert!(first.contains(part), "{part} in {first}");
        }
        assert!(text.contains("more of malformed in the last"), "{text}");
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
