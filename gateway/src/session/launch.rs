//! One letter on its way: how its topic is named, whether it fits, and its first transmission
//! [MQTT-SN 1.2 §6.10].

use shared::time::Instant;
use shared::wire::{FORWARD_OVERHEAD, Message, MsgId, Publish, QoS, Register, TopicId, TopicRef};

use super::engine::Engine;
use super::letter::Letter;
use super::output::DropReason;
use super::settings::Settings;
use super::slots::SessionKey;
use super::state::{InFlight, Session, Stage, State};
use super::topic_table::Standing;

/// How the topic of a publication can be named towards a node (D-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// By what the node knows.
    Ready(TopicRef),
    /// By an id that the node must be told first.
    RegisterFirst(TopicId),
    /// By an id that it must be given and told first.
    Unnamed,
    /// Not at all: the node does not want the topic (D-37).
    Unwanted,
}

impl Engine {
    /// Starts the exchange of one letter; at QoS 0 on a known id that is its end as well.
    pub(super) fn launch(&mut self, now: Instant, key: SessionKey, letter: Letter) {
        let (topic, stage) = match self.route(key, &letter) {
            Ok(route) => route,
            Err(reason) => return self.drop_letter(key, letter, reason),
        };
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        if matches!(session.state, State::Awake { .. }) {
            session.awake_sent += 1;
        }
        if stage == Stage::Publish && letter.qos == QoS::AtMostOnce {
            return self.send_qos0(key, topic, &letter);
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
            extended: false,
        });
        self.transmit_in_flight(now, key);
    }

    /// Returns how a letter's topic is named and what its exchange begins with, or why it
    /// cannot be sent. An id is given out only for what can be sent.
    fn route(&mut self, key: SessionKey, letter: &Letter) -> Result<(TopicRef, Stage), DropReason> {
        let session = self.slots.get_mut(key).ok_or(DropReason::NodeRefused)?;
        let topic = &letter.publication.topic;
        let naming = session.naming(topic);
        let registers = matches!(naming, Naming::RegisterFirst(_) | Naming::Unnamed);
        if let Some(obstacle) = session.obstacle(letter, registers, &self.settings) {
            return Err(obstacle);
        }
        match naming {
            Naming::Ready(topic) => Ok((topic, Stage::Publish)),
            Naming::RegisterFirst(id) => Ok((TopicRef::Normal(id), Stage::Register)),
            Naming::Unnamed => {
                let room = session.topic_room(self.settings.topics_max);
                let id = session.topics.offer(topic, room);
                let id = id.ok_or(DropReason::TopicTableFull)?;
                Ok((TopicRef::Normal(id), Stage::Register))
            }
            Naming::Unwanted => Err(DropReason::NodeRefused),
        }
    }

    /// Goes on with what is in flight and was not being repeated, if that may still be.
    pub(super) fn resume(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get(key) else {
            return;
        };
        match session.obstacle_in_flight(&self.settings) {
            Some(reason) => self.abandon(key, reason),
            None => self.transmit_in_flight(now, key),
        }
    }

    /// Drops what is in flight where it may no longer be.
    pub(super) fn check_in_flight(&mut self, key: SessionKey) {
        let session = self.slots.get(key);
        let obstacle = session.and_then(|session| session.obstacle_in_flight(&self.settings));
        if let Some(reason) = obstacle {
            self.abandon(key, reason);
        }
    }

    pub(super) fn send_qos0(&mut self, key: SessionKey, topic: TopicRef, letter: &Letter) {
        if let Some(session) = self.slots.get_mut(key) {
            session.last_qos0 = Some(topic);
            session.touch_topic(topic);
        }
        let publish = publish_message(letter, topic, MsgId::NONE, false);
        self.send(key, &Message::Publish(publish));
        self.out.settle_delivery(letter.delivery);
    }
}

impl Session {
    /// Chooses how a topic is named towards the node (D-08).
    pub(super) fn naming(&self, topic: &str) -> Naming {
        let own = self
            .subscription(topic)
            .and_then(|subscription| subscription.topic);
        match own {
            Some(named @ (TopicRef::Predefined(_) | TopicRef::Short(_)))
                if self.rule.profile.takes_other_ids =>
            {
                return Naming::Ready(named);
            }
            _ => {}
        }
        match self.topics.find(topic) {
            Some((id, Standing::Confirmed)) => Naming::Ready(TopicRef::Normal(id)),
            Some((id, Standing::Unconfirmed)) => Naming::RegisterFirst(id),
            Some((_, Standing::Suppressed)) => Naming::Unwanted,
            None => Naming::Unnamed,
        }
    }

    /// Returns why what is in flight cannot be sent to the node where it is now.
    fn obstacle_in_flight(&self, settings: &Settings) -> Option<DropReason> {
        let flight = self.in_flight.as_ref()?;
        if flight.stage == Stage::Release {
            return None;
        }
        let registers = flight.stage == Stage::Register || self.must_register_again();
        self.obstacle(&flight.letter, registers, settings)
    }

    /// Returns why a letter cannot be sent to the node where it is now.
    fn obstacle(
        &self,
        letter: &Letter,
        registers: bool,
        settings: &Settings,
    ) -> Option<DropReason> {
        let profile = &self.rule.profile;
        let empty = letter.publication.payload.is_empty();
        if (registers && !profile.takes_register) || (empty && !profile.takes_empty_payload) {
            // A.20
            return Some(DropReason::Profile);
        }
        // D-41
        self.exceeds_mtu(letter, registers, settings)
            .then_some(DropReason::TooLong)
    }

    /// Returns whether a letter is too long for the link, as it goes out there, or for the node.
    fn exceeds_mtu(&self, letter: &Letter, registers: bool, settings: &Settings) -> bool {
        let node_id = self.binding.and_then(|binding| binding.node_id);
        let wrap = node_id.map_or(0, |id| FORWARD_OVERHEAD + id.as_bytes().len());
        let topic = TopicRef::Normal(TopicId::NONE);
        let publish = publish_message(letter, topic, MsgId::NONE, false);
        let mut len = Message::Publish(publish).encoded_len();
        if registers {
            let register = Message::Register(Register {
                topic_id: TopicId::NONE,
                msg_id: MsgId::NONE,
                topic_name: letter.publication.topic.as_bytes(),
            });
            len = len.max(register.encoded_len());
        }
        wrap + len > self.link(settings).mtu || self.rule.mtu.is_some_and(|mtu| len > mtu)
    }

    /// Notes that a topic was used towards the node.
    pub(super) fn touch_topic(&mut self, topic: TopicRef) {
        if let TopicRef::Normal(id) = topic {
            self.topics.touch(id);
        }
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
