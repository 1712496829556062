//! The will: its handshake before CONNACK, and its changes afterwards [MQTT-SN 1.2 §6.3, §6.4].

use std::sync::Arc;

use bytes::Bytes;
use shared::time::Instant;
use shared::wire::{ConnAck, Message, QoS, ReturnCode, WillTarget};

use super::connect::{Request, WillChange};
use super::engine::Engine;
use super::output::DropReason;
use super::policy::NodeRule;
use super::port::Binding;
use super::port::LinkId;
use super::settings::WillMode;
use super::slots::{SessionKey, TimerOwner};
use super::state::{Will, WillTopic};
use super::uplink::valid_name;

/// The most will handshakes under way at once; a further CONNECT is answered with code 01.
pub(super) const HANDSHAKES_MAX: usize = 1024;

/// A CONNECT that waits for its will. No session is touched before the will is complete (D-11).
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) request: Request,
    /// The will topic, once it is there.
    target: Option<WillTopic>,
    tries: u8,
    pub(super) retry_at: Instant,
    pub(super) timer: Option<Instant>,
}

impl Engine {
    pub(super) fn ask_for_will(&mut self, now: Instant, binding: Binding, request: Request) {
        let retry_at = now + self.settings.link(binding.link).t_retry;
        if let Some(pending) = self.handshakes.get_mut(&binding)
            && pending.request.client_id == request.client_id
            && pending.request.clean == request.clean
            && pending.request.duration_s == request.duration_s
        {
            // [MQTT-SN 1.2 §6.3] D-10
            self.out.stats.repeats += 1;
        } else {
            self.drop_handshake(binding);
            let handshake = Handshake {
                request,
                target: None,
                tries: 0,
                retry_at,
                timer: None,
            };
            self.handshakes.insert(binding, handshake);
            self.arm_handshake(binding);
        }
        self.request_will(&binding);
    }

    fn arm_handshake(&mut self, binding: Binding) {
        if let Some(handshake) = self.handshakes.get_mut(&binding) {
            let at = handshake.retry_at;
            self.timers
                .arm(&mut handshake.timer, at, TimerOwner::Handshake(binding));
        }
    }

    pub(super) fn drop_handshake(&mut self, binding: Binding) -> Option<Handshake> {
        let mut handshake = self.handshakes.remove(&binding)?;
        self.timers
            .disarm(&mut handshake.timer, TimerOwner::Handshake(binding));
        Some(handshake)
    }

    /// Goes on with the handshakes on a link that is back.
    pub(super) fn resume_handshakes(&mut self, link: LinkId) {
        let on_link = |binding: &&Binding| binding.link == link;
        let bindings: Vec<_> = self.handshakes.keys().filter(on_link).copied().collect();
        for binding in bindings {
            self.arm_handshake(binding);
        }
    }

    /// Sends the request that the handshake waits for an answer to.
    fn request_will(&mut self, binding: &Binding) {
        let Some(handshake) = self.handshakes.get(binding) else {
            return;
        };
        let message = match handshake.target {
            None => Message::WillTopicReq,
            Some(_) => Message::WillMsgReq,
        };
        let priority = handshake.request.rule.priority;
        self.out.transmit_as(priority, binding, &message);
    }

    pub(super) fn handshake_timeout(&mut self, now: Instant, binding: Binding) {
        let (t_retry, n_retry) = {
            let link = self.settings.link(binding.link);
            (link.t_retry, link.n_retry)
        };
        let carries = self.links.carries(binding.link);
        let Some(handshake) = self.handshakes.get_mut(&binding) else {
            return;
        };
        handshake.timer = None;
        if !carries {
            return;
        }
        if handshake.retry_at > now {
            return self.arm_handshake(binding);
        }
        if handshake.tries >= n_retry {
            // [MQTT-SN 1.2 §6.3] D-11
            self.handshakes.remove(&binding);
            return;
        }
        handshake.tries += 1;
        handshake.retry_at = now + t_retry;
        self.arm_handshake(binding);
        self.out.stats.retransmissions += 1;
        self.request_will(&binding);
    }

    pub(super) fn will_topic(
        &mut self,
        now: Instant,
        binding: Binding,
        target: Option<WillTarget<'_>>,
        octets: usize,
    ) {
        self.heard_in_handshake(now, &binding);
        let Some(handshake) = self.handshakes.get_mut(&binding) else {
            return self.late_will(now, binding, octets);
        };
        let Some(target) = target else {
            // [MQTT-SN 1.2 §6.3] An empty WILLTOPIC deletes the will and ends the handshake.
            return self.finish_handshake(now, binding, |_| WillChange::Delete);
        };
        let Request {
            client_id, rule, ..
        } = &handshake.request;
        match WillTopic::read(&target, rule, client_id) {
            Ok(target) => handshake.target = Some(target),
            Err(reason) => {
                let client_id = Arc::clone(client_id);
                self.drop_handshake(binding);
                return self.refuse_connect(now, binding, Some(&client_id), reason, octets);
            }
        }
        handshake.tries = 0;
        handshake.retry_at = now + self.settings.link(binding.link).t_retry;
        self.arm_handshake(binding);
        self.request_will(&binding);
    }

