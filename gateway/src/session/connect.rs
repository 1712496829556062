//! CONNECT, the will handshake, takeover, and every way a connection ends
//! [MQTT-SN 1.2 §6.2–6.4, §6.12, §6.13].

use std::sync::Arc;

use bytes::Bytes;
use shared::time::Instant;
use shared::wire::{ConnAck, Connect, Disconnect, Message, QoS, ReturnCode, WillTarget};

use super::engine::Engine;
use super::output::{DropReason, Ending, Notice};
use super::port::{Binding, Publication};
use super::slots::{SessionKey, TimerOwner};
use super::state::{ConnectSeen, State, Will};

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
    retry_at: Instant,
}

#[derive(Debug)]
struct Target {
    topic: Arc<str>,
    qos: QoS,
    retain: bool,
}

/// What a CONNECT does to the stored will.
enum WillChange {
    Keep,
    Set(Will),
    Delete,
}

/// A CONNECT that can be served.
struct Request {
    client_id: Arc<str>,
    clean: bool,
    duration_s: u16,
    will: bool,
}

impl Engine {
    pub(super) fn connect(&mut self, now: Instant, binding: Binding, connect: &Connect<'_>) {
        let Some(client_id) = self.acceptable_client_id(connect) else {
            // [MQTT-SN 1.2 §6.2] D-14
            self.answer_connect(&binding, ReturnCode::NotSupported);
            return;
        };
        if self.is_repeated(now, binding, client_id, connect) {
            self.out.stats.repeats += 1;
            self.answer_connect(&binding, ReturnCode::Accepted);
            return;
        }
        if self.is_congested(now, client_id) {
            self.out.dropped(
                Some(binding),
                None,
                DropReason::SessionsFull,
                client_id.len(),
            );
            self.answer_connect(&binding, ReturnCode::Congestion);
            return;
        }
        let request = Request {
            client_id: client_id.into(),
            clean: connect.clean,
            duration_s: connect.duration_s,
            will: connect.will,
        };
        if request.will {
            self.ask_for_will(now, binding, request);
        } else {
            self.handshakes.remove(&binding);
            self.open(now, binding, request, WillChange::Keep);
        }
    }

