//! From bytes on the line to datagrams, through any garbage.

use cobs::{DecodeResult, DecoderState};

use super::{CRC, CRC_LEN};

/// Reads datagrams of up to `N` octets from a stream of bytes; what is not a whole frame is
/// counted and skipped.
///
/// ```text
///            byte            more than N octets
///   Idle ----------> Frame ---------------------> Skip
///    ^                 |                            |
///    +-- 0x00: datagram, or counted as broken --+---+
/// ```
///
/// It takes the memory of one datagram and never more. Every 0x00 brings it back to idle, so
/// no garbage costs more than the frame it runs into.
#[derive(Debug)]
pub struct FrameReader<const N: usize> {
    stuffing: DecoderState,
    /// The decoded octets, without the last two, which may be the CRC.
    datagram: [u8; N],
    tail: [u8; CRC_LEN],
    /// The octets decoded since the frame's start, the last two included.
    decoded: usize,
    skipping: bool,
    stats: FrameStats,
}

/// What a [`FrameReader`] has seen since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FrameStats {
    /// Whole frames, each of which gave a datagram.
    pub frames: u64,
    /// Octets of those datagrams.
    pub datagram_octets: u64,
    /// Octets on the line, good and bad, delimiters included.
    pub octets: u64,
    /// Delimiters without anything before them: leading ones, or a line held low.
    pub empty: u64,
    /// Frames that were stuffed well, but whose CRC is wrong.
    pub crc_errors: u64,
    /// Frames that ended inside a stuffing block: truncated, or a 0x00 among the data.
    pub cobs_errors: u64,
    /// Frames without a single octet beside the CRC.
    pub too_short: u64,
    /// Frames with a datagram of more than `N` octets.
    pub overruns: u64,
}

impl FrameStats {
    /// Returns the number of broken frames, whatever was wrong with them.
    #[must_use]
    pub const fn broken(&self) -> u64 {
        self.crc_errors
            .saturating_add(self.cobs_errors)
            .saturating_add(self.too_short)
            .saturating_add(self.overruns)
    }
}

impl<const N: usize> FrameReader<N> {
    /// Creates a reader that takes the next byte for the start of a frame.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            stuffing: DecoderState::Idle,
            datagram: [0; N],
            tail: [0; CRC_LEN],
            decoded: 0,
            skipping: false,
            stats: FrameStats::ZERO,
        }
    }

    /// Takes one byte and returns the datagram that it completes, if it does.
    #[must_use = "a datagram that is not looked at is lost"]
    pub fn push(&mut self, byte: u8) -> Option<&[u8]> {
        let len = self.take(byte)?;
        self.datagram.get(..len)
    }

    /// Takes bytes off the front of `bytes` up to the end of the first whole frame, and
    /// returns its datagram; `None` means that all of `bytes` was taken.
    ///
    /// ```
    /// # use shared::frame::{FrameReader, Lead, encode};
    /// # let mut line = [0; 32];
    /// # let len = encode(b"\x02\x17", Lead::None, &mut line).unwrap();
    /// # let received = &line[..len];
    /// let mut reader = FrameReader::<64>::new();
    /// let mut bytes = received;
    /// while let Some(datagram) = reader.feed(&mut bytes) {
    ///     assert_eq!(datagram, b"\x02\x17");
    /// }
    /// assert!(bytes.is_empty());
    /// ```
    #[must_use = "a datagram that is not looked at is lost"]
    pub fn feed(&mut self, bytes: &mut &[u8]) -> Option<&[u8]> {
        let len = loop {
            let (first, rest) = bytes.split_first()?;
            *bytes = rest;
            if let Some(len) = self.take(*first) {
                break len;
            }
        };
        self.datagram.get(..len)
    }

    /// Forgets a frame that has begun, for a line that was closed and opened again.
    pub fn reset(&mut self) {
        self.stuffing = DecoderState::Idle;
        self.decoded = 0;
        self.skipping = false;
    }

    /// Returns what the reader has seen.
    #[must_use]
    pub const fn stats(&self) -> &FrameStats {
        &self.stats
    }

    /// Takes one byte; returns the length of the datagram that it completes.
    fn take(&mut self, byte: u8) -> Option<usize> {
        self.stats.octets += 1;
        let was_idle = matches!(self.stuffing, DecoderState::Idle);
        match self.stuffing.feed(byte) {
            Ok(DecodeResult::NoData) => {
                if was_idle {
                    self.stats.empty += 1;
                }
                None
            }
            Ok(DecodeResult::DataStart) => {
                self.decoded = 0;
                self.skipping = false;
                None
            }
            Ok(DecodeResult::DataContinue(octet)) => {
                self.keep(octet);
                None
            }
            Ok(DecodeResult::DataComplete) => self.complete(),
            Err(_) => {
                self.broken();
                None
            }
        }
    }

    /// Keeps a decoded octet, two octets late: only at the end it shows which are the CRC.
    fn keep(&mut self, octet: u8) {
        if self.skipping {
            return;
        }
        let [oldest, newest] = self.tail;
        if let Some(index) = self.decoded.checked_sub(CRC_LEN) {
            let Some(place) = self.datagram.get_mut(index) else {
                self.skipping = true;
                return;
            };
            *place = oldest;
        }
        self.tail = [newest, octet];
        self.decoded += 1;
    }

    fn complete(&mut self) -> Option<usize> {
        if self.skipping {
            self.stats.overruns += 1;
            return None;
        }
        let len = self.decoded.saturating_sub(CRC_LEN);
        let datagram = self.datagram.get(..len)?;
        if datagram.is_empty() {
            self.stats.too_short += 1;
            return None;
        }
        if CRC.checksum(datagram) != u16::from_le_bytes(self.tail) {
            self.stats.crc_errors += 1;
            return None;
        }
        self.stats.frames += 1;
        self.stats.datagram_octets += u64::try_from(len).unwrap_or(u64::MAX);
        Some(len)
    }

    fn broken(&mut self) {
        if self.skipping {
            self.stats.overruns += 1;
        } else {
            self.stats.cobs_errors += 1;
        }
    }
}

impl<const N: usize> Default for FrameReader<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameStats {
    const ZERO: Self = Self {
        frames: 0,
        datagram_octets: 0,
        octets: 0,
        empty: 0,
        crc_errors: 0,
        cobs_errors: 0,
        too_short: 0,
        overruns: 0,
    };
}
