//! Publications of this node: a queue in order, one in flight [MQTT-SN 1.2 §6.6, §6.8].
//!
//! The queue is strictly first in, first out, whatever the QoS, so that what a node sends
//! arrives in order. QoS −1 needs no connection and does not wait for the others.

use heapless::Vec;

use super::Client;
use super::address::{Destination, Transmit};
use super::error::CommandError;
use super::event::{Event, RequestClass, Token, Topic};
use super::gateways::Gateway;
use super::stats::bump;
use super::timers::Retry;
use super::topics::is_publishable;
use crate::time::Instant;
use crate::wire::{Message, MsgId, Publish, QoS, ShortName, TopicId, TopicRef};

/// A publication that waits or is in flight.
#[derive(Clone, Debug)]
pub(super) struct Publication<const P: usize> {
    pub(super) token: Token,
    pub(super) topic: PublicationTopic,
    pub(super) qos: QoS,
    retain: bool,
    payload: Vec<u8, P, u16>,
}

/// A topic by its place in the table, or as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublicationTopic {
    Name(u8),
    Predefined(TopicId),
    Short(ShortName),
}

/// The publication in flight; it is the first in the queue that needs a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publishing {
    pub(super) msg_id: MsgId,
    pub(super) stage: Stage,
    pub(super) retry: Retry,
}

/// How far a publication has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// PUBLISH is out; PUBACK or PUBREC is waited for.
    Offered,
    /// QoS 2: PUBREL is out; PUBCOMP is waited for.
    Releasing,
}

/// The last publication at QoS 0: a refusal of it names only its topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastQoS0 {
    pub(super) topic_id: TopicId,
    pub(super) index: Option<u8>,
    pub(super) token: Token,
}

impl PublicationTopic {
    pub(super) const fn index(self) -> Option<u8> {
        match self {
            Self::Name(index) => Some(index),
            Self::Predefined(_) | Self::Short(_) => None,
        }
    }
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Queues a publication, in any state; a name is registered first where it has no id. QoS
    /// −1 is sent at once and without a connection.
    ///
    /// # Errors
    /// [`CommandError::QueueFull`], [`CommandError::TopicsFull`], [`CommandError::TooLong`],
    /// [`CommandError::InvalidTopic`], [`CommandError::InvalidQoS`] for a full name at QoS −1,
    /// [`CommandError::NoGateway`] at QoS −1 while none is known.
    pub fn publish(
        &mut self,
        topic: Topic<'_>,
        qos: QoS,
        retain: bool,
        payload: &[u8],
    ) -> Result<Token, CommandError> {
        if self.queue.is_full() {
            return Err(CommandError::QueueFull);
        }
        if !is_publishable(topic) {
            return Err(CommandError::InvalidTopic);
        }
        self.check_qos(topic, qos)?;
        let payload = self.check_payload(payload)?;
        let token = Token(self.next_token);
        let publication = Publication {
            token,
            topic: match topic {
                Topic::Name(name) => PublicationTopic::Name(self.place_name(name)?),
                Topic::Predefined(id) => PublicationTopic::Predefined(id),
                Topic::Short(name) => PublicationTopic::Short(name),
            },
            qos,
            retain,
            payload,
        };
        self.queue
            .push(publication)
            .map_err(|_| CommandError::QueueFull)?;
        self.next_token = self.next_token.wrapping_add(1);
        Ok(token)
    }

    /// Returns how many publications wait or are in flight.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Returns the place of the first publication that needs a connection.
    pub(super) fn head(&self) -> Option<usize> {
        self.queue.iter().position(|it| it.qos != QoS::MinusOne)
    }

    pub(super) fn is_releasing(&self) -> bool {
        self.publishing
            .is_some_and(|it| it.stage == Stage::Releasing)
    }

    /// Returns whether a publication at QoS −1 can be sent.
    pub(super) fn has_unconnected_publication(&self) -> bool {
        self.any_gateway().is_some() && self.queue.iter().any(|it| it.qos == QoS::MinusOne)
    }

    /// Returns whether a publication is in flight or may go on now; not where it rests after
    /// congestion, or its name waits for an id that does.
    pub(super) fn is_publishing_now(&self) -> bool {
        self.publishing.is_some_and(|it| {
            let head = self.head().and_then(|place| self.queue.get(place));
            it.stage == Stage::Releasing
                || !it.retry.is_due()
                || (!self.holds.is_held(RequestClass::Publish)
                    && head.is_some_and(|head| self.resolve(head.topic).is_some()))
        })
    }

    /// Returns the topic of the next publication if it may be sent now.
    pub(super) fn next_to_publish(&self) -> Option<TopicRef> {
        if self.publishing.is_some() || self.holds.is_held(RequestClass::Publish) {
            return None;
        }
        let head = self.queue.get(self.head()?)?;
        self.resolve(head.topic)
    }

