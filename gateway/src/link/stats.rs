//! What a link counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a link dropped something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// A received datagram is larger than the link's `max_message` (D-02).
    Oversize,
    /// A received datagram has no octets.
    Empty,
    /// The kernel's receive buffer was full.
    KernelBuffer,
    /// A frame's CRC is wrong.
    Crc,
    /// A frame's stuffing is broken.
    Cobs,
    /// A frame holds nothing beside its CRC.
    TooShort,
    /// A frame is longer than any datagram may be.
    Overrun,
    /// A datagram to send is larger than the link's `max_message` (D-02).
    SendOversize,
    /// The socket or line was full for so long that the queue is too.
    QueueFull,
    /// The kernel refused a datagram.
    SendFailed,
    /// The line's device is not open.
    LineDown,
    /// The peer is none of this kind of link.
    NoSuchPeer,
    /// A datagram to a group is neither ADVERTISE nor SEARCHGW nor GWINFO (D-09).
    NotForGroup,
    /// A datagram to a group that the link itself has sent (D-09).
    OwnEcho,
    /// A datagram to send repeats one that still waits for the same binding.
    Coalesced,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::Oversize,
        Self::Empty,
        Self::KernelBuffer,
        Self::Crc,
        Self::Cobs,
        Self::TooShort,
        Self::Overrun,
        Self::SendOversize,
        Self::QueueFull,
        Self::SendFailed,
        Self::LineDown,
        Self::NoSuchPeer,
        Self::NotForGroup,
        Self::OwnEcho,
        Self::Coalesced,
    ];

    /// Returns a short stable name, for counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oversize => "oversize",
            Self::Empty => "empty",
            Self::KernelBuffer => "kernel_buffer",
            Self::Crc => "crc",
            Self::Cobs => "cobs",
            Self::TooShort => "too_short",
            Self::Overrun => "overrun",
            Self::SendOversize => "send_oversize",
            Self::QueueFull => "queue_full",
            Self::SendFailed => "send_failed",
            Self::LineDown => "line_down",
            Self::NoSuchPeer => "no_such_peer",
            Self::NotForGroup => "not_for_group",
            Self::OwnEcho => "own_echo",
            Self::Coalesced => "coalesced",
        }
    }
}

/// What a link has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Datagrams received and handed over.
    pub datagrams_in: u64,
    /// Octets of those datagrams.
    pub octets_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Octets of those datagrams.
    pub octets_out: u64,
    /// Octets received as they were on the way: frames and garbage on a line, with the IP
    /// and UDP headers on a socket.
    pub line_octets_in: u64,
    /// Octets sent as they are on the way.
    pub line_octets_out: u64,
    /// How often a line's device was opened.
    pub opened: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl LinkCounters {
    /// Returns how many datagrams or frames were dropped for a reason.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Returns how many datagrams or frames were dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().sum()
    }
}

/// The counters while the link runs.
#[derive(Debug, Default)]
pub(super) struct LinkStats {
    pub(super) datagrams_in: AtomicU64,
    pub(super) octets_in: AtomicU64,
    pub(super) datagrams_out: AtomicU64,
    pub(super) octets_out: AtomicU64,
    pub(super) line_octets_in: AtomicU64,
    pub(super) line_octets_out: AtomicU64,
    pub(super) opened: AtomicU64,
    drops: [AtomicU64; DropReason::ALL.len()],
}

impl LinkStats {
    pub(super) fn received(&self, octets: usize, line_octets: usize) {
        add(&self.datagrams_in, 1);
        add(&self.octets_in, octets as u64);
        add(&self.line_octets_in, line_octets as u64);
    }

    pub(super) fn sent(&self, octets: usize, line_octets: usize) {
        add(&self.datagrams_out, 1);
        add(&self.octets_out, octets as u64);
        add(&self.line_octets_out, line_octets as u64);
    }

    pub(super) fn dropped(&self, reason: DropReason, count: u64) {
        add(&self.drops[reason as usize], count);
    }

    pub(super) fn snapshot(&self) -> LinkCounters {
        LinkCounters {
            datagrams_in: load(&self.datagrams_in),
            octets_in: load(&self.octets_in),
            datagrams_out: load(&self.datagrams_out),
            octets_out: load(&self.octets_out),
            line_octets_in: load(&self.line_octets_in),
            line_octets_out: load(&self.line_octets_out),
            opened: load(&self.opened),
            drops: std::array::from_fn(|index| load(&self.drops[index])),
        }
    }
}

/// Adds to a counter that only one task writes or that nobody orders anything by.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_name_of_its_own() {
        let stats = LinkStats::default();
        for (index, reason) in (1..).zip(DropReason::ALL) {
            stats.dropped(reason, index);
        }
        let counters = stats.snapshot();
        for (index, reason) in (1..).zip(DropReason::ALL) {
            assert_eq!(counters.dropped(reason), index, "{}", reason.name());
        }
        let mut names = DropReason::ALL.map(DropReason::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
