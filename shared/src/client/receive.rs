//! Publications for this node: one slot, acknowledged when the application has taken it
//! [MQTT-SN 1.2 §6.10].

use heapless::Vec;

use super::Client;
use super::event::{Received, Topic};
use super::output::{Pending, Reply};
use super::publish::PublicationTopic;
use super::stats::bump;
use crate::time::Instant;
use crate::wire::{Acknowledgement, MsgId, Publish, QoS, ReturnCode, TopicId, TopicRef};

/// The last publication taken from the gateway.
#[derive(Clone, Debug)]
pub(super) struct Slot<const P: usize> {
    pub(super) topic: PublicationTopic,
    topic_id: TopicId,
    msg_id: MsgId,
    qos: QoS,
    retain: bool,
    dup: bool,
    payload: Vec<u8, P, u16>,
    /// Whether the application has it.
    pub(super) taken: bool,
    /// Whether the session it came in has ended, so that no acknowledgement fits any more.
    pub(super) stale: bool,
}

/// The QoS 2 publications that were taken last.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Vec<SeenId, SEEN_MAX, u8>);

#[derive(Clone, Copy, Debug)]
struct SeenId {
    msg_id: MsgId,
    /// Whether it was a repetition, so that the first transmission may still be on its way.
    dup: bool,
    /// What the publication said, to know its late repetition.
    digest: u32,
    /// Whether it is of an earlier session, whose ids the gateway may use anew.
    old: bool,
    /// Whether PUBREL has freed the id.
    released: bool,
    /// Until when a repetition may be on its way after that.
    until: Instant,
}

impl SeenId {
    /// Returns whether a PUBLISH under this id is this one again. A first transmission with an
    /// id of an earlier session, or with one that PUBREL has freed, is a new publication, unless
    /// only its repetition has come so far.
    fn is_repeated_by(&self, now: Instant, publish: &Publish<'_>) -> bool {
        if self.released {
            (publish.dup || self.dup) && now <= self.until && self.digest == digest(publish)
        } else {
            !self.old || publish.dup
        }
    }
}

impl Seen {
    /// Returns whether the publication has come before; one that has not takes over its id.
    fn contains(&mut self, now: Instant, publish: &Publish<'_>) -> bool {
        self.0
            .retain(|seen| seen.msg_id != publish.msg_id || seen.is_repeated_by(now, publish));
        self.0.iter().any(|seen| seen.msg_id == publish.msg_id)
    }

    fn has_room(&mut self) -> bool {
        if self.0.is_full() {
            let mut ids = self.0.iter();
            let place = ids.position(|seen| seen.released);
            let place = place.or_else(|| self.0.iter().position(|seen| seen.old));
            if let Some(place) = place {
                self.0.remove(place);
            }
        }
        !self.0.is_full()
    }

    /// Returns whether PUBREL is still to come for one of this session.
    pub(super) fn awaits_release(&self) -> bool {
        self.0.iter().any(|seen| !seen.released && !seen.old)
    }

    fn insert(&mut self, publish: &Publish<'_>) {
        // The caller has asked for room.
        let _ = self.0.push(SeenId {
            msg_id: publish.msg_id,
            dup: publish.dup,
            digest: digest(publish),
            old: false,
            released: false,
            until: Instant::ZERO,
        });
    }

    fn release(&mut self, msg_id: MsgId, until: Instant) {
        let fresh = |seen: &&mut SeenId| seen.msg_id == msg_id && !seen.released;
        for seen in self.0.iter_mut().filter(fresh) {
            (seen.released, seen.until) = (true, until);
        }
    }

    pub(super) fn renew(&mut self, clean: bool) {
        if clean {
            self.0.clear();
        }
        self.0.iter_mut().for_each(|seen| seen.old = true);
    }
}

