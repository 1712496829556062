//! Every way a connection ends, and what is left of it [MQTT-SN 1.2 §6.12, §6.13].

use shared::time::Instant;
use shared::wire::{Disconnect, Message};

use super::engine::Engine;
use super::output::{Ending, Notice};
use super::slots::{SessionKey, TimerOwner};
use super::state::{Session, State, Will};

impl Engine {
    /// Tells the nodes that listen that the gateway goes away. No will is published: the nodes
    /// are well.
    pub fn shutdown(&mut self) {
        for key in self.slots.keys() {
            let Some(session) = self.slots.get(key) else {
                continue;
            };
            if session.listens()
                && let Some(binding) = session.binding
            {
                let message = Message::Disconnect(Disconnect { duration_s: None });
                self.out
                    .transmit_as(session.rule.priority, &binding, &message);
            }
        }
    }

    /// Ends the connection of a node that fell silent, and publishes its will.
    pub(super) fn lose(&mut self, now: Instant, key: SessionKey) {
        let session = self.slots.get(key);
        let will = session.and_then(|session| session.will.as_ref());
        if let Some(publication) = will.and_then(Will::publication) {
            self.out.publish(publication, None);
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
            self.forget(now, key);
        } else {
            self.reschedule(key);
        }
    }

    /// Removes a session and all that was kept for it.
    pub(super) fn forget(&mut self, now: Instant, key: SessionKey) {
        self.wipe(key);
        if let Some(mut session) = self.slots.remove(key) {
            self.timers
                .disarm(&mut session.timer, TimerOwner::Session(key));
            // What counts towards a quota goes on counting without a session.
            let Session {
                client_id,
                meter,
                rule,
                ..
            } = session;
            let len_max = self.settings.sessions_max;
            self.meters
                .keep(now, &client_id, meter, &rule.quota, len_max);
        }
    }

    /// Drops everything a session has gathered, as CONNECT with clean = 1 asks for.
    pub(super) fn wipe(&mut self, key: SessionKey) {
        self.drop_subscriptions(key);
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.will = None;
        session.topics.clear();
        session.received.clear();
        session.uplinks.clear();
        session.last_qos0 = None;
        session.too_long_told = Vec::new();
        let letters = session.take_letters();
        for letter in letters {
            self.out.settle_delivery(letter.delivery);
        }
    }
}
