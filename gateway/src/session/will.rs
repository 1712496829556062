//! The will: its handshake before CONNACK, and its changes afterwards [MQTT-SN 1.2 §6.3, §6.4].

use std::sync::Arc;

use bytes::Bytes;
use shared::time::Instant;
use shared::wire::{ConnAck, Message, QoS, ReturnCode, WillTarget};

use super::connect::{Request, WillChange};
use super::engine::Engine;
use super::output::DropReason;
use super::port::Binding;
use super::slots::{SessionKey, TimerOwner};
use super::state::Will;

/// The most will handshakes under way at once; a further CONNECT is answered with code 01.
pub(super) const HANDSHAKES_MAX: usize = 1024;

/// A CONNECT that waits for its will. No session is touched before the will is complete (D-11).
#[derive(Debug)]
pub(super) struct Handshake {
    client_id: Arc<str>,
    clean: bool,
    duration_s: u16,
    /// The will topic, once it is there.
    target: Option<Target>,
    tries: u8,
    pub(super) retry_at: Instant,
}

#[derive(Debug)]
struct Target {
    topic: Arc<str>,
    qos: QoS,
    retain: bool,
}

impl Engine {
    pub(super) fn ask_for_will(&mut self, now: Instant, binding: Binding, request: Request) {
        let retry_at = now + self.settings.link(binding.link).t_retry;
        if let Some(pending) = self.handshakes.get_mut(&binding)
            && pending.client_id == request.client_id
            && pending.clean == request.clean
            && pending.duration_s == request.duration_s
        {
            // [MQTT-SN 1.2 §6.3] D-10
            self.out.stats.repeats += 1;
        } else {
            let handshake = Handshake {
                client_id: request.client_id,
                clean: request.clean,
                duration_s: request.duration_s,
                target: None,
                tries: 0,
                retry_at,
            };
            self.handshakes.insert(binding, handshake);
            self.timers.push(retry_at, TimerOwner::Handshake(binding));
        }
        self.request_will(&binding);
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
        self.out.transmit(binding, &message);
    }

    pub(super) fn handshake_timeout(&mut self, now: Instant, binding: Binding) {
        let (t_retry, n_retry) = {
            let link = self.settings.link(binding.link);
            (link.t_retry, link.n_retry)
        };
        let Some(handshake) = self.handshakes.get_mut(&binding) else {
            return;
        };
        if handshake.retry_at > now {
            let at = handshake.retry_at;
            self.timers.push(at, TimerOwner::Handshake(binding));
            return;
        }
        if handshake.tries >= n_retry {
            // [MQTT-SN 1.2 §6.3] D-11
            self.handshakes.remove(&binding);
            return;
        }
        handshake.tries += 1;
        handshake.retry_at = now + t_retry;
        self.timers
            .push(handshake.retry_at, TimerOwner::Handshake(binding));
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
        let Some(handshake) = self.handshakes.get_mut(&binding) else {
            return self.late_will(now, binding, octets);
        };
        let Some(target) = target else {
            // [MQTT-SN 1.2 §6.3] An empty WILLTOPIC deletes the will and ends the handshake.
            return self.finish_handshake(now, binding, |_| WillChange::Delete);
        };
        let Some(topic) = will_topic_name(&target) else {
            self.handshakes.remove(&binding);
            self.answer_connect(&binding, ReturnCode::NotSupported);
            return;
        };
        handshake.target = Some(Target {
            topic,
            qos: target.qos,
            retain: target.retain,
        });
        handshake.tries = 0;
        handshake.retry_at = now + self.settings.link(binding.link).t_retry;
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
                let payload = Bytes::copy_from_slice(bytes);
                self.finish_handshake(now, binding, |target| {
                    target.map_or(WillChange::Keep, |Target { topic, qos, retain }| {
                        WillChange::Set(Will {
                            topic,
                            payload,
                            qos,
                            retain,
                        })
                    })
                });
            }
            Some(_) => self.request_will(&binding),
            None => self.late_will(now, binding, octets),
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
        will: impl FnOnce(Option<Target>) -> WillChange,
    ) {
        let Some(handshake) = self.handshakes.remove(&binding) else {
            return;
        };
        let Handshake {
            client_id,
            clean,
            duration_s,
            target,
            ..
        } = handshake;
        if self.has_no_room_for(&client_id) {
            // Others have connected while this node told its will.
            return self.refuse_congested(&binding, &client_id);
        }
        let request = Request {
            client_id,
            clean,
            duration_s,
            will: true,
        };
        self.open(now, binding, request, will(target));
    }

    /// Changes the will topic of a connected node [MQTT-SN 1.2 §6.4]; the gateway keeps the
    /// wills itself, so the upstream need not know (design: shared connection).
    pub(super) fn will_topic_update(&mut self, key: SessionKey, target: Option<WillTarget<'_>>) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let return_code = match target {
            None => {
                session.will = None;
                ReturnCode::Accepted
            }
            Some(target) => match will_topic_name(&target) {
                Some(topic) => {
                    let payload = session
                        .will
                        .take()
                        .map_or_else(Bytes::new, |will| will.payload);
                    let WillTarget { qos, retain, .. } = target;
                    session.will = Some(Will {
                        topic,
                        payload,
                        qos,
                        retain,
                    });
                    ReturnCode::Accepted
                }
                None => ReturnCode::NotSupported,
            },
        };
        self.send(key, &Message::WillTopicResp(ConnAck { return_code }));
    }

    /// Changes the will message of a connected node; refused where there is no will to change.
    pub(super) fn will_message_update(&mut self, key: SessionKey, bytes: &[u8]) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let return_code = match &mut session.will {
            Some(will) => {
                will.payload = Bytes::copy_from_slice(bytes);
                ReturnCode::Accepted
            }
            None => ReturnCode::NotSupported,
        };
        self.send(key, &Message::WillMsgResp(ConnAck { return_code }));
    }
}

fn will_topic_name(target: &WillTarget<'_>) -> Option<Arc<str>> {
    let name = std::str::from_utf8(target.topic).ok()?;
    let acceptable = shared::topics::TopicName::new(name).is_ok() && target.qos != QoS::MinusOne;
    acceptable.then(|| name.into())
}
