//! Frames in what a serial line carried, good ones and broken ones.

use std::fmt;

use shared::frame::{DELIMITER, FrameReader, FrameStats};
use shared::wire::{FORWARD_NODE_ID_LEN_MAX, FORWARD_OVERHEAD, MESSAGE_LEN_MAX};

/// Finds frames, and keeps the octets of the one it is in to show them if it is broken.
#[derive(Default)]
pub(super) struct Frames {
    reader: Box<FrameReader<DATAGRAM_LEN_MAX>>,
    octets: Vec<u8>,
}

/// A frame without a datagram: what is wrong, and its octets without the delimiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BrokenFrame {
    pub(super) flaw: Flaw,
    pub(super) octets: Vec<u8>,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Crc,
    Cobs,
    TooShort,
    TooLong,
    Cut,
}

impl Frames {
    /// Takes an octet of the line; returns what the frame holds that it ends.
    pub(super) fn push(&mut self, octet: u8) -> Option<Result<Vec<u8>, BrokenFrame>> {
        let before = *self.reader.stats();
        let datagram = self.reader.push(octet).map(<[u8]>::to_vec);
        if octet != DELIMITER {
            self.octets.push(octet);
            return None;
        }
        let octets = std::mem::take(&mut self.octets);
        match (datagram, flaw(&before, self.reader.stats())) {
            (Some(datagram), _) => Some(Ok(datagram)),
            (None, Some(flaw)) => Some(Err(BrokenFrame { flaw, octets })),
            // A delimiter on its own, as it stands before a frame on a line that was idle.
            (None, None) => None,
        }
    }

    /// Ends the line; returns the frame that it breaks off.
    pub(super) fn end(&mut self) -> Option<BrokenFrame> {
        self.reader.reset();
        let octets = std::mem::take(&mut self.octets);
        (!octets.is_empty()).then_some(BrokenFrame {
            flaw: Flaw::Cut,
            octets,
        })
    }
}

impl Flaw {
    /// Returns a short stable name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Crc => "frame_crc",
            Self::Cobs => "frame_cobs",
            Self::TooShort => "frame_too_short",
            Self::TooLong => "frame_too_long",
            Self::Cut => "frame_cut",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc => "the CRC is wrong",
            Self::Cobs => "a delimiter stands inside a stuffing block",
            Self::TooShort => "there is nothing beside the CRC",
            Self::TooLong => "no datagram is that long",
            Self::Cut => "no delimiter ends it",
        })
    }
}

fn flaw(before: &FrameStats, after: &FrameStats) -> Option<Flaw> {
    [
        (before.crc_errors, after.crc_errors, Flaw::Crc),
        (before.cobs_errors, after.cobs_errors, Flaw::Cobs),
        (before.too_short, after.too_short, Flaw::TooShort),
        (before.overruns, after.overruns, Flaw::TooLong),
    ]
    .into_iter()
    .find_map(|(before, after, flaw)| (before != after).then_some(flaw))
}

/// The longest datagram: the longest message in the longest encapsulation, in octets.
const DATAGRAM_LEN_MAX: usize = FORWARD_OVERHEAD + FORWARD_NODE_ID_LEN_MAX + MESSAGE_LEN_MAX;
