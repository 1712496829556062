//! Publications for this node: one slot, acknowledged when the application has taken it
//! [MQTT-SN 1.2 §6.10].

use heapless::Vec;

use super::Client;
use super::event::{Received, Topic};
use super::output::{Pending, Reply};
use super::publish::PublicationTopic;
use super::stats::bump;
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

/// The QoS 2 publications that were taken and not released yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Vec<SeenId, SEEN_MAX, u8>);

#[derive(Clone, Copy, Debug)]
struct SeenId {
    msg_id: MsgId,
    /// Whether it is of an earlier session, whose ids the gateway may use anew.
    old: bool,
}

impl Seen {
    /// Returns whether the publication has come before. A first transmission with an id of an
    /// earlier session is a new publication.
    fn contains(&mut self, msg_id: MsgId, dup: bool) -> bool {
        self.0
            .retain(|seen| seen.msg_id != msg_id || !seen.old || dup);
        self.0.iter().any(|seen| seen.msg_id == msg_id)
    }

    fn has_room(&mut self) -> bool {
        if self.0.is_full()
            && let Some(place) = self.0.iter().position(|seen| seen.old)
        {
            self.0.remove(place);
        }
        !self.0.is_full()
    }

    fn insert(&mut self, msg_id: MsgId) {
        // The caller has asked for room.
        let _ = self.0.push(SeenId { msg_id, old: false });
    }

    fn release(&mut self, msg_id: MsgId) {
        self.0.retain(|seen| seen.msg_id != msg_id);
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
    pub(super) fn on_publish(&mut self, publish: Publish<'_>) {
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
        if publish.qos == QoS::ExactlyOnce && self.seen.contains(publish.msg_id, publish.dup) {
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

    pub(super) fn on_pubrel(&mut self, msg_id: MsgId) {
        self.seen.release(msg_id);
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
            self.seen.insert(publish.msg_id);
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

/// QoS 2 publications remembered at a time; a gateway that keeps to the standard has one.
const SEEN_MAX: usize = 4;
