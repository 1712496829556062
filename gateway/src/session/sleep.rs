//! DISCONNECT, PINGREQ, and the sleep between them [MQTT-SN 1.2 §6.11, §6.12, §6.14].

use shared::time::Instant;
use shared::wire::{Disconnect, Message};

use super::engine::Engine;
use super::output::{Ending, Notice};
use super::port::Binding;
use super::slots::SessionKey;
use super::state::{Session, Stage, State};

impl Engine {
    pub(super) fn disconnect(&mut self, now: Instant, key: SessionKey, disconnect: Disconnect) {
        self.send(key, &Message::Disconnect(Disconnect { duration_s: None }));
        match disconnect.duration_s {
            // [MQTT-SN 1.2 §6.12] D-20: a duration of zero is no sleep.
            None | Some(0) => self.end(now, key, Ending::Disconnected),
            Some(duration_s) => self.fall_asleep(now, key, duration_s),
        }
    }

    fn fall_asleep(&mut self, now: Instant, key: SessionKey, duration_s: u16) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.state = State::Asleep { duration_s };
        session.ping_owed = false;
        session.suspend_in_flight();
        session.restart_supervision(now, &self.settings);
        self.tell(key, |client_id| Notice::Asleep {
            client_id,
            duration_s,
        });
    }

    /// Handles a ping of the node that is bound to the place it came from.
    pub(super) fn ping(&mut self, now: Instant, key: SessionKey) {
        match self.slots.get(key).map(|session| session.state) {
            Some(State::Active) => self.send(key, &Message::PingResp),
            // D-25: a ping without client id wakes as well.
            Some(State::Asleep { .. } | State::Awake { .. }) => self.wake_session(now, key),
            Some(State::Gone) | None => {}
        }
    }

    /// Handles PINGREQ with a client id: a sleeping node woke up, perhaps at another place.
    pub(super) fn wake(&mut self, now: Instant, binding: Binding, client_id: &[u8], octets: usize) {
        let known = std::str::from_utf8(client_id)
            .ok()
            .and_then(|client_id| self.slots.by_client_id(client_id));
        let Some(key) = known else {
            return self.answer_stranger(now, binding, octets);
        };
        let Some(session) = self.slots.get(key) else {
            return;
        };
        let is_here = session.binding == Some(binding);
        match session.state {
            State::Asleep { .. } | State::Awake { .. } if is_here => {}
            State::Asleep { .. } | State::Awake { .. } => {
                if !session.rule.allows_place(&binding) {
                    // D-31: a move must pass what a CONNECT from there would have to.
                    return self.turn_away(now, binding, key, octets);
                }
                self.rebind(now, key, binding);
            }
            State::Active if is_here => {}
            // D-31: an active node does not move by a ping, and a lost one must connect.
            State::Active | State::Gone => {
                return self.answer_stranger(now, binding, octets);
            }
        }
        self.heard(now, key);
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        if session.state == State::Active {
            // It says that it has woken up, so it has slept without our knowing: a CONNECT that
            // came late, say, has undone its DISCONNECT. It will not hear what follows PINGRESP.
            session.ping_owed = true;
            self.repeat_for_ping(key);
        } else {
            self.wake_session(now, key);
        }
        self.pump(now, key);
        self.reschedule(key);
    }

    /// Follows a sleeping node to its new place (D-31). A node that listens there is lost by
    /// that; one that sleeps has lost its place only, for addresses are given anew while nodes
    /// sleep, and it says where it is when it wakes.
    fn rebind(&mut self, now: Instant, key: SessionKey, binding: Binding) {
        let former = self.slots.by_binding(&binding);
        if let Some(former) = former
            && self.slots.get(former).is_some_and(Session::listens)
        {
            self.lose(now, former);
        }
        self.slots.bind(key, binding);
        if let Some(former) = former {
            self.displace(now, former, binding);
        }
        self.tell(key, |client_id| Notice::Moved { client_id, binding });
    }

    /// Has a sleeper that has lost its place looked at in its time, which has stood still where
    /// the link carries nothing.
    fn displace(&mut self, now: Instant, key: SessionKey, lost: Binding) {
        if let Some(session) = self.slots.get_mut(key)
            && !self.links.reach(Some(lost))
        {
            session.restart_supervision(now, &self.settings);
        }
        self.reschedule(key);
    }

    fn wake_session(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        match session.state {
            State::Asleep { duration_s } => {
                session.state = State::Awake { duration_s };
                session.begin_wake();
            }
            // [MQTT-SN 1.2 §6.14] D-23: something was lost; repeat what is in flight, now.
            State::Awake { .. } => self.repeat_for_ping(key),
            State::Active | State::Gone => return,
        }
        self.pump(now, key);
    }

    /// Answers the ping that mail was delivered for, if there was one.
    pub(super) fn finish_delivery(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        match session.state {
            State::Awake { .. } => self.finish_wake(now, key),
            State::Active if std::mem::take(&mut session.ping_owed) => {
                self.send(key, &Message::PingResp);
            }
            _ => {}
        }
    }

    /// Ends a wake: everything was delivered and acknowledged (D-22).
    fn finish_wake(&mut self, now: Instant, key: SessionKey) {
        self.send(key, &Message::PingResp);
        self.back_to_sleep(now, key);
    }

    /// Puts a node back to sleep; its sleep timer starts again (D-21, D-24).
    pub(super) fn back_to_sleep(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        if let State::Awake { duration_s } = session.state {
            session.state = State::Asleep { duration_s };
            session.suspend_in_flight();
            session.restart_supervision(now, &self.settings);
        }
    }
}

impl Session {
    /// Begins to count what is sent in a wake; a publication that was under way is sent anew.
    fn begin_wake(&mut self) {
        let in_flight = self.in_flight.as_ref();
        let publishes = in_flight.is_some_and(|flight| flight.stage != Stage::Release);
        self.awake_sent = u32::from(publishes);
    }
}
