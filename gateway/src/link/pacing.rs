//! When what goes out on a slow link: its rate, its share of the air, and who comes next.
//!
//! ```text
//! push ──► one queue per binding ──► whose turn is it? ──► may it go now? ──► poll_transmit
//!          FIFO, bounded together     priority, then          rate, guard,
//!                                     one each in turn        duty cycle
//! ```
//!
//! It is sans-IO: time is an argument, in milliseconds as everywhere; within, it counts
//! microseconds, so that a fast line is not held to whole milliseconds.

mod duty;
mod queue;
mod repetition;

use bytes::Bytes;
use shared::time::Instant;

use super::stats::DropReason;
use crate::config::PacingConfig;
use crate::session::{Binding, Priority};
use duty::DutyCycle;
use queue::FairQueue;
pub(super) use queue::Waiting;

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    /// The node at this binding.
    Node(Binding),
    /// Everyone on the link, within a radius.
    Everyone(u8),
}

/// Decides when each datagram goes out on one link.
#[derive(Debug)]
pub(super) struct Pacer {
    config: PacingConfig,
    queue: FairQueue,
    duty: Option<DutyCycle>,
    /// When all that went out is through at the channel's rate, in microseconds.
    through_us: u64,
    /// Until when the link keeps quiet after a datagram from a node, in microseconds.
    quiet_until_us: u64,
    /// Since when datagrams from nodes have held back what waits, in microseconds.
    held_since_us: Option<u64>,
}

impl Pacer {
    /// Creates a pacer for a link with datagrams of up to `max_message` octets.
    pub(super) fn new(config: PacingConfig, max_message: usize) -> Self {
        Self {
            config,
            queue: FairQueue::default(),
            duty: DutyCycle::new(&config, max_message),
            through_us: 0,
            quiet_until_us: 0,
            held_since_us: None,
        }
    }

    /// Queues a datagram. `evicted` is given what has to make room for it: what is less
    /// important, the newest first.
    ///
    /// # Errors
    ///
    /// [`DropReason::Coalesced`] where it repeats what is still queued for the same binding,
    /// [`DropReason::QueueFull`] where nothing queued is less important.
    pub(super) fn push(
        &mut self,
        to: Target,
        priority: Priority,
        datagram: &[u8],
        evicted: impl FnMut(Target, &Waiting),
    ) -> Result<(), DropReason> {
        if self.queue.holds_repetition(to, datagram) {
            return Err(DropReason::Coalesced);
        }
        let octets = datagram.len() + self.config.frame_overhead_bytes;
        let max = self.config.queue_bytes_max;
        if !self.queue.make_room(octets, max, priority, evicted) {
            return Err(DropReason::QueueFull);
        }
        let waiting = Waiting {
            datagram: Bytes::copy_from_slice(datagram),
            priority,
            octets,
            airtime_us: self.config.airtime_us(datagram.len()),
        };
        self.queue.push(to, waiting);
        Ok(())
    }

    /// Notes that a datagram has come from a node.
    pub(super) fn heard(&mut self, now: Instant) {
        let (now, guard) = (micros(now), guard_us(&self.config));
        if self.queue.is_empty() {
            self.held_since_us = None;
        }
        // Nodes that never leave a gap must not silence the gateway for ever.
        let since = *self.held_since_us.get_or_insert(now);
        let until = (now + guard).min(since + guard * HELD_BACK_GUARDS_MAX);
        self.quiet_until_us = self.quiet_until_us.max(until);
    }

    /// Returns what goes out now.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<(Target, Bytes)> {
        let now = micros(now);
        if self.next_start_us()? > now {
            return None;
        }
        let (to, waiting) = self.queue.pop()?;
        self.through_us = self.through_us.max(now) + waiting.airtime_us;
        self.held_since_us = None;
        if let Some(duty) = &mut self.duty {
            duty.spend(now, waiting.airtime_us);
        }
        Some((to, waiting.datagram))
    }

    /// Returns when the next datagram goes out, in whole milliseconds.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_start_us().map(instant)
    }

    /// Returns when all that is queued or on the air will be through, as far as can be told
    /// now; `None` where that is past.
    pub(super) fn busy_until(&self, now: Instant) -> Option<Instant> {
        let now = micros(now);
        let airtime = self.queue.airtime_us();
        let guard = guard_us(&self.config);
        let mut until = self.through_us;
        if !self.queue.is_empty() {
            let gaps = guard * (self.queue.len() as u64 - 1);
            let start = self.line_free_us().max(self.quiet_until_us).max(now);
            until = until.max(start + airtime + gaps);
            if let Some(duty) = &self.duty {
                until = until.max(duty.free_for(airtime) + airtime);
            }
        }
        (until > now).then(|| instant(until))
    }

    /// Takes everything out of the queue: it would be old news.
    pub(super) fn clear(&mut self, dropped: impl FnMut(Target, &Waiting)) {
        self.queue.clear(dropped);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns when the next in turn may start, or nothing where nobody waits.
    fn next_start_us(&self) -> Option<u64> {
        let next = self.queue.peek()?;
        let line = self.line_free_us().max(self.quiet_until_us);
        let duty = self.duty.as_ref().map(|it| it.free_for(next.airtime_us));
        Some(duty.map_or(line, |free| free.max(line)))
    }

    /// Returns when the channel takes a frame.
    fn line_free_us(&self) -> u64 {
        if self.config.one_at_a_time() {
            return if self.through_us == 0 {
                0
            } else {
                self.through_us + guard_us(&self.config)
            };
        }
        let burst = usize::try_from(self.config.burst_bytes).unwrap_or(usize::MAX);
        self.through_us.saturating_sub(self.config.rate_us(burst))
    }
}

/// How many guards datagrams from nodes can hold back what waits.
const HELD_BACK_GUARDS_MAX: u64 = 8;

const fn guard_us(config: &PacingConfig) -> u64 {
    config.guard.as_millis() * 1000
}

const fn micros(now: Instant) -> u64 {
    now.as_millis() * 1000
}

const fn instant(micros: u64) -> Instant {
    Instant::from_millis(micros.div_ceil(1000))
}

#[cfg(test)]
mod tests;
