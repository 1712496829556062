//! Every way a connection ends, and what is left of it [MQTT-SN 1.2 §6.12, §6.13].

use shared::time::Instant;

use super::engine::Engine;
use super::output::{Ending, Notice};
use super::port::Publication;
use super::slots::SessionKey;
use super::state::{State, Will};

impl Engine {
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
