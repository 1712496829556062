//! CONNECT: new sessions, resumed ones, and takeovers [MQTT-SN 1.2 §6.2] A.14.

use std::sync::Arc;

use shared::time::Instant;
use shared::wire::{ConnAck, Connect, Disconnect, Message, ReturnCode};

use super::engine::Engine;
use super::output::{DropReason, Ending, Notice};
use super::policy::{NodeRule, Priority};
use super::port::Binding;
use super::slots::SessionKey;
use super::state::{ConnectSeen, State, Will};

/// What a CONNECT does to the stored will.
pub(super) enum WillChange {
    Keep,
    Set(Will),
    Delete,
}

/// A CONNECT that can be served.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) client_id: Arc<str>,
    /// The rule it is served by.
    pub(super) rule: Arc<NodeRule>,
    pub(super) clean: bool,
    pub(super) duration_s: u16,
    pub(super) will: bool,
    /// Whether it only ends a sleep, and leaves the session and its will as they are (D-30).
    pub(super) wakes: bool,
    /// The length of its datagram.
    pub(super) octets: usize,
}

impl Engine {
    pub(super) fn connect(
        &mut self,
        now: Instant,
        binding: Binding,
        connect: &Connect<'_>,
        octets: usize,
    ) {
        let Some(client_id) = self.acceptable_client_id(connect) else {
            // [MQTT-SN 1.2 §6.2] D-14
            let reason = DropReason::UnacceptableConnect;
            return self.refuse_connect(now, binding, None, reason, octets);
        };
        if self.is_repeated(now, binding, client_id, connect) {
            self.out.stats.repeats += 1;
            self.heard_connecting(now, client_id);
            self.answer_connect(&binding, ReturnCode::Accepted);
            return;
        }
        let Some(rule) = self.settings.admission.admit(client_id, &binding) else {
            // D-43, D-44
            let reason = DropReason::NotAdmitted;
            return self.refuse_connect(now, binding, Some(client_id), reason, octets);
        };
        let rule = Arc::clone(rule);
        self.heard_connecting(now, client_id);
        let request = Request {
            client_id: client_id.into(),
            rule,
            clean: connect.clean,
            duration_s: connect.duration_s,
            will: connect.will,
            // [MQTT-SN 1.2 §6.14] D-30
            wakes: self.settings.wake_connect_ignores_flags && self.sleeps(client_id),
            octets,
        };
        if let Some(reason) = self.congestion(now, binding, &request) {
            return self.refuse_connect(now, binding, Some(client_id), reason, octets);
        }
        if request.will && !request.wakes {
            self.ask_for_will(now, binding, request);
        } else {
            self.drop_handshake(binding);
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
        let window = session.link(&self.settings).repetitions_span();
        &*session.client_id == client_id
            && session.last_connect.is_some_and(|seen| {
                seen.clean == connect.clean
                    && seen.keep_alive_s == connect.duration_s
                    && seen.will == connect.will
                    && now.since(seen.at) <= window
            })
    }

    fn sleeps(&self, client_id: &str) -> bool {
        let known = self.slots.by_client_id(client_id);
        let session = known.and_then(|key| self.slots.get(key));
        session.is_some_and(|session| {
            matches!(session.state, State::Asleep { .. } | State::Awake { .. })
        })
    }

    /// Returns what a CONNECT must wait for (D-42). Only one that brings a will needs room for a
    /// handshake, and room for its session later on.
    fn congestion(
        &mut self,
        now: Instant,
        binding: Binding,
        request: &Request,
    ) -> Option<DropReason> {
        if self.upstream_out(now) {
            return Some(DropReason::UpstreamFull);
        }
        if !request.will || request.wakes || self.handshakes.contains_key(&binding) {
            return None;
        }
        let is_new = self.slots.by_client_id(&request.client_id).is_none();
        if is_new && !self.has_room(now, request.rule.priority) {
            return Some(DropReason::SessionsFull);
        }
        let full = self.handshakes.len() >= super::will::HANDSHAKES_MAX;
        full.then_some(DropReason::HandshakesFull)
    }

    /// Opens or resumes the session of a CONNECT that is complete.
    pub(super) fn open(
        &mut self,
        now: Instant,
        binding: Binding,
        request: Request,
        will: WillChange,
    ) {
        let is_new = self.slots.by_client_id(&request.client_id).is_none();
        if is_new && !self.make_room(now, request.rule.priority) {
            let Request {
                client_id, octets, ..
            } = request;
            let reason = DropReason::SessionsFull;
            return self.refuse_connect(now, binding, Some(&client_id), reason, octets);
        }
        self.make_way(now, binding, &request.client_id);
        let known = self.slots.by_client_id(&request.client_id);
        let resumed =
            known.is_some_and(|key| request.wakes || (!request.clean && self.goes_on(key)));
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
        session.rule = request.rule;
        session.state = State::Active;
        if !request.wakes {
            session.clean = request.clean;
        }
        session.keep_alive_s = request.duration_s;
        session.unresponsive = false;
        session.ping_owed = false;
        session.lift_pauses();
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
        if session.rule.profile.keeps_ids() {
            // A.20
            session.topics.unsuppress_all();
        } else {
            // A.14: the node may have restarted, so it is told its ids again before they are used.
            session.topics.unconfirm_all();
        }
        session.suspend_in_flight();
        session.restart_supervision(now, &self.settings);
        self.watch_heard(now, key);
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
            let message = Message::Disconnect(Disconnect { duration_s: None });
            self.out
                .transmit_as(session.rule.priority, &former, &message);
            self.tell(key, |client_id| Notice::Ended {
                client_id,
                how: Ending::TakenOver,
            });
        }
    }

    /// Answers the CONNECT of a node that is served.
    pub(super) fn answer_connect(&mut self, binding: &Binding, return_code: ReturnCode) {
        let session = self.slots.by_binding(binding);
        let session = session.and_then(|key| self.slots.get(key));
        let priority = session.map_or(Priority::Normal, |session| session.rule.priority);
        let answer = Message::ConnAck(ConnAck { return_code });
        self.out.transmit_as(priority, binding, &answer);
    }
}