    fn acceptable_client_id<'c>(&self, connect: &Connect<'c>) -> Option<&'c str> {
        let client_id = std::str::from_utf8(connect.client_id).ok()?;
        let acceptable = connect.protocol_id == Connect::PROTOCOL_ID
            && !client_id.is_empty()
            && client_id.len() <= self.settings.client_id_len_max
            && !client_id.chars().any(char::is_control);
        acceptable.then_some(client_id)
    }

    /// Returns whether this is the last CONNECT once more, because its answer was lost (D-10).
    fn is_repeated(
        &self,
        now: Instant,
        binding: Binding,
        client_id: &str,
        connect: &Connect<'_>,
    ) -> bool {
        let session = self
            .slots
            .by_binding(&binding)
            .and_then(|key| self.slots.get(key));
        let Some(session) = session else { return false };
        let link = session.link(&self.settings);
        let window = link.t_retry.saturating_mul(u64::from(link.n_retry));
        &*session.client_id == client_id
            && session.last_connect.is_some_and(|seen| {
                seen.clean == connect.clean
                    && seen.keep_alive_s == connect.duration_s
                    && seen.will == connect.will
                    && now.since(seen.at) <= window
            })
    }

    fn is_congested(&self, now: Instant, client_id: &str) -> bool {
        let is_new = self.slots.by_client_id(client_id).is_none();
        self.upstream_out(now)
            || (is_new && self.slots.len() >= self.settings.sessions_max)
            || self.handshakes.len() >= HANDSHAKES_MAX
    }

    fn ask_for_will(&mut self, now: Instant, binding: Binding, request: Request) {
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
        let request = Request {
            client_id,
            clean,
            duration_s,
            will: true,
        };
        self.open(now, binding, request, will(target));
    }

    /// Opens or resumes the session of a CONNECT that is complete.
    fn open(&mut self, now: Instant, binding: Binding, request: Request, will: WillChange) {
        self.make_way(now, binding, &request.client_id);
        let known = self.slots.by_client_id(&request.client_id);
        let resumed = !request.clean && known.is_some_and(|key| self.goes_on(key));
        if let Some(key) = known {
            self.leave_former_binding(key, binding);
            if !resumed {
                // [MQTT-SN 1.2 §6.3] D-12
                self.wipe(key);
            }
        }
        let key = known.unwrap_or_else(|| self.new_session(Arc::clone(&request.client_id), now));
        self.slots.bind(key, binding);
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.state = State::Active;
        session.clean = request.clean;
        session.keep_alive_s = request.duration_s;
        session.unresponsive = false;
        session.ping_owed = false;
        session.paused_until = None;
        session.last_suback = None;
        session.last_connect = Some(ConnectSeen {
            at: now,
            clean: request.clean,
            keep_alive_s: request.duration_s,
            will: request.will,
        });
        match will {
            WillChange::Keep => {}
            WillChange::Set(will) => session.will = Some(will),
            WillChange::Delete => session.will = None,
        }
        // A.14: the node may have restarted, so it is told its ids again before they are used.
        session.topics.unconfirm_all();
        session.suspend_in_flight();
        session.restart_supervision(now, &self.settings);
        self.answer_connect(&binding, ReturnCode::Accepted);
        self.out.notice(Notice::Connected {
            client_id: request.client_id,
            binding,
            resumed,
        });
        self.pump(now, key);
        self.reschedule(key);
    }

    /// Returns whether a CONNECT with clean = 0 finds the session as it was: a clean session
    /// ends with its connection, but leaving sleep is no end of it [MQTT-SN 1.2 §6.14] D-12.
    fn goes_on(&self, key: SessionKey) -> bool {
        self.slots.get(key).is_some_and(|session| {
            let sleeps = matches!(session.state, State::Asleep { .. } | State::Awake { .. });
            !session.clean || sleeps
        })
    }

    /// Ends the session of another node that was bound to this place (A.14).
    fn make_way(&mut self, now: Instant, binding: Binding, client_id: &str) {
        if let Some(former) = self.slots.by_binding(&binding)
            && self
                .slots
                .get(former)
                .is_some_and(|session| &*session.client_id != client_id)
        {
            self.lose(now, former);
        }
    }

    /// Tells the former place of a node that it has gone elsewhere, without its will (D-29).
    fn leave_former_binding(&mut self, key: SessionKey, binding: Binding) {
        let Some(session) = self.slots.get(key) else {
            return;
        };
        let Some(former) = session.binding.filter(|former| *former != binding) else {
            return;
        };
        if session.state == State::Active {
            self.out.transmit(
                &former,
                &Message::Disconnect(Disconnect { duration_s: None }),
            );
            self.tell(key, |client_id| Notice::Ended {
                client_id,
                how: Ending::TakenOver,
            });
        }
    }

    fn answer_connect(&mut self, binding: &Binding, return_code: ReturnCode) {
        self.out
            .transmit(binding, &Message::ConnAck(ConnAck { return_code }));
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

    /// Ends the connection of a node that fell silent, and publishes its will.
    pub(super) fn lose(&mut self, now: Instant, key: SessionKey) {
        if let Some(Will {
            topic,
            payload,
            qos,
            retain,
        }) = self
            .slots
            .get_mut(key)
            .and_then(|session| session.will.clone())
        {
            self.out.publish(
                Publication {
                    topic,
                    payload,
                    qos,
                    retain,
                },
                None,
            );
        }
        self.end(now, key, Ending::Lost);
    }

    /// Ends a connection; what is kept of it is the session of a node with clean = 0 (D-12).
    pub(super) fn end(&mut self, now: Instant, key: SessionKey, how: Ending) {
        self.tell(key, |client_id| Notice::Ended { client_id, how });
        self.drop_pending(key);
        self.slots.unbind(key);
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.state = State::Gone;
        session.suspend_in_flight();
        session.restart_supervision(now, &self.settings);
        if session.clean {
            self.forget(key);
        } else {
            self.reschedule(key);
        }
    }

    /// Removes a session and all that was kept for it.
    pub(super) fn forget(&mut self, key: SessionKey) {
        self.wipe(key);
        self.slots.remove(key);
    }

    /// Drops everything a session has gathered, as CONNECT with clean = 1 asks for.
    fn wipe(&mut self, key: SessionKey) {
        self.drop_subscriptions(key);
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.will = None;
        session.topics.clear();
        session.received.clear();
        session.uplinks.clear();
        session.last_qos0 = None;
        let letters = session.take_letters();
        for letter in letters {
            self.out.settle_delivery(letter.delivery);
        }
    }
}

fn will_topic_name(target: &WillTarget<'_>) -> Option<Arc<str>> {
    let name = std::str::from_utf8(target.topic).ok()?;
    let acceptable = shared::topics::TopicName::new(name).is_ok() && target.qos != QoS::MinusOne;
    acceptable.then(|| name.into())
}
