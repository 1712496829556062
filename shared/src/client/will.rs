//! Changing the will while connected [MQTT-SN 1.2 §6.4].

use heapless::{String, Vec};

use super::Client;
use super::address::Transmit;
use super::config::Will;
use super::error::CommandError;
use super::event::{Event, RequestClass, Topic, WillPart};
use super::stats::bump;
use super::timers::Retry;
use super::topics::is_publishable;
use crate::time::Instant;
use crate::wire::{ConnAck, Message, QoS, ReturnCode};

/// Which halves of the will the gateway does not know yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WillUpdate {
    topic_changed: bool,
    message_changed: bool,
    pub(super) in_flight: Option<(WillPart, Retry)>,
    /// Whether the gateway refused to delete the will, so that the next CONNECT has to ask for
    /// that.
    pub(super) owed: bool,
}

impl WillUpdate {
    /// Stops the request in flight; what it was to change stays to be changed.
    pub(super) const fn pause(&mut self) {
        match self.in_flight {
            Some((WillPart::Topic, _)) => self.topic_changed = true,
            Some((WillPart::Message, _)) => self.message_changed = true,
            None => {}
        }
        self.in_flight = None;
    }

    /// Ends all changes: the gateway was told the whole will in the handshake.
    pub(super) const fn settle(&mut self) {
        self.topic_changed = false;
        self.message_changed = false;
        self.in_flight = None;
        self.owed = false;
    }

    /// Tells the whole will again.
    pub(super) const fn redo(&mut self) {
        self.topic_changed = true;
        self.message_changed = true;
        self.in_flight = None;
    }

    const fn next(&self) -> Option<WillPart> {
        match (self.topic_changed, self.message_changed) {
            (true, _) => Some(WillPart::Topic),
            (false, true) => Some(WillPart::Message),
            (false, false) => None,
        }
    }

    const fn begin(&mut self, part: WillPart) {
        match part {
            WillPart::Topic => self.topic_changed = false,
            WillPart::Message => self.message_changed = false,
        }
        self.in_flight = Some((part, Retry::new()));
    }
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Changes topic, QoS and retain flag of the will, or deletes the will. Holds for later
    /// connections too, whatever the gateway answers.
    ///
    /// # Errors
    /// [`CommandError::InvalidTopic`], [`CommandError::InvalidQoS`], [`CommandError::TooLong`].
    pub fn update_will_topic(
        &mut self,
        target: Option<(&str, QoS, bool)>,
    ) -> Result<(), CommandError> {
        match target {
            Some((topic, qos, retain)) => self.set_will_topic(topic, qos, retain)?,
            None => {
                self.config.will = None;
                self.will_update.message_changed = false;
            }
        }
        self.will_update.topic_changed = true;
        Ok(())
    }

    /// Changes the message of the will, for later connections too.
    ///
    /// # Errors
    /// [`CommandError::NoWill`], [`CommandError::TooLong`].
    pub fn update_will_message(&mut self, message: &[u8]) -> Result<(), CommandError> {
        if Message::WillMsgUpd(message).encoded_len() > self.config.mtu {
            return Err(CommandError::TooLong);
        }
        let will = self.config.will.as_mut().ok_or(CommandError::NoWill)?;
        will.message = Vec::from_slice(message).map_err(|_| CommandError::TooLong)?;
        self.will_update.message_changed = true;
        Ok(())
    }

    pub(super) fn next_will_part(&self) -> Option<WillPart> {
        if self.will_update.in_flight.is_some() || self.holds.is_held(RequestClass::Will) {
            return None;
        }
        self.will_update.next()
    }

    pub(super) fn send_will_update(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        if self.may_begin()
            && let Some(part) = self.next_will_part()
        {
            self.will_update.begin(part);
        }
        let may_request = self.may_request();
        let (part, retry) = self.will_update.in_flight.as_mut()?;
        if !may_request || !retry.is_due() {
            return None;
        }
        if retry.is_repeat() {
            bump(&mut self.stats.retries.will);
        }
        retry.sent(self.config.link.answer_by(now, &mut self.rng));
        let will = self.config.will.as_ref();
        let message = match part {
            WillPart::Topic => Message::WillTopicUpd(will.map(Will::target)),
            WillPart::Message => Message::WillMsgUpd(will.map_or(&[], |will| &will.message)),
        };
        let written = message.emit(buf);
        self.account(now, self.to_gateway()?, written)
    }

    pub(super) fn on_will_response(&mut self, now: Instant, part: WillPart, ack: ConnAck) {
        if self
            .will_update
            .in_flight
            .take_if(|(asked, _)| *asked == part)
            .is_none()
        {
            bump(&mut self.stats.unexpected);
            return;
        }
        match ack.return_code {
            ReturnCode::Accepted => self.tell(Event::WillUpdated { part }),
            ReturnCode::Congestion => {
                match part {
                    WillPart::Topic => self.will_update.topic_changed = true,
                    WillPart::Message => self.will_update.message_changed = true,
                }
                self.hold(RequestClass::Will, now);
            }
            code => {
                // The next CONNECT tells it, even one that resumes the session: by the empty
                // WILLTOPIC where there is no will any more [MQTT-SN 1.2 §6.3].
                self.will_known = false;
                self.will_update.owed |= self.config.will.is_none();
                self.tell(Event::WillUpdateFailed { part, code });
            }
        }
    }

    fn set_will_topic(&mut self, topic: &str, qos: QoS, retain: bool) -> Result<(), CommandError> {
        if qos == QoS::MinusOne {
            return Err(CommandError::InvalidQoS);
        }
        if !is_publishable(Topic::Name(topic)) {
            return Err(CommandError::InvalidTopic);
        }
        let mut will = Will {
            topic: String::try_from(topic).map_err(|_| CommandError::TooLong)?,
            qos,
            retain,
            message: Vec::new(),
        };
        if Message::WillTopicUpd(Some(will.target())).encoded_len() > self.config.mtu {
            return Err(CommandError::TooLong);
        }
        if let Some(old) = self.config.will.take() {
            will.message = old.message;
        }
        self.config.will = Some(will);
        Ok(())
    }
}
