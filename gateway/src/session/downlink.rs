//! From the broker down: mailboxes, REGISTER before PUBLISH, acknowledgements and
//! repetitions [MQTT-SN 1.2 §6.10]; strictly one exchange in flight for each node.

use std::sync::Arc;

use bytes::Bytes;
use shared::time::{Duration, Instant};
use shared::wire::{
    Acknowledgement, FORWARD_OVERHEAD, Message, MsgId, Publish, QoS, Register, ReturnCode, TopicId,
    TopicRef,
};

use super::engine::Engine;
use super::mailbox::Letter;
use super::output::{DropReason, Notice};
use super::port::{DeliveryId, Publication};
use super::slots::SessionKey;
use super::state::{InFlight, Session, Stage, State};
use super::topic_table::Standing;

/// How often all repetitions of a publication may go unanswered before it is dropped (D-18).
const ROUNDS_MAX: u8 = 3;

/// How long nothing is sent to a node that answered with code 01 (A.18: T_WAIT / 5).
const PAUSE: Duration = Duration::from_secs(60);

/// How the topic of a publication can be named towards a node (D-08).
enum Naming {
    Ready(TopicRef),
    RegisterFirst(TopicId),
    Unwanted,
    TableFull,
}

impl Engine {
    /// Puts a publication from the broker into the mailboxes of those who want it.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        id: Option<DeliveryId>,
        mut publication: Publication,
    ) {
        // Retained messages come because someone has just subscribed, and are for nobody else.
        let takers = if publication.retain {
            self.take_wishes(now, &publication.topic)
        } else {
            self.tree.subscribers(&publication.topic)
        };
        if let Some(id) = id {
            let holders = u32::try_from(takers.len()).unwrap_or(u32::MAX);
            self.out
                .hold_delivery(id, holders, self.settings.unanswered_max);
        }
        if !takers.is_empty() {
            // The upstream's payload is a slice of its read buffer, which a letter that waits
            // for hours would keep whole.
            publication.payload = Bytes::copy_from_slice(&publication.payload);
        }
        for (key, granted) in takers {
            let qos = publication.qos.min(granted);
            let letter = Letter::new(publication.clone(), qos, id, now);
            self.post(now, key, letter);
            self.pump(now, key);
            self.reschedule(key);
        }
    }

    fn post(&mut self, now: Instant, key: SessionKey, letter: Letter) {
        let Some(session) = self.slots.get_mut(key) else {
            return self.out.settle_delivery(letter.delivery);
        };
        if session.state == State::Gone && letter.qos == QoS::AtMostOnce {
            return self.out.settle_delivery(letter.delivery);
        }
        let horizon = now - self.settings.mailbox.age_max;
        let expired = session.mailbox.expire(horizon);
        let refused = session.mailbox.push(letter, &self.settings.mailbox);
        self.out.stats.publications_down += 1;
        self.drop_letters(key, expired, DropReason::MailboxAge);
        self.drop_letters(key, refused, DropReason::MailboxFull);
    }

    /// Sends what can be sent to a node: the next letter, or the end of its wake.
    pub(super) fn pump(&mut self, now: Instant, key: SessionKey) {
        while let Some(session) = self.slots.get_mut(key) {
            // D-16: retained messages follow the SUBACK that is still to come.
            let waits = session.unresponsive || !session.pending_subscribes.is_empty();
            if !session.listens() || waits {
                return;
            }
            if session.paused_until.is_some_and(|until| until > now) {
                return self.finish_delivery(now, key);
            }
            session.paused_until = None;
            if let Some(flight) = &session.in_flight {
                if flight.retry_at.is_none() {
                    self.transmit_in_flight(now, key);
                }
                return;
            }
            let horizon = now - self.settings.mailbox.age_max;
            let expired = session.mailbox.expire(horizon);
            let next = session.mailbox.pop();
            self.drop_letters(key, expired, DropReason::MailboxAge);
            match next {
                Some(letter) => self.launch(now, key, letter),
                None => return self.finish_delivery(now, key),
            }
        }
    }

    /// Starts the exchange of one letter; at QoS 0 on a known id that is its end as well.
    fn launch(&mut self, now: Instant, key: SessionKey, mut letter: Letter) {
        let topics_max = self.settings.topics_max;
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let naming = session.naming(&letter.publication.topic, topics_max);
        let registers = matches!(naming, Naming::RegisterFirst(_));
        if session.exceeds_mtu(&letter, registers, session.link(&self.settings).mtu) {
            // D-41
            return self.drop_letters(key, vec![letter], DropReason::TooLong);
        }
        let (topic, stage) = match naming {
            Naming::Ready(topic) => (topic, Stage::Publish),
            Naming::RegisterFirst(id) => (TopicRef::Normal(id), Stage::Register),
            Naming::Unwanted => {
                return self.drop_letters(key, vec![letter], DropReason::NodeRefused);
            }
            Naming::TableFull => {
                return self.drop_letters(key, vec![letter], DropReason::TopicTableFull);
            }
        };
        if stage == Stage::Publish && letter.qos == QoS::AtMostOnce {
            return self.send_qos0(key, topic, &letter);
        }
        if letter.qos != QoS::AtMostOnce && letter.msg_id.is_none() {
            letter.msg_id = Some(session.next_msg_id());
        }
        let register_id = if stage == Stage::Register {
            session.next_msg_id()
        } else {
            MsgId::NONE
        };
        session.in_flight = Some(InFlight {
            letter,
            topic,
            stage,
            register_id,
            tries: 0,
            retry_at: None,
        });
        self.transmit_in_flight(now, key);
    }

    fn send_qos0(&mut self, key: SessionKey, topic: TopicRef, letter: &Letter) {
        if let Some(session) = self.slots.get_mut(key) {
            session.last_qos0 = Some(topic.topic_id());
        }
        self.send(
            key,
            &Message::Publish(publish_message(letter, topic, MsgId::NONE, false)),
        );
        self.out.settle_delivery(letter.delivery);
    }

    /// Sends the message that the exchange in flight is at, and waits for its answer.
    fn transmit_in_flight(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let t_retry = session.link(&self.settings).t_retry;
        let listens = session.listens();
        let must_register = session.must_register_again();
        let register_id = if must_register {
            session.next_msg_id()
        } else {
            MsgId::NONE
        };
        let (Some(flight), Some(binding)) = (&mut session.in_flight, session.binding) else {
            return;
        };
        if must_register {
            flight.stage = Stage::Register;
            flight.register_id = register_id;
        }
        // A node that has gone to sleep is answered, but nothing is repeated into its sleep.
        flight.retry_at = listens.then_some(now + t_retry);
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
        self.out.transmit(&binding, &message);
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

    fn drop_letters(&mut self, key: SessionKey, letters: Vec<Letter>, reason: DropReason) {
        for letter in letters {
            let session = self.slots.get(key);
            let client_id = session.map(|session| Arc::clone(&session.client_id));
            self.out.dropped(
                session.and_then(|session| session.binding),
                client_id.as_ref(),
                reason,
                letter.publication.payload.len(),
            );
            self.out.settle_delivery(letter.delivery);
        }
    }
}

