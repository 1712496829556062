//! From a connected node up: REGISTER, PUBLISH, PUBREL [MQTT-SN 1.2 §6.5, §6.6].

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use shared::time::Instant;
use shared::wire::{
    Acknowledgement, Message, MsgId, Publish, QoS, Register, ReturnCode, ShortName, TopicId,
    TopicRef,
};

use super::engine::Engine;
use super::output::DropReason;
use super::permission::Refused;
use super::port::{Publication, PublicationId, Refusal};
use super::slots::SessionKey;
use super::state::{Received, Session, Uplink};

/// The most QoS 2 publications of one node that are kept in mind; the oldest are forgotten.
const RECEIVED_MAX: usize = 8;

impl Engine {
    pub(super) fn register(&mut self, key: SessionKey, register: &Register<'_>) {
        let topics_max = self.settings.topics_max;
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let (topic_id, return_code) = match valid_name(register.topic_name) {
            // [MQTT-SN 1.2 §6.5] D-07
            None => (TopicId::NONE, ReturnCode::NotSupported),
            // D-43
            Some(name) if !session.may_register(name) => {
                let octets = name.len();
                self.refused(key, DropReason::NotAuthorised, octets);
                (TopicId::NONE, ReturnCode::NotSupported)
            }
            Some(name) => match session.register_topic(name, topics_max) {
                Some(id) => {
                    session.confirm_topic(id);
                    (id, ReturnCode::Accepted)
                }
                None => (TopicId::NONE, ReturnCode::Congestion),
            },
        };
        let ack = Acknowledgement {
            topic_id,
            msg_id: register.msg_id,
            return_code,
        };
        self.send(key, &Message::RegAck(ack));
    }

    /// Takes a publication of a connected node, at any QoS.
    pub(super) fn publish(&mut self, now: Instant, key: SessionKey, publish: &Publish<'_>) {
        if matches!(publish.qos, QoS::AtMostOnce | QoS::MinusOne) {
            return self.publish_unacknowledged(now, key, publish);
        }
        if publish.msg_id == MsgId::NONE {
            // A.19, row 10: without an id there is nothing to acknowledge.
            return self.refused(key, DropReason::NoMsgId, publish.payload.len());
        }
        let digest = digest(publish);
        if self.is_repeated_publish(now, key, publish, digest) {
            return;
        }
        let taken = self
            .named(key, publish)
            .and_then(|named| self.permitted(now, key, publish.qos, named));
        let (topic, payload) = match taken {
            Ok(taken) => taken,
            Err(refused) => return self.refuse(key, refused, publish),
        };
        let publication = Publication {
            topic,
            payload: Bytes::copy_from_slice(payload),
            qos: publish.qos,
            retain: publish.retain,
        };
        let id = self.out.publish(publication, Some(key));
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.add_uplink(Uplink {
            id,
            qos: publish.qos,
            msg_id: publish.msg_id,
            topic_id: publish.topic.topic_id(),
            dup: publish.dup,
            digest,
            superseded: false,
        });
    }

    /// Takes a publication of a connected node at QoS 0, or at QoS −1, which counts as QoS 0 of
    /// that node (D-34) and is not answered even so. The message id means nothing (A.19, row 9).
    fn publish_unacknowledged(&mut self, now: Instant, key: SessionKey, publish: &Publish<'_>) {
        let taken = self
            .named(key, publish)
            .and_then(|named| self.permitted(now, key, QoS::AtMostOnce, named));
        let (topic, payload) = match taken {
            Ok(taken) => taken,
            Err(refused) => return self.refuse_unacknowledged(now, key, refused, publish),
        };
        let publication = Publication {
            topic,
            payload: Bytes::copy_from_slice(payload),
            qos: QoS::AtMostOnce,
            retain: publish.retain,
        };
        self.out.publish(publication, None);
    }

    /// Recognises a repetition: one that waits for the broker will be answered (D-39), one at
    /// QoS 2 that was answered is answered again and never published twice (A.19, row 7), not
    /// even where it was slow and PUBREL has overtaken it. So is one at QoS 1 where the settings
    /// say so.
    fn is_repeated_publish(
        &mut self,
        now: Instant,
        key: SessionKey,
        publish: &Publish<'_>,
        digest: u64,
    ) -> bool {
        let Some(session) = self.slots.get_mut(key) else {
            return true;
        };
        let waits = session
            .uplinks
            .iter()
            .any(|uplink| uplink.is_repeated_by(publish, digest));
        let received = session
            .received
            .iter()
            .any(|received| received.is_repeated_by(now, publish, digest));
        if waits || received {
            self.out.stats.repeats += 1;
        }
        if received && publish.qos == QoS::ExactlyOnce {
            self.send(key, &Message::PubRec(publish.msg_id));
        } else if received {
            self.answer_publish(key, publish.topic, publish.msg_id, ReturnCode::Accepted);
        }
        waits || received
    }

