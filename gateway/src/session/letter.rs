//! A downlink publication on its way to one node.

use std::cmp::Reverse;

use shared::time::{Duration, Instant};
use shared::wire::{MsgId, QoS};

use super::output::DropReason;
use super::policy::Priority;
use super::port::{DeliveryId, Publication};

/// A publication for one node.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) publication: Publication,
    /// The quality of service towards this node, at most the publication's own.
    pub(super) qos: QoS,
    pub(super) delivery: Option<DeliveryId>,
    pub(super) priority: Priority,
    /// Its place among the letters of its priority.
    pub(super) turn: u64,
    lifetime: Lifetime,
    /// The id it was first sent with; a repetition keeps it, so that a QoS 2 receiver knows it.
    pub(super) msg_id: Option<MsgId>,
    /// The id that the node refused at QoS 1 because it did not know the topic (D-38); an
    /// earlier transmission with it may still be taken.
    pub(super) refused_id: Option<MsgId>,
    /// Whether PUBLISH was sent with that id, so that the next one says DUP.
    pub(super) published: bool,
    /// How often all repetitions went unanswered (D-18).
    pub(super) failed_rounds: u8,
    /// How often the node asked for its topic again (D-38).
    pub(super) repairs: u8,
}

/// How long a letter is worth delivering.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    until: Instant,
    /// Whether its publisher said so, and not the mailbox.
    of_publisher: bool,
}

impl Lifetime {
    /// A letter's life ends with the mailbox's patience, or sooner where its publisher said so
    /// (MQTT 5 §3.3.2.3.3).
    pub(super) fn new(now: Instant, age_max: Duration, expiry: Option<Duration>) -> Self {
        let span = expiry.map_or(age_max, |expiry| expiry.min(age_max));
        Self {
            until: now + span,
            of_publisher: expiry.is_some_and(|expiry| expiry < age_max),
        }
    }
}

impl Letter {
    pub(super) const fn new(
        publication: Publication,
        qos: QoS,
        delivery: Option<DeliveryId>,
        priority: Priority,
        lifetime: Lifetime,
    ) -> Self {
        Self {
            publication,
            qos,
            delivery,
            priority,
            turn: 0,
            lifetime,
            msg_id: None,
            refused_id: None,
            published: false,
            failed_rounds: 0,
            repairs: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.publication.topic.len() + self.publication.payload.len()
    }

    /// Returns why a letter must not be sent any more that was not sent yet: its time is up.
    pub(super) fn expired(&self, now: Instant) -> Option<DropReason> {
        let expired = self.lifetime.until <= now && !self.published;
        expired.then_some(if self.lifetime.of_publisher {
            DropReason::MailboxExpired
        } else {
            DropReason::MailboxAge
        })
    }

    pub(super) fn is_qos0(&self) -> bool {
        self.qos == QoS::AtMostOnce
    }

    pub(super) const fn until(&self) -> Instant {
        self.lifetime.until
    }

    pub(super) const fn rank(&self) -> Rank {
        Rank(Reverse(self.priority), self.turn)
    }
}

/// The order in which letters go: the most important first, and among these the oldest. All of
/// a topic are equally important, so that they keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(pub(super) Reverse<Priority>, pub(super) u64);