    pub(super) fn will_message(
        &mut self,
        now: Instant,
        binding: Binding,
        bytes: &[u8],
        octets: usize,
    ) {
        match self.handshakes.get(&binding) {
            Some(Handshake {
                target: Some(_), ..
            }) => {
                let message = Some(Bytes::copy_from_slice(bytes));
                self.finish_handshake(now, binding, |target| {
                    WillChange::Set(Will { target, message })
                });
            }
            Some(_) => self.request_will(&binding),
            None => self.late_will(now, binding, octets),
        }
    }

    /// Keeps the older session of a node that connects anew from being lost meanwhile.
    fn heard_in_handshake(&mut self, now: Instant, binding: &Binding) {
        let handshake = self.handshakes.get(binding);
        if let Some(client_id) = handshake.map(|handshake| Arc::clone(&handshake.request.client_id))
        {
            self.heard_connecting(now, &client_id);
        }
    }

    /// Answers a repeated WILLTOPIC or WILLMSG whose CONNACK was lost.
    fn late_will(&mut self, now: Instant, binding: Binding, octets: usize) {
        let session = self
            .slots
            .by_binding(&binding)
            .and_then(|key| self.slots.get(key));
        match session {
            Some(session) if session.last_connect.is_some_and(|seen| seen.will) => {
                self.out.stats.repeats += 1;
                self.answer_connect(&binding, ReturnCode::Accepted);
            }
            Some(_) => {
                self.out
                    .dropped(Some(binding), None, DropReason::Unexpected, octets);
            }
            None => self.answer_stranger(now, binding, octets),
        }
    }

    fn finish_handshake(
        &mut self,
        now: Instant,
        binding: Binding,
        will: impl FnOnce(Option<WillTopic>) -> WillChange,
    ) {
        let Some(handshake) = self.drop_handshake(binding) else {
            return;
        };
        let Handshake {
            request, target, ..
        } = handshake;
        self.open(now, binding, request, will(target));
    }

    /// Changes the will topic of a node, or deletes the will [MQTT-SN 1.2 §6.4] D-33; the gateway
    /// keeps the wills itself, so the upstream need not know (design: shared connection).
    pub(super) fn will_topic_update(&mut self, key: SessionKey, target: Option<WillTarget<'_>>) {
        let Some(session) = self.slots.get(key) else {
            return;
        };
        let octets = target.map_or(0, |target| target.topic.len());
        let target = target.map(|t| WillTopic::read(&t, &session.rule, &session.client_id));
        let return_code = match (self.settings.wills, target.transpose()) {
            (WillMode::Off, _) => ReturnCode::NotSupported,
            (WillMode::Gateway, Err(reason)) => {
                self.refused(key, reason, octets);
                ReturnCode::NotSupported
            }
            (WillMode::Gateway, Ok(None)) => {
                self.change_will(key, |will| *will = None);
                ReturnCode::Accepted
            }
            (WillMode::Gateway, Ok(target)) => {
                self.change_will(key, |will| will.get_or_insert_default().target = target);
                ReturnCode::Accepted
            }
        };
        self.send(key, &Message::WillTopicResp(ConnAck { return_code }));
    }

    /// Changes the will message of a node, also where its topic is still to come: the two are
    /// independent of each other [MQTT-SN 1.2 §6.4] D-33.
    pub(super) fn will_message_update(&mut self, key: SessionKey, bytes: &[u8]) {
        let return_code = match self.settings.wills {
            WillMode::Off => ReturnCode::NotSupported,
            WillMode::Gateway => {
                let message = Bytes::copy_from_slice(bytes);
                self.change_will(key, |will| {
                    will.get_or_insert_default().message = Some(message);
                });
                ReturnCode::Accepted
            }
        };
        self.send(key, &Message::WillMsgResp(ConnAck { return_code }));
    }

    fn change_will(&mut self, key: SessionKey, change: impl FnOnce(&mut Option<Will>)) {
        if let Some(session) = self.slots.get_mut(key) {
            change(&mut session.will);
        }
    }
}

impl WillTopic {
    /// Reads where a will goes, by the rule of its node: a topic that it may not publish to is
    /// refused (D-43), a quality of service above its highest one is lowered, for a node shall
    /// not be kept out by that.
    fn read(target: &WillTarget<'_>, rule: &NodeRule, client_id: &str) -> Result<Self, DropReason> {
        let topic = valid_name(target.topic)
            .filter(|_| target.qos != QoS::MinusOne)
            .ok_or(DropReason::UnacceptableConnect)?;
        if !rule.may_publish(client_id, topic) {
            return Err(DropReason::NotAuthorised);
        }
        Ok(Self {
            topic: topic.into(),
            qos: target.qos.min(rule.qos_max),
            retain: target.retain,
        })
    }
}