impl Session {
    /// Chooses how a topic is named towards the node (D-08).
    fn naming(&mut self, topic: &str, topics_max: usize) -> Naming {
        let own = self
            .subscription(topic)
            .and_then(|subscription| subscription.topic);
        match own {
            Some(named @ (TopicRef::Predefined(_) | TopicRef::Short(_))) => {
                return Naming::Ready(named);
            }
            Some(TopicRef::Normal(_)) | None => {}
        }
        match self.topics.find(topic) {
            Some((id, Standing::Confirmed)) => Naming::Ready(TopicRef::Normal(id)),
            Some((id, Standing::Unconfirmed)) => Naming::RegisterFirst(id),
            Some((_, Standing::Suppressed)) => Naming::Unwanted,
            None => match self.topics.register(topic, topics_max) {
                Some(id) => Naming::RegisterFirst(id),
                None => Naming::TableFull,
            },
        }
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

    fn exceeds_mtu(&self, letter: &Letter, registers: bool, mtu: usize) -> bool {
        let node_id = self.binding.and_then(|binding| binding.node_id);
        let wrap = node_id.map_or(0, |id| FORWARD_OVERHEAD + id.as_bytes().len());
        let topic = TopicRef::Normal(TopicId::NONE);
        let publish = Message::Publish(publish_message(letter, topic, MsgId::NONE, false));
        let register = Message::Register(Register {
            topic_id: TopicId::NONE,
            msg_id: MsgId::NONE,
            topic_name: letter.publication.topic.as_bytes(),
        });
        wrap + publish.encoded_len() > mtu || (registers && wrap + register.encoded_len() > mtu)
    }

    /// Notes that the node does not know the id of a publication at QoS 0 (A.18).
    fn refused_qos0(&mut self, ack: Acknowledgement) {
        let unknown = ack.return_code == ReturnCode::InvalidTopicId && ack.msg_id == MsgId::NONE;
        if unknown && self.last_qos0 == Some(ack.topic_id) {
            self.topics
                .set_standing(ack.topic_id, Standing::Unconfirmed);
        }
    }

    /// Takes everything that waits for the node.
    pub(super) fn take_letters(&mut self) -> Vec<Letter> {
        let in_flight = self.in_flight.take().map(|flight| flight.letter);
        in_flight
            .into_iter()
            .chain(std::iter::from_fn(|| self.mailbox.pop()))
            .collect()
    }
}

fn publish_message(letter: &Letter, topic: TopicRef, msg_id: MsgId, dup: bool) -> Publish<'_> {
    Publish {
        dup: dup && letter.qos != QoS::AtMostOnce,
        qos: letter.qos,
        retain: letter.publication.retain,
        topic,
        msg_id,
        payload: &letter.publication.payload,
    }
}
