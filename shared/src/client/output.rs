//! What goes to the link and to the application.

use super::Client;
use super::address::{Destination, Transmit};
use super::event::Event;
use super::state::State;
use super::stats::bump;
use crate::time::Instant;
use crate::wire::{Acknowledgement, Message, MsgId, QoS, ReturnCode, TopicId, WireError};

/// An answer to the gateway that waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    RegAck(Acknowledgement),
    PubAck(Acknowledgement),
    PubRec(MsgId),
    PubRel(MsgId),
    PubComp(MsgId),
    PingResp,
}

/// An event that waits to be polled; topics are named by their place in the table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    Plain(Event<'static>),
    OfTopic(u8, TopicEvent),
    /// What the receive slot holds.
    Received,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum TopicEvent {
    Registered(TopicId),
    RegisterFailed(ReturnCode),
    Subscribed(QoS),
    SubscribeFailed(ReturnCode),
    Unsubscribed,
}

/// Answers that wait at a time.
pub(super) const REPLIES_MAX: usize = 8;

/// Events that wait at a time.
pub(super) const EVENTS_MAX: usize = 8;

impl Pending {
    pub(super) const fn index(&self) -> Option<u8> {
        match self {
            Self::OfTopic(index, _) => Some(*index),
            Self::Plain(_) | Self::Received => None,
        }
    }
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Writes the next datagram into `buf`, which has room for the MTU at least, and returns
    /// where it goes; `None` where nothing is to be sent now.
    ///
    /// Answers go first, then what keeps the connection, then requests. A shorter `buf` loses
    /// the message, and counts that.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        self.settle(now);
        self.send_reply(now, buf)
            .or_else(|| self.send_search(now, buf))
            .or_else(|| self.send_gw_info(now, buf))
            .or_else(|| self.send_connect(now, buf))
            .or_else(|| self.send_disconnect(now, buf))
            .or_else(|| self.send_ping(now, buf))
            .or_else(|| self.send_unconnected(now, buf))
            .or_else(|| self.send_register(now, buf))
            .or_else(|| self.send_publication(now, buf))
            .or_else(|| self.send_subscription(now, buf))
            .or_else(|| self.send_will_update(now, buf))
    }

    /// Returns the next event. Taking [`Event::Received`] makes room for the next publication
    /// and lets the acknowledgement go.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        match self.events.pop_front()? {
            Pending::Plain(event) => Some(event),
            Pending::Received => self.take_received().map(Event::Received),
            Pending::OfTopic(index, event) => {
                let entry = self.topics.get(index)?;
                let (topic, name) = (entry.topic(), entry.name());
                Some(match event {
                    TopicEvent::Registered(topic_id) => Event::Registered { name, topic_id },
                    TopicEvent::RegisterFailed(code) => Event::RegisterFailed { name, code },
                    TopicEvent::Subscribed(qos) => Event::Subscribed { topic, qos },
                    TopicEvent::SubscribeFailed(code) => Event::SubscribeFailed { topic, code },
                    TopicEvent::Unsubscribed => Event::Unsubscribed { topic },
                })
            }
        }
    }

    pub(super) fn tell(&mut self, event: Event<'static>) {
        self.push_event(Pending::Plain(event));
    }

    pub(super) fn tell_of(&mut self, index: u8, event: TopicEvent) {
        self.push_event(Pending::OfTopic(index, event));
    }

    pub(super) fn push_event(&mut self, event: Pending) {
        if self.events.push_back(event).is_err() {
            bump(&mut self.stats.events_lost);
        }
    }

    /// Queues an answer, once: a repeated question before it is sent needs no second one.
    pub(super) fn reply(&mut self, reply: Reply) {
        if self.replies.iter().any(|queued| *queued == reply) {
            return;
        }
        if self.replies.push_back(reply).is_err() {
            bump(&mut self.stats.replies_lost);
        }
    }

    pub(super) fn to_gateway(&self) -> Option<Destination> {
        self.gateway
            .map(|gateway| Destination::Gateway(gateway.addr))
    }

    /// Counts what was written and returns it as a transmission.
    pub(super) fn account(
        &mut self,
        now: Instant,
        to: Destination,
        written: Result<usize, WireError>,
    ) -> Option<Transmit> {
        let Ok(len) = written else {
            bump(&mut self.stats.buffer_short);
            return None;
        };
        bump(&mut self.stats.datagrams_out);
        let octets = u32::try_from(len).unwrap_or(u32::MAX);
        self.stats.bytes_out = self.stats.bytes_out.wrapping_add(octets);
        if matches!(to, Destination::Gateway(_)) {
            self.last_sent = now;
            if let State::Asleep(sleep) = &mut self.state {
                sleep.has_spoken = true;
            }
        }
        Some(Transmit { to, len })
    }

    fn send_reply(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        if !self.is_in_session() {
            return None;
        }
        let written = match self.replies.pop_front()? {
            Reply::RegAck(ack) => Message::RegAck(ack),
            Reply::PubAck(ack) => Message::PubAck(ack),
            Reply::PubRec(msg_id) => Message::PubRec(msg_id),
            Reply::PubRel(msg_id) => Message::PubRel(msg_id),
            Reply::PubComp(msg_id) => Message::PubComp(msg_id),
            Reply::PingResp => Message::PingResp,
        }
        .emit(buf);
        self.account(now, self.to_gateway()?, written)
    }
}
