//! The one downlink exchange in flight: acknowledgements, repetitions, and its end
//! [MQTT-SN 1.2 §6.10].

use std::sync::Arc;

use shared::time::{Duration, Instant};
use shared::wire::{Acknowledgement, Message, MsgId, QoS, Register, ReturnCode, TopicRef};

use super::downlink::publish_message;
use super::engine::Engine;
use super::output::{DropReason, Notice};
use super::settings::Settings;
use super::slots::SessionKey;
use super::state::{Session, Stage, State};
use super::topic_table::Standing;

/// How often all repetitions of a publication may go unanswered before it is dropped (D-18).
const ROUNDS_MAX: u8 = 3;

/// How long nothing is sent to a node that answered with code 01 (A.18: T_WAIT / 5).
const PAUSE: Duration = Duration::from_secs(60);

impl Engine {
    /// Sends the message that the exchange in flight is at, and waits for its answer.
    pub(super) fn transmit_in_flight(&mut self, now: Instant, key: SessionKey) {
        let binding = self.slots.get(key).and_then(|session| session.binding);
        let free_at = binding.map_or(now, |binding| self.link_free_at(now, binding.link));
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let answered_by = free_at + session.link(&self.settings).t_retry;
        let listens = session.listens();
        let must_register = session.must_register_again();
        let register_id = if must_register {
            session.next_msg_id()
        } else {
            MsgId::NONE
        };
        let priority = session.rule.priority;
        let (Some(flight), Some(binding)) = (&mut session.in_flight, session.binding) else {
            return;
        };
        if must_register {
            flight.stage = Stage::Register;
            flight.register_id = register_id;
        }
        if session.in_flight_is_too_long(&self.settings) {
            // D-41: it has to be told the name again, or has moved to a narrower link.
            self.abandon(key, DropReason::TooLong);
            return self.pump(now, key);
        }
        let Some(flight) = &mut session.in_flight else {
            return;
        };
        // A node that has gone to sleep is answered, but nothing is repeated into its sleep.
        flight.retry_at = listens.then_some(answered_by);
        let msg_id = flight.letter.msg_id.unwrap_or(MsgId::NONE);
        let message = match flight.stage {
            Stage::Register => Message::Register(Register {
                topic_id: flight.topic.topic_id(),
                msg_id: flight.register_id,
                topic_name: flight.letter.publication.topic.as_bytes(),
            }),
            Stage::Publish => {
                let dup = std::mem::replace(&mut flight.letter.published, true);
                Message::Publish(publish_message(&flight.letter, flight.topic, msg_id, dup))
            }
            Stage::Release => Message::PubRel(msg_id),
        };
        self.out.transmit_as(priority, &binding, &message);
    }

    /// Repeats what was not answered in time, or gives the node up until it is heard (D-18).
    pub(super) fn repeat(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let n_retry = session.link(&self.settings).n_retry;
        let Some(flight) = &mut session.in_flight else {
            return;
        };
        if flight.retry_at.is_none_or(|at| at > now) {
            return;
        }
        if flight.tries < n_retry {
            flight.tries += 1;
            self.out.stats.retransmissions += 1;
            return self.transmit_in_flight(now, key);
        }
        flight.retry_at = None;
        flight.tries = 0;
        flight.letter.failed_rounds += 1;
        let spent = flight.letter.failed_rounds >= ROUNDS_MAX;
        if matches!(session.state, State::Awake { .. }) {
            // D-24
            self.back_to_sleep(now, key);
        } else {
            session.unresponsive = true;
            session.ping_owed = false;
            self.tell(key, |client_id| Notice::Unresponsive { client_id });
        }
        if spent {
            self.abandon(key, DropReason::Unacknowledged);
        }
    }

