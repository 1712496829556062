//! One direction of a bad link.

use heapless::Vec;

use super::channel::{micros, span_us};
use super::dice::Dice;
use super::{FaultProfile, FaultStats};
use crate::time::{Duration, Instant};

/// One direction of a link that does to frames what its profile says.
///
/// At most `FRAMES` frames of at most `MTU` octets are in it at any time, waiting for the
/// line, on it, or on their way. It takes about `FRAMES · (MTU + 40)` octets of memory.
///
/// ```
/// use shared::fault::{FaultLink, FaultProfile};
/// use shared::time::{Duration, Instant};
///
/// let mut link = FaultLink::<8, 256>::new(FaultProfile::sat_geo(), 42);
/// link.send(Instant::ZERO, b"frame");
/// while let Some(due) = link.poll_timeout() {
///     let frame = link.poll_deliver(due).unwrap();
///     assert_eq!(&frame[..], b"frame");
/// }
/// ```
#[derive(Debug)]
pub struct FaultLink<const FRAMES: usize, const MTU: usize> {
    profile: FaultProfile,
    dice: Dice,
    partitioned: bool,
    slots: Vec<Slot<MTU>, FRAMES>,
    next_sequence: u64,
    /// When the line has sent what it was given.
    line_free_us: u64,
    /// When the latest frame that was not held back is due: nothing overtakes it by jitter.
    latest_due: Instant,
    stats: FaultStats,
}

/// What becomes of a frame that was given to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is on its way.
    Carried {
        /// When it comes out.
        due: Instant,
        /// Whether bits of it were flipped.
        corrupted: bool,
        /// Whether it is held back, for later frames to overtake it.
        reordered: bool,
        /// Whether a copy of it is on its way too.
        duplicated: bool,
    },
    /// Lost by itself.
    Lost,
    /// Lost in a burst.
    BurstLost,
    /// Lost outside of the contact windows.
    OutOfContact,
    /// Lost in an outage or a partition.
    Partitioned,
    /// Dropped: the queue is full.
    QueueFull,
    /// Dropped: longer than the link's MTU.
    Oversize,
}

impl<const FRAMES: usize, const MTU: usize> FaultLink<FRAMES, MTU> {
    /// Creates an idle link; the same `seed` makes the same choices.
    #[must_use]
    pub fn new(profile: FaultProfile, seed: u64) -> Self {
        Self {
            profile,
            dice: Dice::new(seed),
            partitioned: false,
            slots: Vec::new(),
            next_sequence: 0,
            line_free_us: 0,
            latest_due: Instant::ZERO,
            stats: FaultStats::default(),
        }
    }

    /// Gives a frame to the link at `now` and returns its fate, which is also counted.
    pub fn send(&mut self, now: Instant, frame: &[u8]) -> Fate {
        self.stats.sent += 1;
        self.retire(now);
        let fate = self.decide(now, frame);
        match fate {
            Fate::Carried { .. } => {}
            Fate::Lost => self.stats.lost += 1,
            Fate::BurstLost => self.stats.burst_lost += 1,
            Fate::OutOfContact => self.stats.out_of_contact += 1,
            Fate::Partitioned => self.stats.partitioned += 1,
            Fate::QueueFull => self.stats.dropped_full += 1,
            Fate::Oversize => self.stats.dropped_oversize += 1,
        }
        fate
    }