    /// Returns the topic name and the payload that a node means.
    fn named<'p>(
        &mut self,
        key: SessionKey,
        publish: &Publish<'p>,
    ) -> Result<(Arc<str>, &'p [u8]), Refused> {
        let topic = match publish.topic {
            TopicRef::Normal(id) => {
                let session = self.slots.get_mut(key);
                let topic = session.and_then(|session| session.topics.resolve(id).cloned());
                if topic.is_none()
                    && let Some(named) = self.long_name(publish)
                {
                    return Ok(named);
                }
                topic
            }
            TopicRef::Predefined(id) => self.settings.predefined.get(&id).cloned(),
            TopicRef::Short(name) => {
                let name = short_name(name).ok_or(Refused::NOT_A_NAME)?;
                return Ok((name.into(), publish.payload));
            }
        };
        // [MQTT-SN 1.2 §6.6] D-45
        let topic = topic.ok_or(Refused::UNKNOWN_ID)?;
        Ok((topic, publish.payload))
    }

    pub(super) fn answer_publish(
        &mut self,
        key: SessionKey,
        topic: TopicRef,
        msg_id: MsgId,
        return_code: ReturnCode,
    ) {
        let ack = Acknowledgement {
            topic_id: topic.topic_id(),
            msg_id,
            return_code,
        };
        self.send(key, &Message::PubAck(ack));
    }

    /// Handles the broker's answer to a publication: only now is the node answered.
    pub(super) fn published(
        &mut self,
        now: Instant,
        id: PublicationId,
        result: Result<(), Refusal>,
    ) {
        let Some(key) = self.out.take_uplink(id) else {
            return;
        };
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let Some(index) = session.uplinks.iter().position(|uplink| uplink.id == id) else {
            return;
        };
        let uplink = session.uplinks.remove(index);
        if uplink.superseded {
            return;
        }
        let return_code = match result {
            Ok(()) => ReturnCode::Accepted,
            Err(Refusal::Busy) => ReturnCode::Congestion,
            // A.21: never 02, which would send the node into a register loop.
            Err(Refusal::Denied(_)) => ReturnCode::NotSupported,
        };
        let is_qos2 = uplink.qos == QoS::ExactlyOnce;
        if result.is_ok() && (is_qos2 || self.settings.dedup_qos1) {
            let until = now + session.link(&self.settings).repetitions_span();
            session.keep_received(Received {
                msg_id: uplink.msg_id,
                qos: uplink.qos,
                dup: uplink.dup,
                digest: uplink.digest,
                released: (!is_qos2).then_some(until),
            });
        }
        if result.is_ok() && is_qos2 {
            return self.send(key, &Message::PubRec(uplink.msg_id));
        }
        if result.is_err() {
            let client_id = Arc::clone(&session.client_id);
            self.out
                .dropped(None, Some(&client_id), DropReason::UpstreamRefused, 0);
        }
        let Uplink {
            topic_id, msg_id, ..
        } = uplink;
        self.send(
            key,
            &Message::PubAck(Acknowledgement {
                topic_id,
                msg_id,
                return_code,
            }),
        );
    }

    /// Handles PUBREL: the exchange is over, or was over already (A.9).
    pub(super) fn release(&mut self, now: Instant, key: SessionKey, msg_id: MsgId) {
        if let Some(session) = self.slots.get_mut(key) {
            let until = now + session.link(&self.settings).repetitions_span();
            let received = session.received.iter_mut();
            for received in received.filter(|received| received.msg_id == msg_id) {
                received.released.get_or_insert(until);
            }
        }
        self.send(key, &Message::PubComp(msg_id));
    }
}

impl Uplink {
    /// Returns whether a PUBLISH is this one again, and not something else under its message id,
    /// as from a node that has restarted (D-39).
    fn is_repeated_by(&self, publish: &Publish<'_>, digest: u64) -> bool {
        self.msg_id == publish.msg_id && self.digest == digest && !self.superseded
    }
}

impl Session {
    /// Returns whether the node has a use for the id of a name: it may publish to it, or is sent
    /// what is published there. The id gives no right by itself.
    fn may_register(&self, name: &str) -> bool {
        self.rule.may_publish(&self.client_id, name)
            || self
                .subscriptions
                .iter()
                .any(|subscription| shared::topics::matches(&subscription.filter, name))
    }

    /// Notes a publication that waits for the broker. What waits under its message id goes on
    /// counting, but its answer would be taken for this one's.
    fn add_uplink(&mut self, uplink: Uplink) {
        let former = self.uplinks.iter_mut();
        for former in former.filter(|former| former.msg_id == uplink.msg_id) {
            former.superseded = true;
        }
        self.uplinks.push(uplink);
    }

    /// Keeps a publication in mind, instead of an older one with its id, or of the oldest
    /// one: that was released, or never will be, for the node has lost its memory since.
    fn keep_received(&mut self, received: Received) {
        self.received.retain(|old| old.msg_id != received.msg_id);
        if self.received.len() >= RECEIVED_MAX {
            self.received.remove(0);
        }
        self.received.push(received);
    }
}

/// Returns what distinguishes one publication from another under the same message id.
fn digest(publish: &Publish<'_>) -> u64 {
    hash(&(publish.topic, publish.payload))
}

pub(super) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns a topic name that may be published to, or `None` (D-07).
pub(super) fn valid_name(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    shared::topics::TopicName::new(name).is_ok().then_some(name)
}

/// Returns a short name as a topic that may be published to, or `None` (D-07).
pub(super) fn short_name(name: ShortName) -> Option<String> {
    valid_name(&name.0).map(str::to_owned)
}