    pub(super) fn register_acknowledged(
        &mut self,
        now: Instant,
        key: SessionKey,
        ack: Acknowledgement,
    ) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let Some(flight) = &mut session.in_flight else {
            return;
        };
        if flight.stage != Stage::Register || flight.register_id != ack.msg_id {
            return;
        }
        let topic_id = flight.topic.topic_id();
        match ack.return_code {
            ReturnCode::Accepted => {
                session.topics.set_standing(topic_id, Standing::Confirmed);
                self.publish_registered(now, key);
            }
            ReturnCode::Congestion => self.pause(now, key),
            _ => {
                // D-37
                session.topics.set_standing(topic_id, Standing::Suppressed);
                let topic = Arc::clone(&flight.letter.publication.topic);
                let unwanted = session
                    .mailbox
                    .remove_if(|letter| letter.publication.topic == topic);
                self.abandon(key, DropReason::NodeRefused);
                self.drop_letters(key, unwanted, DropReason::NodeRefused);
            }
        }
    }

    /// Goes on from REGISTER to PUBLISH; at the next wake where REGACK came out of sleep, which
    /// the node does not wait behind [MQTT-SN 1.2 §6.14].
    fn publish_registered(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let listens = session.listens();
        let Some(mut flight) = session.in_flight.take() else {
            return;
        };
        flight.stage = Stage::Publish;
        flight.tries = 0;
        flight.retry_at = None;
        match (flight.letter.qos, listens) {
            (QoS::AtMostOnce, true) => self.send_qos0(key, flight.topic, &flight.letter),
            (QoS::AtMostOnce, false) => session.mailbox.put_back(flight.letter),
            (_, true) => {
                session.in_flight = Some(flight);
                self.transmit_in_flight(now, key);
            }
            (_, false) => session.in_flight = Some(flight),
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
        let answered = session.in_flight.as_ref().filter(|flight| {
            flight.stage == Stage::Publish && flight.letter.msg_id == Some(ack.msg_id)
        });
        let Some(flight) = answered else {
            return session.refused_qos0(ack);
        };
        let topic = flight.topic;
        match ack.return_code {
            ReturnCode::Accepted => self.finish_exchange(key),
            ReturnCode::Congestion => self.pause(now, key),
            ReturnCode::InvalidTopicId => self.repair(key, topic),
            // The node cannot read or take it.
            ReturnCode::NotSupported | ReturnCode::Reserved(_) => {
                self.abandon(key, DropReason::NodeRefused);
            }
        }
    }

    /// Tells the node its topic id again and publishes once more, under a new message id (D-38).
    fn repair(&mut self, key: SessionKey, topic: TopicRef) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let n_retry = session.link(&self.settings).n_retry;
        let Some(mut flight) = session.in_flight.take() else {
            return;
        };
        flight.letter.repairs += 1;
        if let TopicRef::Normal(id) = topic
            && flight.letter.repairs <= n_retry
        {
            session.topics.set_standing(id, Standing::Unconfirmed);
            // At QoS 2 the id stays: an earlier transmission may still be on its way, and be taken
            // as soon as the node knows the topic.
            if flight.letter.qos != QoS::ExactlyOnce {
                flight.letter.msg_id = None;
                flight.letter.published = false;
            }
            session.mailbox.put_back(flight.letter);
        } else {
            self.drop_letters(key, vec![flight.letter], DropReason::NodeRefused);
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

    /// Drops what is in flight.
    fn abandon(&mut self, key: SessionKey, reason: DropReason) {
        let flight = self
            .slots
            .get_mut(key)
            .and_then(|session| session.in_flight.take());
        if let Some(flight) = flight {
            self.drop_letters(key, vec![flight.letter], reason);
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
}

impl Session {
    fn in_flight_is_too_long(&self, settings: &Settings) -> bool {
        let mtu = self.link(settings).mtu;
        self.in_flight.as_ref().is_some_and(|flight| {
            flight.stage != Stage::Release
                && self.exceeds_mtu(&flight.letter, flight.stage == Stage::Register, mtu)
        })
    }

    /// Returns whether a node that has connected anew must be told the id in flight first.
    fn must_register_again(&self) -> bool {
        self.in_flight
            .as_ref()
            .is_some_and(|flight| match (flight.stage, flight.topic) {
                (Stage::Publish, TopicRef::Normal(_)) => !matches!(
                    self.topics.find(&flight.letter.publication.topic),
                    Some((_, Standing::Confirmed))
                ),
                _ => false,
            })
    }

    /// Notes that the node does not know the id of a publication at QoS 0 (A.18).
    fn refused_qos0(&mut self, ack: Acknowledgement) {
        let unknown = ack.return_code == ReturnCode::InvalidTopicId && ack.msg_id == MsgId::NONE;
        if unknown && self.last_qos0 == Some(ack.topic_id) {
            self.topics
                .set_standing(ack.topic_id, Standing::Unconfirmed);
        }
    }
}
