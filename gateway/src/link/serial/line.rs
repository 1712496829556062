//! What both ends of a serial link know of the line, and the frames that go from one to the
//! other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use super::super::stats::LinkStats;

/// What both ends of the link know of the line.
#[derive(Debug)]
pub(in super::super) struct Line {
    stats: Arc<LinkStats>,
    /// How often the line has gone up or down: it is up while this is odd.
    turns: AtomicU64,
    /// The octets of frames that are queued or being written.
    backlog: AtomicUsize,
    emptied: Notify,
}

impl Line {
    /// Creates a line that is down.
    pub(super) fn new(stats: Arc<LinkStats>) -> Self {
        Self {
            stats,
            turns: AtomicU64::new(0),
            backlog: AtomicUsize::new(0),
            emptied: Notify::new(),
        }
    }

    /// Takes the line up where it is down, and down where it is up.
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the number of the line's time up, or nothing while it is down.
    pub(super) fn time_up(&self) -> Option<u64> {
        let turns = self.turns.load(Ordering::Acquire);
        (turns % 2 == 1).then_some(turns)
    }

    /// Returns the octets of frames that are queued or being written.
    pub(super) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Acquire)
    }

    /// Waits until no frame is queued or being written.
    pub(in super::super) async fn flush(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.backlog() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A frame for the line; it counts as waiting until it is dropped, written or not.
#[derive(Debug)]
pub(super) struct Frame {
    octets: Bytes,
    datagram_len: usize,
    time_up: u64,
    line: Arc<Line>,
}

impl Frame {
    /// Creates the frame of a datagram for the line's time up of that number.
    pub(super) fn new(octets: Bytes, datagram_len: usize, time_up: u64, line: Arc<Line>) -> Self {
        line.backlog.fetch_add(octets.len(), Ordering::AcqRel);
        Self {
            octets,
            datagram_len,
            time_up,
            line,
        }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Returns the length of the datagram in the frame, in octets.
    pub(super) const fn datagram_len(&self) -> usize {
        self.datagram_len
    }

    /// Returns whether the line is up since before the frame was queued.
    pub(super) fn is_of_now(&self) -> bool {
        self.line.time_up() == Some(self.time_up)
    }

    /// Counts the frame as sent.
    pub(super) fn written(self) {
        self.line.stats.sent(self.datagram_len, self.octets.len());
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let octets = self.octets.len();
        if self.line.backlog.fetch_sub(octets, Ordering::AcqRel) == octets {
            self.line.emptied.notify_waiters();
        }
    }
}
