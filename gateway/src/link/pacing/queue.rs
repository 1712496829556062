//! What waits for a paced link: one queue per binding, served in turn.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::Target;
use super::repetition::{ends_a_wake, repeats};
use crate::session::Priority;

/// A datagram that waits.
#[derive(Debug)]
pub(in super::super) struct Waiting {
    pub(in super::super) datagram: Bytes,
    pub(super) priority: Priority,
    /// The octets that it takes, overhead included.
    pub(super) octets: usize,
    /// Its time on the air, in microseconds.
    pub(super) airtime_us: u64,
}

/// Queues of datagrams by binding.
///
/// Each binding is served in the order of its datagrams, for the protocol relies on it: an
/// important one pulls those before it along. Bindings of the same importance take turns.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    pub(super) flows: HashMap<Target, Flow>,
    /// Whose turn it is, by importance.
    rings: [VecDeque<Target>; PRIORITIES],
    /// The octets by importance.
    octets: [usize; PRIORITIES],
    airtime_us: u64,
    len: usize,
    pushed: u64,
}

/// What waits for one binding.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// With the numbers under which they were pushed.
    waiting: VecDeque<(u64, Waiting)>,
    /// How many there are by importance.
    counts: [usize; PRIORITIES],
}

impl Flow {
    /// Returns the importance of the most important one, on whose account all are served.
    fn rank(&self) -> Option<usize> {
        self.counts.iter().rposition(|count| *count > 0)
    }
}

impl FairQueue {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the time on the air of all that waits, in microseconds.
    pub(super) const fn airtime_us(&self) -> u64 {
        self.airtime_us
    }

    /// Returns the octets of all that waits, overhead included.
    pub(super) fn octets(&self) -> usize {
        self.octets.iter().sum()
    }

    /// Returns whether a datagram repeats one that waits for the same binding.
    pub(super) fn holds_repetition(&self, to: Target, datagram: &[u8]) -> bool {
        let Some(flow) = self.flows.get(&to) else {
            return false;
        };
        // D-22: what was queued behind an earlier PINGRESP needs one of its own.
        let looked_at = if ends_a_wake(datagram) { 1 } else { usize::MAX };
        let mut newest_first = flow.waiting.iter().rev().take(looked_at);
        newest_first.any(|(_, waiting)| repeats(datagram, &waiting.datagram))
    }

    /// Makes room for `octets` more octets within `max`, where that is possible at the cost of
    /// what is less important; returns whether there is room.
    pub(super) fn make_room(
        &mut self,
        octets: usize,
        max: usize,
        priority: Priority,
        mut evicted: impl FnMut(Target, &Waiting),
    ) -> bool {
        let lower: usize = self.octets[..rank(priority)].iter().sum();
        if self.octets() - lower + octets > max {
            return false;
        }
        while self.octets() + octets > max {
            let Some((to, number)) = self.least() else {
                return false;
            };
            if let Some(waiting) = self.take(to, number) {
                evicted(to, &waiting);
            }
        }
        true
    }

    pub(super) fn push(&mut self, to: Target, waiting: Waiting) {
        let rank = rank(waiting.priority);
        self.octets[rank] += waiting.octets;
        self.airtime_us += waiting.airtime_us;
        self.len += 1;
        self.pushed += 1;
        let flow = self.flows.entry(to).or_default();
        let before = flow.rank();
        flow.counts[rank] += 1;
        flow.waiting.push_back((self.pushed, waiting));
        self.settle(to, before);
    }

    /// Returns the one whose turn it is.
    pub(super) fn peek(&self) -> Option<&Waiting> {
        let to = self.next()?;
        let flow = self.flows.get(&to)?;
        flow.waiting.front().map(|(_, waiting)| waiting)
    }

    pub(super) fn pop(&mut self) -> Option<(Target, Waiting)> {
        let to = self.next()?;
        let number = self.flows.get(&to)?.waiting.front()?.0;
        let ring = self.rings.iter_mut().rev().find(|ring| !ring.is_empty())?;
        ring.rotate_left(1);
        let waiting = self.take(to, number)?;
        Some((to, waiting))
    }

    pub(super) fn clear(&mut self, mut dropped: impl FnMut(Target, &Waiting)) {
        while let Some((to, waiting)) = self.pop() {
            dropped(to, &waiting);
        }
    }

    /// Returns whose turn it is.
    fn next(&self) -> Option<Target> {
        let mut most_first = self.rings.iter().rev();
        most_first.find_map(|ring| ring.front().copied())
    }

    /// Finds the newest of the least important.
    fn least(&self) -> Option<(Target, u64)> {
        let least = self.octets.iter().position(|octets| *octets > 0)?;
        let of_least = self.flows.iter().filter_map(|(to, flow)| {
            let mut newest_first = flow.waiting.iter().rev();
            newest_first
                .find(|(_, waiting)| rank(waiting.priority) == least)
                .map(|(number, _)| (*to, *number))
        });
        of_least.max_by_key(|(_, number)| *number)
    }

    fn take(&mut self, to: Target, number: u64) -> Option<Waiting> {
        let flow = self.flows.get_mut(&to)?;
        let before = flow.rank();
        let place = flow.waiting.iter().position(|(own, _)| *own == number)?;
        let (_, waiting) = flow.waiting.remove(place)?;
        let rank = rank(waiting.priority);
        flow.counts[rank] -= 1;
        self.octets[rank] -= waiting.octets;
        self.airtime_us -= waiting.airtime_us;
        self.len -= 1;
        self.settle(to, before);
        Some(waiting)
    }

    /// Puts a binding into the ring that it now belongs to.
    fn settle(&mut self, to: Target, before: Option<usize>) {
        let now = self.flows.get(&to).and_then(Flow::rank);
        if now == before {
            return;
        }
        if let Some(before) = before {
            self.rings[before].retain(|other| *other != to);
        }
        match now {
            Some(now) => self.rings[now].push_back(to),
            None => {
                self.flows.remove(&to);
            }
        }
    }
}

/// The number of priorities.
const PRIORITIES: usize = 3;

const fn rank(priority: Priority) -> usize {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
    }
}
