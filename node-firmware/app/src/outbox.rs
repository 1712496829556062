//! Publications that wait for the protocol machine to have room.

use heapless::{Deque, Vec};
use serde::Serialize;

use crate::payload::PAYLOAD_LEN_MAX;

/// Publications in the order they were made, a bounded number of them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Deque<Publication, OUTBOX_LEN>,
}

/// One publication that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) to: Target,
    pub(crate) payload: Vec<u8, PAYLOAD_LEN_MAX>,
}

/// Which of the node's topics a publication goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Reading,
    Status,
}

impl Outbox {
    /// Adds a publication; returns whether the oldest had to go for it.
    #[must_use]
    pub(crate) fn push(&mut self, publication: Publication) -> bool {
        let dropped = self.waiting.is_full() && self.waiting.pop_front().is_some();
        // There is room: made above where there was none.
        let _ = self.waiting.push_back(publication);
        dropped
    }

    pub(crate) fn front(&self) -> Option<&Publication> {
        self.waiting.front()
    }

    pub(crate) fn pop(&mut self) {
        let _ = self.waiting.pop_front();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Publication {
    /// Encodes `content`; every type that a node publishes fits.
    pub(crate) fn new(to: Target, content: &impl Serialize) -> Self {
        let mut buf = [0; PAYLOAD_LEN_MAX];
        let encoded = postcard::to_slice(content, &mut buf);
        debug_assert!(encoded.is_ok(), "PAYLOAD_LEN_MAX is too small");
        let payload = encoded.ok().and_then(|bytes| Vec::from_slice(bytes).ok());
        Self {
            to,
            payload: payload.unwrap_or_default(),
        }
    }
}

/// How many publications wait while the gateway is away, beside the few that the protocol
/// machine holds; then the oldest is dropped. Half an hour of readings at one a minute.
pub const OUTBOX_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: u32) -> Publication {
        Publication::new(Target::Reading, &number)
    }

    #[test]
    fn a_full_outbox_drops_its_oldest() {
        let mut outbox = Outbox::default();
        for number in 0..34 {
            assert_eq!(outbox.push(numbered(number)), number >= 32);
        }
        for number in 2..34 {
            assert_eq!(outbox.front(), Some(&numbered(number)));
            outbox.pop();
        }
        assert!(outbox.is_empty());
    }
}
