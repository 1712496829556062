//! Senders that have no session here [MQTT-SN 1.2 §6.12] D-28.

use shared::time::Instant;
use shared::wire::{Disconnect, Message};

use super::engine::Engine;
use super::output::DropReason;
use super::port::Binding;

impl Engine {
    /// Tells a sender that it is not known, so that it connects; at a bounded rate.
    pub(super) fn answer_stranger(&mut self, now: Instant, binding: Binding, octets: usize) {
        self.out
            .dropped(Some(binding), None, DropReason::Stranger, octets);
        if self.strangers.allow(now, binding) {
            self.out.transmit(
                &binding,
                &Message::Disconnect(Disconnect { duration_s: None }),
            );
        } else {
            self.out.stats.replies_withheld += 1;
        }
    }
}