impl<const P: usize> Slot<P> {
    fn acknowledgement(&self) -> Option<Reply> {
        match self.qos {
            _ if self.stale => None,
            QoS::AtLeastOnce => Some(Reply::PubAck(Acknowledgement {
                topic_id: self.topic_id,
                msg_id: self.msg_id,
                return_code: ReturnCode::Accepted,
            })),
            QoS::ExactlyOnce => Some(Reply::PubRec(self.msg_id)),
            QoS::AtMostOnce | QoS::MinusOne => None,
        }
    }
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    pub(super) fn on_publish(&mut self, now: Instant, publish: Publish<'_>) {
        let has_id = publish.msg_id != MsgId::NONE;
        if publish.qos == QoS::MinusOne || (publish.qos != QoS::AtMostOnce && !has_id) {
            bump(&mut self.stats.bad.field);
            return;
        }
        let Some(topic) = self.topic_of(publish.topic) else {
            bump(&mut self.stats.unknown_topic_ids);
            self.refuse(publish, ReturnCode::InvalidTopicId);
            return;
        };
        if publish.qos == QoS::ExactlyOnce && self.seen.contains(now, &publish) {
            bump(&mut self.stats.duplicates);
            if !self.waits_in_slot(publish.msg_id) {
                self.reply(Reply::PubRec(publish.msg_id));
            }
            return;
        }
        match Vec::from_slice(publish.payload) {
            Ok(payload) => self.take_in(publish, topic, payload),
            Err(_) => {
                bump(&mut self.stats.receive_too_long);
                self.refuse(publish, ReturnCode::NotSupported);
            }
        }
    }

    pub(super) fn on_pubrel(&mut self, now: Instant, msg_id: MsgId) {
        let link = &self.config.link;
        let until = now + link.t_retry.saturating_mul(u64::from(link.tries_max()));
        self.seen.release(msg_id, until);
        // Also for an id that is not known: the gateway repeats a PUBREL whose answer was lost.
        self.reply(Reply::PubComp(msg_id));
    }

    /// Hands the publication to the application and lets its acknowledgement go.
    pub(super) fn take_received(&mut self) -> Option<Received<'_>> {
        let slot = self.slot.as_mut()?;
        slot.taken = true;
        if let Some(reply) = slot.acknowledgement() {
            self.reply(reply);
        }
        let slot = self.slot.as_ref()?;
        Some(Received {
            topic: match slot.topic {
                PublicationTopic::Name(index) => self.topics.get(index)?.topic(),
                PublicationTopic::Predefined(id) => Topic::Predefined(id),
                PublicationTopic::Short(name) => Topic::Short(name),
            },
            payload: &slot.payload,
            qos: slot.qos,
            retain: slot.retain,
            dup: slot.dup && slot.qos == QoS::AtLeastOnce,
        })
    }

    fn topic_of(&mut self, topic: TopicRef) -> Option<PublicationTopic> {
        Some(match topic {
            TopicRef::Normal(id) => {
                let index = self.topics.find_id(id)?;
                self.topics.touch(index, false);
                PublicationTopic::Name(index)
            }
            TopicRef::Predefined(id) => PublicationTopic::Predefined(id),
            TopicRef::Short(name) => PublicationTopic::Short(name),
        })
    }

    fn take_in(&mut self, publish: Publish<'_>, topic: PublicationTopic, payload: Vec<u8, P, u16>) {
        if publish.qos == QoS::AtLeastOnce && self.waits_in_slot(publish.msg_id) {
            bump(&mut self.stats.duplicates);
            return;
        }
        let slot_busy = self.slot.as_ref().is_some_and(|slot| !slot.taken);
        let no_room = publish.qos == QoS::ExactlyOnce && !self.seen.has_room();
        if slot_busy || no_room || self.events.is_full() {
            bump(&mut self.stats.receive_busy);
            return;
        }
        if publish.qos == QoS::ExactlyOnce {
            self.seen.insert(&publish);
        }
        self.slot = Some(Slot {
            topic,
            topic_id: publish.topic.topic_id(),
            msg_id: publish.msg_id,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            payload,
            taken: false,
            stale: false,
        });
        self.charge_wake();
        self.push_event(Pending::Received);
    }

    fn waits_in_slot(&self, msg_id: MsgId) -> bool {
        self.slot
            .as_ref()
            .is_some_and(|slot| !slot.taken && !slot.stale && slot.msg_id == msg_id)
    }

    /// Refuses a publication, whatever its QoS (digest A.9).
    fn refuse(&mut self, publish: Publish<'_>, return_code: ReturnCode) {
        self.reply(Reply::PubAck(Acknowledgement {
            topic_id: publish.topic.topic_id(),
            msg_id: publish.msg_id,
            return_code,
        }));
    }
}

/// Returns what distinguishes one publication from another under the same message id: FNV-1a
/// (Fowler, Noll, Vo; RFC 9923) over topic id and payload.
fn digest(publish: &Publish<'_>) -> u32 {
    let topic = publish.topic.topic_id().0.to_be_bytes();
    topic
        .iter()
        .chain(publish.payload)
        .fold(0x811C_9DC5, |hash: u32, octet| {
            (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193)
        })
}

/// QoS 2 publications remembered at a time; a gateway that keeps to the standard has one.
const SEEN_MAX: usize = 3;
