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

    /// Takes a publication of a connected node, at QoS 0, 1 or 2.
    pub(super) fn publish(&mut self, now: Instant, key: SessionKey, publish: &Publish<'_>) {
        if publish.qos == QoS::AtMostOnce {
            if let Err(code) = self.publish_unacknowledged(key, publish) {
                self.answer_publish(key, publish.topic, publish.msg_id, code);
            }
            return;
        }
        if publish.msg_id == MsgId::NONE {
            // A.19, row 10: without an id there is nothing to acknowledge.
            return self.refuse(key, DropReason::NoMsgId, publish, None);
        }
        let digest = digest(publish);
        if self.is_repeated_publish(now, key, publish, digest) {
            return;
        }
        let topic = match self.resolve(key, publish.topic) {
            Ok(topic) => topic,
            Err(code) => return self.answer_publish(key, publish.topic, publish.msg_id, code),
        };
        if self.upstream_out(now) {
            // D-36, D-42
            let code = Some(ReturnCode::Congestion);
            return self.refuse(key, DropReason::UpstreamFull, publish, code);
        }
        if !self.has_window(key) {
            // D-40
            let code = Some(ReturnCode::Congestion);
            return self.refuse(key, DropReason::Window, publish, code);
        }
        let publication = Publication {
            topic,
            payload: Bytes::copy_from_slice(publish.payload),
            qos: publish.qos,
            retain: publish.retain,
        };
        let id = self.out.publish(publication, Some(key));
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.uplinks.push(Uplink {
            id,
            qos: publish.qos,
            msg_id: publish.msg_id,
            topic_id: publish.topic.topic_id(),
            dup: publish.dup,
            digest,
        });
    }

    /// Hands a publication of a connected node up at QoS 0; the code of the refusal where its
    /// topic is not known.
    pub(super) fn publish_unacknowledged(
        &mut self,
        key: SessionKey,
        publish: &Publish<'_>,
    ) -> Result<(), ReturnCode> {
        let publication = Publication {
            topic: self.resolve(key, publish.topic)?,
            payload: Bytes::copy_from_slice(publish.payload),
            qos: QoS::AtMostOnce,
            retain: publish.retain,
        };
        self.out.publish(publication, None);
        Ok(())
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
            .any(|uplink| uplink.msg_id == publish.msg_id);
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

    fn has_window(&self, key: SessionKey) -> bool {
        self.slots
            .get(key)
            .is_some_and(|session| session.uplinks.len() < self.settings.publish_window)
    }

    /// Returns the topic name that a node means, or the code of the refusal.
    fn resolve(&mut self, key: SessionKey, topic: TopicRef) -> Result<Arc<str>, ReturnCode> {
        match topic {
            TopicRef::Normal(id) => {
                let session = self.slots.get_mut(key).ok_or(ReturnCode::InvalidTopicId)?;
                // [MQTT-SN 1.2 §6.6] D-45
                session
                    .topics
                    .resolve(id)
                    .cloned()
                    .ok_or(ReturnCode::InvalidTopicId)
            }
            TopicRef::Predefined(id) => self
                .settings
                .predefined
                .get(&id)
                .cloned()
                .ok_or(ReturnCode::InvalidTopicId),
            TopicRef::Short(name) => short_name(name)
                .map(Into::into)
                .ok_or(ReturnCode::NotSupported),
        }
    }

    fn refuse(
        &mut self,
        key: SessionKey,
        reason: DropReason,
        publish: &Publish<'_>,
        code: Option<ReturnCode>,
    ) {
        let session = self.slots.get(key);
        let binding = session.and_then(|session| session.binding);
        let client_id = session.map(|session| Arc::clone(&session.client_id));
        self.out
            .dropped(binding, client_id.as_ref(), reason, publish.payload.len());
        if let Some(code) = code {
            self.answer_publish(key, publish.topic, publish.msg_id, code);
        }
    }

    fn answer_publish(
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

impl Session {
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
