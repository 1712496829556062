//! Senders that have no session here [MQTT-SN 1.2 §6.12] D-28.

use std::sync::Arc;

use shared::time::Instant;
use shared::wire::{Disconnect, Message};

use super::engine::Engine;
use super::output::DropReason;
use super::port::Binding;
use super::slots::SessionKey;

impl Engine {
    /// Tells a sender that it is not known, so that it connects; at a bounded rate.
    pub(super) fn answer_stranger(&mut self, now: Instant, binding: Binding, octets: usize) {
        let reason = DropReason::Stranger;
        self.out.dropped(Some(binding), None, reason, octets);
        self.disown(now, binding);
    }

    /// Treats a sender as a stranger that has named a known node: that node is not to be served
    /// there, so it must be someone else (D-31, D-44).
    pub(super) fn turn_away(
        &mut self,
        now: Instant,
        binding: Binding,
        named: SessionKey,
        octets: usize,
    ) {
        let session = self.slots.get(named);
        let client_id = session.map(|session| Arc::clone(&session.client_id));
        let reason = DropReason::NotAdmitted;
        self.out
            .dropped(Some(binding), client_id.as_ref(), reason, octets);
        self.disown(now, binding);
    }

    fn disown(&mut self, now: Instant, binding: Binding) {
        if self.strangers.allow(now, binding) {
            let message = Message::Disconnect(Disconnect { duration_s: None });
            self.out.transmit(&binding, &message);
        } else {
            self.out.stats.replies_withheld += 1;
        }
    }
}