    /// Returns a frame that is due at `now`, earliest first, frames due at the same time in
    /// the order they were sent; call until `None`.
    #[must_use = "a frame that is not looked at is lost"]
    pub fn poll_deliver(&mut self, now: Instant) -> Option<Vec<u8, MTU>> {
        self.retire(now);
        let (index, (due, _)) = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((index, (slot.due?, slot.sequence))))
            .min_by_key(|&(_, order)| order)?;
        if due > now {
            return None;
        }
        let slot = self.slots.swap_remove(index);
        self.stats.delivered += 1;
        self.stats.octets_delivered += u64::from(slot.octets);
        Some(slot.frame)
    }

    /// Returns when the next frame is due, or `None` where none is on its way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.due).min()
    }

    /// Returns how long a frame of `len` octets is on the air, rounded up to milliseconds.
    #[must_use]
    pub fn airtime(&self, len: usize) -> Duration {
        self.profile.airtime.of(len)
    }

    /// Cuts this direction off until it is joined again; frames on their way still arrive.
    pub const fn set_partitioned(&mut self, partitioned: bool) {
        self.partitioned = partitioned;
    }

    /// Makes the link another one for the frames from now on; those on their way are not
    /// touched.
    pub const fn set_profile(&mut self, profile: FaultProfile) {
        self.profile = profile;
    }

    /// Returns what the link does to frames now.
    #[must_use]
    pub const fn profile(&self) -> &FaultProfile {
        &self.profile
    }

    /// Returns the number of frames that are yet to come out.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.iter().filter(|slot| slot.due.is_some()).count()
    }

    /// Returns what the link has done.
    #[must_use]
    pub const fn stats(&self) -> &FaultStats {
        &self.stats
    }

    fn decide(&mut self, now: Instant, frame: &[u8]) -> Fate {
        let Ok(content) = Vec::from_slice(frame) else {
            return Fate::Oversize;
        };
        let octets = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        if !self.has_room(octets) {
            return Fate::QueueFull;
        }
        let (start_us, end_us) = self.transmit(now, frame.len());
        if let Some(fate) = self.loss(start_us, end_us) {
            // What is lost still keeps the line, and its place in the queue, until it is sent.
            if end_us > micros(now) {
                self.place(end_us, None, octets, Vec::new());
            }
            return fate;
        }
        self.carry(end_us, octets, content)
    }

    /// Returns whether one more frame may wait for the line; [`Self::retire`] has cleared away
    /// the lost ones that need it no more.
    fn has_room(&self, octets: u32) -> bool {
        let waiting = self.slots.iter().filter(|slot| slot.waiting);
        let waiting_octets = waiting
            .clone()
            .fold(octets, |sum, slot| sum.saturating_add(slot.octets));
        !self.slots.is_full()
            && waiting.count() < usize::from(self.profile.queue_frames)
            && waiting_octets <= self.profile.queue_octets
    }

    /// Puts a frame on the air as soon as the line is free; returns when it starts and ends.
    fn transmit(&mut self, now: Instant, len: usize) -> (u64, u64) {
        let airtime_us = self.profile.airtime.micros(len);
        let start_us = self.line_free_us.max(micros(now));
        let end_us = start_us.saturating_add(airtime_us);
        self.line_free_us = end_us;
        self.stats.airtime_us = self.stats.airtime_us.saturating_add(airtime_us);
        self.stats.octets_on_air += u64::try_from(len).unwrap_or(u64::MAX);
        (start_us, end_us)
    }

    fn loss(&mut self, start_us: u64, end_us: u64) -> Option<Fate> {
        // Both draws are made for every frame, whatever else happens to it: outages and
        // windows then leave the losses of all other frames as they were.
        let burst_lost = match &self.profile.burst {
            Some(model) => self.dice.burst.loses_next(model),
            None => false,
        };
        let lost = self.dice.loss.chance_ppm(self.profile.loss_ppm);
        let outage = self.profile.outage;
        if self.partitioned || outage.is_some_and(|outage| outage.touches(start_us, end_us)) {
            return Some(Fate::Partitioned);
        }
        let windows = self.profile.windows;
        if windows.is_some_and(|windows| !windows.covers(start_us, end_us)) {
            return Some(Fate::OutOfContact);
        }
        match (burst_lost, lost) {
            (true, _) => Some(Fate::BurstLost),
            (false, true) => Some(Fate::Lost),
            (false, false) => None,
        }
    }

    fn carry(&mut self, end_us: u64, octets: u32, mut content: Vec<u8, MTU>) -> Fate {
        let corrupted = self.dice.corrupt.chance_ppm(self.profile.corrupt_ppm)
            && self
                .dice
                .flip_bits(&mut content, self.profile.corrupt_bits_max);
        let reordered = self.dice.reorder.chance_ppm(self.profile.reorder_ppm);
        let duplicated = self.dice.duplicate.chance_ppm(self.profile.duplicate_ppm);
        let due = self.due(end_us, reordered);
        let copy = duplicated.then(|| (self.due(end_us, reordered).max(due), content.clone()));
        self.place(end_us, Some(due), octets, content);
        let duplicated =
            copy.is_some_and(|(due, content)| self.place(OFF_LINE, Some(due), octets, content));
        self.stats.corrupted += u64::from(corrupted);
        self.stats.reordered += u64::from(reordered);
        self.stats.duplicated += u64::from(duplicated);
        Fate::Carried {
            due,
            corrupted,
            reordered,
            duplicated,
        }
    }

    /// Draws when a frame that leaves the line at `end_us` comes out.
    fn due(&mut self, end_us: u64, reordered: bool) -> Instant {
        let jitter_us = self
            .dice
            .jitter
            .below(span_us(self.profile.jitter).saturating_add(1));
        let due_us = end_us
            .saturating_add(span_us(self.profile.delay))
            .saturating_add(jitter_us);
        let due = Instant::from_millis(due_us.div_ceil(1000)).max(self.latest_due);
        if reordered {
            return due + self.profile.reorder_hold;
        }
        self.latest_due = due;
        due
    }

    /// Keeps a frame until it is due; returns whether there was room.
    fn place(
        &mut self,
        off_air_us: u64,
        due: Option<Instant>,
        octets: u32,
        frame: Vec<u8, MTU>,
    ) -> bool {
        let slot = Slot {
            off_air_us,
            waiting: true,
            due,
            sequence: self.next_sequence,
            octets,
            frame,
        };
        self.next_sequence += 1;
        self.slots.push(slot).is_ok()
    }

    /// Marks what has left the line by `now`, and forgets what was lost on it.
    fn retire(&mut self, now: Instant) {
        let now_us = micros(now);
        for slot in &mut self.slots {
            slot.waiting = slot.off_air_us > now_us;
        }
        self.slots.retain(|slot| slot.waiting || slot.due.is_some());
    }
}

/// When a copy leaves the line: it never was on it.
const OFF_LINE: u64 = 0;

/// A frame in the link; without a due time one that was lost, but still is on the line.
#[derive(Debug)]
struct Slot<const MTU: usize> {
    off_air_us: u64,
    /// Whether it waits for the line or is on it.
    waiting: bool,
    due: Option<Instant>,
    sequence: u64,
    octets: u32,
    frame: Vec<u8, MTU>,
}
