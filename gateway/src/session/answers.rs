//! What a node answers to a downlink exchange, row by row of A.18 [MQTT-SN 1.2 §6.10].

use shared::time::{Duration, Instant};
use shared::wire::{Acknowledgement, Message, MsgId, QoS, ReturnCode, TopicRef};

use super::engine::Engine;
use super::output::{DropReason, Notice};
use super::slots::SessionKey;
use super::state::{InFlight, Session, Stage};
use super::topic_table::Standing;

/// How long nothing is sent to a node that answered with code 01 (A.18: T_WAIT / 5).
const PAUSE: Duration = Duration::from_secs(60);

/// How long no topic id is told to a node that has again no room for one (A.18: T_WAIT).
const LONG_PAUSE: Duration = Duration::from_secs(300);

impl Engine {
    pub(super) fn register_acknowledged(
        &mut self,
        now: Instant,
        key: SessionKey,
        ack: Acknowledgement,
    ) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let answered = session
            .in_flight
            .as_ref()
            .filter(|flight| flight.stage == Stage::Register && flight.register_id == ack.msg_id);
        let Some(flight) = answered else { return };
        let topic_id = flight.topic.topic_id();
        match ack.return_code {
            ReturnCode::Accepted => {
                session.registers_refused = 0;
                session.confirm_topic(topic_id);
                self.publish_registered(now, key);
            }
            ReturnCode::Congestion => self.pause_registers(now, key),
            // D-37
            _ => self.suppress(key, DropReason::NodeRefused),
        }
    }

    /// Goes on from REGISTER to PUBLISH; at the next wake where REGACK came out of sleep, which
    /// the node does not wait behind [MQTT-SN 1.2 §6.14].
    fn publish_registered(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let listens = session.listens();
        let Some(flight) = &mut session.in_flight else {
            return;
        };
        flight.stage = Stage::Publish;
        flight.tries = 0;
        flight.retry_at = None;
        match (flight.letter.qos, listens) {
            (QoS::AtMostOnce, true) => {
                if let Some(flight) = session.in_flight.take() {
                    self.send_qos0(key, flight.topic, &flight.letter);
                }
            }
            (QoS::AtMostOnce, false) => self.put_back(key),
            (_, true) => self.transmit_in_flight(now, key),
            (_, false) => {}
        }
    }

    /// Puts what is in flight and was not published back into the mailbox.
    fn put_back(&mut self, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let Some(InFlight { mut letter, .. }) = session.in_flight.take() else {
            return;
        };
        letter.msg_id = None;
        if session.mailbox.has_newer(&letter, &self.settings.mailbox) {
            self.drop_letter(key, letter, DropReason::MailboxConflated);
        } else {
            session.awake_sent = session.awake_sent.saturating_sub(1);
            session.mailbox.put_back(letter);
        }
    }

    /// The node does not want the topic in flight, or cannot take it: nothing of it is offered
    /// again in this session (D-37).
    pub(super) fn suppress(&mut self, key: SessionKey, reason: DropReason) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let Some(flight) = &session.in_flight else {
            return;
        };
        let topic_id = flight.topic.topic_id();
        session.topics.set_standing(topic_id, Standing::Suppressed);
        let unwanted = session
            .mailbox
            .remove_topic(&flight.letter.publication.topic);
        self.abandon(key, reason);
        for letter in unwanted {
            self.drop_letter(key, letter, reason);
        }
    }

    pub(super) fn publish_acknowledged(
        &mut self,
        now: Instant,
        key: SessionKey,
        ack: Acknowledgement,
    ) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let answered = session.in_flight.as_ref();
        let Some(flight) = answered.filter(|flight| flight.is_answered_by(ack)) else {
            if let Some(topic) = session.refused_qos0(ack) {
                self.tell(key, |client_id| Notice::UnknownFixedTopic {
                    client_id,
                    topic,
                });
            }
            return;
        };
        match ack.return_code {
            ReturnCode::Accepted => self.finish_exchange(key),
            ReturnCode::Congestion => self.pause(now, key),
            // Told again already, after a reconnection.
            ReturnCode::InvalidTopicId if flight.stage == Stage::Register => {}
            ReturnCode::InvalidTopicId => self.repair(key),
            // The node cannot read or take it.
            ReturnCode::NotSupported | ReturnCode::Reserved(_) => {
                self.abandon(key, DropReason::NodeRefused);
            }
        }
    }

    /// The node does not know the topic of what is in flight: it is told its id again, and then
    /// sent the publication under a new message id (D-38).
    fn repair(&mut self, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let n_retry = session.link(&self.settings).n_retry;
        let Some(flight) = &mut session.in_flight else {
            return;
        };
        flight.letter.repairs += 1;
        match flight.topic {
            TopicRef::Normal(id) if flight.letter.repairs <= n_retry => {
                flight.tries = 0;
                flight.retry_at = None;
                // At QoS 2 the id stays: an earlier transmission may still be on its way, and be
                // taken as soon as the node knows the topic.
                if flight.letter.qos != QoS::ExactlyOnce {
                    flight.letter.refused_id = flight.letter.msg_id.take();
                    flight.letter.published = false;
                }
                session.topics.unconfirm(id);
            }
            TopicRef::Normal(_) => self.abandon(key, DropReason::NodeRefused),
            topic @ (TopicRef::Predefined(_) | TopicRef::Short(_)) => {
                self.tell(key, |client_id| Notice::UnknownFixedTopic {
                    client_id,
                    topic,
                });
                self.abandon(key, DropReason::NodeRefused);
            }
        }
    }

    pub(super) fn publish_received(&mut self, now: Instant, key: SessionKey, msg_id: MsgId) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let ours = session.in_flight.as_mut().filter(|flight| {
            flight.letter.qos == QoS::ExactlyOnce && flight.letter.msg_id == Some(msg_id)
        });
        match ours {
            // While the id is told again after a reconnection, the node may still answer the
            // PUBLISH before it; published once more it would arrive twice.
            Some(flight) if flight.letter.published => {
                flight.stage = Stage::Release;
                flight.tries = 0;
                self.transmit_in_flight(now, key);
            }
            // A.9: the exchange is over here, and shall be over there.
            _ => self.send(key, &Message::PubRel(msg_id)),
        }
    }

    pub(super) fn publish_completed(&mut self, key: SessionKey, msg_id: MsgId) {
        let Some(session) = self.slots.get(key) else {
            return;
        };
        let ours = session.in_flight.as_ref().is_some_and(|flight| {
            flight.stage == Stage::Release && flight.letter.msg_id == Some(msg_id)
        });
        if ours {
            self.finish_exchange(key);
        }
    }

    fn finish_exchange(&mut self, key: SessionKey) {
        let flight = self
            .slots
            .get_mut(key)
            .and_then(|session| session.in_flight.take());
        if let Some(flight) = flight {
            self.out.settle_delivery(flight.letter.delivery);
        }
    }

    /// Leaves a node alone for a while that said it is busy; nothing is lost by that.
    fn pause(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.paused_until = Some(now + PAUSE);
        session.suspend_in_flight();
    }

    /// Tells a node that has no room for one no topic ids for a while; what it knows already
    /// goes on. The publication is kept.
    fn pause_registers(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let pause = match session.registers_refused {
            0 => session.link(&self.settings).t_retry.max(PAUSE),
            _ => LONG_PAUSE,
        };
        session.registers_refused = session.registers_refused.saturating_add(1);
        session.registers_paused_until = Some(now + pause);
        let published = session
            .in_flight
            .as_ref()
            .is_some_and(|flight| flight.letter.published || flight.letter.refused_id.is_some());
        if published {
            // The node may still answer for it.
            session.suspend_in_flight();
            session.mailbox.look_again();
        } else {
            self.put_back(key);
        }
    }
}

impl InFlight {
    /// Returns whether PUBACK is for this publication, also where it was already sent again
    /// under another message id, or its topic is being told anew: it was taken all the same.
    fn is_answered_by(&self, ack: Acknowledgement) -> bool {
        let id = Some(ack.msg_id);
        let now = self.letter.published && self.letter.msg_id == id;
        let before = self.letter.refused_id == id && ack.return_code == ReturnCode::Accepted;
        self.stage != Stage::Release && (now || before)
    }
}

impl Session {
    /// Notes that the node does not know the id of a publication at QoS 0 (A.18), which need
    /// not be the last one. Returns the topic that cannot be told.
    fn refused_qos0(&mut self, ack: Acknowledgement) -> Option<TopicRef> {
        if ack.return_code != ReturnCode::InvalidTopicId || ack.msg_id != MsgId::NONE {
            return None;
        }
        match self.last_qos0 {
            Some(topic @ (TopicRef::Predefined(_) | TopicRef::Short(_)))
                if topic.topic_id() == ack.topic_id =>
            {
                Some(topic)
            }
            _ => {
                self.topics.unconfirm(ack.topic_id);
                None
            }
        }
    }
}
