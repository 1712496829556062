//! The gateway's answers to publications of this node [MQTT-SN 1.2 §6.6].

use super::Client;
use super::error::PublishError;
use super::event::{Event, RequestClass};
use super::output::Reply;
use super::publish::Stage;
use super::stats::bump;
use super::timers::Retry;
use crate::time::Instant;
use crate::wire::{Acknowledgement, MsgId, QoS, ReturnCode};

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    pub(super) fn on_puback(&mut self, now: Instant, ack: Acknowledgement) {
        let offered = self
            .publishing
            .filter(|it| it.stage == Stage::Offered && it.msg_id == ack.msg_id);
        let qos = self
            .head()
            .and_then(|place| self.queue.get(place)?.qos.into());
        match (offered, ack.return_code) {
            (None, _) => self.on_puback_of_qos0(now, ack),
            (Some(_), ReturnCode::Accepted) if qos == Some(QoS::AtLeastOnce) => self.finish(None),
            // PUBACK does not end QoS 2 unless it refuses.
            (Some(_), ReturnCode::Accepted) => bump(&mut self.stats.unexpected),
            (Some(_), ReturnCode::Congestion) => {
                self.put_aside();
                self.hold(RequestClass::Publish, now);
            }
            (Some(_), ReturnCode::InvalidTopicId) => self.repair_topic(),
            (Some(_), code) => self.finish(Some(PublishError::Refused(code))),
        }
    }

    pub(super) fn on_pubrec(&mut self, msg_id: MsgId) {
        match &mut self.publishing {
            Some(it) if it.msg_id == msg_id => {
                if it.stage == Stage::Offered {
                    it.stage = Stage::Releasing;
                    it.retry = Retry::new();
                } else {
                    it.retry.rearm();
                }
            }
            // Of an exchange that is over: let the gateway end it too (digest A.9).
            _ => self.reply(Reply::PubRel(msg_id)),
        }
    }

    pub(super) fn on_pubcomp(&mut self, msg_id: MsgId) {
        if self.is_releasing() && self.publishing.is_some_and(|it| it.msg_id == msg_id) {
            self.finish(None);
        } else {
            bump(&mut self.stats.unexpected);
        }
    }

    /// Puts the publication in flight aside, to be published again later. One at QoS 2 keeps
    /// its message id: a repetition of it may have crossed the refusal and be taken yet, and
    /// under another id it would arrive twice.
    fn put_aside(&mut self) {
        let head = self.head().and_then(|place| self.queue.get(place));
        let keeps_id = head.is_some_and(|it| it.qos == QoS::ExactlyOnce);
        match &mut self.publishing {
            Some(it) if keeps_id => it.retry.rearm(),
            _ => self.publishing = None,
        }
    }

    /// Ends the publication in flight.
    fn finish(&mut self, failure: Option<PublishError>) {
        self.publishing = None;
        self.repairs = 0;
        let Some(place) = self.head() else {
            return;
        };
        let token = self.queue.remove(place).token;
        self.tell(
            failure.map_or(Event::Published { token }, |reason| Event::PublishFailed {
                token,
                reason,
            }),
        );
    }

    /// Registers the name again and publishes again, at QoS 1 a new exchange with DUP = 0, at
    /// most `n_retry` times; other kinds of topic cannot be repaired [MQTT-SN 1.2 §6.6].
    fn repair_topic(&mut self) {
        let index = self
            .head()
            .and_then(|place| self.queue.get(place)?.topic.index());
        match index {
            Some(index) if self.repairs < self.config.link.n_retry => {
                self.repairs = self.repairs.saturating_add(1);
                self.put_aside();
                self.topics.unbind(index);
            }
            _ => self.finish(Some(PublishError::Refused(ReturnCode::InvalidTopicId))),
        }
    }

    fn on_puback_of_qos0(&mut self, now: Instant, ack: Acknowledgement) {
        let refused = ack.msg_id == MsgId::NONE && ack.return_code != ReturnCode::Accepted;
        let Some(last) = self
            .last_qos0
            .take_if(|last| refused && last.topic_id == ack.topic_id)
        else {
            bump(&mut self.stats.unexpected);
            return;
        };
        match (ack.return_code, last.index) {
            (ReturnCode::Congestion, _) => self.hold(RequestClass::Publish, now),
            (ReturnCode::InvalidTopicId, Some(index))
                if self.topics.id(index) == Some(ack.topic_id) =>
            {
                self.topics.unbind(index);
            }
            _ => {}
        }
        self.tell(Event::PublishFailed {
            token: last.token,
            reason: PublishError::Refused(ack.return_code),
        });
    }
}
