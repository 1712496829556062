//! From the broker down: mailboxes, and REGISTER before PUBLISH [MQTT-SN 1.2 §6.10]; strictly
//! one exchange in flight for each node.

use std::sync::Arc;

use bytes::Bytes;
use shared::time::Instant;
use shared::wire::{FORWARD_OVERHEAD, Message, MsgId, Publish, QoS, Register, TopicId, TopicRef};

use super::engine::Engine;
use super::mailbox::Letter;
use super::output::DropReason;
use super::port::Delivery;
use super::slots::SessionKey;
use super::state::{InFlight, Session, Stage, State};
use super::topic_table::Standing;

/// How the topic of a publication can be named towards a node (D-08).
enum Naming {
    Ready(TopicRef),
    RegisterFirst(TopicId),
    Unwanted,
    TableFull,
}

impl Engine {
    /// Puts a publication from the broker into the mailboxes of those who want it.
    pub(super) fn deliver(&mut self, now: Instant, delivery: Delivery) {
        let Delivery {
            id,
            mut publication,
            ..
        } = delivery;
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
            if !session.listens() || waits || !self.links.reach(session.binding) {
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

    pub(super) fn send_qos0(&mut self, key: SessionKey, topic: TopicRef, letter: &Letter) {
        if let Some(session) = self.slots.get_mut(key) {
            session.last_qos0 = Some(topic.topic_id());
        }
        self.send(
            key,
            &Message::Publish(publish_message(letter, topic, MsgId::NONE, false)),
        );
        self.out.settle_delivery(letter.delivery);
    }

    pub(super) fn drop_letters(
        &mut self,
        key: SessionKey,
        letters: Vec<Letter>,
        reason: DropReason,
    ) {
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

    pub(super) fn exceeds_mtu(&self, letter: &Letter, registers: bool, mtu: usize) -> bool {
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

    /// Takes everything that waits for the node.
    pub(super) fn take_letters(&mut self) -> Vec<Letter> {
        let in_flight = self.in_flight.take().map(|flight| flight.letter);
        in_flight
            .into_iter()
            .chain(std::iter::from_fn(|| self.mailbox.pop()))
            .collect()
    }
}

pub(super) fn publish_message(
    letter: &Letter,
    topic: TopicRef,
    msg_id: MsgId,
    dup: bool,
) -> Publish<'_> {
    Publish {
        dup: dup && letter.qos != QoS::AtMostOnce,
        qos: letter.qos,
        retain: letter.publication.retain,
        topic,
        msg_id,
        payload: &letter.publication.payload,
    }
}
