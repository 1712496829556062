//! What a link drops: counted by reason, and written at a bounded rate.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock::Clock;
use super::stats::{DropReason, LinkStats};
use crate::drop_log::DropLog;

/// The one drop log of a link: the driver's end and the link's tasks write to it, and a task
/// flushes it by its timer, so that the last summary of a burst needs no further drop.
#[derive(Debug)]
pub(super) struct Drops {
    stats: Arc<LinkStats>,
    clock: Clock,
    log: Mutex<DropLog>,
}

impl Drops {
    pub(super) fn new(stats: Arc<LinkStats>) -> Self {
        Self {
            stats,
            clock: Clock::start(),
            log: Mutex::default(),
        }
    }

    /// Counts a drop of `octets` octets and writes it, if its reason may have a line now.
    pub(super) fn dropped(&self, reason: DropReason, who: impl Display, octets: usize) {
        self.dropped_many(reason, who, octets, 1);
    }

    /// Counts `count` drops and writes them as one line, if there may be one; `octets` is the
    /// size of one of them, 0 where nobody knows it.
    pub(super) fn dropped_many(
        &self,
        reason: DropReason,
        who: impl Display,
        octets: usize,
        count: u64,
    ) {
        if count > 0 {
            self.stats.dropped(reason, count);
            let now = self.clock.now();
            self.log().warn_many(now, reason.name(), who, octets, count);
        }
    }

    /// Counts drops that nobody needs to read about.
    pub(super) fn counted(&self, reason: DropReason, count: u64) {
        self.stats.dropped(reason, count);
    }

    /// Returns whether trouble that is no drop may have a line now.
    pub(super) fn may_write(&self, trouble: &'static str) -> bool {
        self.log().record(self.clock.now(), trouble, 1)
    }

    /// Writes the summaries that are due.
    pub(super) fn flush(&self) {
        self.log().flush(self.clock.now());
    }

    fn log(&self) -> MutexGuard<'_, DropLog> {
        // A log that another thread left in the middle of a line is still a log.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time between two looks for summaries that are due.
pub(super) const FLUSH_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
