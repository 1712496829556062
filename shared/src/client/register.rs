//! Topic ids for names, asked for by the node or given by the gateway [MQTT-SN 1.2 §6.5, §6.10].

use super::Client;
use super::address::Transmit;
use super::error::{CommandError, PublishError};
use super::event::{Event, RequestClass, Topic};
use super::output::{Reply, TopicEvent};
use super::publish::PublicationTopic;
use super::stats::bump;
use super::timers::Retry;
use super::topics::{is_name, is_publishable};
use crate::time::Instant;
use crate::wire::{
    Acknowledgement, Message, MsgId, QoS, REGISTER_OVERHEAD, Register, ReturnCode, TopicId,
};

/// A REGISTER in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registering {
    index: u8,
    pub(super) msg_id: MsgId,
    pub(super) retry: Retry,
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Asks for a topic id ahead of the first publication, and keeps the name from then on.
    ///
    /// # Errors
    /// [`CommandError::InvalidTopic`], [`CommandError::TooLong`], [`CommandError::TopicsFull`].
    pub fn register(&mut self, name: &str) -> Result<(), CommandError> {
        let index = self.place_name(name)?;
        if let Some(entry) = self.topics.get_mut(index) {
            entry.wanted = true;
        }
        Ok(())
    }

    /// Finds or makes the table's place for a name to publish on.
    pub(super) fn place_name(&mut self, name: &str) -> Result<u8, CommandError> {
        if !is_publishable(Topic::Name(name)) {
            return Err(CommandError::InvalidTopic);
        }
        if name.len() + REGISTER_OVERHEAD > self.config.mtu {
            return Err(CommandError::TooLong);
        }
        self.place_topic(Topic::Name(name), true)
    }

    pub(super) fn place_topic(
        &mut self,
        topic: Topic<'_>,
        owned: bool,
    ) -> Result<u8, CommandError> {
        let pins = Pins {
            registering: self.registering.as_ref().map(|request| request.index),
            subscribing: self.subscribing.as_ref().map(|request| request.index),
            slot: self.slot.as_ref().and_then(|slot| slot.topic.index()),
        };
        let queue = &self.queue;
        let events = &self.events;
        let placed = self.topics.place(topic, owned, |index| {
            pins.hold(index)
                || queue.iter().any(|it| it.topic.index() == Some(index))
                || events.iter().any(|it| it.index() == Some(index))
        })?;
        if placed.evicted {
            self.answered.forget(placed.index);
            bump(&mut self.stats.topics_evicted);
        }
        Ok(placed.index)
    }

    /// Returns the next name that needs an id and may be asked for now.
    pub(super) fn next_to_register(&self) -> Option<u8> {
        if self.registering.is_some() || self.holds.is_held(RequestClass::Register) {
            return None;
        }
        // A publication that waits for its release only needs no topic any more.
        let released = usize::from(self.is_releasing());
        let for_publication = self
            .queue
            .iter()
            .filter(|it| it.qos != QoS::MinusOne)
            .skip(released)
            .filter_map(|it| it.topic.index())
            .find(|index| self.topics.id(*index).is_none());
        let publishing = !self.holds.is_held(RequestClass::Publish);
        for_publication
            .filter(|_| publishing)
            .or_else(|| self.topics.next_wanted())
    }

    pub(super) fn send_register(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        if self.registering.is_none() && self.may_begin() {
            self.registering = self.next_to_register().map(|index| Registering {
                index,
                msg_id: self.fresh_msg_id(),
                retry: Retry::new(),
            });
        }
        let may_request = self.may_request();
        let request = self.registering.as_mut()?;
        if !may_request || !request.retry.is_due() {
            return None;
        }
        if request.retry.is_repeat() {
            bump(&mut self.stats.retries.register);
        }
        request
            .retry
            .sent(self.config.link.answer_by(now, &mut self.rng));
        let written = Message::Register(Register {
            topic_id: TopicId::NONE,
            msg_id: request.msg_id,
            topic_name: self.topics.get(request.index)?.name().as_bytes(),
        })
        .emit(buf);
        self.account(now, self.to_gateway()?, written)
    }

    pub(super) fn on_regack(&mut self, now: Instant, ack: Acknowledgement) {
        let Some(Registering { index, .. }) = self
            .registering
            .take_if(|request| request.msg_id == ack.msg_id)
        else {
            bump(&mut self.stats.unexpected);
            return;
        };
        match ack.return_code {
            ReturnCode::Accepted if ack.topic_id.is_assignable() => {
                self.topics.bind(index, ack.topic_id);
                self.tell_of(index, TopicEvent::Registered(ack.topic_id));
            }
            // An accepted id that cannot be one is a refusal.
            ReturnCode::Accepted => self.refuse_name(index, ReturnCode::NotSupported),
            ReturnCode::Congestion => self.hold(RequestClass::Register, now),
            code => self.refuse_name(index, code),
        }
    }

    /// Takes a REGISTER from the gateway: a wildcard matched, or the session was renewed.
    pub(super) fn on_register(&mut self, register: Register<'_>) {
        let name = core::str::from_utf8(register.topic_name).ok();
        let return_code = match name.filter(|name| is_name(name)) {
            Some(name) if register.topic_id.is_assignable() => {
                self.learn_name(name, register.topic_id)
            }
            _ => ReturnCode::NotSupported,
        };
        self.reply(Reply::RegAck(Acknowledgement {
            topic_id: register.topic_id,
            msg_id: register.msg_id,
            return_code,
        }));
    }

    /// Stores a name and its id; a known name gets the new id (digest A.13, A.18).
    fn learn_name(&mut self, name: &str, id: TopicId) -> ReturnCode {
        if self.config.refuse_unwanted && !self.topics.wants(name) {
            bump(&mut self.stats.names_unwanted);
            return ReturnCode::NotSupported;
        }
        match self.place_topic(Topic::Name(name), false) {
            Ok(index) => {
                self.topics.bind(index, id);
                ReturnCode::Accepted
            }
            Err(CommandError::TopicsFull) => ReturnCode::Congestion,
            Err(_) => ReturnCode::NotSupported,
        }
    }

    /// Gives up the first publication that waits for this name, and the wish for an id.
    fn refuse_name(&mut self, index: u8, code: ReturnCode) {
        if let Some(entry) = self.topics.get_mut(index) {
            entry.wanted = false;
        }
        self.tell_of(index, TopicEvent::RegisterFailed(code));
        let head = self.head();
        let released = head.filter(|_| self.is_releasing());
        let waiting = |(place, topic): (usize, PublicationTopic)| {
            topic == PublicationTopic::Name(index) && Some(place) != released
        };
        let topics = self.queue.iter().map(|it| it.topic).enumerate();
        if let Some((place, _)) = topics.clone().find(|it| waiting(*it)) {
            let publication = self.queue.remove(place);
            if head == Some(place) {
                self.publishing = None;
                self.repairs = 0;
            }
            self.tell(Event::PublishFailed {
                token: publication.token,
                reason: PublishError::TopicRefused(code),
            });
        }
    }

    pub(super) fn fresh_msg_id(&mut self) -> MsgId {
        let in_use = [
            self.registering.as_ref().map(|request| request.msg_id),
            self.publishing.as_ref().map(|request| request.msg_id),
            self.subscribing.as_ref().map(|request| request.msg_id),
        ];
        let mut id = self.last_msg_id.next();
        while in_use.contains(&Some(id)) {
            id = id.next();
        }
        self.last_msg_id = id;
        id
    }
}

/// The topics that are in use outside the queue.
struct Pins {
    registering: Option<u8>,
    subscribing: Option<u8>,
    slot: Option<u8>,
}

impl Pins {
    fn hold(&self, index: u8) -> bool {
        [self.registering, self.subscribing, self.slot].contains(&Some(index))
    }
}