    pub(super) fn send_publication(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        if self.publishing.is_none() && self.may_begin() {
            let topic = self.next_to_publish()?;
            if self.queue.get(self.head()?)?.qos == QoS::AtMostOnce {
                return self.send_once(now, topic, buf);
            }
            self.publishing = Some(Publishing {
                msg_id: self.fresh_msg_id(),
                stage: Stage::Offered,
                retry: Retry::new(),
            });
        }
        let publishing = self.publishing?;
        if !self.may_request() || !publishing.retry.is_due() {
            return None;
        }
        match publishing.stage {
            Stage::Offered if self.holds.is_held(RequestClass::Publish) => None,
            Stage::Offered => self.send_offer(now, publishing, buf),
            Stage::Releasing => {
                let written = Message::PubRel(publishing.msg_id).emit(buf);
                self.restart_publishing(now);
                self.account(now, self.to_gateway()?, written)
            }
        }
    }

    /// Sends a publication that needs no connection.
    pub(super) fn send_unconnected(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let place = self.queue.iter().position(|it| it.qos == QoS::MinusOne)?;
        let gateway = self.any_gateway()?;
        let publication = self.queue.get(place)?;
        let topic = self.resolve(publication.topic)?;
        if self.events.is_full() {
            return None;
        }
        let written = publication.message(topic, MsgId::NONE, false).emit(buf);
        let token = publication.token;
        self.queue.remove(place);
        self.tell(Event::Published { token });
        self.account(now, Destination::Gateway(gateway.addr), written)
    }

    pub(super) fn resolve(&self, topic: PublicationTopic) -> Option<TopicRef> {
        match topic {
            PublicationTopic::Name(index) => self.topics.id(index).map(TopicRef::Normal),
            PublicationTopic::Predefined(id) => Some(TopicRef::Predefined(id)),
            PublicationTopic::Short(name) => Some(TopicRef::Short(name)),
        }
    }

    fn any_gateway(&self) -> Option<Gateway> {
        self.gateway.or_else(|| self.gateways.first())
    }

    fn send_once(&mut self, now: Instant, topic: TopicRef, buf: &mut [u8]) -> Option<Transmit> {
        let place = self.head()?;
        let publication = self.queue.get(place)?;
        if self.events.is_full() {
            return None;
        }
        let written = publication.message(topic, MsgId::NONE, false).emit(buf);
        let (token, index) = (publication.token, publication.topic.index());
        self.queue.remove(place);
        self.last_qos0 = Some(LastQoS0 {
            topic_id: topic.topic_id(),
            index,
            token,
        });
        self.tell(Event::Published { token });
        self.account(now, self.to_gateway()?, written)
    }

    fn send_offer(
        &mut self,
        now: Instant,
        publishing: Publishing,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        let publication = self.queue.get(self.head()?)?;
        let topic = self.resolve(publication.topic)?;
        let dup = publishing.retry.is_repeat();
        let written = publication.message(topic, publishing.msg_id, dup).emit(buf);
        self.restart_publishing(now);
        self.account(now, self.to_gateway()?, written)
    }

    fn restart_publishing(&mut self, now: Instant) {
        if let Some(publishing) = &mut self.publishing {
            if publishing.retry.is_repeat() {
                bump(&mut self.stats.retries.publish);
            }
            publishing
                .retry
                .sent(self.config.link.answer_by(now, &mut self.rng));
        }
    }

    fn check_qos(&self, topic: Topic<'_>, qos: QoS) -> Result<(), CommandError> {
        if qos != QoS::MinusOne {
            return Ok(());
        }
        if matches!(topic, Topic::Name(_)) {
            return Err(CommandError::InvalidQoS);
        }
        if self.any_gateway().is_none() {
            return Err(CommandError::NoGateway);
        }
        Ok(())
    }

    fn check_payload(&self, payload: &[u8]) -> Result<Vec<u8, P, u16>, CommandError> {
        let kept = Vec::from_slice(payload).map_err(|_| CommandError::TooLong)?;
        let message = Message::Publish(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: TopicRef::Normal(TopicId::NONE),
            msg_id: MsgId::NONE,
            payload,
        });
        if message.encoded_len() > self.config.mtu {
            return Err(CommandError::TooLong);
        }
        Ok(kept)
    }
}

impl<const P: usize> Publication<P> {
    fn message(&self, topic: TopicRef, msg_id: MsgId, dup: bool) -> Message<'_> {
        Message::Publish(Publish {
            dup,
            qos: self.qos,
            retain: self.retain,
            topic,
            msg_id,
            payload: &self.payload,
        })
    }
}
