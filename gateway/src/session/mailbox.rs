//! Downlink publications that wait for one node (D-27).

use std::collections::VecDeque;

use shared::time::Instant;
use shared::wire::{MsgId, QoS};

use super::port::{DeliveryId, Publication};
use super::settings::MailboxLimits;

/// A publication for one node.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) publication: Publication,
    /// The quality of service towards this node, at most the publication's own.
    pub(super) qos: QoS,
    pub(super) delivery: Option<DeliveryId>,
    pub(super) arrived: Instant,
    /// The id it was first sent with; a repetition keeps it, so that a QoS 2 receiver knows it.
    pub(super) msg_id: Option<MsgId>,
    /// Whether PUBLISH was sent with that id, so that the next one says DUP.
    pub(super) published: bool,
    /// How often all repetitions went unanswered (D-18).
    pub(super) failed_rounds: u8,
    /// How often the node asked for its topic again (D-38).
    pub(super) repairs: u8,
}

impl Letter {
    pub(super) const fn new(
        publication: Publication,
        qos: QoS,
        delivery: Option<DeliveryId>,
        arrived: Instant,
    ) -> Self {
        Self {
            publication,
            qos,
            delivery,
            arrived,
            msg_id: None,
            published: false,
            failed_rounds: 0,
            repairs: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.publication.topic.len() + self.publication.payload.len()
    }
}

/// The queue of one node, first in, first out, bounded by [`MailboxLimits`].
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) letters: VecDeque<Letter>,
    pub(super) bytes: usize,
}

impl Mailbox {
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Returns the octets of all letters, topic names and payloads together.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&Letter> {
        self.letters.front()
    }

    pub(super) fn pop(&mut self) -> Option<Letter> {
        let letter = self.letters.pop_front()?;
        self.bytes -= letter.len();
        if self.letters.is_empty() {
            // A sleeping node with nothing waiting shall cost no buffer.
            self.letters = VecDeque::new();
        }
        Some(letter)
    }

    /// Puts a letter that was under way back to the front; it was let in before.
    pub(super) fn put_back(&mut self, letter: Letter) {
        self.bytes += letter.len();
        self.letters.push_front(letter);
    }

    /// Lets a letter in, and returns what has to go for it: the oldest ones at QoS 0, or, with
    /// none of those left, the new one itself.
    pub(super) fn push(&mut self, letter: Letter, limits: &MailboxLimits) -> Vec<Letter> {
        let mut refused = Vec::new();
        if letter.qos == QoS::AtMostOnce && self.qos0_len() >= limits.qos0_max {
            match self.remove_oldest_qos0() {
                Some(oldest) => refused.push(oldest),
                None => return vec![letter],
            }
        }
        while self.letters.len() >= limits.messages_max
            || self.bytes + letter.len() > limits.bytes_max
        {
            match self.remove_oldest_qos0() {
                Some(oldest) => refused.push(oldest),
                None => {
                    refused.push(letter);
                    return refused;
                }
            }
        }
        self.bytes += letter.len();
        self.letters.push_back(letter);
        refused
    }

    /// Removes and returns what arrived before `horizon`.
    pub(super) fn expire(&mut self, horizon: Instant) -> Vec<Letter> {
        let mut expired = Vec::new();
        while self.front().is_some_and(|letter| letter.arrived < horizon) {
            expired.extend(self.pop());
        }
        expired
    }

    /// Removes and returns what `unwanted` holds for.
    pub(super) fn remove_if(&mut self, unwanted: impl Fn(&Letter) -> bool) -> Vec<Letter> {
        let (gone, kept): (Vec<_>, VecDeque<_>) =
            std::mem::take(&mut self.letters).into_iter().fold(
                (Vec::new(), VecDeque::new()),
                |(mut gone, mut kept), letter| {
                    if unwanted(&letter) {
                        gone.push(letter)
                    } else {
                        kept.push_back(letter)
                    }
                    (gone, kept)
                },
            );
        self.letters = kept;
        self.bytes -= gone.iter().map(Letter::len).sum::<usize>();
        gone
    }

    fn qos0_len(&self) -> usize {
        self.letters
            .iter()
            .filter(|letter| letter.qos == QoS::AtMostOnce)
            .count()
    }

    fn remove_oldest_qos0(&mut self) -> Option<Letter> {
        let index = self
            .letters
            .iter()
            .position(|letter| letter.qos == QoS::AtMostOnce)?;
        let letter = self.letters.remove(index)?;
        self.bytes -= letter.len();
        Some(letter)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;

    fn letter(n: u8, qos: QoS) -> Letter {
        let publication = Publication {
            topic: Arc::from("t"),
            payload: Bytes::from(vec![n; 9]),
            qos,
            retain: false,
        };
        Letter::new(publication, qos, None, Instant::from_millis(u64::from(n)))
    }

    fn first_octets(letters: &[Letter]) -> Vec<u8> {
        letters
            .iter()
            .map(|letter| letter.publication.payload[0])
            .collect()
    }

    fn drain(mailbox: &mut Mailbox) -> Vec<u8> {
        std::iter::from_fn(|| mailbox.pop())
            .map(|l| l.publication.payload[0])
            .collect()
    }

    const LIMITS: MailboxLimits = MailboxLimits {
        messages_max: 4,
        bytes_max: 1000,
        age_max: shared::time::Duration::from_secs(1),
        qos0_max: 2,
        conflate_qos0: false,
    };

    #[test]
    fn the_newest_at_qos_0_are_kept() {
        let mut mailbox = Mailbox::default();
        for n in 0..4 {
            mailbox.push(letter(n, QoS::AtMostOnce), &LIMITS);
        }
        assert_eq!(drain(&mut mailbox), [2, 3]);
        assert_eq!(mailbox.bytes, 0);
    }

    #[test]
    fn a_full_mailbox_gives_up_qos_0_first_then_refuses() {
        let mut mailbox = Mailbox::default();
        mailbox.push(letter(0, QoS::AtMostOnce), &LIMITS);
        for n in 1..4 {
            assert!(
                mailbox
                    .push(letter(n, QoS::AtLeastOnce), &LIMITS)
                    .is_empty()
            );
        }
        assert_eq!(
            first_octets(&mailbox.push(letter(4, QoS::AtLeastOnce), &LIMITS)),
            [0]
        );
        assert_eq!(
            first_octets(&mailbox.push(letter(5, QoS::AtLeastOnce), &LIMITS)),
            [5]
        );
        assert_eq!(
            first_octets(&mailbox.push(letter(6, QoS::AtMostOnce), &LIMITS)),
            [6]
        );
        assert_eq!(drain(&mut mailbox), [1, 2, 3, 4]);
    }

    #[test]
    fn bytes_are_bounded() {
        let limits = MailboxLimits {
            bytes_max: 25,
            ..LIMITS
        };
        let mut mailbox = Mailbox::default();
        assert!(
            mailbox
                .push(letter(0, QoS::AtLeastOnce), &limits)
                .is_empty()
        );
        assert!(
            mailbox
                .push(letter(1, QoS::AtLeastOnce), &limits)
                .is_empty()
        );
        assert_eq!(
            first_octets(&mailbox.push(letter(2, QoS::AtLeastOnce), &limits)),
            [2]
        );
    }

    #[test]
    fn what_is_too_old_goes() {
        let mut mailbox = Mailbox::default();
        for n in 0..3 {
            mailbox.push(letter(n, QoS::AtLeastOnce), &LIMITS);
        }
        assert_eq!(
            first_octets(&mailbox.expire(Instant::from_millis(2))),
            [0, 1]
        );
        assert_eq!(drain(&mut mailbox), [2]);
    }
}
