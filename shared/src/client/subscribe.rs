//! Subscriptions: what the application wants, made so at the gateway one by one
//! [MQTT-SN 1.2 §6.9].

use super::Client;
use super::address::Transmit;
use super::error::CommandError;
use super::event::{RequestClass, Topic};
use super::output::TopicEvent;
use super::stats::bump;
use super::timers::Retry;
use super::topics::{Subscription, is_subscribable};
use crate::time::Instant;
use crate::topics::Filter;
use crate::wire::{Message, MsgId, QoS, ReturnCode, SubAck, Subscribe, TopicFilter, Unsubscribe};

/// A SUBSCRIBE or UNSUBSCRIBE in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscribing {
    pub(super) index: u8,
    pub(super) msg_id: MsgId,
    /// The QoS asked for; `None` unsubscribes.
    qos: Option<QoS>,
    pub(super) retry: Retry,
}

/// The last requests that were answered, to know a late copy of one by its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answered {
    subscribe: Option<(MsgId, u8)>,
    unsubscribe: Option<(MsgId, u8)>,
}

impl Answered {
    /// Forgets a topic whose place in the table another one takes.
    pub(super) fn forget(&mut self, index: u8) {
        for request in [&mut self.subscribe, &mut self.unsubscribe] {
            *request = request.filter(|(_, of)| *of != index);
        }
    }
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Subscribes, now or as soon as there is a connection; renewed in every new session.
    ///
    /// # Errors
    /// [`CommandError::InvalidTopic`], [`CommandError::InvalidQoS`], [`CommandError::TooLong`],
    /// [`CommandError::TopicsFull`].
    pub fn subscribe(&mut self, topic: Topic<'_>, qos: QoS) -> Result<(), CommandError> {
        if qos == QoS::MinusOne {
            return Err(CommandError::InvalidQoS);
        }
        if !is_subscribable(topic) {
            return Err(CommandError::InvalidTopic);
        }
        if subscribe_message(filter(topic), qos, MsgId::NONE, false).encoded_len() > self.config.mtu
        {
            return Err(CommandError::TooLong);
        }
        let index = self.place_topic(topic, true)?;
        if let Some(entry) = self.topics.get_mut(index) {
            entry.subscription = Subscription::Wanted(qos);
        }
        Ok(())
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// [`CommandError::InvalidTopic`] where there is none.
    pub fn unsubscribe(&mut self, topic: Topic<'_>) -> Result<(), CommandError> {
        let index = self.topics.find(topic);
        let entry = index
            .and_then(|index| self.topics.get_mut(index))
            .filter(|entry| entry.subscription != Subscription::None)
            .ok_or(CommandError::InvalidTopic)?;
        entry.subscription = Subscription::Leaving;
        Ok(())
    }

    /// Returns the next topic to subscribe to or to leave, if that may be asked for now.
    pub(super) fn next_to_subscribe(&self) -> Option<u8> {
        if self.subscribing.is_some() || self.holds.is_held(RequestClass::Subscribe) {
            return None;
        }
        self.topics.next_subscription()
    }

    pub(super) fn send_subscription(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        if self.subscribing.is_none() && self.may_begin() {
            self.begin_subscription();
        }
        let may_request = self.may_request();
        let request = self.subscribing.as_mut()?;
        if !may_request || !request.retry.is_due() {
            return None;
        }
        let dup = request.retry.is_repeat();
        if dup {
            bump(&mut self.stats.retries.subscribe);
        }
        request
            .retry
            .sent(self.config.link.answer_by(now, &mut self.rng));
        let (msg_id, qos) = (request.msg_id, request.qos);
        let topic = filter(self.topics.get(request.index)?.topic());
        let message = match qos {
            Some(qos) => subscribe_message(topic, qos, msg_id, dup),
            None => Message::Unsubscribe(Unsubscribe { msg_id, topic }),
        };
        let written = message.emit(buf);
        self.account(now, self.to_gateway()?, written)
    }

    pub(super) fn on_suback(&mut self, now: Instant, ack: SubAck) {
        let Some(Subscribing { index, qos, .. }) = self
            .subscribing
            .take_if(|request| request.qos.is_some() && request.msg_id == ack.msg_id)
        else {
            return self.on_late_suback(ack);
        };
        self.answered.subscribe = Some((ack.msg_id, index));
        match ack.return_code {
            ReturnCode::Accepted => self.grant(index, qos, ack),
            ReturnCode::Congestion => self.hold(RequestClass::Subscribe, now),
            code => {
                self.end_subscription(index, qos.map(Subscription::Wanted));
                self.tell_of(index, TopicEvent::SubscribeFailed(code));
            }
        }
    }

    pub(super) fn on_unsuback(&mut self, msg_id: MsgId) {
        let Some(Subscribing { index, .. }) = self
            .subscribing
            .take_if(|request| request.qos.is_none() && request.msg_id == msg_id)
        else {
            return self.on_late_unsuback(msg_id);
        };
        self.answered.unsubscribe = Some((msg_id, index));
        self.end_subscription(index, Some(Subscription::Leaving));
        self.tell_of(index, TopicEvent::Unsubscribed);
    }

    /// Takes the answer to a SUBSCRIBE that was answered before. Where the node has left the
    /// topic since, the copy has undone that.
    fn on_late_suback(&mut self, ack: SubAck) {
        bump(&mut self.stats.unexpected);
        let index = self.answered.subscribe.filter(|(id, _)| *id == ack.msg_id);
        if let Some((_, index)) = index
            && ack.return_code == ReturnCode::Accepted
            && let Some(entry) = self.topics.get_mut(index)
            && entry.subscription == Subscription::None
        {
            entry.subscription = Subscription::Leaving;
            bump(&mut self.stats.late_requests);
        }
    }

    /// Takes the answer to an UNSUBSCRIBE that was answered before. Where the node has
    /// subscribed again since, the copy has undone that.
    fn on_late_unsuback(&mut self, msg_id: MsgId) {
        bump(&mut self.stats.unexpected);
        let Some((_, index)) = self.answered.unsubscribe.filter(|(id, _)| *id == msg_id) else {
            return;
        };
        let Some(entry) = self.topics.get_mut(index) else {
            return;
        };
        match entry.subscription {
            Subscription::Granted(qos) => entry.subscription = Subscription::Wanted(qos),
            // The one under way may be the one that was undone.
            Subscription::Wanted(_) => {
                self.subscribing.take_if(|request| request.index == index);
            }
            Subscription::None | Subscription::Leaving => return,
        }
        bump(&mut self.stats.late_requests);
    }

    fn begin_subscription(&mut self) {
        let Some(index) = self.next_to_subscribe() else {
            return;
        };
        let qos = match self.topics.get(index).map(|entry| entry.subscription) {
            Some(Subscription::Wanted(qos)) => Some(qos),
            _ => None,
        };
        self.subscribing = Some(Subscribing {
            index,
            msg_id: self.fresh_msg_id(),
            qos,
            retry: Retry::new(),
        });
    }

    fn grant(&mut self, index: u8, asked: Option<QoS>, ack: SubAck) {
        let Some(entry) = self.topics.get_mut(index) else {
            return;
        };
        // The application may have changed its mind under way: then the next request follows.
        if entry.subscription == asked.map_or(Subscription::None, Subscription::Wanted)
            && let Some(qos) = asked
        {
            entry.subscription = Subscription::Granted(qos);
        }
        // Only an exact name gets its id here; for a wildcard and a shared filter the field says
        // nothing (D-15).
        let exact = Filter::new(entry.name()).is_ok_and(|filter| filter.exact_name().is_some());
        if exact && ack.topic_id.is_assignable() {
            self.topics.bind(index, ack.topic_id);
        }
        self.tell_of(index, TopicEvent::Subscribed(ack.qos));
    }

    fn end_subscription(&mut self, index: u8, asked: Option<Subscription>) {
        if let Some(entry) = self.topics.get_mut(index)
            && Some(entry.subscription) == asked
        {
            entry.subscription = Subscription::None;
        }
    }
}

const fn filter(topic: Topic<'_>) -> TopicFilter<'_> {
    match topic {
        Topic::Name(name) => TopicFilter::Name(name.as_bytes()),
        Topic::Predefined(id) => TopicFilter::Predefined(id),
        Topic::Short(name) => TopicFilter::Short(name),
    }
}

const fn subscribe_message(
    topic: TopicFilter<'_>,
    qos: QoS,
    msg_id: MsgId,
    dup: bool,
) -> Message<'_> {
    Message::Subscribe(Subscribe {
        dup,
        qos,
        msg_id,
        topic,
    })
}
